// The tables and relations around an entity, by hand for one schema and by rules for random ones.
#include <set>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/daemon/sampler_world.h"

namespace accrete::daemon {
namespace {

std::string text_of(const NetworkPlan& plan, const Schema& schema) {
  const auto name = [&](std::uint16_t table) {
    return table == plan.labels() ? std::string("labels") : schema.table(plan.tables[table]).name;
  };
  std::string out;
  for (const NetworkRelation& relation : plan.relations) {
    static const char* const kWays[] = {" up ", " down ", " through ", " known "};
    out += name(relation.shape.target) + kWays[static_cast<int>(relation.way)] +
           name(relation.shape.source) + "\n";
  }
  return out;
}

Schema league() {
  auto config = parse_config(R"(
[[table]]
name = "drivers"
key = "id"
[[table]]
name = "circuits"
key = "id"
[[table]]
name = "races"
key = "id"
time = "at"
foreign_keys = { circuit = "circuits" }
[[table]]
name = "results"
key = "id"
time = "at"
foreign_keys = { race = "races", driver = "drivers" }
[[table]]
name = "islands"
key = "id"
)",
                             "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value().schema;
}

TEST(NetworkPlan, TwoStepsAroundTheEntityInTheOrderOfTheSchema) {
  const Schema schema = league();
  const NetworkPlan plan = plan_network(schema, *schema.find("drivers"), 2);
  EXPECT_EQ(text_of(plan, schema),
            "races up circuits\n"  // one step by Through, one more up
            "results up races\n"
            "races down results\n"
            "results up drivers\n"
            "drivers down results\n"
            "races through drivers\n"
            "drivers through races\n"
            "drivers known labels\n")
      << "a table that is two steps away reads nothing";
}

TEST(NetworkPlan, OneStepReadsFromTheEntityAlone) {
  const Schema schema = league();
  const NetworkPlan plan = plan_network(schema, *schema.find("drivers"), 1);
  EXPECT_EQ(text_of(plan, schema),
            "drivers down results\n"
            "drivers through races\n"
            "drivers known labels\n");
  EXPECT_EQ(plan.tables.size(), 3U);
  EXPECT_EQ(plan.tables[plan.entity], *schema.find("drivers"));
}

/// Steps from the entity to each table of a plan, along its relations.
std::vector<std::size_t> steps_to(const NetworkPlan& plan) {
  std::vector<std::size_t> steps(plan.table_count(), 99);
  steps[plan.entity] = 0;
  for (std::size_t round = 0; round < plan.hops; ++round) {
    for (const NetworkRelation& relation : plan.relations) {
      std::size_t& source = steps[relation.shape.source];
      source = std::min(source, steps[relation.shape.target] + 1);
    }
  }
  return steps;
}

TEST(NetworkPlan, OfRandomSchemasIsClosedOrderedAndBounded) {
  std::size_t through = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const RandomStream world(seed, 0, false);
    const Config config = world.config();
    const Schema& schema = config.schema;
    const auto entity = TableId{static_cast<std::uint16_t>(seed % schema.tables().size())};
    const NetworkPlan plan = plan_network(schema, entity, 1 + seed % 3);
    const std::vector<std::size_t> steps = steps_to(plan);
    ASSERT_LE(plan.relations.size(), NetworkPlan::kRelationsMax);
    std::set<std::tuple<Way, RelationId, RelationId>> seen;
    for (const NetworkRelation& relation : plan.relations) {
      EXPECT_TRUE(seen.emplace(relation.way, relation.near, relation.far).second);
      EXPECT_LT(steps[relation.shape.target], plan.hops) << "read by nobody";
      if (relation.way != Way::Through) continue;
      ++through;
      const auto& near = schema.relations()[relation.near.value];
      const auto& far = schema.relations()[relation.far.value];
      EXPECT_EQ(near.child, far.child);
      EXPECT_NE(near.foreign_key, far.foreign_key);
      EXPECT_EQ(plan.tables[relation.shape.target], near.parent);
      EXPECT_EQ(plan.tables[relation.shape.source], far.parent);
      EXPECT_TRUE(seen.contains({Way::Down, relation.near, RelationId{}}));
    }
    EXPECT_EQ(plan.relations.back().way, Way::Labels);
    for (std::size_t t = 0; t < plan.tables.size(); ++t)
      EXPECT_LE(steps[t], plan.hops) << "a table that nobody reaches";
  }
  EXPECT_GT(through, 200U);
}

TEST(NetworkPlan, LeavesOutTheLastWaysOfAVeryWideSchema) {
  std::string text = "[[table]]\nname = \"hub\"\nkey = \"id\"\n";
  std::string keys;
  for (int i = 0; i < 12; ++i)
    keys += (i > 0 ? ", f" : "f") + std::to_string(i) + " = \"hub\"";
  text += "[[table]]\nname = \"spokes\"\nkey = \"id\"\nforeign_keys = { " + keys + " }\n";
  const auto config = parse_config(text, "test.toml");
  ASSERT_TRUE(config) << config.error().detail;
  const Schema& schema = config.value().schema;
  const NetworkPlan plan = plan_network(schema, *schema.find("hub"), 2);
  ASSERT_EQ(plan.relations.size(), NetworkPlan::kRelationsMax);
  std::size_t direct = 0;
  for (const NetworkRelation& relation : plan.relations)
    direct += relation.way == Way::Up || relation.way == Way::Down ? 1 : 0;
  EXPECT_EQ(direct, 24U) << "single steps stay";
  EXPECT_EQ(plan.relations.back().way, Way::Labels);
}

}  // namespace
}  // namespace accrete::daemon
