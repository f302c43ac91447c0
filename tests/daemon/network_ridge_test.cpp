// Candidate "network-ridge" inside the fold: the fold's promises hold with it, on columns of rows
// and over windows, and it says what only neighbours say.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/graph_network.h"
#include "models/threads.h"
#include "tests/daemon/people.h"

namespace accrete::daemon {
namespace {

FoldOptions ridge_options(bool on_heads = true) {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.ridge = true;
  options.network.on_heads = on_heads;
  options.network.width = 16;
  options.network.fan_out = {4, 3};
  options.network.batch = 32;
  options.network.passes = 2;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 300;
  return options;
}

TEST(NetworkRidge, SameBitsForAnyGroupingCommitsThreadsAndMemoryOfRows) {
  const Config config = people_config();
  const auto stream = people(1, 2, 104).transactions;
  FoldOptions options = ridge_options();
  const std::string expected = digest_of(config, stream, options);
  options.checkpoint_records_min = 1;
  options.pending_bytes_max = 1;
  options.graph_bytes_max = 1;
  options.row_cache_rows = 3;
  models::set_threads(2);
  EXPECT_EQ(digest_of(config, stream, options, 7), expected);
  models::set_threads(1);
  options.network.ridge = false;
  EXPECT_NE(digest_of(config, stream, options), expected) << "it is in the answers";
}

TEST(NetworkRidge, SameBitsForAnyGroupingCommitsAndThreadsOverWindows) {
  const Config config = shop_config();
  const auto stream = shop(1, kSanitized ? 120 : 400);
  for (const bool on_heads : {true, false}) {
    FoldOptions options = ridge_options(on_heads);
    const std::string expected = digest_of(config, stream, options);
    options.checkpoint_records_min = 1;
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(1);
  }
}

TEST(NetworkRidge, CrashesAnywhereChangeNothing) {
  FoldOptions options = ridge_options();
  options.lateness_us = kDayUs;
  options.checkpoint_records_min = 97;
  options.network.memory_per_class = 20;
  options.network.memory = 300;
  const auto rows = people(2, 2, 104).transactions;
  const std::string of_rows = digest_of(people_config(), rows, options);
  EXPECT_EQ(digest_after_crashes(people_config(), rows, options, 1, 9), of_rows);
  const auto orders = shop(2, kSanitized ? 120 : 400);
  const std::string of_windows = digest_of(shop_config(), orders, options);
  EXPECT_EQ(digest_after_crashes(shop_config(), orders, options, 1), of_windows);
}

/// Everybody goes and comes back with the same cells, and is learnt from once more.
TEST(NetworkRidge, RowsThatComeBackAreReadOnce) {
  const Config config = people_config();
  auto stream = people(1, 2, 104, false).transactions;
  std::vector<std::string> inserts;
  for (const Transaction& transaction : stream) {
    for (const std::string& bytes : transaction.records) {
      Record record;
      ASSERT_TRUE(decode_record(bytes, record));
      const bool person = record.kind == RecordKind::Change &&
                          record.change.layout == people_layout().hash() &&
                          record.change.op == Op::Insert;
      if (person) inserts.push_back(bytes);
    }
  }
  ASSERT_GT(inserts.size(), 200U);
  Transaction gone;
  for (std::size_t id = 0; id < inserts.size(); ++id) {
    gone.records.push_back(
        change_record(people_layout(), Op::Delete,
                      {Value::of_integer(static_cast<std::int64_t>(id)), Value::null(),
                       Value::null(), Value::null(), Value::null(), Value::null(), Value::null()},
                      day(300)));
  }
  gone.position = stream.size() + 1;
  stream.push_back(std::move(gone));
  for (std::size_t i = 0; i < inserts.size(); i += 8) {
    Transaction back;
    back.position = stream.size() + 1;
    const auto first = inserts.begin() + static_cast<std::ptrdiff_t>(i);
    back.records.assign(
        first, first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(8, inserts.size() - i)));
    stream.push_back(std::move(back));
  }
  Transaction last;
  last.position = stream.size() + 1;
  encode_mark({MarkKind::Clock, day(400)}, last.records.emplace_back());
  stream.push_back(std::move(last));
  FoldOptions options = ridge_options();
  const std::string expected = digest_of(config, stream, options);
  options.checkpoint_records_min = 1;
  EXPECT_EQ(digest_of(config, stream, options, 7), expected);
}

TEST(NetworkRidge, QuestionsLeaveNoTrace) {
  const FoldOptions options = ridge_options();
  const auto ask = [&](const Config& config, const std::vector<Transaction>& stream) {
    World quiet(config, options);
    quiet.feed(stream);
    World asked(config, options);
    for (std::size_t at = 0; at < stream.size(); at += 40) {
      asked.feed(std::span(stream).subspan(at, std::min<std::size_t>(40, stream.size() - at)));
      for (const auto& task : asked.fold().tasks()) {
        const TimeUs now = asked.fold().now();
        if (now == kTimeMin) continue;
        ASSERT_TRUE(task->what_if(task->population(now), now, [](Prediction&) { return Ok{}; }));
      }
    }
    EXPECT_EQ(asked.stored_digest(), quiet.stored_digest());
  };
  ask(people_config(), people(5, 2, 104, false).transactions);
  ask(shop_config(), shop(5, kSanitized ? 120 : 400));
}

TEST(NetworkRidge, OldClassesAreStillKnown) {
  if (kSanitized) GTEST_SKIP() << "takes minutes under a sanitizer; learning is not its matter";
  const People stream = people(4, 4, 400);
  FoldOptions options = ridge_options();
  options.network.passes = 12;
  options.network.fan_out = {12, 12};
  options.network.memory_per_class = 40;
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 2;
  World world(people_config(), options);
  world.feed(stream.transactions);
  AnyTask& task = *world.fold().find_task("field");
  EXPECT_EQ(std::ranges::count(task.candidate_names(), NetworkRidge::kName), 1);
  EXPECT_EQ(task.network()->experts(), 2U) << "columns of a new expert have joined";
  std::map<std::string, double> right = accuracies(world, stream);
  EXPECT_GT(right["network-ridge"], 0.6);
  EXPECT_LT(right["last-label"], 0.4);
}

TEST(NetworkRidge, IsCountedAsMemory) {
  const auto stream = people(4, 2, 104).transactions;
  const auto bytes = [&](bool ridge) {
    FoldOptions options = ridge_options();
    options.network.ridge = ridge;
    World world(people_config(), options);
    world.feed(stream);
    return world.fold().find_task("field")->network()->memory_bytes();
  };
  EXPECT_GT(bytes(true), bytes(false) + 10'000);
}

}  // namespace
}  // namespace accrete::daemon
