// The graph network on a column of the rows themselves: the fold's promises hold with it, the
// column is hidden, experts come with new classes, and what only neighbours say is learnt.
#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/network_report.h"
#include "daemon/row_task.h"
#include "models/threads.h"
#include "tests/daemon/people.h"
#include "tests/sanitized.h"

namespace accrete::daemon {
namespace {

FoldOptions network_options() {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.width = 16;
  options.network.fan_out = {4, 4};
  options.network.batch = 32;
  options.network.passes = 2;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 300;
  return options;
}

GraphNetwork& network_of(World& world, std::string_view task) {
  return *dynamic_cast<RowTask&>(*world.fold().find_task(task)).network();
}

TEST(RowNetwork, SameBitsForAnyGroupingCommitsThreadsAndMemory) {
  const Config config = people_config();
  const auto stream = people(1, 2, 104).transactions;
  FoldOptions options = network_options();
  const std::string expected = digest_of(config, stream, options);
  EXPECT_EQ(digest_of(config, stream, options, 7), expected);
  options.checkpoint_records_min = 1;
  options.pending_bytes_max = 1;
  options.graph_bytes_max = 1;
  options.row_cache_rows = 3;
  models::set_threads(2);
  EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
  models::set_threads(1);
  options.network.experts = NetworkConfig::Experts::Off;
  EXPECT_NE(digest_of(config, stream, options), expected) << "the network is in the answers";
}

TEST(RowNetwork, CrashesAnywhereChangeNothing) {
  const Config config = people_config();
  const auto stream = people(2, 2, 104).transactions;
  FoldOptions options = network_options();
  options.lateness_us = kDayUs;
  options.checkpoint_records_min = 97;
  options.network.memory_per_class = 20;
  for (const auto rule : {models::BlockRule::Rows, models::BlockRule::Classes}) {
    options.blocks.by = rule;
    options.blocks.every_classes = 1;
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_after_crashes(config, stream, options, 1, 9), expected);
  }
}

/// Labels of an instant that ask for more steps than one end of it takes: the rest is for the next
/// transaction, and a restart is none.
TEST(RowNetwork, ARestartIsNoReasonToLearnMore) {
  const Config config = people_config();
  const auto stream = people(4, 1, 200).transactions;
  FoldOptions options = network_options();
  options.lateness_us = kDayUs;
  options.checkpoint_records_min = 1;
  options.network.batch = 16;
  options.network.passes = 1500;
  options.network.fan_out = {2};
  const std::string expected = digest_of(config, stream, options);
  EXPECT_EQ(digest_after_crashes(config, stream, options, 1, 6), expected);
}

TEST(RowNetwork, WhatComesLaterChangesNothingEarlier) {
  const Config config = people_config();
  const auto stream = people(3, 2, 200).transactions;
  World whole(config, network_options());
  whole.feed(stream);
  World cut(config, network_options());
  cut.feed(std::span(stream).first(stream.size() * 2 / 3));
  ASSERT_GT(network_of(cut, "field").steps(), 5U);
  ASSERT_GT(cut.sink->payloads.size(), 200U);
  for (std::size_t i = 0; i < cut.sink->payloads.size(); ++i)
    ASSERT_EQ(cut.sink->payloads[i], whole.sink->payloads[i]) << "prediction " << i;
}

TEST(RowNetwork, ARowsOwnColumnIsHidden) {
  const Config config = people_config();
  const auto said = [&](const char* field) {
    // The same people, then one more who says this.
    People stream = people(7, 2, 200, false);
    Transaction one;
    const std::int64_t id = 1'000'000;
    const TimeUs at = day(1000);
    one.records.push_back(change_record(
        people_layout(), Op::Insert,
        {Value::of_integer(id), Value::of_integer(1), Value::of_text("w1 w17"), Value::of_real(30),
         Value::of_text(field), Value::null(), Value::of_time(at)}));
    one.position = stream.transactions.size() + 1;
    stream.transactions.push_back(std::move(one));
    World world(config, network_options());
    world.feed(stream.transactions);
    EXPECT_GT(network_of(world, "field").steps(), 5U);
    std::vector<std::string> of_one;
    for (const std::string& payload : world.sink->payloads) {
      wire::Prediction prediction;
      EXPECT_TRUE(prediction.ParseFromString(payload));
      if (prediction.task() == "field" && prediction.entity(0).integer() == id)
        of_one.push_back(payload);
    }
    return of_one;
  };
  const auto first = said("field0");
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(said("field1"), first);
}

TEST(RowNetwork, ExpertsComeWithNewClassesAndOldOnesAreStillKnown) {
  const Config config = people_config();
  const People stream = people(4, 4, 400);
  FoldOptions options = network_options();
  options.network.passes = 12;
  options.network.fan_out = {12, 12};
  options.network.memory_per_class = 40;
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 2;
  World world(config, options);
  world.feed(stream.transactions);
  const GraphNetwork& network = network_of(world, "field");
  ASSERT_EQ(network.events().size(), 1U) << "four fields are two blocks of two";
  EXPECT_EQ(network.events()[0].block, 1U);
  std::map<std::string, double> right = accuracies(world, stream);
  EXPECT_GT(right["network"], 0.5);
  EXPECT_LT(right["last-label"], 0.4);
}

TEST(RowNetwork, TimeAndMarkersEndBlocksToo) {
  const Config config = people_config();
  People stream = people(6, 1, 800);  // a person each tenth of a day
  FoldOptions options = network_options();
  options.checkpoint_records_min = 200;
  options.blocks.by = models::BlockRule::Time;
  options.blocks.every_us = 1000 * kDayUs;
  std::vector<std::uint32_t> scored;  // blocks that the last world has examples of
  const auto births = [&] {
    World world(config, options);
    world.feed(stream.transactions);
    scored.clear();
    for (const BlockScore& one : network_of(world, "field").score_blocks(world.fold().now()).scores)
      scored.push_back(one.block);
    std::vector<std::uint32_t> blocks;
    for (const ExpertEvent& event : network_of(world, "field").events())
      if (event.kind == ExpertEvent::Kind::Birth) blocks.push_back(event.block);
    return blocks;
  };
  EXPECT_TRUE(births().empty());
  EXPECT_EQ(scored, std::vector<std::uint32_t>{0}) << "teams have no time and begin no period";
  options.blocks.every_us = 60 * kDayUs;
  EXPECT_EQ(births().size(), 1U) << "80 days, from the 22nd of a period on";
  options.blocks.by = models::BlockRule::Marker;
  EXPECT_TRUE(births().empty()) << "nobody marked any";
  Transaction& middle = stream.transactions[stream.transactions.size() / 2];
  encode_mark({MarkKind::Block, kTimeMin}, middle.records.emplace_back());
  EXPECT_EQ(births(), std::vector<std::uint32_t>{1});
  options.lateness_us = 700 * kDayUs;  // until the last clock all rows wait
  EXPECT_EQ(births(), std::vector<std::uint32_t>{1}) << "the mark waits behind those before it";
  options.lateness_us = 10 * kDayUs;
  if (kSanitized) return;  // the rest takes a minute
  const std::string expected = digest_of(config, stream.transactions, options);
  EXPECT_EQ(digest_after_crashes(config, stream.transactions, options, 1, 40), expected);
}

/// Share of the nodes whose best expert is their block's, of all layers.
double own_block(const People& stream, bool block_loss) {
  FoldOptions options = network_options();
  options.network.block_loss = block_loss;
  options.network.passes = 8;
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 1;
  World world(people_config(), options);
  world.feed(stream.transactions);
  EXPECT_GE(network_of(world, "field").experts(), 3U);
  double own = 0;
  double nodes = 0;
  for (const LayerRouting& layer : network_of(world, "field").metrics().layers()) {
    own += layer.own_block;
    nodes += layer.nodes;
  }
  return own / nodes;
}

TEST(RowNetwork, TheBlockLossLetsRowsFindTheExpertOfTheirBlock) {
  if (kSanitized) GTEST_SKIP() << "it takes thousands of steps";
  const People stream = people(4, 4, 400);
  const double with = own_block(stream, true);
  const double without = own_block(stream, false);
  EXPECT_GT(with, without + 0.05) << with << " against " << without;
}

TEST(RowNetwork, BlocksWithFewKeptExamplesAreInTheMatrix) {
  FoldOptions options = network_options();
  options.network.memory_per_class = 5;
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 2;
  World world(people_config(), options);
  world.feed(people(4, 4, 200).transactions);
  GraphNetwork& network = network_of(world, "field");
  ASSERT_EQ(network.experts(), 2U);
  const BlockScores now = network.score_blocks(world.fold().now());
  ASSERT_EQ(now.scores.size(), 2U) << "ten examples are left of the first block";
  EXPECT_EQ(now.scores[0].block, 0U);
  EXPECT_EQ(now.scores[1].block, 1U);
}

/// What the network itself says of everybody, in order.
std::string said_by_network(const World& world) {
  std::string all;
  for (const wire::Prediction& prediction : decoded(world.sink->payloads)) {
    for (const auto& candidate : prediction.candidates())
      if (candidate.name() == GraphNetwork::kName) all += std::to_string(candidate.score()) + " ";
  }
  return all;
}

/// A key that is read and goes nowhere changes nothing that is said.
TEST(RowNetwork, EachKeyOfItsOwnChangesWhatItSays) {
  if (kSanitized) GTEST_SKIP() << "paths of the others; it would take minutes";
  Config config = people_config();
  config.tasks.resize(1);  // the field
  const auto stream = people(4, 2, 400).transactions;
  using Change = std::function<void(NetworkConfig&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"nothing", [](NetworkConfig&) {}},
      {"experts", [](NetworkConfig& n) { n.experts = NetworkConfig::Experts::Attention; }},
      {"width", [](NetworkConfig& n) { n.width = 32; }},
      {"fan_out",
       [](NetworkConfig& n) {
         n.fan_out = {4, 5};
       }},
      {"uniform", [](NetworkConfig& n) { n.uniform = true; }},
      {"top", [](NetworkConfig& n) { n.top = 1; }},
      {"batch_experts", [](NetworkConfig& n) { n.batch_experts = 1; }},
      {"experts_max", [](NetworkConfig& n) { n.experts_max = 1; }},
      {"slow", [](NetworkConfig& n) { n.old_experts = NetworkConfig::OldExperts::Slow; }},
      {"all", [](NetworkConfig& n) { n.old_experts = NetworkConfig::OldExperts::All; }},
      {"batch", [](NetworkConfig& n) { n.batch = 48; }},
      {"passes", [](NetworkConfig& n) { n.passes = 3; }},
      {"mean_steps", [](NetworkConfig& n) { n.mean_steps = 10; }},
      {"no mean", [](NetworkConfig& n) { n.mean_steps = 0; }},
      {"learn_until", [](NetworkConfig& n) { n.learn_until = day(70); }},
      {"memory", [](NetworkConfig& n) { n.memory = 400; }},
      {"memory_per_class", [](NetworkConfig& n) { n.memory_per_class = 10; }},
      {"mixtures", [](NetworkConfig& n) { n.replay = NetworkConfig::Replay::Mixtures; }},
      {"both", [](NetworkConfig& n) { n.replay = NetworkConfig::Replay::Both; }},
      {"none", [](NetworkConfig& n) { n.replay = NetworkConfig::Replay::None; }},
      {"block_loss", [](NetworkConfig& n) { n.block_loss = false; }},
      {"graph_block_loss", [](NetworkConfig& n) { n.graph_block_loss = false; }},
      {"topology_gate", [](NetworkConfig& n) { n.topology_gate = false; }},
  };
  std::map<std::string, std::string> seen;
  for (const auto& [name, change] : changes) {
    FoldOptions options = network_options();
    options.network.fan_out = {3, 1};
    options.network.old_experts = NetworkConfig::OldExperts::Freeze;
    options.network.flatness_rise = std::nullopt;  // every block has its expert
    options.blocks.by = models::BlockRule::Classes;
    options.blocks.every_classes = 1;
    change(options.network);
    World world(config, options);
    world.feed(stream);
    if (name == "nothing") {
      EXPECT_EQ(network_of(world, "field").experts(), 2U);
    }
    const auto [other, is_new] = seen.emplace(said_by_network(world), name);
    EXPECT_TRUE(is_new) << name << " says what " << other->second << " says";
  }
}

/// Whom one meets says what one is: from labels of rows to what the network weighs before any loss.
TEST(RowNetwork, LabelsThatAgreeWithTheirNeighboursRaiseItsPrior) {
  if (kSanitized) GTEST_SKIP() << "it takes thousands of rows";
  Config config = people_config();
  config.tasks.resize(1);  // the field
  FoldOptions options = network_options();
  options.network.passes = 1;
  options.network.fan_out = {1};
  options.blocks.every_rows = 100'000;
  World world(config, options);
  world.feed(people(4, 4, 1000, false).transactions);
  const GraphNetwork& network = network_of(world, "field");
  const models::LabelSignals& signals = network.signals();
  EXPECT_GT(signals.labels(), 2800U);
  ASSERT_EQ(signals.paths(), 3U) << "the team, the last guest, the last host";
  EXPECT_LT(signals.homophily(0).adjusted, 4 * signals.homophily(0).error);
  for (const std::size_t path : {1UL, 2UL}) {
    EXPECT_GT(signals.homophily(path).pairs, 256U);
    EXPECT_GT(signals.homophily(path).adjusted, 0.5);
  }
  EXPECT_GT(network.prior(), models::NetworkPrior::low + 0.02);
  EXPECT_EQ(signals.autocorrelation(1), 0) << "a row has one outcome";
}

/// Blocks of two classes; no row of a block is kept once the next has an expert.
FoldOptions without_old_rows(NetworkConfig::Replay replay) {
  FoldOptions options = network_options();
  options.network.old_experts = NetworkConfig::OldExperts::Freeze;
  options.network.replay = replay;
  options.network.passes = 4;
  options.network.flatness_rise = std::nullopt;  // every block has its expert
  options.blocks.by = models::BlockRule::Classes;
  options.blocks.every_classes = 2;
  return options;
}

/// The first `count` people who are silent say their field, and time goes on.
std::vector<Transaction> late_values(const People& stream, std::int64_t count) {
  std::vector<Transaction> late(1);
  for (const std::int64_t id : stream.silent) {
    if (id >= count) break;
    late[0].records.push_back(
        change_record(people_layout(), Op::Update,
                      {Value::of_integer(id), Value::of_integer(0), Value::of_text("w1 w2"),
                       Value::of_real(30), Value::of_text(stream.fields.at(id)), Value::null(),
                       Value::of_time(day(static_cast<double>(id / 8 * 8) * 0.1))}));
  }
  late[0].position = stream.transactions.back().position + 1;
  Transaction& last = late.emplace_back();
  encode_mark({MarkKind::Clock, day(1e6)}, last.records.emplace_back());
  last.position = late[0].position + 1;
  return late;
}

TEST(RowNetwork, NoOldRowIsLearntFromWhereMixturesStandForThem) {
  if (kSanitized) GTEST_SKIP() << "takes minutes under a sanitizer; its paths are run below";
  const People stream = people(4, 6, 304);
  for (const auto replay : {NetworkConfig::Replay::None, NetworkConfig::Replay::Mixtures}) {
    World world(people_config(), without_old_rows(replay));
    world.feed(stream.transactions);
    GraphNetwork& network = network_of(world, "field");
    ASSERT_EQ(network.experts(), 3U);
    // Of two mixtures a guess is right half the time. Most of the older rows that the first layer
    // knows are teams; what the last one reads are people whom requests ask for.
    const LayerRouting& first = network.metrics().layers().front();
    const LayerRouting& last = network.metrics().layers().back();
    if (replay == NetworkConfig::Replay::Mixtures) {
      EXPECT_GT(first.by_mixtures, 0.8 * first.mixture_rows);
      EXPECT_GE(first.mixture_rows, 100);
      EXPECT_GE(last.mixture_rows, 16);
    } else {
      EXPECT_EQ(first.mixture_rows + last.mixture_rows, 0) << "there are no mixtures to ask";
    }
    const BlockScores now = network.score_blocks(world.fold().now());
    ASSERT_EQ(now.scores.size(), 1U) << "no example of the older blocks is kept";
    EXPECT_EQ(now.scores[0].block, 2U);
    const auto names = world.fold().find_task("field")->candidate_names();
    EXPECT_EQ(std::ranges::count(names, "propagation"), 0) << "it would learn from old rows";
    EXPECT_EQ(std::ranges::count(names, "propagation-ridge"), 1);
    if (replay == NetworkConfig::Replay::Mixtures) continue;
    // Values that come late for the first block are not learnt, and no step is owed for them.
    const std::uint64_t steps = network.steps();
    world.feed(late_values(stream, 304));
    EXPECT_EQ(network.steps(), steps);
  }
}

/// Not for an expert: a block that has none of its own has a mixture, unless it is tiny.
TEST(RowNetwork, AMixtureStandsForEachBlock) {
  FoldOptions options = without_old_rows(NetworkConfig::Replay::Mixtures);
  options.network.passes = 1;
  options.network.fan_out = {2};
  options.blocks.by = models::BlockRule::Marker;
  options.blocks.every_rows = 10;
  People stream = people(4, 2, 1000, false);
  // Of 8 people a transaction, of whom 6 say their field. Blocks of 60, 8, 60, 3, 8, 60 and more.
  for (const std::size_t at : {60U, 68U, 128U, 131U, 139U, 199U})
    encode_mark({MarkKind::Block, kTimeMin}, stream.transactions[at].records.emplace_back());
  World world(people_config(), options);
  world.feed(stream.transactions);
  const GraphNetwork& network = network_of(world, "field");
  std::vector<std::uint32_t> born;
  for (const ExpertEvent& event : network.events())
    if (event.kind == ExpertEvent::Kind::Birth) born.push_back(event.block);
  EXPECT_EQ(born, (std::vector<std::uint32_t>{2, 5, 6}));
  EXPECT_EQ(network.mixtures(), 5U) << "of 0, 1, 2, of 3 and 4 together, of 5";
  EXPECT_EQ(network_json(*world.fold().find_task("field"))["mixtures"], 5);
}

TEST(RowNetwork, CrashesChangeNothingWhereMixturesStandForRows) {
  const Config config = people_config();
  const auto stream = people(2, 4, 304).transactions;
  for (const auto replay : {NetworkConfig::Replay::Mixtures, NetworkConfig::Replay::Both}) {
    if (kSanitized && replay == NetworkConfig::Replay::Mixtures) continue;  // minutes each
    FoldOptions options = without_old_rows(replay);
    options.network.passes = 2;
    options.network.memory_per_class = 10;
    options.checkpoint_records_min = 97;
    World whole(config, options);
    whole.feed(stream);
    ASSERT_GE(network_of(whole, "field").events().size(), 1U);
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_after_crashes(config, stream, options, 1), expected);
    if (kSanitized) continue;
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(1);
  }
}

}  // namespace
}  // namespace accrete::daemon
