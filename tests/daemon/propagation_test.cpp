// Rows that hang together: which paths are found, and the fold's promises for what learns from
// them.
#include "daemon/propagation.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>
#include <stream.pb.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr const char* kPeopleConfig = R"(
[[table]]
name = "teams"
key = "id"
columns = { place = "category" }

[[table]]
name = "people"
key = "id"
time = "at"
foreign_keys = { team = "teams" }
columns = { words = "set", age = "number", field = "category", senior = "flag" }

[[table]]
name = "meetings"
time = "at"
foreign_keys = { host = "people", guest = "people" }

[[table]]
name = "notes"
time = "at"
columns = { kind = "category", length = "number" }

[[task]]
name = "field"
predict = "PREDICT people.field FOR EACH people.id"

[[task]]
name = "senior"
predict = "PREDICT people.senior FOR EACH people.id"
debounce = "1 DAY"
)";

Config people_config() {
  auto config = parse_config(kPeopleConfig, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

Layout teams_layout() {
  return {"teams", {"id", "place"}};
}
Layout people_layout() {
  return {"people", {"id", "team", "words", "age", "field", "senior", "at"}};
}
Layout meetings_layout() {
  return {"meetings", {"host", "guest", "at"}};
}

struct Stream {
  std::vector<Transaction> transactions;
  std::map<std::int64_t, std::string> fields;  // of all people
};

/// Fields come one after another. People meet mostly those of their field; a person's own words
/// hardly tell it, those of the people around do. A quarter never say theirs, some say it late.
Stream people(std::uint64_t seed, std::size_t fields, std::int64_t each, bool requests = true) {
  Rng rng(seed, 9, Purpose::Test);
  Stream stream;
  Transaction first;
  first.records = {layout_record(teams_layout()), layout_record(people_layout()),
                   layout_record(meetings_layout())};
  for (std::int64_t t = 0; t < 6; ++t) {
    first.records.push_back(
        change_record(teams_layout(), Op::Insert,
                      {Value::of_integer(t), Value::of_text(t % 2 == 0 ? "north" : "south")}));
  }
  stream.transactions.push_back(std::move(first));
  std::vector<std::int64_t> silent;
  std::int64_t id = 0;
  for (std::size_t field = 0; field < fields; ++field) {
    const std::string name = "field" + std::to_string(field);
    const std::int64_t begin = id;
    while (id < begin + each) {
      const TimeUs at = day(static_cast<double>(id) * 0.1);
      Transaction transaction;
      for (int i = 0; i < 8; ++i, ++id) {
        const std::string words =
            "w" + std::to_string(rng.below(3) == 0 ? 10 * field + rng.below(5) : rng.below(60)) +
            " w" + std::to_string(rng.below(60));
        const bool says = rng.below(4) != 0;
        if (!says) silent.push_back(id);
        stream.fields[id] = name;
        transaction.records.push_back(change_record(
            people_layout(), Op::Insert,
            {Value::of_integer(id), Value::of_integer(static_cast<std::int64_t>(rng.below(8))),
             Value::of_text(words), Value::of_real(20 + static_cast<double>(rng.below(40))),
             says ? Value::of_text(name) : Value::null(),
             rng.below(3) == 0 ? Value::null() : Value::flag(rng.below(5) < 1 + 3 * (field % 2)),
             Value::of_time(at)}));
      }
      for (int i = 0; i < 20; ++i) {
        const std::int64_t from = rng.below(8) == 0 ? 0 : begin;
        const auto host =
            from + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(id - from)));
        const auto guest =
            begin + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(id - begin)));
        transaction.records.push_back(
            change_record(meetings_layout(), Op::Insert,
                          {Value::of_integer(host), Value::of_integer(guest), Value::of_time(at)}));
      }
      if (rng.below(3) == 0) {  // somebody leaves, labelled or not
        transaction.records.push_back(change_record(
            people_layout(), Op::Delete,
            {Value::of_integer(begin + static_cast<std::int64_t>(rng.below(4))), Value::null(),
             Value::null(), Value::null(), Value::null(), Value::null(), Value::null()},
            at));
      }
      stream.transactions.push_back(std::move(transaction));
    }
    if (!requests) continue;
    Transaction asks;
    for (const std::int64_t person : silent)
      asks.records.push_back(request_record("field", person, day(static_cast<double>(id) * 0.1)));
    stream.transactions.push_back(std::move(asks));
  }
  Transaction last;  // time moves on, so that the last requests are answered
  encode_mark({MarkKind::Clock, day(static_cast<double>(id))}, last.records.emplace_back());
  stream.transactions.push_back(std::move(last));
  for (std::size_t i = 0; i < stream.transactions.size(); ++i)
    stream.transactions[i].position = i + 1;
  return stream;
}

std::vector<wire::Prediction> decoded(const std::vector<std::string>& payloads) {
  std::vector<wire::Prediction> all;
  for (const std::string& payload : payloads) {
    all.emplace_back();
    EXPECT_TRUE(all.back().ParseFromString(payload));
  }
  return all;
}

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
  omp_set_num_threads(2);
  EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
  omp_set_num_threads(1);
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

/// Share of the requests' answers that are right, of each candidate; "" is the mixture.
std::map<std::string, double> accuracies(World& world, const Stream& stream) {
  std::map<std::string, std::map<std::int64_t, std::string>> said;  // the last answer counts
  std::map<std::int64_t, std::string> truth;
  for (const wire::Prediction& prediction : decoded(world.sink->payloads)) {
    if (prediction.trigger() != wire::Prediction::REQUEST) continue;
    const std::int64_t person = prediction.entity(0).integer();
    truth[person] = stream.fields.at(person);
    const auto best = std::max_element(
        prediction.classes().begin(), prediction.classes().end(),
        [](const auto& a, const auto& b) { return a.probability() < b.probability(); });
    said[""][person] = best->label();
    for (const auto& candidate : prediction.candidates())
      said[candidate.name()][person] = candidate.label();
  }
  std::map<std::string, double> right;
  for (const auto& [name, answers] : said) {
    for (const auto& [person, field] : truth) {
      const auto answer = answers.find(person);
      if (answer != answers.end() && answer->second == field) right[name] += 1;
    }
    right[name] /= static_cast<double>(truth.size());
  }
  EXPECT_GT(truth.size(), 80U);
  return right;
}

TEST(Propagation, OldFieldsAreNotForgottenAndTheMixtureFollowsWhoKnowsThem) {
  const Config config = people_config();
  const Stream stream = people(4, 4, 400);
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
  const Stream stream = people(5, 2, 200);
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
