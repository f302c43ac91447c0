// Metrics against naive counts and against values computed by hand.
#include "models/metrics.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

double naive_auroc(const std::vector<double>& scores, const std::vector<double>& labels) {
  double wins = 0;
  double pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] < 0.5 || labels[j] > 0.5) continue;
      pairs += 1;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

double naive_average_precision(const std::vector<double>& scores,
                               const std::vector<double>& labels) {
  const std::set<double, std::greater<>> thresholds(scores.begin(), scores.end());
  double positives = 0;
  for (const double label : labels)
    positives += label;
  double sum = 0;
  double recall_before = 0;
  for (const double threshold : thresholds) {
    double hits = 0;
    double taken = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] < threshold) continue;
      taken += 1;
      hits += labels[i];
    }
    sum += (hits / positives - recall_before) * hits / taken;
    recall_before = hits / positives;
  }
  return sum;
}

double value_of(const Metrics& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no metric " << name;
  return 0;
}

Output probability(double p) {
  return {p, 0, {}};
}
Output classes(std::vector<double> p) {
  return {0, 0, std::move(p)};
}

TEST(Metrics, RanksEqualNaiveCounts) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    Rng rng(1, round, Purpose::Test);
    std::vector<double> scores;
    std::vector<double> labels{1, 0};
    const std::size_t n = 2 + rng.below(120);
    const std::uint64_t levels = 1 + rng.below(40);  // few levels: many ties
    while (labels.size() < n)
      labels.push_back(static_cast<double>(rng.below(2)));
    while (scores.size() < n)
      scores.push_back(static_cast<double>(rng.below(levels)) / 40);
    EXPECT_NEAR(auroc(scores, labels), naive_auroc(scores, labels), 1e-12);
    EXPECT_NEAR(average_precision(scores, labels), naive_average_precision(scores, labels), 1e-12);
  }
}

TEST(Metrics, AbsentClassesAndEmptyLists) {
  const std::vector<double> scores{0.1, 0.9};
  EXPECT_TRUE(std::isnan(auroc(scores, std::vector<double>{1, 1})));
  EXPECT_TRUE(std::isnan(auroc(scores, std::vector<double>{0, 0})));
  EXPECT_TRUE(std::isnan(average_precision(scores, std::vector<double>{0, 0})));
  EXPECT_EQ(average_precision(scores, std::vector<double>{1, 1}), 1);
  EXPECT_TRUE(std::isnan(auroc({}, {})));
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    EXPECT_TRUE(Graded(kind).metrics().empty());
    EXPECT_TRUE(Prequential(kind, 3).sliding().empty());
    EXPECT_TRUE(Prequential(kind, 3).fading().empty());
  }
}

TEST(Metrics, BinaryByHand) {
  Graded graded(TaskKind::Binary);
  graded.add(probability(0.8), 1);
  graded.add(probability(0.6), 0);
  graded.add(probability(0.5), 1);
  graded.add(probability(0.0), 0);
  const Metrics m = graded.metrics();
  EXPECT_DOUBLE_EQ(value_of(m, "auroc"), 0.75);
  EXPECT_DOUBLE_EQ(value_of(m, "average_precision"), 0.5 * 1 + 0.5 * 2 / 3);
  EXPECT_DOUBLE_EQ(value_of(m, "accuracy"), 0.75);
  EXPECT_DOUBLE_EQ(value_of(m, "brier"), (0.04 + 0.36 + 0.25 + 0) / 4);
  const double floor = -std::log(1 - 1e-6);
  EXPECT_NEAR(value_of(m, "log_loss"), (-std::log(0.8) - std::log(0.4) - std::log(0.5) + floor) / 4,
              1e-12);
}

TEST(Metrics, RegressionByHand) {
  Graded graded(TaskKind::Regression);
  const double labels[] = {1, 2, 6};
  const double values[] = {2, 2, 4};
  for (int i = 0; i < 3; ++i)
    graded.add(probability(values[i]), labels[i]);
  EXPECT_DOUBLE_EQ(value_of(graded.metrics(), "mae"), 1);
  EXPECT_DOUBLE_EQ(value_of(graded.metrics(), "rmse"), std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(value_of(graded.metrics(), "r2"), 1 - 5.0 / 14);
  Graded constant(TaskKind::Regression);
  constant.add(probability(1), 3);
  EXPECT_TRUE(std::isnan(value_of(constant.metrics(), "r2")));
}

TEST(Metrics, MulticlassCountsClassesOfLabelsAndPredictions) {
  Graded graded(TaskKind::Multiclass);
  graded.add(classes({0.7, 0.2, 0.1}), 0);  // hit
  graded.add(classes({0.1, 0.2, 0.7}), 0);  // class 2 is predicted but never true
  graded.add(classes({0.9, 0.1}), 3);       // class 3 is true but unknown: probability 1e-6
  graded.add(classes({}), 0);               // nothing known yet
  const Metrics m = graded.metrics();
  EXPECT_DOUBLE_EQ(value_of(m, "accuracy"), 0.25);
  // f1 of class 0: 2·1 / (2 predicted + 3 actual); classes 2 and 3: 0; class 1 does not occur.
  EXPECT_DOUBLE_EQ(value_of(m, "macro_f1"), 0.4 / 3);
  EXPECT_NEAR(value_of(m, "log_loss"), (-std::log(0.7) - std::log(0.1) - 2 * std::log(1e-6)) / 4,
              1e-9);
}

TEST(Metrics, CalibrationErrorEqualsANaiveCount) {
  Rng rng(5, 0, Purpose::Test);
  std::vector<double> probabilities;
  std::vector<double> hits;
  for (int i = 0; i < 500; ++i) {
    probabilities.push_back(i == 0 ? 1 : i == 1 ? 0 : rng.uniform());
    hits.push_back(rng.uniform() < probabilities.back() * probabilities.back() ? 1 : 0);
  }
  double expected = 0;
  for (int bin = 0; bin < 10; ++bin) {
    double count = 0;
    double hit = 0;
    double sum = 0;
    for (std::size_t i = 0; i < 500; ++i) {
      const double p = probabilities[i];
      const bool inside = p >= bin / 10.0 && (p < (bin + 1) / 10.0 || (bin == 9 && p == 1));
      if (!inside) continue;
      count += 1;
      hit += hits[i];
      sum += p;
    }
    if (count > 0) expected += count / 500 * std::abs(hit / count - sum / count);
  }
  EXPECT_NEAR(expected_calibration_error(probabilities, hits), expected, 1e-12);
  EXPECT_GT(expected, 0.1) << "p against p squared: about 1/6";
  EXPECT_TRUE(std::isnan(expected_calibration_error({}, {})));

  Graded multiclass(TaskKind::Multiclass);
  multiclass.add(classes({0.75, 0.25}), 0);
  multiclass.add(classes({0.25, 0.75}), 0);
  EXPECT_DOUBLE_EQ(value_of(multiclass.metrics(), "ece"), 0.25);
}

TEST(Metrics, VarianceAndIntervalsByHand) {
  Graded graded(TaskKind::Regression);
  graded.add({1, 4, {}}, 3, {0, 2.5});
  graded.add({1, 0, {}}, 3, {0, 3});  // variance unknown
  graded.add({1, 1, {}}, 1, {});      // no interval
  const Metrics m = graded.metrics();
  const double tau = 2 * std::acos(-1.0);
  EXPECT_NEAR(value_of(m, "nll"), (0.5 * std::log(tau * 4) + 0.5 + 0.5 * std::log(tau)) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(value_of(m, "coverage"), 0.5);
  EXPECT_DOUBLE_EQ(value_of(m, "width"), 2.75);
}

TEST(Prequential, SlidesOverTheLastWindowAndFades) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    constexpr std::size_t window = 16;
    constexpr double fading = 0.9;
    Prequential prequential(kind, window, fading);
    std::vector<std::pair<Output, double>> all;
    Rng rng(3, 0, Purpose::Test);
    double faded = 0;
    double weight = 0;
    for (int i = 0; i < 50; ++i) {
      Output output = probability(static_cast<double>(rng.below(8)) / 8);
      output.classes = {output.value, 1 - output.value};
      const double label = static_cast<double>(rng.below(2));
      output.variance = i % 5;
      const Interval interval{output.value - 0.3, output.value + 0.3};
      prequential.add(output, label, interval);
      all.emplace_back(output, label);
      Graded one(kind);
      one.add(output, label);
      const std::string loss = kind == TaskKind::Regression ? "mae" : "log_loss";
      faded = fading * faded + value_of(one.metrics(), loss);
      weight = fading * weight + 1;
      EXPECT_NEAR(value_of(prequential.fading(), loss), faded / weight, 1e-12);
      Graded last(kind);
      for (std::size_t k = all.size() > window ? all.size() - window : 0; k < all.size(); ++k) {
        const double v = all[k].first.value;
        last.add(all[k].first, all[k].second, {v - 0.3, v + 0.3});
      }
      const Metrics expected = last.metrics();
      const Metrics got = prequential.sliding();
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t m = 0; m < got.size(); ++m) {
        EXPECT_EQ(got[m].first, expected[m].first);
        if (std::isnan(expected[m].second)) {
          EXPECT_TRUE(std::isnan(got[m].second));
        } else {
          EXPECT_NEAR(got[m].second, expected[m].second, 1e-12);
        }
      }
    }
    EXPECT_EQ(prequential.count(), 50u);
  }
}

TEST(Prequential, StateIsExactBeforeAndAfterTheWindowIsFull) {
  for (const int examples : {0, 5, 8, 21, 22}) {
    const TaskKind kind = examples == 22 ? TaskKind::Regression : TaskKind::Binary;
    Prequential original(kind, 8);
    Rng rng(4, 0, Purpose::Test);
    for (int i = 0; i < examples; ++i) {
      original.add(probability(rng.uniform()), static_cast<double>(rng.below(2)));
    }
    Prequential copy(kind, 8);
    expect_exact_state(saved(original), copy);
    for (int i = 0; i < 12; ++i) {
      const Output output = probability(rng.uniform());
      original.add(output, i % 2);
      copy.add(output, i % 2);
    }
    EXPECT_EQ(saved(original), saved(copy));
    Prequential other(kind, 9);
    EXPECT_FALSE(other.load(saved(original)));
  }
}

}  // namespace
}  // namespace accrete::models
