// Signals of labels against hand-made graphs, chance, and computations that keep everything.
#include "models/label_signals.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "models/candidate.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr double kNobody = std::numeric_limits<double>::quiet_NaN();

struct Told {
  std::uint64_t key = 0;
  double first = 0;
  double second = 0;
  double other = kNobody;
};

Homophily homophily_of(TaskKind kind, const std::vector<Told>& pairs) {
  LabelSignals signals(kind);
  for (const Told& pair : pairs)
    signals.add_pair(0, pair.key, pair.first, pair.second, pair.other);
  return signals.homophily(0);
}

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

/// Shapes of labels: even 0/1, rare 1, classes, normal, skewed, counts mostly 0, grades mostly the
/// highest, far from 0.
constexpr std::size_t kShapes = 8;
TaskKind kind_of(std::size_t shape) {
  return shape < 2 ? TaskKind::Binary : shape == 2 ? TaskKind::Multiclass : TaskKind::Regression;
}
double label_of(std::size_t shape, Rng& rng) {
  switch (shape) {
    case 0:
      return rng.uniform() < 0.5 ? 1 : 0;
    case 1:
      return rng.uniform() < 0.05 ? 1 : 0;
    case 2:
      return std::floor(7 * rng.uniform() * rng.uniform());
    case 3:
      return normal(rng);
    case 4:
      return std::exp(3 * normal(rng));
    case 5:
      return rng.uniform() < 0.9 ? 0 : 1 + std::floor(50 * rng.uniform());
    case 6:
      return rng.uniform() < 0.8 ? 9 : std::floor(9 * rng.uniform());
    default:
      return 1e6 + 1e-3 * normal(rng);
  }
}

TEST(Homophily, OfAGraphByHand) {
  // Entities a b | c d e; a and b have label 1, the others 0; edges within the groups only.
  const Homophily perfect =
      homophily_of(TaskKind::Binary, {{1, 1, 1}, {2, 0, 0}, {3, 0, 0}, {4, 0, 0}});
  EXPECT_EQ(perfect.pairs, 4u);
  EXPECT_DOUBLE_EQ(perfect.edge, 1);
  EXPECT_DOUBLE_EQ(perfect.chance, 0.25 * 0.25 + 0.75 * 0.75);
  EXPECT_DOUBLE_EQ(perfect.adjusted, 1);
  // a-b, b-c, c-d of labels 1 1 0 0: degrees 1 2 2 1, so half of all ends are of either class.
  const Homophily path = homophily_of(TaskKind::Binary, {{1, 1, 1}, {2, 1, 0}, {3, 0, 0}});
  EXPECT_DOUBLE_EQ(path.edge, 2.0 / 3);
  EXPECT_DOUBLE_EQ(path.chance, 0.5);
  EXPECT_DOUBLE_EQ(path.adjusted, 1.0 / 3);
  // A star: the centre's class 2 has half of all ends, though it is one entity of four.
  const Homophily star = homophily_of(TaskKind::Multiclass, {{1, 2, 0}, {2, 2, 0}, {3, 2, 1}});
  EXPECT_DOUBLE_EQ(star.edge, 0);
  EXPECT_DOUBLE_EQ(star.chance, 0.25 + 1.0 / 9 + 1.0 / 36);
  EXPECT_LT(star.adjusted, 0);
}

TEST(Homophily, OfEqualNumbersIsOneAndOfOppositesNegative) {
  std::vector<Told> alike;
  std::vector<Told> unlike;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const double x = static_cast<double>(i % 40);
    alike.push_back({i, x, x});
    unlike.push_back({i, x, 39 - x});
  }
  EXPECT_DOUBLE_EQ(homophily_of(TaskKind::Regression, alike).adjusted, 1);
  EXPECT_LT(homophily_of(TaskKind::Regression, unlike).adjusted, -0.1);
  std::vector<Told> crossed;
  for (std::uint64_t i = 0; i < 100; ++i)
    crossed.push_back({i, 0, 1});
  EXPECT_DOUBLE_EQ(homophily_of(TaskKind::Binary, crossed).adjusted, -1);
}

TEST(Homophily, OfRandomLabelsIsNoneWhateverTheirShape) {
  for (std::size_t shape = 0; shape < kShapes; ++shape) {
    double squares = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Rng rng(231 + shape, seed, Purpose::Test);
      std::vector<Told> pairs;
      for (std::uint64_t i = 0; i < 4000; ++i) {
        const double first = label_of(shape, rng);
        const double second = label_of(shape, rng);
        pairs.push_back({i, first, second, seed % 2 == 0 ? kNobody : label_of(shape, rng)});
      }
      const Homophily signal = homophily_of(kind_of(shape), pairs);
      ASSERT_GT(signal.error, 0);
      EXPECT_LE(std::abs(signal.adjusted), 3 * signal.error) << shape << " " << seed;
      squares += signal.adjusted * signal.adjusted / (signal.error * signal.error) / 20;
    }
    EXPECT_LT(squares, 2.5) << "the error is a standard error";
  }
}

TEST(Homophily, OfOneLabelOrNoneIsNone) {
  EXPECT_EQ(homophily_of(TaskKind::Binary, {}).adjusted, 0);
  EXPECT_EQ(homophily_of(TaskKind::Binary, {{1, 1, 1}, {2, 1, 1}}).adjusted, 0);
  EXPECT_EQ(homophily_of(TaskKind::Regression, {{1, 5, 5}, {2, 5, 5}}).adjusted, 0);
  const LabelSignals none(TaskKind::Binary);
  EXPECT_EQ(none.homophily(3).pairs, 0u);
}

/// From the definition, over ranks that are not rounded.
double naive_adjusted(const std::vector<Told>& pairs, bool by_rank) {
  std::vector<double> ends;
  for (const Told& pair : pairs) {
    ends.push_back(pair.first);
    ends.push_back(pair.second);
    if (!std::isnan(pair.other)) ends.push_back(pair.other);
  }
  const auto n = static_cast<double>(ends.size());
  const auto rank = [&](double x) {
    double less = 0;
    double equal = 0;
    for (const double end : ends) {
      less += end < x ? 1 : 0;
      equal += end == x ? 1 : 0;
    }
    return (less + equal / 2) / n;
  };
  std::map<double, double> ranks;
  for (const double end : ends)
    ranks.emplace(end, rank(end));
  double mean = 0;
  double variance = 0;
  for (const double end : ends)
    mean += ranks[end] / n;
  for (const double end : ends)
    variance += std::pow(ranks[end] - mean, 2) / n;
  const auto kernel = [&](double a, double b) {
    if (!by_rank) return a == b ? 1.0 : 0.0;
    return std::exp(-std::pow(ranks[a] - ranks[b], 2) / (2 * variance));
  };
  double of_all = 0;
  for (const double a : ends) {
    for (const double b : ends)
      of_all += kernel(a, b) / (n * n);
  }
  double edge = 0;
  double chance = 0;
  for (const Told& pair : pairs) {
    edge += kernel(pair.first, pair.second) / static_cast<double>(pairs.size());
    const double of_time = std::isnan(pair.other) ? of_all
                                                  : kernel(pair.first, pair.other) / 2 +
                                                        kernel(pair.second, pair.other) / 2;
    chance += of_time / static_cast<double>(pairs.size());
  }
  return (edge - chance) / (1 - chance);
}

TEST(Homophily, EqualsItsDefinition) {
  for (std::size_t shape = 0; shape < kShapes; ++shape) {
    Rng rng(241, shape, Purpose::Test);
    std::vector<Told> pairs;
    for (std::uint64_t i = 0; i < 300; ++i) {
      const double first = label_of(shape, rng);
      const double second = rng.uniform() < 0.4 ? first : label_of(shape, rng);
      pairs.push_back({i, first, second, i % 4 == 0 ? kNobody : label_of(shape, rng)});
    }
    const bool by_rank = kind_of(shape) == TaskKind::Regression;
    const Homophily signal = homophily_of(kind_of(shape), pairs);
    const double adjusted = signal.adjusted;
    EXPECT_NEAR(adjusted, naive_adjusted(pairs, by_rank), by_rank ? 0.005 : 1e-9) << shape;
    EXPECT_NEAR(adjusted, 0.4, 4 * signal.error)
        << "so many pairs are alike, the rest as by chance";
  }
}

/// The share of ones goes from .05 to .95; so many pairs are alike beyond it.
Homophily of_drifting(double alike, bool with_others, std::uint64_t seed) {
  Rng rng(243, seed, Purpose::Test);
  std::vector<Told> pairs;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const auto drawn = [&] {
      return rng.uniform() < 0.05 + 0.9 * static_cast<double>(i) / 4000 ? 1.0 : 0.0;
    };
    const double first = drawn();
    const double second = rng.uniform() < alike ? first : drawn();
    const double other = drawn();
    pairs.push_back({i, first, second, with_others ? other : kNobody});
  }
  return homophily_of(TaskKind::Binary, pairs);
}

TEST(Homophily, OfABaseRateThatDriftsIsNone) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_GT(of_drifting(0, false, seed).adjusted, 0.2) << "not known to be of one time";
    const Homophily none = of_drifting(0, true, seed);
    EXPECT_NEAR(none.adjusted, 0, 3 * none.error);
    const Homophily some = of_drifting(0.4, true, seed);
    EXPECT_NEAR(some.adjusted, 0.4, 3 * some.error);
    EXPECT_LT(some.error, 0.03);
  }
}

TEST(Homophily, ChanceOfNormalNumbersIsNearTheFormula) {
  Rng rng(242, 0, Purpose::Test);
  std::vector<Told> pairs;
  for (std::uint64_t i = 0; i < 4000; ++i) {
    const double first = normal(rng);
    pairs.push_back({i, first, normal(rng)});
  }
  EXPECT_NEAR(homophily_of(TaskKind::Regression, pairs).chance, 1 / std::sqrt(3.0), 0.03);
}

TEST(LabelSignals, KeepTheSameSampleInAnyOrder) {
  LabelSignalOptions options;
  options.pairs_max = 100;
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    Rng rng(251, 0, Purpose::Test);
    std::vector<Told> pairs;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const double first = label_of(kind == TaskKind::Binary ? 0 : 3, rng);
      const double second = label_of(kind == TaskKind::Binary ? 0 : 3, rng);
      pairs.push_back({rng.next(), first, second, i % 3 == 0 ? kNobody : first + 1});
    }
    LabelSignals forward(kind, options);
    LabelSignals backward(kind, options);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const Told& ahead = pairs[i];
      const Told& behind = pairs[pairs.size() - 1 - i];
      forward.add_pair(0, ahead.key, ahead.first, ahead.second, ahead.other);
      backward.add_pair(0, behind.key, behind.second, behind.first, behind.other);
    }
    EXPECT_EQ(saved(forward), saved(backward));
    EXPECT_EQ(forward.homophily(0).pairs, 100u);
    EXPECT_LT(forward.memory_bytes(), 9000u);
    const std::string before = saved(forward);
    for (const Told& pair : pairs)
      forward.add_pair(0, pair.key, pair.first, pair.second, pair.other);
    EXPECT_EQ(saved(forward), before) << "a pair told again counts once";
  }
}

TEST(LabelSignals, TheSampleIsFair) {
  // The labels of early and late pairs differ; each half of the stream has half of the sample.
  double share = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    LabelSignalOptions options;
    options.pairs_max = 256;
    LabelSignals signals(TaskKind::Binary, options);
    for (std::uint64_t i = 0; i < 4096; ++i) {
      const double late = i >= 2048 ? 1 : 0;
      signals.add_pair(0, 100'000 * seed + i, late, late, kNobody);
    }
    const double p = 1 - signals.homophily(0).chance;  // 2 q (1 − q)
    share += p / 20;
  }
  EXPECT_NEAR(share, 0.5, 0.01);
}

TEST(LabelSignals, ALabelToldAgainReplacesThePair) {
  LabelSignals signals(TaskKind::Binary);
  signals.add_pair(2, 7, 0, 1, kNobody);
  signals.add_pair(2, 8, 0, 0, kNobody);
  EXPECT_DOUBLE_EQ(signals.homophily(2).edge, 0.5);
  signals.add_pair(2, 7, 1, 1, kNobody);
  EXPECT_DOUBLE_EQ(signals.homophily(2).edge, 1);
  EXPECT_EQ(signals.paths(), 3u);
  EXPECT_EQ(signals.homophily(0).pairs, 0u);
}

/// A task whose pairs agree in `alike` of the cases and are random otherwise.
LabelSignals task(double alike, std::uint64_t labels, std::uint64_t pairs = 4096,
                  std::uint64_t seed = 0) {
  LabelSignals signals(TaskKind::Binary);
  Rng rng(271, seed, Purpose::Test);
  for (std::uint64_t i = 0; i < pairs; ++i) {
    const double first = rng.uniform() < 0.5 ? 1 : 0;
    const double second = rng.uniform() < alike ? first : rng.uniform() < 0.5 ? 1 : 0;
    signals.add_pair(1, i, first, second, kNobody);
  }
  for (std::uint64_t i = 0; i < labels; ++i)
    signals.add_label(rng.uniform() < 0.5 ? 1 : 0, {});
  return signals;
}

TEST(NetworkPriorRule, TrustsNeighboursLessWhereTheLastLabelSaysTheNext) {
  double before = 1;
  for (const double repeats : {-0.8, 0.0, 0.5, 0.8, 0.95}) {
    LabelSignals signals = task(0.9, 0);
    Rng rng(272, 0, Purpose::Test);
    std::array<double, 1> last{1};
    for (int i = 0; i < 40'000; ++i) {
      const double drawn = rng.uniform() < 0.5 ? 1 : 0;
      const double same = repeats < 0 ? 1 - last[0] : last[0];
      const double label = rng.uniform() < std::abs(repeats) ? same : drawn;
      signals.add_label(label, last);
      last[0] = label;
    }
    EXPECT_NEAR(signals.autocorrelation(1), repeats, 0.03);
    EXPECT_NEAR(signals.prior(), 0.1 + 0.4 * (1 - std::max(repeats, 0.0) / 2), 0.007);
    EXPECT_LE(signals.prior(), before + 0.007);
    before = signals.prior();
  }
}

TEST(NetworkPriorRule, IsLowWithoutEvidenceAndRisesToOneHalf) {
  EXPECT_EQ(LabelSignals(TaskKind::Binary).prior(), 0.1);
  EXPECT_EQ(task(0.9, 1999).prior(), 0.1) << "too few labels";
  EXPECT_EQ(task(0.0, 50'000).prior(), 0.1) << "no homophily";
  EXPECT_EQ(task(0.9, 50'000, 200).prior(), 0.1) << "too few pairs";
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(task(0, 20'000, 300, seed).prior(), 0.1) << "alike by luck, within two errors";
  EXPECT_DOUBLE_EQ(task(0.9, 20'000).prior(), 0.5);
  double last = 0.1;
  for (const std::uint64_t labels : {2000u, 4000u, 6000u, 9000u, 13'000u, 20'000u}) {
    const double weight = task(0.9, labels).prior();
    EXPECT_GE(weight, last);
    EXPECT_LE(weight - last, 0.2) << "no jump";
    last = weight;
  }
  last = 0.1;
  for (int step = 0; step < 15; ++step) {
    const double alike = 0.02 * step;
    const double weight = task(alike, 20'000).prior();
    EXPECT_GE(weight, last - 1e-12);
    EXPECT_LE(weight - last, 0.2);
    if (alike < 0.05) {
      EXPECT_EQ(weight, 0.1);
    }
    last = weight;
  }
  EXPECT_DOUBLE_EQ(last, 0.5);
}

TEST(LabelSignals, ContinueBitForBitFromTheirState) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    LabelSignalOptions options;
    options.pairs_max = 50;
    LabelSignals signals(kind, options);
    LabelSignals copy(kind, options);
    for (std::uint64_t i = 0; i < 400; ++i) {
      for (LabelSignals* each : {&signals, &copy}) {
        Rng rng(281, i, Purpose::Test);
        const std::size_t shape = static_cast<std::size_t>(kind) == 0 ? 0 : 2;
        const std::array<double, 2> earlier{label_of(shape, rng), label_of(shape, rng)};
        each->add_label(label_of(shape, rng), earlier);
        const double other = rng.below(3) == 0 ? kNobody : label_of(shape, rng);
        each->add_pair(rng.below(3), rng.next(), label_of(shape, rng), label_of(shape, rng), other);
      }
      if (i % 97 != 0) continue;
      const std::string bytes = saved(copy);
      copy = LabelSignals(kind, options);
      expect_exact_state(bytes, copy);
    }
    EXPECT_EQ(saved(signals), saved(copy));
    EXPECT_EQ(signals.prior(), copy.prior());
    LabelSignals other(kind == TaskKind::Binary ? TaskKind::Regression : TaskKind::Binary);
    EXPECT_FALSE(other.load(saved(signals))) << "of another kind of task";
    // Room for fewer: the state of one that had no more room from the start.
    options.pairs_max = 20;
    LabelSignals smaller(kind, options);
    ASSERT_TRUE(smaller.load(saved(signals)));
    EXPECT_EQ(smaller.homophily(0).pairs, 20u);
  }
}

TEST(LabelSignals, RefuseBytesThatMakeNoSense) {
  LabelSignals signals(TaskKind::Regression);
  for (std::uint64_t i = 0; i < 20; ++i)
    signals.add_pair(0, i, static_cast<double>(i), 3, i % 2 == 0 ? 4 : kNobody);
  const std::string bytes = saved(signals);
  std::size_t refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = '\xFF';
    LabelSignals loaded(TaskKind::Regression);
    if (!loaded.load(damaged)) {
      ++refused;
      continue;
    }
    EXPECT_TRUE(std::isfinite(loaded.homophily(0).adjusted));
    EXPECT_TRUE(std::isfinite(loaded.autocorrelation(1)));
  }
  EXPECT_GT(refused, 40u);
}

}  // namespace
}  // namespace accrete::models
