// One-pass logistic: near the batch optimum, quick after a change, sane with a rare class, exact
// through changes of scale and through its state.
#include "models/online_logistic.h"

#include <cmath>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>

#include "models/convex_fit.h"
#include "models/feature_scale.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Example {
  std::vector<double> features;
  double label = 0;
  double signal = 0;
};

/// Features on scales that differ by powers of ten; `flip` turns the sign of what matters.
Example draw(std::uint64_t i, std::size_t width, double flip, double offset = 0) {
  Rng rng(61, i, Purpose::Test);
  Example e;
  double scale = 1e-3;
  for (std::size_t j = 0; j < width; ++j, scale *= 10) {
    const double x = 4 * rng.uniform() - 2;
    e.features.push_back(scale * (x + 5));
    if (j < 3) e.signal += flip * (j == 1 ? -1.5 : 1) * x;
  }
  e.signal += offset;
  e.label = rng.uniform() < 1 / (1 + std::exp(-e.signal)) ? 1 : 0;
  return e;
}

double loss(const Candidate& candidate, const Example& e) {
  Output output;
  candidate.predict({e.features, nullptr}, output);
  return -std::log(e.label > 0.5 ? output.value : 1 - output.value);
}

double oracle(const Example& e) {
  const double p = 1 / (1 + std::exp(-e.signal));
  return -std::log(e.label > 0.5 ? p : 1 - p);
}

TEST(OnlineLogistic, ComesCloseToTheTruth) {
  const auto online = make_online_logistic({});
  double excess = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    const Example e = draw(i, 6, 1);
    if (i >= 4000) excess += loss(*online, e) - oracle(e);
    online->learn({e.features, nullptr}, e.label, 1);
  }
  EXPECT_LT(std::abs(excess / 2000), 0.004);
}

TEST(OnlineLogistic, ForgettingFollowsAChange) {
  OnlineLogisticOptions quick;
  quick.half_life = 250;
  const auto forgets = make_online_logistic(quick);
  const auto remembers = make_online_logistic({});
  double forgets_loss = 0;
  double remembers_loss = 0;
  double best = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    const Example e = draw(i, 6, i < 4000 ? 1 : -1);
    if (i >= 5000) {
      forgets_loss += loss(*forgets, e) / 1000;
      remembers_loss += loss(*remembers, e) / 1000;
      best += oracle(e) / 1000;
    }
    forgets->learn({e.features, nullptr}, e.label, 1);
    remembers->learn({e.features, nullptr}, e.label, 1);
  }
  EXPECT_LT(forgets_loss, best + 0.05);
  EXPECT_GT(remembers_loss, best + 0.2) << "the case is not one of change";
}

// The exact posterior mode of one row, by the batch code that shares nothing with the line search.
TEST(OnlineLogistic, OneRowIsTheModeOfPriorTimesLikelihood) {
  for (const double weight : {0.1, 1.0, 1000.0}) {
    const auto online = make_online_logistic({});
    online->learn({{}, nullptr}, 1, weight);
    // One weight, the intercept, with prior precision 0.1: solve 0.1 f = weight (1 - sigmoid(f)).
    double low = 0;
    double high = 10'000;
    for (int i = 0; i < 200; ++i) {
      const double f = (low + high) / 2;
      (0.1 * f < weight / (1 + std::exp(f)) ? low : high) = f;
    }
    const double p = 1 / (1 + std::exp(-low));
    const double variance = 1 / (0.1 + weight * p * (1 - p));
    const double expected =
        1 / (1 + std::exp(-low / std::sqrt(1 + std::numbers::pi / 8 * variance)));
    Output output;
    online->predict({{}, nullptr}, output);
    EXPECT_NEAR(output.value, std::min(expected, 0.999), 1e-6) << weight;
  }
}

TEST(OnlineLogistic, ARareClassDoesNotThrowIt) {
  const auto online = make_online_logistic({});
  double excess = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const Example e = draw(i, 4, 0.7, -7);
    const double now = loss(*online, e);
    ASSERT_TRUE(std::isfinite(now));
    excess += now - oracle(e);
    online->learn({e.features, nullptr}, e.label, 1);
  }
  EXPECT_LT(excess / 20'000, 0.004);
}

// A column that is rounding noise for long and a signal later: its scale grows by 15 orders.
TEST(OnlineLogistic, NoiseThatTurnsIntoASignalStartsFromThePrior) {
  OnlineLogisticOptions options;
  options.lambda = 0.05;
  const auto online = make_online_logistic(options);
  double excess = 0;
  for (std::uint64_t i = 0; i < 12'000; ++i) {
    Example e = draw(i, 5, 1);
    Rng rng(62, i, Purpose::Test);
    const double noise = rng.uniform() - 0.5;
    for (int c = 0; c < 4; ++c)
      e.features.push_back(i < 3000 ? 1e-16 * (noise + c) : noise * (c + 1));
    if (i >= 3000) {
      e.signal += 4 * noise;
      e.label = rng.uniform() < 1 / (1 + std::exp(-e.signal)) ? 1 : 0;
    }
    const double now = loss(*online, e);
    ASSERT_TRUE(std::isfinite(now)) << i;
    if (i >= 5000) excess += (now - oracle(e)) / 7000;
    online->learn({e.features, nullptr}, e.label, 1);
  }
  EXPECT_LT(excess, 0.01);
}

TEST(OnlineLogistic, MissingAndHostileNumbersAreHarmless) {
  const auto online = make_online_logistic({});
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<double>> rows{
      {}, {infinity, nan}, {1e300, -1e300, 1}, {1e-300, nan, 1, 0}, {5, 5, 5, 5}};
  Output output;
  for (int i = 0; i < 1000; ++i) {
    const auto& row = rows[static_cast<std::size_t>(i) % rows.size()];
    online->predict({row, nullptr}, output);
    EXPECT_TRUE(output.value >= 0.001 && output.value <= 0.999);
    online->learn({row, nullptr}, i % 3 == 0 ? 1 : 0, 1);
  }
}

TEST(OnlineLogistic, ContinuesBitForBitFromItsState) {
  OnlineLogisticOptions options;
  options.half_life = 300;
  const auto original = make_online_logistic(options);
  auto copy = make_online_logistic(options);
  for (std::uint64_t i = 0; i < 900; ++i) {
    const Example e = draw(i, i < 350 ? 4 : 5, 1);
    original->learn({e.features, nullptr}, e.label, 1);
    copy->learn({e.features, nullptr}, e.label, 1);
    if (i % 83 == 0) {
      const std::string bytes = saved(*copy);
      copy = make_online_logistic(options);
      expect_exact_state(bytes, *copy);
    }
    ASSERT_EQ(saved(*original), saved(*copy)) << i;
  }
}

TEST(FeatureScale, IsFrozenAnewWhenItsRowsPayForIt) {
  FeatureScale scale;
  const auto come = [&](std::size_t rows) {
    for (std::size_t i = 0; i < rows; ++i)
      scale.observe({});
  };
  scale.grow(1);
  come(1);
  EXPECT_TRUE(is_freeze_due(scale, {}, 0)) << "the first feature";
  come(99);
  const FrozenFrom last{100, 40};
  scale.grow(40);
  come(9);
  EXPECT_FALSE(is_freeze_due(scale, last, 40)) << "rows have not grown by a tenth";
  scale.grow(45);
  EXPECT_TRUE(is_freeze_due(scale, last, 40)) << "columns have grown by an eighth";
  EXPECT_FALSE(is_freeze_due(scale, last, 80)) << "too few rows for so many columns";
  come(2);
  EXPECT_TRUE(is_freeze_due(scale, {100, 45}, 80)) << "rows have grown by a tenth";
}

TEST(OnlineLogistic, ColumnsThatComeOneByOneAreLearntAllTheSame) {
  // Row i has values in the first i / 2 columns, of which the last of 60 alone decides.
  OnlineLogisticOptions options;
  const auto online = make_online_logistic(options);
  Rng rng(21, 0, Purpose::Test);
  std::size_t right = 0;
  std::size_t asked = 0;
  for (std::size_t i = 0; i < 1200; ++i) {
    std::vector<double> features(std::min<std::size_t>(i / 2, 60));
    for (double& x : features)
      x = rng.uniform() - .5;
    const double label =
        features.size() == 60 ? (features[59] > 0 ? 1 : 0) : static_cast<double>(rng.below(2));
    Output output;
    online->predict({features}, output);
    if (i > 600) {
      ++asked;
      right += (output.value > .5) == (label > .5) ? 1 : 0;
    }
    online->learn({features}, label, 1);
  }
  EXPECT_GT(static_cast<double>(right), .85 * static_cast<double>(asked));
}

}  // namespace
}  // namespace accrete::models
