// The course of a task in a bounded number of points: sums against a naive reference over the whole
// list, cut where the points say.
#include "daemon/graded_series.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "models/mixer.h"
#include "proto/rng.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

struct Example {
  TimeUs known;
  double label = 0;
  std::vector<models::Output> outputs;  // the mixture last
  std::vector<double> weights;
};

constexpr std::size_t kOutputs = 3;

/// Instants of 1 to `most` examples. Numbers are multiples of 1/64, so sums are exact in any order.
std::vector<Example> stream_of(TaskKind kind, std::size_t examples, std::size_t most,
                               std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  std::vector<Example> all;
  std::int64_t now = 0;
  while (all.size() < examples) {
    now += kSecondUs;
    const std::size_t size = 1 + rng.below(most);
    for (std::size_t i = 0; i < size && all.size() < examples; ++i) {
      Example example;
      example.known = TimeUs{now};
      example.label = kind == TaskKind::Regression ? static_cast<double>(rng.below(512)) / 64
                                                   : static_cast<double>(rng.below(2));
      for (std::size_t c = 0; c < kOutputs; ++c) {
        models::Output output;
        output.value = static_cast<double>(1 + rng.below(63)) / 64;
        if (kind == TaskKind::Multiclass) output.classes = {output.value, 1 - output.value};
        example.outputs.push_back(output);
      }
      const double first = static_cast<double>(rng.below(65)) / 64;
      example.weights = {first, 1 - first};
      all.push_back(std::move(example));
    }
  }
  return all;
}

GradedPrediction graded_of(const Example& example, Trigger trigger = Trigger::Tick) {
  GradedPrediction graded;
  graded.trigger = trigger;
  graded.outputs = {example.outputs.data(), kOutputs - 1};
  graded.mixed = &example.outputs.back();
  graded.label = example.label;
  graded.known = example.known;
  graded.weights = example.weights;
  return graded;
}

GradedSeries series_of(TaskKind kind, const std::vector<Example>& examples) {
  GradedSeries series(kind, kOutputs);
  for (const Example& example : examples)
    series.add(graded_of(example));
  return series;
}

using Range = std::pair<std::size_t, std::size_t>;  // of examples: [begin, end)

/// The blocks as the header defines them, found again from the list alone.
std::vector<Range> blocks_of(const std::vector<Example>& examples) {
  std::vector<Range> blocks;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= examples.size(); ++i) {
    const bool ends = i == examples.size() || examples[i].known != examples[i - 1].known;
    const std::size_t size = i - begin;
    if ((ends && size >= GradedSeries::kBlockMin) || size == GradedSeries::kBlockMax ||
        i == examples.size()) {
      blocks.emplace_back(begin, i);
      begin = i;
    }
  }
  return blocks;
}

/// Pairs in the right order, two by two.
double wins_of(const std::vector<Example>& examples, const Range& range, std::size_t output) {
  double wins = 0;
  for (std::size_t i = range.first; i < range.second; ++i) {
    for (std::size_t j = range.first; j < range.second; ++j) {
      if (examples[i].label < 0.5 || examples[j].label > 0.5) continue;
      const double positive = examples[i].outputs[output].value;
      const double negative = examples[j].outputs[output].value;
      wins += positive > negative ? 1 : positive == negative ? 0.5 : 0;
    }
  }
  return wins;
}

/// Every point against the examples it must hold: those behind the point before, up to its count.
void check_points(TaskKind kind, const std::vector<Example>& examples) {
  const auto points = series_of(kind, examples).points();
  ASSERT_LE(points.size(), GradedSeries::kPointsMax);
  const std::vector<Range> blocks = blocks_of(examples);
  std::size_t begin = 0;
  std::size_t block = 0;
  for (const auto& point : points) {
    const std::size_t end = begin + point.count;
    ASSERT_LE(end, examples.size());
    EXPECT_EQ(point.at, examples[end - 1].known);
    std::vector<double> wins(kOutputs, 0.0);
    double pairs = 0;
    for (; block < blocks.size() && blocks[block].second <= end; ++block) {
      const auto positives = static_cast<double>(
          std::count_if(examples.begin() + static_cast<std::ptrdiff_t>(blocks[block].first),
                        examples.begin() + static_cast<std::ptrdiff_t>(blocks[block].second),
                        [](const Example& example) { return example.label > 0.5; }));
      const auto size = static_cast<double>(blocks[block].second - blocks[block].first);
      pairs += positives * (size - positives);
      for (std::size_t c = 0; c < kOutputs; ++c)
        wins[c] += wins_of(examples, blocks[block], c);
    }
    for (std::size_t c = 0; c < kOutputs; ++c) {
      double loss = 0;
      double hits = 0;
      double weight = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const Example& example = examples[i];
        loss += models::loss_of(kind, example.outputs[c], example.label);
        if (c + 1 < kOutputs) weight += example.weights[c];
        if (kind != TaskKind::Multiclass) continue;
        const auto& classes = example.outputs[c].classes;
        hits += (classes[1] > classes[0] ? 1.0 : 0.0) == example.label ? 1 : 0;
      }
      if (kind == TaskKind::Regression) {
        EXPECT_EQ(point.losses[c], loss);
      } else {
        EXPECT_NEAR(point.losses[c], loss, 1e-9 * loss);  // logarithms: not exact in any order
      }
      EXPECT_EQ(point.hits[c], hits);
      if (c + 1 < kOutputs) {
        EXPECT_EQ(point.weights[c], weight);
      }
      EXPECT_EQ(point.wins[c], kind == TaskKind::Binary ? wins[c] : 0);
    }
    EXPECT_EQ(point.pairs, kind == TaskKind::Binary ? pairs : 0);
    begin = end;
  }
  EXPECT_EQ(begin, examples.size()) << "no example is lost or counted twice";
}

TEST(GradedSeries, PointsAreTheSumsOfTheirExamples) {
  for (const auto kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    for (const std::size_t examples : {1U, 63U, 64U, 65U, 1000U, 12799U, 12800U, 12801U, 12900U}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(kind)) + ", " + std::to_string(examples));
      check_points(kind, stream_of(kind, examples, 1, 5));
    }
    for (const std::size_t most : {7U, 90U, 300U}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(kind)) + ", instants of " +
                   std::to_string(most));
      check_points(kind, stream_of(kind, 40'000, most, most));
    }
  }
}

TEST(GradedSeries, ALargePopulationIsCutIntoBlocks) {
  std::vector<Example> examples = stream_of(TaskKind::Binary, 10'000, 1, 9);
  for (Example& example : examples)
    example.known = TimeUs{1};
  EXPECT_EQ(blocks_of(examples).size(), 3U);
  check_points(TaskKind::Binary, examples);
}

TEST(GradedSeries, StaysBoundedAndKeepsResolution) {
  std::size_t fewest = GradedSeries::kPointsMax;
  GradedSeries series(TaskKind::Regression, kOutputs);
  const auto examples = stream_of(TaskKind::Regression, 200'000, 1, 2);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    series.add(graded_of(examples[i]));
    if (i % 4999 != 0) continue;
    const auto points = series.points();
    ASSERT_LE(points.size(), GradedSeries::kPointsMax);
    // Half of them are there again as soon as the first are full.
    if (i > GradedSeries::kPointsMax * GradedSeries::kBlockMin) {
      fewest = std::min(fewest, points.size());
    }
  }
  for (const auto& point : series.points())
    count += point.count;
  EXPECT_EQ(count, examples.size());
  EXPECT_GE(fewest, GradedSeries::kPointsMax / 2);
}

TEST(GradedSeries, OnlyWhatTheMixerIsGradedByCounts) {
  GradedSeries series(TaskKind::Regression, kOutputs);
  const auto examples = stream_of(TaskKind::Regression, 5, 1, 3);
  series.add(graded_of(examples[0], Trigger::Request));
  series.add(graded_of(examples[1], Trigger::Change));
  EXPECT_TRUE(series.points().empty());
  EXPECT_EQ(series.json({"a", "b"}).dump(), "[]");
  series.add(graded_of(examples[2], Trigger::Arrival));
  series.add(graded_of(examples[3], Trigger::Tick));
  EXPECT_EQ(series.points().at(0).count, 2U);
}

TEST(GradedSeries, JsonSaysMeansAndNullWhereThereIsNone) {
  GradedSeries series(TaskKind::Binary, kOutputs);
  Example example;
  example.known = TimeUs{1'262'304'000 * kSecondUs};
  example.label = 1;
  example.outputs.resize(kOutputs);
  for (auto& output : example.outputs)
    output.value = 0.5;
  example.weights = {0.25, 0.75};
  series.add(graded_of(example));
  const auto one = series.json({"a", "b"});
  EXPECT_EQ(one[0]["at"], "2010-01-01T00:00:00Z");
  EXPECT_EQ(one[0]["count"], 1);
  EXPECT_TRUE(one[0]["metric"]["mixture"].is_null()) << "one class only";
  EXPECT_NEAR(one[0]["log_loss"]["a"].get<double>(), std::log(2.0), 1e-6);
  EXPECT_EQ(one[0]["weights"].dump(), R"({"a":0.25,"b":0.75})");
  example.label = 0;
  example.outputs[1].value = 0.25;
  series.add(graded_of(example));
  const auto two = series.json({"a", "b"});
  EXPECT_EQ(two.size(), 1U);
  EXPECT_EQ(two[0]["metric"].dump(), R"({"a":0.5,"b":1.0,"mixture":0.5})");
}

}  // namespace
}  // namespace accrete::daemon
