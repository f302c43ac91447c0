// Between ticks everybody is republished whose answer the instant's rows have changed: what a full
// republish at that time would say, and nobody else is said otherwise.
#include <algorithm>
#include <map>
#include <string>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "daemon/graph_network.h"
#include "daemon/row_task.h"
#include "tests/daemon/market.h"
#include "tests/daemon/people.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kBefore = 600;  // transactions that the network learns from
constexpr std::size_t kAfter = kSanitized ? 80 : 500;

FoldOptions network_options(TimeUs learn_until) {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.width = 16;
  options.network.fan_out = {3, 2};
  options.network.batch = 32;
  options.network.passes = 2;
  options.network.on_heads = false;
  options.network.learn_until = learn_until;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 300;
  options.checkpoint_records_min = 50;
  return options;
}

Config market_config(OnChange on_change) {
  auto config = parse_config(kMarketConfig, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  for (TaskConfig& task : config.value().tasks)
    task.on_change = on_change;
  return std::move(config).value();
}

/// What the network says of each entity of a task, by its key.
using Said = std::map<std::string, double>;

double network_score(const wire::Prediction& prediction) {
  for (const wire::Candidate& candidate : prediction.candidates()) {
    if (candidate.name() == GraphNetwork::kName) return candidate.score();
  }
  ADD_FAILURE() << "no network";
  return 0;
}

/// All entities, asked at once.
Said all_said(World& world, std::string_view name, TimeUs at) {
  Said said;
  AnyTask& task = *world.fold().find_task(name);
  const auto ask = [&](const Prediction& prediction) {
    for (const CandidateScore& candidate : prediction.candidates) {
      if (candidate.name == GraphNetwork::kName)
        said[key_text(prediction.entity_key)] = candidate.score;
    }
    return Status(Ok{});
  };
  EXPECT_TRUE(task.what_if(task.population(at), at, ask));
  return said;
}

struct Told {
  std::int64_t as_of_us = 0;
  double score = 0;
};

/// What was published on a change since payload `first`: task -> key -> the last of it.
std::map<std::string, std::map<std::string, Told>> published(World& world, std::size_t first) {
  std::map<std::string, std::map<std::string, Told>> out;
  const auto& payloads = world.sink->payloads;
  for (std::size_t i = first; i < payloads.size(); ++i) {
    wire::Prediction prediction;
    EXPECT_TRUE(prediction.ParseFromString(payloads[i]));
    if (prediction.trigger() != wire::Prediction::CHANGE) continue;
    out[prediction.task()][std::to_string(prediction.entity(0).integer())] = {
        prediction.as_of_us(), network_score(prediction)};
  }
  return out;
}

/// Counts over a stream, of all tasks.
struct Counts {
  std::size_t instants = 0;
  std::size_t all = 0;       // answers of full republishes
  std::size_t changed = 0;   // of them, other than before the instant
  std::size_t told = 0;      // published
  std::size_t compared = 0;  // and at the time of a full republish
  std::size_t reached = 0;   // changed, and no row of the instant touches them
};

/// After each transaction what was published against full republishes: that it is what the graph
/// says now, and that nobody is missing about whom the graph before it says something else as of
/// `clock`, by which all of it has happened.
void compare(World& before, World& after, World& touched, const Transaction& next, TimeUs clock,
             Counts& counts) {
  const std::size_t first = after.sink->payloads.size();
  const std::size_t touched_first = touched.sink->payloads.size();
  after.feed({&next, 1});
  touched.feed({&next, 1});
  const TimeUs at = std::max(after.fold().now(), clock);
  auto told = published(after, first);
  auto named = published(touched, touched_first);
  ++counts.instants;
  for (const std::string name : {"dear", "visits"}) {
    // A label that became known says something new, too, and is nobody's row.
    const std::uint64_t labels = before.fold().find_task(name)->labels();
    if (after.fold().find_task(name)->labels() != labels) continue;
    const Said now = all_said(after, name, at);
    const Said then = all_said(before, name, at);
    counts.all += now.size();
    counts.told += told[name].size();
    // A late row may have been told of as of the instant before: the last time is the graph's.
    TimeUs last = kTimeMin;
    for (const auto& [key, said] : told[name])
      last = std::max(last, TimeUs{said.as_of_us});
    const Said full = told[name].empty() ? Said() : all_said(after, name, last);
    for (const auto& [key, said] : told[name]) {
      if (said.as_of_us != last.value) continue;
      EXPECT_EQ(said.score, full.at(key)) << name << " " << key;
      ++counts.compared;
    }
    for (const auto& [key, score] : now) {
      const auto old = then.find(key);
      const auto said = told[name].find(key);
      if (old != then.end() && old->second == score) continue;
      ++counts.changed;
      EXPECT_NE(said, told[name].end()) << name << " " << key << " was not republished";
      if (!named[name].contains(key)) ++counts.reached;
    }
  }
  before.feed({&next, 1});
}

TEST(Frontier, RepublishesAsAFullRepublishWhatAnInstantChanged) {
  Counts counts;
  for (const std::uint64_t seed : {1U, 2U, 5U}) {
    const bool uniform = seed == 2;
    const bool clocks = seed == 5;  // rows may be late without being older than what was folded
    Market market(seed);
    while (market.stream.size() < kBefore)
      market.step();
    FoldOptions options = network_options(day(market.now()));
    options.network.uniform = uniform;
    const Config frontier = market_config(OnChange::Frontier);
    const Config named = market_config(OnChange::Touched);
    World before(frontier, options);
    World after(frontier, options);
    World touched(named, options);
    for (World* world : {&before, &after, &touched})
      world->feed(market.stream);
    TimeUs clock = kTimeMin;
    for (std::size_t i = 0; i < kAfter; ++i) {
      Transaction next = market.step();
      const TimeUs ahead = day(market.now() + 0.5);
      if (clocks && i % 3 == 0) encode_mark({MarkKind::Clock, ahead}, next.records.emplace_back());
      compare(before, after, touched, next, clock, counts);
      if (clocks && i % 3 == 0) clock = std::max(clock, ahead);
    }
    for (const auto& task : after.fold().tasks())
      EXPECT_GT(task->network()->steps(), 0U);
    EXPECT_EQ(after.fold().frontiers_cut(), 0U);
  }
  EXPECT_GT(counts.changed, counts.instants);
  EXPECT_GT(counts.reached, counts.changed / 10) << "who is touched would have been enough";
  EXPECT_GT(counts.compared, counts.told / 2);
  EXPECT_LT(counts.told, counts.all / 2) << "nearly all are republished";
}

/// People who wait for a column of their own, and meet.
TEST(Frontier, TellsRowsThatWaitOfWhatTheyRead) {
  constexpr std::int64_t kPeople = 304;
  Config config = people_config();
  for (TaskConfig& task : config.tasks) {
    task.on_change = OnChange::Frontier;
    task.debounce_us = 0;
  }
  auto stream = people(8, 1, kPeople, false).transactions;
  FoldOptions options = network_options(kTimeMax);
  options.network.passes = 1;
  World before(config, options);
  World after(config, options);
  for (World* world : {&before, &after})
    world->feed(stream);
  ASSERT_GT(dynamic_cast<RowTask&>(*after.fold().find_task("senior")).network()->steps(), 0U);
  Rng rng(8, 1, Purpose::Test);
  const auto somebody = [&] {
    return Value::of_integer(static_cast<std::int64_t>(rng.below(kPeople)));
  };
  std::size_t changed = 0;
  std::size_t all = 0;
  for (int i = 0; i < 100; ++i) {
    const TimeUs at = day(static_cast<double>(kPeople) + 1 + i);
    Transaction next{stream.size() + 1 + static_cast<std::size_t>(i), {}};
    next.records.push_back(
        change_record(meetings_layout(), Op::Insert, {somebody(), somebody(), Value::of_time(at)}));
    const std::size_t first = after.sink->payloads.size();
    after.feed({&next, 1});
    const auto told = published(after, first)["senior"];
    const Said now = all_said(after, "senior", at);
    const Said then = all_said(before, "senior", at);
    all += now.size();
    for (const auto& [key, score] : now) {
      const auto said = told.find(key);
      if (said != told.end()) {
        EXPECT_EQ(said->second.score, score) << key;
      }
      if (score == then.at(key)) continue;
      ++changed;
      EXPECT_NE(said, told.end()) << key << " was not republished";
    }
    before.feed({&next, 1});
  }
  EXPECT_GT(changed, 100U);
  EXPECT_LT(changed, all / 2);
}

TEST(Frontier, IsCutWhereAnInstantChangesMoreThanIsFollowed) {
  if (kSanitized) GTEST_SKIP() << "it takes a hundred thousand rows";
  Market market(4);
  while (market.stream.size() < 60)
    market.step();
  const Config config = market_config(OnChange::Frontier);
  World world(config, network_options(day(market.now())));
  world.feed(market.stream);
  EXPECT_EQ(world.fold().frontiers_cut(), 0U);
  Transaction many;
  many.position = market.stream.size() + 1;
  const Layout notes{"notes", kColumns.at("notes")};
  for (std::int64_t id = 0; id < static_cast<std::int64_t>(Frontier::kLinksMax) + 1; ++id) {
    many.records.push_back(
        change_record(notes, Op::Insert,
                      {Value::of_integer(1000 + id), Value::of_integer(id % 24), Value::null()}));
  }
  world.feed({&many, 1});
  EXPECT_EQ(world.fold().frontiers_cut(), 1U) << "customers are too far from notes";
  const Transaction next = market.step();
  Transaction after = next;
  after.position = many.position + 1;
  world.feed({&after, 1});
  EXPECT_EQ(world.fold().frontiers_cut(), 1U);
}

TEST(Frontier, SameBitsForAnyGroupingCommitsAndCrashes) {
  Market market(3);
  while (market.stream.size() < kBefore)
    market.step();
  const Config config = market_config(OnChange::Frontier);
  FoldOptions options = network_options(day(market.now() / 2));
  const std::string expected = digest_of(config, market.stream, options);
  EXPECT_NE(digest_of(market_config(OnChange::Touched), market.stream, options), expected);
  options.graph_bytes_max = 1;
  options.row_cache_rows = 3;
  EXPECT_EQ(digest_of(config, market.stream, options, 7), expected);
  EXPECT_EQ(digest_after_crashes(config, market.stream, options, 1), expected);
}

}  // namespace
}  // namespace accrete::daemon
