// What a graph network tells of itself: sums against a naive reference over the list of all that
// was counted, bounds, restarts; and the matrix of forgetting as JSON.
#include "daemon/network_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/network_report.h"
#include "proto/bytes.h"
#include "proto/rng.h"
#include "proto/time.h"
#include "tests/store/scratch.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kLayers = 2;
constexpr std::size_t kExtras = 3;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// One call of add().
struct Counted {
  TimeUs at;
  std::size_t answers = 0;
  std::vector<std::uint32_t> experts;
  std::vector<models::RoutingStats> layers;
};

/// Loads are multiples of 1/64, so their sums are exact in any order.
models::RoutingStats stats_of(std::size_t experts, Rng& rng) {
  models::RoutingStats stats;
  for (std::size_t e = 0; e < experts + kExtras; ++e)
    stats.load.push_back(static_cast<double>(rng.below(640)) / 64);
  stats.nodes = 1 + rng.below(50);
  stats.own_block = rng.below(stats.nodes + 1);
  stats.entropy = rng.uniform();
  stats.dead_ratio = rng.uniform();
  stats.block_loss = 3 * rng.uniform();
  return stats;
}

/// Instants of a few calls each; now and then an expert is born, for a block one to three later.
std::vector<Counted> course(std::uint64_t seed, std::size_t calls, std::size_t births) {
  Rng rng(seed, 0, Purpose::Test);
  std::vector<Counted> all;
  std::vector<std::uint32_t> experts{static_cast<std::uint32_t>(rng.below(3))};
  std::int64_t now = 0;
  while (all.size() < calls) {
    now += kSecondUs;
    if (births > 0 && rng.below(calls) < births) {
      experts.push_back(experts.back() + 1 + static_cast<std::uint32_t>(rng.below(3)));
    }
    for (std::size_t c = 1 + rng.below(3); c > 0 && all.size() < calls; --c) {
      Counted counted{TimeUs{now}, 1 + rng.below(200), experts, {}};
      for (std::size_t l = 0; l < kLayers; ++l)
        counted.layers.push_back(stats_of(experts.size(), rng));
      all.push_back(std::move(counted));
    }
  }
  return all;
}

void add_all(std::span<const Counted> calls, NetworkMetrics& metrics) {
  for (const Counted& call : calls)
    metrics.add(call.at, call.answers, call.experts, call.layers);
}

/// Load of an expert in some calls, by name; of the extras together.
struct Naive {
  std::map<std::uint32_t, double> experts;
  double extras = 0;
};

Naive naive_load(std::span<const Counted> calls, std::size_t layer) {
  Naive sums;
  for (const Counted& call : calls) {
    const auto& load = call.layers[layer].load;
    for (std::size_t e = 0; e < call.experts.size(); ++e)
      sums.experts[call.experts[e]] += load[e];
    for (std::size_t e = call.experts.size(); e < load.size(); ++e)
      sums.extras += load[e];
  }
  return sums;
}

void expect_load(const NetworkMetrics& metrics, const LayerLoad& load, const Naive& naive) {
  EXPECT_EQ(load.extras, naive.extras);
  ASSERT_LE(load.experts.size(), metrics.experts().size());
  double total = naive.extras;
  for (std::size_t e = 0; e < metrics.experts().size(); ++e) {
    const auto found = naive.experts.find(metrics.experts()[e]);
    const double expected = found == naive.experts.end() ? 0 : found->second;
    EXPECT_EQ(e < load.experts.size() ? load.experts[e] : 0, expected) << "expert " << e;
    total += expected;
  }
  EXPECT_EQ(load.total(), total);
}

TEST(NetworkMetrics, PointsAreTheSumsOfTheirAnswers) {
  for (const std::size_t calls : {1U, 7U, 90U, 3000U}) {
    SCOPED_TRACE(calls);
    const auto all = course(calls, calls, 9);
    NetworkMetrics metrics;
    add_all(all, metrics);
    const auto points = metrics.points();
    ASSERT_LE(points.size(), MergedPoints<RoutingPoint>::kPointsMax);
    EXPECT_GE(points.size(), std::min<std::size_t>(calls / 10, 90));
    std::size_t begin = 0;
    for (const RoutingPoint& point : points) {
      std::size_t end = begin;
      std::uint64_t answers = 0;
      while (end < all.size() && all[end].at <= point.at)
        answers += all[end++].answers;
      EXPECT_EQ(point.answers, answers);
      if (&point != &points.back()) {
        EXPECT_GE(answers, NetworkMetrics::kAnswersMin);
      }
      const auto part = std::span(all).subspan(begin, end - begin);
      ASSERT_FALSE(part.empty());
      EXPECT_EQ(part.back().at, point.at);
      ASSERT_EQ(point.layers.size(), kLayers);
      for (std::size_t l = 0; l < kLayers; ++l)
        expect_load(metrics, point.layers[l], naive_load(part, l));
      begin = end;
    }
    EXPECT_EQ(begin, all.size()) << "no answer is lost or counted twice";
  }
}

TEST(NetworkMetrics, OldAnswersFade) {
  const auto all = course(3, 400, 4);
  NetworkMetrics metrics;
  add_all(all, metrics);
  ASSERT_EQ(metrics.layers().size(), kLayers);
  for (std::size_t l = 0; l < kLayers; ++l) {
    LayerRouting naive;
    std::map<std::uint32_t, double> load;
    double kept = 1;  // of a call, until now
    for (auto call = all.rbegin(); call != all.rend(); ++call) {
      const models::RoutingStats& stats = call->layers[l];
      const auto nodes = static_cast<double>(stats.nodes);
      naive.nodes += kept * nodes;
      naive.entropy += kept * nodes * stats.entropy;
      naive.dead += kept * nodes * stats.dead_ratio;
      naive.own_block += kept * static_cast<double>(stats.own_block);
      naive.block_loss += kept * nodes * stats.block_loss;
      for (std::size_t e = 0; e < call->experts.size(); ++e)
        load[call->experts[e]] += kept * stats.load[e];
      kept /= 1 + static_cast<double>(call->answers) / NetworkMetrics::kFadingAnswers;
    }
    const LayerRouting& layer = metrics.layers()[l];
    EXPECT_NEAR(layer.nodes, naive.nodes, 1e-9 * naive.nodes);
    EXPECT_NEAR(layer.entropy, naive.entropy, 1e-9 * naive.entropy);
    EXPECT_NEAR(layer.dead, naive.dead, 1e-9 * naive.dead);
    EXPECT_NEAR(layer.own_block, naive.own_block, 1e-9 * naive.own_block);
    EXPECT_NEAR(layer.block_loss, naive.block_loss, 1e-9 * naive.block_loss);
    for (std::size_t e = 0; e < metrics.experts().size(); ++e)
      EXPECT_NEAR(layer.load.experts[e], load[metrics.experts()[e]], 1e-9 * naive.nodes);
  }
  // So many answers of one call halve what was there.
  const double before = metrics.layers()[0].nodes;
  models::RoutingStats nothing;
  nothing.load.assign(all.back().experts.size() + kExtras, 0.0);
  const std::vector<models::RoutingStats> empty(kLayers, nothing);
  metrics.add(all.back().at, static_cast<std::size_t>(NetworkMetrics::kFadingAnswers),
              all.back().experts, empty);
  EXPECT_DOUBLE_EQ(metrics.layers()[0].nodes, before / 2);
}

/// Before any answer was counted, and with a fading of their own.
TEST(NetworkMetrics, WhatMixturesChoseFadesByTheRowsTheyWereAskedOf) {
  NetworkMetrics metrics;
  metrics.add_by_mixtures(1, 40, 30);
  ASSERT_EQ(metrics.layers().size(), 2U);
  EXPECT_EQ(metrics.layers()[0].mixture_rows, 0);
  EXPECT_EQ(metrics.layers()[1].mixture_rows, 40);
  EXPECT_EQ(metrics.layers()[1].by_mixtures, 30);
  const auto many = static_cast<std::size_t>(NetworkMetrics::kFadingAnswers);
  metrics.add_by_mixtures(1, many, 0);
  EXPECT_DOUBLE_EQ(metrics.layers()[1].mixture_rows, 20 + static_cast<double>(many));
  EXPECT_DOUBLE_EQ(metrics.layers()[1].by_mixtures, 15);
}

TEST(NetworkMetrics, OfTooManyExpertsTheOldestAreOne) {
  Rng rng(8, 0, Purpose::Test);
  NetworkMetrics metrics;
  std::vector<std::uint32_t> experts;
  std::map<std::uint32_t, double> load;
  double total = 0;
  constexpr std::uint32_t kBorn = NetworkMetrics::kExpertsMax + 20;
  for (std::uint32_t e = 0; e < kBorn; ++e) {
    experts.push_back(2 * e);
    const models::RoutingStats stats = stats_of(experts.size(), rng);
    metrics.add(TimeUs{e}, 100, experts, std::vector{stats});
    for (std::size_t i = 0; i < experts.size(); ++i)
      load[experts[i]] += stats.load[i];
    for (const double one : stats.load)
      total += one;
  }
  ASSERT_EQ(metrics.experts().size(), NetworkMetrics::kExpertsMax);
  EXPECT_EQ(metrics.experts().front(), 2 * 20U);
  EXPECT_EQ(metrics.experts().back(), 2 * (kBorn - 1));
  std::vector<double> sums(NetworkMetrics::kExpertsMax, 0.0);
  double extras = 0;
  for (const RoutingPoint& point : metrics.points()) {
    for (std::size_t e = 0; e < point.layers[0].experts.size(); ++e)
      sums[e] += point.layers[0].experts[e];
    extras += point.layers[0].extras;
  }
  double oldest = 0;
  for (const auto& [expert, sum] : load) {
    if (expert <= metrics.experts().front()) oldest += sum;
  }
  EXPECT_EQ(sums[0], oldest);
  for (std::size_t e = 1; e < sums.size(); ++e) {
    EXPECT_EQ(sums[e], load[metrics.experts()[e]]) << e;
    extras += sums[e];
  }
  EXPECT_EQ(sums[0] + extras, total) << "nothing is lost";
}

BlockScores row_of(std::uint32_t experts, std::vector<BlockScore> scores) {
  return {TimeUs{experts * kSecondUs}, experts, std::move(scores)};
}

/// The state with the database it is in.
struct Kept {
  store::Scratch scratch;
  std::unique_ptr<store::Database> database = store::open_database(scratch);
  std::unique_ptr<store::State> state = store::must(store::State::open(*database));

  void commit() { store::must(state->commit(state->cursor())); }
};

TEST(NetworkMetrics, ARestartChangesNothingAndTheNewestRowsStay) {
  const auto all = course(5, 900, 12);
  Kept kept;
  NetworkMetrics whole;
  auto restarted = std::make_unique<NetworkMetrics>();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto call = std::span(all).subspan(i, 1);
    for (NetworkMetrics* metrics : {&whole, restarted.get()}) {
      add_all(call, *metrics);
      metrics->add_by_mixtures(i % kLayers, 8 + i % 5, i % 8);
    }
    if (i % 20 == 0) {
      const auto number = static_cast<std::uint32_t>(i / 20);
      const BlockScores row = row_of(number, {{0, 0.5 + 0.001 * number, kNan}, {number + 1, 1, 2}});
      whole.add(row);
      restarted->add(row);
    }
    if (i % 50 != 7) continue;
    restarted->stage("t/network/metrics", *kept.state);
    kept.commit();
    restarted = std::make_unique<NetworkMetrics>();
    store::must(restarted->load("t/network/metrics", *kept.state));
  }
  whole.stage("whole", *kept.state);
  restarted->stage("restarted", *kept.state);
  kept.commit();
  std::string bytes;
  std::string other;
  ASSERT_TRUE(store::must(kept.state->get(store::Section::Blobs, "whole", bytes)));
  ASSERT_TRUE(store::must(kept.state->get(store::Section::Blobs, "restarted", other)));
  EXPECT_EQ(bytes, other);
  for (std::size_t l = 0; l < kLayers; ++l) {
    EXPECT_GT(restarted->layers()[l].by_mixtures, 0);
    EXPECT_EQ(restarted->layers()[l].by_mixtures, whole.layers()[l].by_mixtures);
    EXPECT_EQ(restarted->layers()[l].mixture_rows, whole.layers()[l].mixture_rows);
  }
  ASSERT_EQ(whole.rows().size(), NetworkMetrics::kRowsMax);
  EXPECT_EQ(whole.rows().back().experts, 44U);
  EXPECT_EQ(whole.rows().front().experts, 45U - NetworkMetrics::kRowsMax);
  EXPECT_LT(bytes.size(), 200'000U);
  // Cut short, it is refused.
  for (const std::size_t size : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    kept.state->put(store::Section::Blobs, "cut", bytes.substr(0, size));
    kept.commit();
    NetworkMetrics cut;
    const Status read = cut.load("cut", *kept.state);
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().code, Errc::Corruption);
  }
}

TEST(NetworkMetrics, TheMatrixTellsWhatWasForgotten) {
  const std::vector<BlockScores> rows{row_of(1, {{0, 0.75, 0.5}, {2, 0.5, 0.75}}),
                                      row_of(2, {{0, 0.625, 0.5}, {2, 0.875, 0.25}, {3, kNan, 1}}),
                                      row_of(3, {{0, 0.5, 1}, {2, 1, 0.125}, {3, 0.5, 1}})};
  const auto json = matrix_json(TaskKind::Binary, rows);
  EXPECT_EQ(json["measure"], "auroc");
  EXPECT_EQ(json["blocks"].dump(), "[0,2,3]");
  ASSERT_EQ(json["rows"].size(), 3U);
  EXPECT_EQ(json["rows"][0]["values"].dump(), "[0.75,0.5,null]");
  EXPECT_EQ(json["rows"][1]["values"].dump(), "[0.625,0.875,null]");
  EXPECT_EQ(json["rows"][1]["losses"].dump(), "[0.5,0.25,1.0]");
  EXPECT_EQ(json["rows"][2]["experts"], 3);
  EXPECT_EQ(json["rows"][2]["at"], "1970-01-01T00:00:03Z");
  // Block 0: .75 -> .5; block 2: .875 -> 1; of block 3 nothing was known before.
  EXPECT_EQ(json["forgetting"], (0.25 - 0.125) / 2);
  // Of errors less is better: .625 -> .5 of block 0, .5 -> 1 of block 2.
  const auto errors = matrix_json(TaskKind::Regression, rows);
  EXPECT_EQ(errors["measure"], "mae");
  EXPECT_EQ(errors["forgetting"], ((0.5 - 0.625) + (1 - 0.5)) / 2);
  EXPECT_TRUE(matrix_json(TaskKind::Binary, std::span(rows).first(1))["forgetting"].is_null());
  EXPECT_EQ(matrix_json(TaskKind::Binary, {})["rows"].dump(), "[]");
  // Rows whose blocks differ: the newest blocks.
  std::vector<BlockScores> many;
  for (std::uint32_t r = 0; r < 40; ++r)
    many.push_back(row_of(r, {{r, 0.5, 1}, {r + 100, 0.5, 1}}));
  const auto bounded = matrix_json(TaskKind::Multiclass, many);
  EXPECT_EQ(bounded["measure"], "accuracy");
  ASSERT_EQ(bounded["blocks"].size(), NetworkMetrics::kBlocksMax);
  EXPECT_EQ(bounded["blocks"].front(), 139 - 31);
  EXPECT_TRUE(bounded["rows"][0]["values"][0].is_null());
}

}  // namespace
}  // namespace accrete::daemon
