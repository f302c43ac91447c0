// Rows that hang together: which paths are found, and the fold's promises for what learns from
// them.
#include "daemon/propagation.h"

#include <algorithm>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "models/threads.h"
#include "tests/daemon/people.h"

namespace accrete::daemon {
namespace {

TEST(PropagationPlan, FindsBridgesSelfKeysAndPaths) {
  const Config config = people_config();
  const Schema& schema = config.schema;
  const TableId person = *schema.find("people");
  const PropagationPlan plan = plan_propagation(schema, person, ColumnId{4});
  ASSERT_EQ(plan.bridges.size(), 1U);
  EXPECT_EQ(plan.bridges[0].table, *schema.find("meetings"));
  EXPECT_TRUE(plan.self_keys.empty());
  // The team; the team's other people; meetings as host and as guest. Not: back through a meeting.
  ASSERT_EQ(plan.paths.size(), 4U);
  EXPECT_EQ(plan.paths[0].end, *schema.find("teams"));
  EXPECT_EQ(plan.paths[1].end, person);
  EXPECT_TRUE(plan.paths[1].steps[0].up && !plan.paths[1].steps[1].up);
  EXPECT_FALSE(plan_propagation(schema, *schema.find("notes"), ColumnId{0}).any());

  auto tree = parse_config(R"(
[[table]]
name = "nodes"
key = "id"
foreign_keys = { parent = "nodes" }
columns = { kind = "category" }

[[task]]
name = "kind"
predict = "PREDICT nodes.kind FOR EACH nodes.id"
)",
                           "test.toml");
  ASSERT_TRUE(tree) << tree.error().detail;
  const PropagationPlan own = plan_propagation(tree.value().schema, TableId{0}, ColumnId{2});
  EXPECT_EQ(own.self_keys.size(), 1U);
  EXPECT_TRUE(own.bridges.empty());
  EXPECT_TRUE(own.paths.empty());
}

TEST(Propagation, SameBitsForAnyGroupingCommitsThreadsAndMemory) {
  const Config config = people_config();
  const auto stream = people(1, 2, 104).transactions;
  FoldOptions options;
  const std::string expected = digest_of(config, stream, options);
  EXPECT_EQ(digest_of(config, stream, options, 7), expected);
  options.checkpoint_records_min = 1;
  options.pending_bytes_max = 1;
  options.graph_bytes_max = 1;
  options.row_cache_rows = 3;
  models::set_threads(2);
  EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
  models::set_threads(1);
}

TEST(Propagation, CrashesAnywhereChangeNothing) {
  const Config config = people_config();
  const auto stream = people(2, 2, 104).transactions;
  FoldOptions options;
  options.lateness_us = kDayUs;
  options.checkpoint_records_min = 97;
  const std::string expected = digest_of(config, stream, options);
  for (std::uint64_t seed = 0; seed < 2; ++seed)
    EXPECT_EQ(digest_after_crashes(config, stream, options, seed, 9), expected) << "seed " << seed;
}

TEST(Propagation, WhatComesLaterChangesNothingEarlier) {
  const Config config = people_config();
  const auto stream = people(3, 2, 200).transactions;
  World whole(config);
  whole.feed(stream);
  World cut(config);
  cut.feed(std::span(stream).first(stream.size() * 2 / 3));
  ASSERT_GT(cut.sink->payloads.size(), 200U);
  for (std::size_t i = 0; i < cut.sink->payloads.size(); ++i)
    ASSERT_EQ(cut.sink->payloads[i], whole.sink->payloads[i]) << "prediction " << i;
}

TEST(Propagation, OldFieldsAreNotForgottenAndTheMixtureFollowsWhoKnowsThem) {
  const Config config = people_config();
  const People stream = people(4, 4, 400);
  World world(config);
  world.feed(stream.transactions);
  const auto names = world.fold().find_task("field")->candidate_names();
  EXPECT_EQ(std::count(names.begin(), names.end(), "propagation"), 1);
  std::map<std::string, double> right = accuracies(world, stream);
  EXPECT_GT(right["propagation"], 0.65);
  // It knows people as they were when they came, before most of their meetings.
  EXPECT_GT(right["propagation-ridge"], right["ridge"]);
  EXPECT_GT(right[""], right["propagation"] - 0.02);
  EXPECT_LT(right["last-label"], 0.4);
}

TEST(Propagation, WhereMemoryIsShortItLearnsFromAPartOfTheRows) {
  const Config config = people_config();
  const People stream = people(5, 2, 200);
  World enough(config);
  enough.feed(stream.transactions);
  FoldOptions options;
  options.learners_bytes_max = 512u << 10;
  World little(config, options);
  little.feed(stream.transactions);
  EXPECT_NE(little.stored_digest(), enough.stored_digest());
  EXPECT_LT(little.fold().find_task("field")->memory_bytes(),
            enough.fold().find_task("field")->memory_bytes());
  EXPECT_GT(accuracies(little, stream)["propagation"], 0.6);
  World again(config, options);
  again.feed(stream.transactions, 5);
  EXPECT_EQ(again.stored_digest(), little.stored_digest());
}

}  // namespace
}  // namespace accrete::daemon
