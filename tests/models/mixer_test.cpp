// The mixer: its regret bound against a switching adversary, its arithmetic, its state.
#include "models/mixer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

Output point(double value, double variance = 0) {
  return {value, variance, {}};
}

double sum(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// Herbster & Warmuth 1998: against any sequence of experts with k switches in T rounds,
//   sum of <w, loss> <= loss of the sequence
//                       + (ln N + k ln(N / share) + (T - 1 - k) ln(1 / (1 - share))) / eta
//                       + eta T range^2 / 8.
TEST(Mixer, RegretStaysWithinTheBoundOfFixedShare) {
  constexpr std::size_t N = 4;
  constexpr int T = 2000;
  constexpr int segment = 250;
  const double good = 0.95;
  const double bad = 0.4;
  const MixerOptions options{0.5, 0.02, {}};
  Mixer mixer(TaskKind::Binary, N, options);
  std::array<double, N> expert_loss{};
  double mixer_loss = 0;
  double sequence_loss = 0;
  Rng rng(5, 0, Purpose::Test);
  for (int t = 0; t < T; ++t) {
    const std::size_t best = static_cast<std::size_t>(t / segment) % N;
    const double label = static_cast<double>(rng.below(2));
    std::array<Output, N> outputs;
    for (std::size_t k = 0; k < N; ++k) {
      const double right = k == best ? good : bad;
      outputs[k] = point(label > 0.5 ? right : 1 - right);
      const double loss = loss_of(TaskKind::Binary, outputs[k], label);
      expert_loss[k] += loss;
      mixer_loss += mixer.weights()[k] * loss;
      if (k == best) sequence_loss += loss;
    }
    mixer.grade(outputs, label);
    mixer.settle();
    EXPECT_NEAR(sum(mixer.weights()), 1, 1e-12);
  }
  const double n = N;
  constexpr int segments = T / segment;
  const double switches = segments - 1;
  const double range = std::log(good / bad);
  const double bound = sequence_loss +
                       (std::log(n) + switches * std::log(n / options.share) +
                        (T - 1 - switches) * -std::log(1 - options.share)) /
                           options.eta +
                       options.eta * T * range * range / 8;
  EXPECT_LE(mixer_loss, bound);
  // The bound must say something: it is below what any single expert loses.
  for (const double loss : expert_loss) {
    EXPECT_LT(bound, loss);
    EXPECT_LT(mixer_loss, 0.6 * loss);
  }
}

// The pooled loss is what is published: by Jensen it is below the weighted mean of the losses, so
// the bound of Hedge holds for it too, with the prior of the plain mean in place of 1 / N.
TEST(Mixer, RegretOfThePoolStaysWithinTheBoundOnAnAdversary) {
  constexpr int T = 3000;
  const MixerOptions options{0.5, 0.02, {-1, 0, 0, 1}};
  Mixer mixer(TaskKind::Binary, 4, options);
  std::array<double, 4> losses{};
  double pooled = 0;
  Rng rng(9, 0, Purpose::Test);
  for (int t = 0; t < T; ++t) {
    // The adversary makes the heaviest candidate wrong, half of the time.
    const auto heaviest = static_cast<std::size_t>(
        std::max_element(mixer.weights().begin(), mixer.weights().end()) - mixer.weights().begin());
    const double label = static_cast<double>(rng.below(2));
    std::array<Output, 4> outputs;
    for (std::size_t k = 0; k < 4; ++k) {
      const bool wrong = (k == heaviest && rng.below(2) == 0) || rng.below(8) == 0;
      const double right = wrong ? 0.2 : 0.8;
      outputs[k] = point(label > 0.5 ? right : 1 - right);
      losses[k] += loss_of(TaskKind::Binary, outputs[k], label);
    }
    Output mixed;
    mixer.combine(outputs, mixed);
    pooled += loss_of(TaskKind::Binary, mixed, label);
    mixer.grade(outputs, label);
    mixer.settle();
    EXPECT_NEAR(sum(mixer.weights()), 1, 1e-12);
  }
  const double best = *std::min_element(losses.begin(), losses.end());
  const double range = std::log(4);
  const double bound = (std::log(8) - (T - 1) * std::log(1 - options.share)) / options.eta +
                       options.eta * T * range * range / 8;
  EXPECT_LE(pooled, best + bound);
  const Regret regret = mixer.regret();
  EXPECT_NEAR(regret.value(), pooled - best, 1e-6);
  EXPECT_EQ(regret.rounds, static_cast<std::uint64_t>(T));
  EXPECT_LE(regret.value(), regret.bound);
  EXPECT_LT(regret.bound, bound) << "measured gaps are below Hoeffding's worst case";
}

// The bound that regret() tells is no hope: whatever is said and whatever comes, it holds. Wild
// values, candidates that are no numbers, losses beyond the clip, rounds of many labels.
TEST(Mixer, TheBoundItTellsHoldsOnAnything) {
  for (std::uint64_t round = 0; round < 60; ++round) {
    const auto kind = static_cast<TaskKind>(round % 3);
    Rng rng(12, round, Purpose::Test);
    MixerOptions options{0.1 + rng.uniform(), 0.1 * rng.uniform(), {}};
    if (round % 2 == 0) options.families = {-1, 0, 0, 1};
    if (round % 4 < 2) options.labels = 0.5;  // so that settles count differently
    Mixer mixer(kind, 4, options);
    EXPECT_EQ(mixer.regret().rounds, 0u);
    if (round % 5 == 0) mixer.set_prior(3, 0.3);
    for (int t = 0; t < 200; ++t) {
      if (round % 5 < 2) mixer.set_prior(3, 0.1 + 0.4 * rng.uniform());
      const std::uint64_t labels = rng.below(4);
      for (std::uint64_t i = 0; i < labels; ++i) {
        std::array<Output, 4> outputs;
        for (Output& output : outputs) {
          output.value = rng.below(9) == 0 ? std::nan("") : rng.uniform();
          if (rng.below(5) == 0) output.value = static_cast<double>(rng.below(2));
          if (kind == TaskKind::Regression && rng.below(20) == 0) output.value *= 1e6;
          const double p = rng.below(4) == 0 ? 1e-5 * rng.uniform() : rng.uniform();
          output.classes = {p, 1 - p};
        }
        mixer.grade(outputs, static_cast<double>(rng.below(2)));
      }
      mixer.settle();
      const Regret regret = mixer.regret();
      ASSERT_LE(regret.value(), regret.bound + 1e-9) << round << ", " << t;
    }
  }
}

TEST(Mixer, RegretNamesTheBestCandidate) {
  Mixer mixer(TaskKind::Regression, 3, {0.5, 0.02, {}});
  for (int t = 0; t < 100; ++t) {
    mixer.grade(std::array<Output, 3>{point(0), point(5), point(t % 2 == 0 ? 5 : 6)}, 5);
    mixer.settle();
  }
  const Regret regret = mixer.regret();
  EXPECT_EQ(regret.candidate, 1u);
  EXPECT_EQ(regret.best, 0);
  EXPECT_GT(regret.value(), 0);
  EXPECT_LE(regret.value(), regret.bound);
}

TEST(Mixer, PoolsFamiliesEvenlyUntilOneFails) {
  Mixer mixer(TaskKind::Binary, 4, {0.5, 0.02, {-1, 0, 0, 3}});
  // Prior: 1/8 each, and half for the mean: family 0 shares its half of that between two.
  EXPECT_DOUBLE_EQ(mixer.weights()[0], 0.125);
  EXPECT_DOUBLE_EQ(mixer.weights()[1], 0.25);
  EXPECT_DOUBLE_EQ(mixer.weights()[3], 0.375);
  Output mixed;
  const double e = std::exp(1);
  const double p = e / (1 + e);  // logit 1
  mixer.combine(std::array<Output, 4>{point(0.5), point(p), point(p), point(1 - p)}, mixed);
  EXPECT_NEAR(std::log(mixed.value / (1 - mixed.value)), 0.5 - 0.375, 1e-12);

  Rng rng(10, 0, Purpose::Test);
  for (int t = 0; t < 60; ++t) {
    const double label = static_cast<double>(rng.below(2));
    const double right = label > 0.5 ? 0.8 : 0.2;
    mixer.grade(std::array<Output, 4>{point(0.5), point(right), point(right), point(1 - right)},
                label);
    mixer.settle();
  }
  EXPECT_LT(mixer.weights()[3], 0.05) << "the failed family is left";
  EXPECT_GT(mixer.weights()[1] + mixer.weights()[2], 0.85);
  EXPECT_LT(mixer.regret().value(), 10);
}

TEST(Mixer, ACandidateThatIsNoNumberIsLeftOut) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    Mixer mixer(kind, 3, {0.5, 0.02, {}});
    Mixer families(kind, 3, {0.5, 0.02, {-1, 0, 1}});
    const double nothing = std::nan("");
    Output mixed;
    for (int i = 0; i < 40; ++i) {
      const std::array<Output, 3> outputs{point(0.3, 1), point(nothing, nothing), point(0.3, 1)};
      mixer.combine(outputs, mixed);
      EXPECT_NEAR(mixed.value, 0.3, 1e-12);
      EXPECT_NEAR(mixed.variance, kind == TaskKind::Binary ? 0 : 1, 1e-12);
      families.combine(outputs, mixed);
      EXPECT_NEAR(mixed.value, 0.3, 1e-12) << "nor does it drag the mean of families along";
      families.grade(outputs, i % 2);
      families.settle();
      mixer.grade(outputs, i % 2);
      mixer.settle();
    }
    EXPECT_LT(mixer.weights()[1], 0.05);
    EXPECT_NEAR(sum(mixer.weights()), 1, 1e-12);
  }
}

TEST(Mixer, FollowsTheDocumentedUpdate) {
  Mixer mixer(TaskKind::Binary, 2, {0.5, 0.1, {}});
  const std::array<Output, 2> outputs{point(0.9), point(0.2)};
  mixer.grade(outputs, 1);
  mixer.grade(outputs, 0);
  EXPECT_EQ(mixer.weights()[0], 0.5) << "weights move at settle only";
  mixer.settle();
  const double a = std::exp(-0.5 * (-std::log(0.9) - std::log(0.1)) / 2);
  const double b = std::exp(-0.5 * (-std::log(0.2) - std::log(0.8)) / 2);
  EXPECT_NEAR(mixer.weights()[0], 0.9 * a / (a + b) + 0.05, 1e-12);
  const double before = mixer.weights()[0];
  mixer.settle();
  EXPECT_EQ(mixer.weights()[0], before) << "nothing graded, nothing learnt";
}

// What many labels say of the candidates moves weights further than what few say, and the loss
// beyond the best counts it as much.
TEST(Mixer, SettlesCountByTheRootOfTheirLabels) {
  const std::array<Output, 2> outputs{point(0.9), point(0.2)};
  for (const int labels : {1, 4, 16, 36, 64, 400}) {
    MixerOptions options{0.5, 0.1, {}};
    options.labels = 4;
    Mixer mixer(TaskKind::Binary, 2, options);
    for (int i = 0; i < labels; ++i)
      mixer.grade(outputs, 1);
    Output mixed;
    mixer.combine(outputs, mixed);
    mixer.settle();
    const double count = std::clamp(std::sqrt(labels / 4.0), 1.0, 4.0);
    const double a = std::pow(0.9, 0.5 * count);
    const double b = std::pow(0.2, 0.5 * count);
    EXPECT_NEAR(mixer.weights()[0], 0.9 * a / (a + b) + 0.05, 1e-12) << labels;
    EXPECT_NEAR(mixer.regret().best, -count * std::log(0.9), 1e-12);
    EXPECT_NEAR(mixer.regret().mixture, -count * std::log(mixed.value), 1e-12);
  }
}

TEST(Mixer, APriorSaysWhereACandidateBeginsAndWhatReturnsToIt) {
  MixerOptions options{0, 0.1, {0, 0, -1}};  // no learning: only what returns moves weights
  Mixer mixer(TaskKind::Binary, 3, options);
  mixer.set_prior(2, 0.4);
  // The mean of the one family had half, the three candidates the rest.
  const double first = 0.6 * (0.5 / 3) / (1 - 0.5 / 3);
  const double mean = 0.6 * 0.5 / (1 - 0.5 / 3);
  EXPECT_NEAR(mixer.weights()[2], 0.4, 1e-12);
  EXPECT_NEAR(mixer.weights()[0], first + mean / 2, 1e-12);
  const std::array<Output, 3> outputs{point(0.5), point(0.5), point(0.5)};
  mixer.grade(outputs, 1);
  mixer.settle();
  mixer.set_prior(2, 0.2);
  EXPECT_NEAR(mixer.weights()[2], 0.4, 1e-12) << "weights move at settle only";
  mixer.grade(outputs, 1);
  mixer.settle();
  EXPECT_NEAR(mixer.weights()[2], 0.9 * 0.4 + 0.1 * 0.2, 1e-12);
  EXPECT_NEAR(mixer.weights()[0] + mixer.weights()[1] + mixer.weights()[2], 1, 1e-12);
}

TEST(Mixer, ExcessIsWhatACandidateLostMoreThanTheBestOther) {
  Mixer mixer(TaskKind::Binary, 3, MixerOptions{0.5, 0.1, {}});
  EXPECT_EQ(mixer.excess(0), 0);
  double lost[3] = {0, 0, 0};
  Rng rng(9, 0, Purpose::Test);
  for (int round = 0; round < 20; ++round) {
    std::vector<Output> outputs;
    for (const double right : {0.6, 0.8, 0.7}) {
      const double said = right + 0.1 * rng.uniform();
      outputs.push_back(point(said));
      lost[outputs.size() - 1] -= std::log(said);
    }
    mixer.grade(outputs, 1);
    mixer.settle();
  }
  EXPECT_NEAR(mixer.excess(0), lost[0] / lost[1] - 1, 1e-9);
  EXPECT_NEAR(mixer.excess(2), lost[2] / lost[1] - 1, 1e-9);
  EXPECT_EQ(mixer.excess(1), 0) << "the best";
  // From here on the first is the best.
  mixer.restart_excess();
  EXPECT_EQ(mixer.excess(0), 0);
  mixer.grade(std::vector<Output>{point(.9), point(.5), point(.7)}, 1);
  mixer.settle();
  EXPECT_EQ(mixer.excess(0), 0);
  EXPECT_NEAR(mixer.excess(1), std::log(.5) / std::log(.9) - 1, 1e-9);
}

TEST(Mixer, APriorDoesNotDependOnThoseBeforeIt) {
  // As across a restart: the state is loaded, and only the newest prior is said again.
  MixerOptions options{0.3, 0.02, {0, 0, 1, 1, -1}};
  Mixer whole(TaskKind::Binary, 5, options);
  const std::array<Output, 5> outputs{point(0.9), point(0.2), point(0.6), point(0.7), point(0.4)};
  for (int t = 0; t < 100; ++t) {
    whole.set_prior(4, 0.1 + 0.4 * t / 100.0);
    whole.grade(outputs, t % 3 == 0 ? 1 : 0);
    whole.settle();
    std::string state;
    whole.save(state);
    Mixer restarted(TaskKind::Binary, 5, options);
    restarted.set_prior(4, 0.1);
    ASSERT_TRUE(restarted.load(state));
    const double next = 0.1 + 0.4 * (t + 1) / 100.0;
    Mixer onward = whole;
    for (Mixer* mixer : {&restarted, &onward}) {
      mixer->set_prior(4, next);
      mixer->grade(outputs, 1);
      mixer->settle();
    }
    for (std::size_t k = 0; k < outputs.size(); ++k)
      ASSERT_EQ(restarted.weights()[k], onward.weights()[k]) << t;
    ASSERT_EQ(restarted.regret().bound, onward.regret().bound) << t;
  }
}

TEST(Mixer, OneWildLabelDoesNotSilenceACandidate) {
  Mixer mixer(TaskKind::Regression, 2, {0.5, 0.02, {}});
  for (int i = 0; i < 500; ++i) {
    const double label = i % 2 == 0 ? 1.0 : 1.1;
    mixer.grade(std::array<Output, 2>{point(1.1), point(1.0)}, label);
    if (i % 2 == 1) mixer.settle();
  }
  EXPECT_NEAR(mixer.weights()[0], 0.5, 1e-3);
  mixer.grade(std::array<Output, 2>{point(1), point(1e12)}, 1e12);
  mixer.settle();
  EXPECT_GT(mixer.weights()[0], 0.02) << "clipped: e^-4 of its weight, and the share of 0.01";
  EXPECT_NEAR(sum(mixer.weights()), 1, 1e-12);
}

TEST(Mixer, RegressionLossesDoNotDependOnTheUnit) {
  Mixer metres(TaskKind::Regression, 2, {});
  Mixer millimetres(TaskKind::Regression, 2, {});
  Rng rng(6, 0, Purpose::Test);
  for (int i = 0; i < 50; ++i) {
    const double label = rng.uniform();
    const double other = rng.uniform();
    metres.grade(std::array<Output, 2>{point(other), point(0.5)}, label);
    millimetres.grade(std::array<Output, 2>{point(1000 * other), point(500)}, 1000 * label);
    metres.settle();
    millimetres.settle();
  }
  EXPECT_NEAR(metres.weights()[0], millimetres.weights()[0], 1e-9);
  EXPECT_LT(metres.weights()[0], 0.45);
}

TEST(Mixer, CombinesValuesVariancesAndClasses) {
  const Mixer regression(TaskKind::Regression, 2, {});
  Output mixed;
  regression.combine(std::array<Output, 2>{point(1, 4), point(3, 0)}, mixed);
  EXPECT_DOUBLE_EQ(mixed.value, 2);
  EXPECT_DOUBLE_EQ(mixed.variance, 4 + 1) << "an unknown variance is not a variance of zero";
  regression.combine(std::array<Output, 2>{point(1), point(3)}, mixed);
  EXPECT_EQ(mixed.variance, 0) << "unknown stays unknown";

  const Mixer multiclass(TaskKind::Multiclass, 3, {});
  const Output narrow{0, 0, {1}};
  const Output wide{0, 0, {0.5, 0.25, 0.25}};
  multiclass.combine(std::array<Output, 3>{narrow, wide, Output{}}, mixed);
  ASSERT_EQ(mixed.classes.size(), 3u);
  EXPECT_DOUBLE_EQ(mixed.classes[0], 0.75);
  EXPECT_DOUBLE_EQ(sum(mixed.classes), 1);
}

TEST(Mixer, ExtremesStayFinite) {
  Mixer mixer(TaskKind::Binary, 3, {50, 0, {}});  // no share: weights may underflow, never turn NaN
  for (int i = 0; i < 500; ++i) {
    mixer.grade(std::array<Output, 3>{point(1), point(0), point(0.5)}, 1);
    mixer.settle();
  }
  EXPECT_DOUBLE_EQ(mixer.weights()[0], 1);
  EXPECT_EQ(mixer.weights()[1], 0);
  Mixer perfect(TaskKind::Regression, 2, {});
  perfect.grade(std::array<Output, 2>{point(5), point(5)}, 5);  // scale is zero
  perfect.settle();
  EXPECT_DOUBLE_EQ(perfect.weights()[0], 0.5);
}

TEST(Mixer, SharesThatAreNoNumbersAreNotHeard) {
  const Mixer mixer(TaskKind::Multiclass, 2, {});
  Output sound;
  sound.classes = {0.25, 0.75};
  for (const double wrong : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Output broken;
    broken.classes = {wrong, 0, 0};
    Output mixed;
    mixer.combine(std::array<Output, 2>{sound, broken}, mixed);
    EXPECT_EQ(mixed.classes, sound.classes);
  }
}

TEST(Mixer, StateIsExactInTheMiddleOfABatch) {
  Mixer original(TaskKind::Regression, 3, {});
  Rng rng(8, 0, Purpose::Test);
  const auto step = [&](Mixer& mixer, std::uint64_t i) {
    Rng draw(8, i, Purpose::Test);
    const std::array<Output, 3> outputs{point(draw.uniform()), point(draw.uniform()), point(0)};
    mixer.grade(outputs, draw.uniform());
    if (i % 3 == 0) mixer.settle();
  };
  for (std::uint64_t i = 0; i < 11; ++i)
    step(original, i);
  Mixer copy(TaskKind::Regression, 3, {});
  expect_exact_state(saved(original), copy);
  for (std::uint64_t i = 11; i < 40; ++i) {
    step(original, i);
    step(copy, i);
  }
  EXPECT_EQ(saved(original), saved(copy));
  Mixer wider(TaskKind::Regression, 4, {});
  EXPECT_FALSE(wider.load(saved(original)));
}

}  // namespace
}  // namespace accrete::models
