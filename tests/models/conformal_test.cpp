// Adaptive intervals: coverage through a step change, quantiles against a naive count, state.
#include "models/conformal.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

struct Share {
  double inside = 0;
  double below = 0;
  double above = 0;
};

/// Coverage over [from, to) of a stream of errors around outputs of variance 1, ticks of 20.
Share run(const std::function<double(Rng&, int)>& error, int from, int to) {
  AdaptiveConformal conformal(ConformalOptions{});
  Share share;
  for (int i = 0; i < to; ++i) {
    Rng rng(71, static_cast<std::uint64_t>(i), Purpose::Test);
    const Output output{rng.uniform() * 100, 1, {}};
    const double label = output.value + error(rng, i);
    const Interval interval = conformal.interval(output);
    if (i >= from) {
      const double part = 1.0 / (to - from);
      share.below += label < interval.low ? part : 0;
      share.above += label > interval.high ? part : 0;
      share.inside += interval.low <= label && label <= interval.high ? part : 0;
    }
    conformal.grade(output, interval, label);
    if (i % 20 == 19) conformal.settle();
  }
  return share;
}

double skewed(Rng& rng) {
  return -std::log(1 - rng.uniform()) - 1;
}

TEST(AdaptiveConformal, CoversBothSidesOfSkewedErrors) {
  const Share share = run([](Rng& rng, int) { return skewed(rng); }, 500, 6000);
  EXPECT_NEAR(share.inside, 0.9, 0.015);
  EXPECT_NEAR(share.below, 0.05, 0.01);
  EXPECT_NEAR(share.above, 0.05, 0.01);
}

TEST(AdaptiveConformal, CoverageHoldsUnderAStepChange) {
  // Errors grow fivefold and shift at 2,000. Fixed intervals would cover about a third from there.
  const auto error = [](Rng& rng, int i) { return i < 2000 ? skewed(rng) : 5 * skewed(rng) + 2; };
  const Share after = run(error, 2000, 4000);
  EXPECT_NEAR(after.inside, 0.9, 0.02);
  const Share right_after = run(error, 2000, 2300);
  EXPECT_GT(right_after.inside, 0.8);
  // And back: intervals do not stay wide.
  const auto back = [&](Rng& rng, int i) { return error(rng, i < 2000 ? i + 2000 : 0); };
  EXPECT_NEAR(run(back, 2000, 5000).inside, 0.9, 0.03);
}

TEST(AdaptiveConformal, CoverageHoldsWhileErrorsKeepGrowing) {
  const Share share =
      run([](Rng& rng, int i) { return std::exp(i * 2e-3) * skewed(rng); }, 500, 4000);
  EXPECT_NEAR(share.inside, 0.9, 0.02);
}

TEST(AdaptiveConformal, BoundsAreQuantilesOfTheNewestErrors) {
  ConformalOptions options;
  options.window = 50;
  options.rate = 0;
  AdaptiveConformal conformal(options);
  std::vector<double> all;
  Rng rng(72, 0, Purpose::Test);
  for (int i = 0; i < 180; ++i) {
    const double variance = 0.5 + rng.uniform();
    const Output output{1, variance, {}};
    const double label = 1 + 3 * (rng.uniform() - 0.3);
    conformal.grade(output, conformal.interval(output), label);
    conformal.settle();
    all.push_back((label - 1) / std::sqrt(variance));
    if (all.size() < 20) continue;
    const Interval interval = conformal.interval({0, 1, {}});
    double above = 0;
    double below = 0;
    const std::size_t from = all.size() > 50 ? all.size() - 50 : 0;
    for (std::size_t k = from; k < all.size(); ++k) {
      above += all[k] > interval.high ? 1 : 0;
      below += all[k] < interval.low ? 1 : 0;
    }
    // ceil(.95 (n + 1)) of n errors lie at or below the bound.
    const auto n = static_cast<double>(all.size() - from);
    EXPECT_EQ(above, n - std::min(n, std::ceil((n + 1) * 0.95 - 1e-9))) << i;
    EXPECT_EQ(below, above);
  }
}

TEST(AdaptiveConformal, BeginsWithTheNormalQuantile) {
  const AdaptiveConformal conformal(ConformalOptions{});
  const Interval known = conformal.interval({2, 4, {}});
  EXPECT_NEAR(known.high, 2 + 2 * 1.6448536269514722, 1e-9);
  EXPECT_NEAR(known.low, 2 - 2 * 1.6448536269514722, 1e-9);
  EXPECT_TRUE(std::isnan(conformal.interval({2, 0, {}}).low)) << "nothing known: nothing said";
}

TEST(AdaptiveConformal, ContinuesBitForBitFromItsState) {
  ConformalOptions options;
  options.window = 60;
  AdaptiveConformal original(options);
  AdaptiveConformal copy(options);
  for (int i = 0; i < 300; ++i) {
    Rng rng(73, static_cast<std::uint64_t>(i), Purpose::Test);
    const Output output{rng.uniform(), i % 4 == 0 ? 0 : 1 + rng.uniform(), {}};
    const double label = 2 * rng.uniform();
    for (AdaptiveConformal* each : {&original, &copy}) {
      each->grade(output, each->interval(output), label);
      if (i % 7 == 0) each->settle();
    }
    if (i % 23 == 0) {
      const std::string bytes = saved(copy);
      copy = AdaptiveConformal(options);
      expect_exact_state(bytes, copy);
    }
    ASSERT_EQ(saved(original), saved(copy));
  }
}

}  // namespace
}  // namespace accrete::models
