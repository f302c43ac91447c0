// The conditional logit: its step against differences of the loss, its weights against those that
// made the choices, its state.
#include "models/choice_logit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <Eigen/Dense>
#include <gtest/gtest.h>

#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr std::size_t kWidth = 4;

struct List {
  std::vector<float> items;
  std::vector<bool> chosen;
};

/// Lists whose items are chosen by these weights, `choices` of each.
std::vector<List> lists_of(const std::vector<double>& weights, std::size_t count,
                           std::size_t choices, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  std::vector<List> lists(count);
  for (List& list : lists) {
    const std::size_t items = 5 + rng.below(10);
    std::vector<double> scores;
    for (std::size_t i = 0; i < items; ++i) {
      double score = 0;
      for (std::size_t k = 0; k < kWidth; ++k) {
        const double spread = k == 1 ? 30 : 1;  // numbers of different units
        const double number = spread * (rng.uniform() + rng.uniform() - 1);
        list.items.push_back(static_cast<float>(number));
        score += weights[k] * number;
      }
      scores.push_back(score);
    }
    list.chosen.assign(items, false);
    for (std::size_t c = 0; c < choices; ++c) {
      double total = 0;
      for (std::size_t i = 0; i < items; ++i)
        total += std::exp(scores[i]);
      double left = rng.uniform() * total;
      std::size_t i = 0;
      while (i + 1 < items && (left -= std::exp(scores[i])) > 0)
        ++i;
      list.chosen[i] = true;
    }
  }
  return lists;
}

/// By the definition.
double loss(const List& list, const Eigen::VectorXd& weights) {
  const std::size_t items = list.chosen.size();
  std::vector<double> scores(items, 0.0);
  double total = 0;
  for (std::size_t i = 0; i < items; ++i) {
    for (std::size_t k = 0; k < kWidth; ++k)
      scores[i] +=
          weights(static_cast<Eigen::Index>(k)) * static_cast<double>(list.items[i * kWidth + k]);
    total += std::exp(scores[i]);
  }
  double sum = 0;
  double chosen = 0;
  for (std::size_t i = 0; i < items; ++i) {
    if (!list.chosen[i]) continue;
    sum += std::log(total) - scores[i];
    chosen += 1;
  }
  return chosen > 0 ? sum / chosen : 0;
}

Eigen::VectorXd weights_of(const ChoiceLogit& logit) {
  const std::vector<double> weights = logit.weights();
  return Eigen::Map<const Eigen::VectorXd>(weights.data(),
                                           static_cast<Eigen::Index>(weights.size()));
}

TEST(ChoiceLogit, AStepIsNewtonsByDifferencesOfTheLoss) {
  ChoiceLogitOptions options;
  options.width = kWidth;
  options.lambda = 1e-9;
  options.half_life = 0;
  options.step_max = 1e9;
  ChoiceLogit logit(options);
  const auto lists = lists_of({1, .05, -2, 0}, 60, 1, 1);
  for (const List& list : lists)
    logit.learn(list.items, list.chosen);
  logit.settle();

  const auto total = [&](const Eigen::VectorXd& weights) {
    double sum = 0;
    for (const List& list : lists)
      sum += loss(list, weights);
    return sum;
  };
  const auto unit = [](Eigen::Index k) -> Eigen::VectorXd {
    return Eigen::VectorXd::Unit(kWidth, k) * (k == 1 ? 1e-4 : 3e-3);
  };
  const Eigen::VectorXd zero = Eigen::VectorXd::Zero(kWidth);
  Eigen::VectorXd gradient(kWidth);
  Eigen::MatrixXd curvature(kWidth, kWidth);
  for (Eigen::Index a = 0; a < static_cast<Eigen::Index>(kWidth); ++a) {
    const Eigen::VectorXd ea = unit(a);
    gradient(a) = (total(ea) - total(-ea)) / (2 * ea.norm());
    for (Eigen::Index b = 0; b < static_cast<Eigen::Index>(kWidth); ++b) {
      const Eigen::VectorXd eb = unit(b);
      curvature(a, b) = (total(ea + eb) - total(ea - eb) - total(eb - ea) + total(zero - ea - eb)) /
                        (4 * ea.norm() * eb.norm());
    }
  }
  const Eigen::VectorXd step = curvature.ldlt().solve(-gradient);
  for (Eigen::Index k = 0; k < step.size(); ++k)
    EXPECT_NEAR(weights_of(logit)(k), step(k), 2e-4 * std::abs(step(k)) + 1e-6) << k;
}

TEST(ChoiceLogit, FindsTheWeightsThatChose) {
  const std::vector<double> truth{1.5, .08, -2, 0};
  ChoiceLogitOptions options;
  options.width = kWidth;
  ChoiceLogit logit(options);
  const auto lists = lists_of(truth, 6000, 1, 2);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    logit.learn(lists[i].items, lists[i].chosen);
    if (i % 60 == 59) logit.settle();
  }
  const std::vector<double> weights = logit.weights();
  for (std::size_t k = 0; k < kWidth; ++k)
    EXPECT_NEAR(weights[k], truth[k], k == 1 ? .01 : .15) << k;
  // And it says so: better than a choice by lot on lists it has not seen.
  double said = 0;
  double by_lot = 0;
  for (const List& list : lists_of(truth, 500, 2, 3)) {
    std::vector<double> probabilities(list.chosen.size());
    logit.predict(list.items, probabilities);
    double sum = 0;
    for (const double probability : probabilities)
      sum += probability;
    EXPECT_NEAR(sum, 1, 1e-12);
    said += loss(list, weights_of(logit));
    by_lot += std::log(static_cast<double>(list.chosen.size()));
  }
  EXPECT_LT(said, .8 * by_lot);
}

TEST(ChoiceLogit, FollowsWeightsThatChange) {
  ChoiceLogitOptions options;
  options.width = kWidth;
  options.half_life = 10;
  ChoiceLogit logit(options);
  for (const double sign : {1.0, -1.0}) {
    const auto lists = lists_of({2 * sign, 0, 0, 0}, 4000, 1, 4);
    for (std::size_t i = 0; i < lists.size(); ++i) {
      logit.learn(lists[i].items, lists[i].chosen);
      if (i % 40 == 39) logit.settle();
    }
    EXPECT_NEAR(logit.weights()[0], 2 * sign, .4);
  }
}

TEST(ChoiceLogit, WithoutAnythingToLearnAllAreAlike) {
  ChoiceLogitOptions options;
  options.width = 2;
  ChoiceLogit logit(options);
  const std::vector<float> items{1, 5, 1, 5, 1, 5};  // never vary
  logit.learn(items, {false, true, false});
  logit.settle();
  logit.learn(items, {false, false, false});  // nothing chosen
  logit.settle();
  std::vector<double> probabilities(3);
  logit.predict(items, probabilities);
  for (const double probability : probabilities)
    EXPECT_DOUBLE_EQ(probability, 1. / 3);
  logit.predict({}, {});
}

TEST(ChoiceLogit, StateIsExactAlsoBetweenSettles) {
  ChoiceLogitOptions options;
  options.width = kWidth;
  ChoiceLogit logit(options);
  const auto lists = lists_of({1, .05, -2, 0}, 300, 2, 5);
  for (std::size_t i = 0; i < 200; ++i) {
    logit.learn(lists[i].items, lists[i].chosen);
    if (i % 30 == 29) logit.settle();
  }
  ChoiceLogit fresh(options);
  expect_exact_state(saved(logit), fresh);
  for (std::size_t i = 200; i < 300; ++i) {
    for (ChoiceLogit* one : {&logit, &fresh}) {
      one->learn(lists[i].items, lists[i].chosen);
      if (i % 30 == 29) one->settle();
    }
  }
  EXPECT_EQ(saved(fresh), saved(logit));
}

}  // namespace
}  // namespace accrete::models
