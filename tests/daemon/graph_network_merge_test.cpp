// Experts above the bound, inside the fold: two become one for each that is born, or all stays as
// it was; and whatever happens, the fold's promises hold.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>
#include <stream.pb.h>

#include "daemon/task.h"
#include "daemon/task_report.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kExpertsMax = 4;
constexpr double kAnyRise = 1e9;
constexpr double kNoRise = -2;  // a loss would have to be below zero

/// Many small blocks.
FoldOptions many_blocks(std::optional<double> rise_max,
                        NetworkConfig::Experts experts = NetworkConfig::Experts::Sage) {
  FoldOptions options;
  options.network.experts = experts;
  options.network.width = 16;
  options.network.fan_out = {3, 2};
  options.network.batch = 32;
  options.network.passes = 1;
  options.network.experts_max = kExpertsMax;
  options.network.merge_rise_max = rise_max;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 250;
  options.checkpoint_records_min = 50;
  return options;
}

constexpr std::size_t kOrders = 1100;

const GraphNetwork& network_of(World& world, std::string_view task) {
  return *dynamic_cast<Task&>(*world.fold().find_task(task)).network();
}

std::size_t count(const GraphNetwork& network, ExpertEvent::Kind kind) {
  return static_cast<std::size_t>(std::ranges::count(network.events(), kind, &ExpertEvent::kind));
}

/// Of what all share, and of each expert of each layer.
std::map<std::string, std::string> stored_parts(World& world, const std::string& task) {
  std::map<std::string, std::string> parts;
  EXPECT_TRUE(world.state().scan(store::Section::Blobs, task + "/network/part/",
                                 [&](std::string_view key, std::string_view bytes) {
                                   parts.emplace(key, bytes);
                                   return true;
                                 }));
  return parts;
}

TEST(MergingExperts, TwoBecomeOneForEachThatIsBornAboveTheBound) {
  const Config config = shop_config();
  World world(config, many_blocks(kAnyRise));
  const auto stream = shop(11, kOrders);
  world.feed(std::span(stream).first(kOrders / 2));
  ASSERT_TRUE(world.fold().checkpoint());
  world.feed(std::span(stream).subspan(kOrders / 2));
  ASSERT_TRUE(world.fold().checkpoint());
  const GraphNetwork& network = network_of(world, "active");
  EXPECT_GE(count(network, ExpertEvent::Kind::Merge), 2u);
  EXPECT_EQ(count(network, ExpertEvent::Kind::Rollback), 0u);
  std::size_t experts = 1;
  const ExpertEvent* before = nullptr;
  for (const ExpertEvent& event : network.events()) {
    if (event.kind == ExpertEvent::Kind::Merge) {
      EXPECT_EQ(experts--, kExpertsMax) << "only when it must be";
      EXPECT_LT(event.first + 1, kExpertsMax - 1) << "the newest is not merged";
      EXPECT_GT(event.loss_before, 0);
      EXPECT_GT(event.loss_after, 0);
      EXPECT_LE(event.worst_block, event.block) << "of blocks that there are";
    } else {
      ++experts;
      EXPECT_LE(experts, kExpertsMax);
      if (before != nullptr && before->kind == ExpertEvent::Kind::Merge) {
        EXPECT_EQ(event.block, before->block) << "the place is for this block's expert";
        EXPECT_EQ(event.at, before->at);
      }
    }
    before = &event;
  }
  EXPECT_EQ(before->kind, ExpertEvent::Kind::Birth);
  EXPECT_EQ(network.experts(), experts);
  EXPECT_EQ(stored_parts(world, "active").size(), 1 + 2 * experts)
      << "those that are gone are erased";
}

TEST(FreezingExperts, IsToldWithEachBirth) {
  const Config config = shop_config();
  FoldOptions options = many_blocks(kAnyRise);
  options.network.old_experts = NetworkConfig::OldExperts::Freeze;
  options.network.experts_max = 16;
  World world(config, options);
  world.feed(shop(11, kOrders));
  const GraphNetwork& network = network_of(world, "active");
  const auto& events = network.events();
  ASSERT_GE(count(network, ExpertEvent::Kind::Birth), 3u);
  EXPECT_EQ(count(network, ExpertEvent::Kind::Freeze), count(network, ExpertEvent::Kind::Birth));
  std::uint32_t frozen = 0;  // experts of the first so many blocks
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].kind != ExpertEvent::Kind::Freeze) continue;
    ASSERT_TRUE(i > 0 && events[i - 1].kind == ExpertEvent::Kind::Birth);
    EXPECT_EQ(events[i].first, frozen++) << "the newest until then";
    EXPECT_EQ(events[i].at, events[i - 1].at);
    EXPECT_LT(events[i].block, events[i - 1].block);
  }
  std::size_t told = 0;
  for (const ExpertNews& news : world.sink->news)
    if (news.task == "active" && news.kind == ExpertNewsKind::Freeze) ++told;
  EXPECT_EQ(told, frozen) << "on the stream, too";
}

TEST(FreezingExperts, KeepTheirBytes) {
  const Config config = shop_config();
  const auto stream = shop(11, kOrders);
  for (const auto old : {NetworkConfig::OldExperts::Freeze, NetworkConfig::OldExperts::Slow}) {
    FoldOptions options = many_blocks(kAnyRise);
    options.network.old_experts = old;
    options.network.experts_max = 16;
    World world(config, options);
    world.feed(std::span(stream).first(kOrders / 2));
    ASSERT_TRUE(world.fold().checkpoint());
    const std::size_t experts = network_of(world, "active").experts();
    const auto before = stored_parts(world, "active");
    world.feed(std::span(stream).subspan(kOrders / 2));
    ASSERT_TRUE(world.fold().checkpoint());
    ASSERT_GE(experts, 2U);
    ASSERT_GT(network_of(world, "active").experts(), experts);
    const auto after = stored_parts(world, "active");
    const auto same = std::ranges::count_if(
        before, [&](const auto& part) { return after.at(part.first) == part.second; });
    const std::size_t frozen = old == NetworkConfig::OldExperts::Freeze ? experts - 1 : 0;
    EXPECT_EQ(static_cast<std::size_t>(same), 2 * frozen) << "of two layers";
  }
}

TEST(MergingExperts, EventsAreToldInStatusAndReport) {
  const Config config = shop_config();
  World world(config, many_blocks(kAnyRise));
  world.feed(shop(11, kOrders));
  const GraphNetwork& network = network_of(world, "active");
  const auto events = experts_json(*world.fold().find_task("active"))["events"];
  std::size_t place = 0;
  for (const ExpertEvent& event : network.events()) {
    if (event.kind == ExpertEvent::Kind::Birth) {
      for (std::size_t layer = 0; layer < event.parents.size(); ++layer, ++place) {
        EXPECT_EQ(events[place]["kind"], "birth");
        EXPECT_LT(events[place]["expert"], kExpertsMax);
        EXPECT_EQ(events[place]["layer"], layer);
      }
      continue;
    }
    const auto& told = events[place++];
    EXPECT_EQ(told["kind"], "merge");
    EXPECT_EQ(told["expert"], event.first);
    EXPECT_EQ(told["with"], event.first + 1);
    EXPECT_EQ(told["block"], event.block);
    EXPECT_EQ(told["loss"]["block"], event.worst_block);
    EXPECT_EQ(told["loss"]["before"], event.loss_before);
    EXPECT_EQ(told["loss"]["after"], event.loss_after);
  }
  EXPECT_EQ(place, events.size());
  EXPECT_EQ(events.back()["expert"], kExpertsMax - 1);
}

/// Not of each expert: one that stands for many blocks may do well by most of them.
TEST(MergingExperts, ExamplesOfEachBlockAreAsked) {
  const Config config = shop_config();
  FoldOptions options = many_blocks(kAnyRise);
  options.blocks.by = models::BlockRule::Marker;
  std::vector<Transaction> stream = shop(11, kOrders);
  // Behind each block comes one that is too small for an expert.
  for (std::size_t i = stream.size() / 12; i < stream.size() * 11 / 12; i += stream.size() / 12) {
    for (const std::size_t at : {i, i + stream.size() / 60})
      encode_mark({MarkKind::Block, kTimeMin}, stream[at].records.emplace_back());
  }
  World world(config, options);
  world.feed(stream);
  const GraphNetwork& network = network_of(world, "active");
  std::set<std::uint32_t> first_blocks{0};  // of all experts that ever were
  std::size_t others = 0;
  for (const ExpertEvent& event : network.events()) {
    if (event.kind == ExpertEvent::Kind::Birth) first_blocks.insert(event.block);
    if (event.is_merge() && !first_blocks.contains(event.worst_block)) ++others;
  }
  EXPECT_GE(first_blocks.size(), kExpertsMax + 1);
  EXPECT_GE(others, 1U) << "a block without an expert of its own lost most";
}

TEST(MergingExperts, SameBitsForAnyGroupingCommitsAndThreads) {
  if (kSanitized) GTEST_SKIP() << "takes minutes under a sanitizer; crashes are tried below";
  const Config config = shop_config();
  const auto stream = shop(12, kOrders);
  for (const auto experts : {NetworkConfig::Experts::Sage, NetworkConfig::Experts::Attention}) {
    FoldOptions options = many_blocks(kAnyRise, experts);
    const std::string expected = digest_of(config, stream, options);
    options.checkpoint_records_min = 1;
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    omp_set_num_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    omp_set_num_threads(1);
    options.network.merge_rise_max = std::nullopt;
    EXPECT_NE(digest_of(config, stream, options), expected) << "merged experts say something else";
  }
}

TEST(MergingExperts, InPiecesTheyAreMergedAsWell) {
  const Config config = shop_config();
  FoldOptions options = many_blocks(kAnyRise);
  options.network.activation_bytes_max = 64 * 100;  // passes of 100 nodes
  World world(config, options);
  world.feed(shop(11, kOrders));
  EXPECT_GE(count(network_of(world, "active"), ExpertEvent::Kind::Merge), 2u);
}

TEST(MergingExperts, CrashesAnywhereChangeNothing) {
  const Config config = shop_config();
  const auto stream = shop(13, kOrders);
  for (const double rise_max : {kAnyRise, kNoRise}) {
    const FoldOptions options = many_blocks(rise_max);
    World whole(config, options);
    whole.feed(stream);
    const GraphNetwork& network = network_of(whole, "active");
    EXPECT_GE(network.events().size(), kExpertsMax + 1);
    for (std::uint64_t seed = 0; seed < (kSanitized ? 1 : 2); ++seed) {
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed, 200), whole.stored_digest())
          << "seed " << seed;
    }
  }
}

TEST(MergingExperts, ARollbackLeavesEveryAnswerAsItWas) {
  const Config config = shop_config();
  const auto stream = shop(14, kOrders);
  constexpr std::size_t kFew = 3;  // one pair
  FoldOptions options = many_blocks(kNoRise);
  options.network.experts_max = kFew;
  World refusing(config, options);
  refusing.feed(stream);
  options.network.merge_rise_max = std::nullopt;
  World without(config, options);
  without.feed(stream);
  const GraphNetwork& network = network_of(refusing, "active");
  EXPECT_EQ(count(network, ExpertEvent::Kind::Merge), 0u);
  EXPECT_EQ(network.experts(), kFew);
  std::set<std::uint32_t> pairs;
  std::set<std::uint32_t> blocks;
  std::size_t tried = 0;
  for (const ExpertEvent& event : network.events()) {
    if (event.kind != ExpertEvent::Kind::Rollback) continue;
    if (pairs.size() == kFew - 2) pairs.clear();  // all were refused: from the beginning
    ++tried;
    EXPECT_TRUE(pairs.insert(event.first).second) << "a pair is tried once";
    EXPECT_TRUE(blocks.insert(event.block).second) << "for a block one pair is tried";
    EXPECT_GT(event.loss_after, 0);
  }
  EXPECT_GT(tried, kFew - 2) << "refusals are not for ever";
  EXPECT_EQ(count(network_of(without, "active"), ExpertEvent::Kind::Rollback), 0u);
  EXPECT_EQ(refusing.sink->payloads, without.sink->payloads);
}

TEST(MergingExperts, TwoExpertsAreTooFew) {
  const Config config = shop_config();
  FoldOptions options = many_blocks(kAnyRise);
  options.network.experts_max = 2;
  World world(config, options);
  world.feed(shop(15, kOrders / 2));
  const GraphNetwork& network = network_of(world, "active");
  EXPECT_EQ(network.experts(), 2u);
  EXPECT_EQ(network.events().size(), 1u);
}

TEST(FlatnessGuard, ANetworkThatIsClearlySharperTakesNobodysPlace) {
  const Config config = shop_config();
  const auto stream = shop(11, kOrders);
  FoldOptions options = many_blocks(kAnyRise);
  options.network.flatness_rise = std::nullopt;
  World unasked(config, options);
  unasked.feed(stream);
  for (const ExpertEvent& event : network_of(unasked, "active").events()) {
    EXPECT_EQ(event.rise_before, 0);
    EXPECT_FALSE(event.sharper);
  }
  options.network.flatness_rise = kAnyRise;
  World any(config, options);
  any.feed(stream);
  EXPECT_EQ(any.sink->payloads, unasked.sink->payloads) << "asking changes no bit";
  for (const ExpertEvent& event : network_of(any, "active").events()) {
    EXPECT_NE(event.kind, ExpertEvent::Kind::Rollback);
    EXPECT_GT(event.rise_before + event.rise_after, 0);
  }
  options.network.flatness_rise = kNoRise;  // a rise would have to be below zero
  World none(config, options);
  none.feed(stream);
  const GraphNetwork& network = network_of(none, "active");
  EXPECT_EQ(network.experts(), 1u);
  ASSERT_GE(network.events().size(), 2u);
  std::set<std::uint32_t> blocks;
  for (const ExpertEvent& event : network.events()) {
    EXPECT_EQ(event.kind, ExpertEvent::Kind::Rollback);
    EXPECT_TRUE(event.sharper);
    EXPECT_TRUE(blocks.insert(event.block).second) << "a block is tried once";
  }
  EXPECT_TRUE(network.metrics().rows().empty()) << "a row of the matrix for each birth";
  const auto events = experts_json(*none.fold().find_task("active"))["events"];
  EXPECT_EQ(events[0]["kind"], "rollback");
  EXPECT_EQ(events[0]["reason"], "sharper");
  EXPECT_EQ(events[0]["rise"]["before"], network.events()[0].rise_before);
  EXPECT_FALSE(events[0].contains("expert")) << "none was born";
}

}  // namespace
}  // namespace accrete::daemon
