// What the graph network is made of beside its layers and its rows, each against its definition:
// losses, heads, Adam with its bound, parameters that grow, flatness.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "models/adam.h"
#include "models/flatness.h"
#include "models/network_head.h"
#include "models/parameter_state.h"
#include "proto/rng.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

Parameter<double> parameter_of(Eigen::Index rows, Eigen::Index cols, std::uint64_t seed) {
  Rng rng(seed, 3, Purpose::Test);
  Parameter<double> parameter;
  parameter.value.resize(rows, cols);
  for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
    parameter.value.data()[i] = 2 * rng.uniform() - 1;
  return parameter;
}

TEST(TaskLoss, IsTheWeightedMeanOfItsFormulaAndItsGradientIsThatOfDifferences) {
  const std::size_t classes = 4;
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    const Eigen::Index outputs = kind == TaskKind::Multiclass ? classes : 1;
    RowMatrix<double> scores = parameter_of(6, outputs, 7).value * 3;
    const std::vector<Target> targets = random_targets(kind, 6, classes, 7);
    double expected = 0;
    double weights = 0;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto row = scores.row(static_cast<Eigen::Index>(i));
      const double y = targets[i].value;
      double one = 0;
      if (kind == TaskKind::Binary) {
        const double p = 1 / (1 + std::exp(-row[0]));
        one = -y * std::log(p) - (1 - y) * std::log(1 - p);
      } else if (kind == TaskKind::Regression) {
        one = std::sqrt((row[0] - y) * (row[0] - y) + 0.01) - 0.1;
      } else {
        one = std::log(row.array().exp().sum()) - row[static_cast<Eigen::Index>(y)];
      }
      expected += targets[i].weight * one;
      weights += targets[i].weight;
    }
    RowMatrix<double> gradient;
    EXPECT_NEAR(task_loss(kind, scores, targets, &gradient), expected / weights, 1e-12);
    for (Eigen::Index i = 0; i < scores.size(); ++i) {
      const double kept = scores.data()[i];
      scores.data()[i] = kept + 1e-5;
      const double above = task_loss<double>(kind, scores, targets, nullptr);
      scores.data()[i] = kept - 1e-5;
      const double below = task_loss<double>(kind, scores, targets, nullptr);
      scores.data()[i] = kept;
      EXPECT_NEAR(gradient.data()[i], (above - below) / 2e-5, 1e-8);
    }
  }
}

TEST(TaskLoss, StandsScoresOfAnySizeAndRowsOfNoWeight) {
  RowMatrix<double> scores(2, 1);
  scores << 1e6, -1e6;
  std::vector<Target> targets{{0, 1}, {0, 1}};
  RowMatrix<double> gradient;
  EXPECT_DOUBLE_EQ(task_loss(TaskKind::Binary, scores, targets, &gradient), 5e5);
  EXPECT_DOUBLE_EQ(gradient(0, 0), 0.5);
  EXPECT_DOUBLE_EQ(gradient(1, 0), 0);
  targets[0].value = 1e200;
  EXPECT_DOUBLE_EQ(task_loss(TaskKind::Regression, scores, targets, &gradient), 5e199);
  EXPECT_DOUBLE_EQ(gradient(0, 0), -0.5);
  for (Target& target : targets)
    target = {1, 0};
  EXPECT_EQ(task_loss(TaskKind::Binary, scores, targets, &gradient), 0);
  EXPECT_EQ(gradient.squaredNorm(), 0);
}

TEST(NetworkHead, NewClassesAreZeroAndLeaveTheScoresOfTheOthers) {
  NetworkHead<float> head(TaskKind::Multiclass, 16, {});
  EXPECT_EQ(head.outputs(), 0u);
  head.grow(3);
  Rng rng(8, 5, Purpose::Test);
  head.visit([&](std::string_view, Parameter<float>& parameter) {
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] += static_cast<float>(rng.uniform() - 0.5);
  });
  const RowMatrix<float> hidden = parameter_of(9, 16, 8).value.cast<float>();
  RowMatrix<float> embedding;
  RowMatrix<float> before;
  RowMatrix<float> after;
  head.forward(hidden, embedding, before, nullptr);
  head.grow(5);
  head.forward(hidden, embedding, after, nullptr);
  ASSERT_EQ(after.cols(), 5);
  EXPECT_TRUE(after.leftCols(3) == before);
  EXPECT_TRUE(after.rightCols(2) == RowMatrix<float>::Zero(9, 2));
}

TEST(NetworkHead, WhatIsToldIsAddedByWeightsThatBeginAtZero) {
  const std::size_t columns[] = {2, 0};
  NetworkHead<double> head(TaskKind::Multiclass, 8, columns);
  head.grow(2);
  const RowMatrix<double> hidden = parameter_of(5, 8, 11).value;
  RowMatrix<float> first(5, 3);
  for (Eigen::Index i = 0; i < first.size(); ++i)
    first.data()[i] = static_cast<float>(i) - 4;
  std::vector<RowMatrix<float>> told{first.leftCols(2), RowMatrix<float>(5, 0)};
  RowMatrix<double> embedding;
  RowMatrix<double> plain;
  head.forward(hidden, embedding, plain, nullptr);
  RowMatrix<double> scores = plain;
  head.add_told(told, scores);
  EXPECT_TRUE(scores == plain);
  head.add_told({}, scores);
  EXPECT_TRUE(scores == plain);

  RowMatrix<double> weights(3, 2);
  weights << 1, -2, 3, .5, 0, 0;
  head.visit([&](std::string_view name, Parameter<double>& parameter) {
    if (name == "head.told0") parameter.value = weights.topRows(2);
  });
  head.add_told(told, scores);
  const RowMatrix<double> expected = plain + first.cast<double>() * weights;
  EXPECT_TRUE(scores.isApprox(expected, 1e-12));
  head.grow_told(0, 3);  // a third column says nothing yet
  head.grow_told(1, 1);
  EXPECT_EQ(head.told(1), 1u);
  told = {first, RowMatrix<float>::Ones(5, 1)};
  RowMatrix<double> again = plain;
  head.add_told(told, again);
  EXPECT_TRUE(again.isApprox(expected, 1e-12));
}

TEST(Adam, IsItsDefinitionWithStepsOfEachParametersOwn) {
  Parameter<double> often = parameter_of(2, 3, 9);
  Parameter<double> seldom = parameter_of(1, 3, 10);
  often.rate = 0.5;
  const RowMatrix<double> start[] = {often.value, seldom.value};
  struct Naive {
    double m = 0, v = 0, w = 0;
    int t = 0;
  };
  std::vector<Naive> naive(9);
  for (std::size_t i = 0; i < 9; ++i)
    naive[i].w = i < 6 ? start[0].data()[i] : start[1].data()[i - 6];
  constexpr double kRate = 0.02;
  constexpr double kDecay = 0.3;
  for (int step = 0; step < 25; ++step) {
    Parameter<double>* const all[] = {&often, &seldom};
    for (std::size_t i = 0; i < 9; ++i) {
      if (i >= 6 && step % 3 != 0) continue;
      const double g = 0.2 * std::sin(static_cast<double>(i) + step);  // their length stays below 1
      (i < 6 ? often.grad().data()[i] : seldom.grad().data()[i - 6]) = g;
      Naive& n = naive[i];
      ++n.t;
      n.m = .9 * n.m + .1 * g;
      n.v = .999 * n.v + .001 * g * g;
      const double rate = i < 6 ? kRate * 0.5 : kRate;
      if (i < 6) n.w -= rate * kDecay * n.w;  // `seldom` is a row: no decay
      n.w -= rate * (n.m / (1 - std::pow(.9, n.t))) /
             (std::sqrt(n.v / (1 - std::pow(.999, n.t))) + 1e-8);
    }
    adam_step<double>(all, {kRate, kDecay});
    EXPECT_EQ(often.gradient.size(), 0);
  }
  EXPECT_EQ(often.steps, 25u);
  EXPECT_EQ(seldom.steps, 9u);
  EXPECT_EQ(often.version, 25u);
  for (std::size_t i = 0; i < 9; ++i)
    EXPECT_NEAR(i < 6 ? often.value.data()[i] : seldom.value.data()[i - 6], naive[i].w, 1e-12) << i;
}

TEST(Adam, LongGradientsAreScaledToLengthOne) {
  Parameter<double> a = parameter_of(2, 2, 11);
  Parameter<double> b = parameter_of(1, 3, 12);
  Parameter<double> frozen = parameter_of(1, 3, 13);
  frozen.rate = 0;
  a.grad().setConstant(3);
  b.grad().setConstant(-4);
  frozen.grad().setConstant(100);
  const double length = std::sqrt(4 * 9.0 + 3 * 16.0);  // frozen ones are not counted
  Parameter<double>* const all[] = {&a, &frozen, &b};
  EXPECT_DOUBLE_EQ(adam_step<double>(all, {}), length);
  EXPECT_NEAR(a.first(0, 0), .1 * 3 / length, 1e-12);
  EXPECT_NEAR(b.first(0, 2), -.1 * 4 / length, 1e-12);
  EXPECT_NEAR(a.first.squaredNorm() + b.first.squaredNorm(), .01, 1e-12);
  a.grad().setConstant(1e-3);
  EXPECT_NEAR(adam_step<double>(all, {}), 2e-3, 1e-12);
  EXPECT_NEAR(a.first(0, 0), .9 * .1 * 3 / length + .1e-3, 1e-12);  // short ones are as they are
}

TEST(Adam, FrozenAndNotFiniteGradientsLeaveEveryBit) {
  Parameter<double> frozen = parameter_of(2, 2, 14);
  frozen.rate = 0;
  Parameter<double> other = parameter_of(2, 2, 15);
  const RowMatrix<double> before[] = {frozen.value, other.value};
  Parameter<double>* const all[] = {&frozen, &other};
  frozen.grad().setConstant(1);
  other.grad().setConstant(1);
  adam_step<double>(all, {});
  EXPECT_TRUE(frozen.value == before[0]);
  EXPECT_EQ(frozen.first.size(), 0);
  EXPECT_EQ(frozen.steps + frozen.version, 0u);
  EXPECT_FALSE(other.value == before[1]);
  const RowMatrix<double> moved = other.value;
  other.grad().setConstant(1);
  other.grad()(1, 0) = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isinf(adam_step<double>(all, {})));
  EXPECT_TRUE(other.value == moved);
  EXPECT_EQ(other.steps, 1u);
  EXPECT_EQ(other.gradient.size(), 0);
}

TEST(Parameter, GrowsByZerosInAllItHoldsAndComesBackFromItsBytes) {
  Parameter<double> parameter = parameter_of(2, 3, 16);
  const RowMatrix<double> start = parameter.value;
  parameter.grad().setConstant(.1);
  Parameter<double>* const all[] = {&parameter};
  adam_step<double>(all, {});
  const RowMatrix<double> stepped = parameter.value;
  const std::uint64_t version = parameter.version;
  grow_parameter(parameter, 4, 3);
  EXPECT_GT(parameter.version, version);
  EXPECT_TRUE(parameter.value.topRows(2) == stepped);
  EXPECT_TRUE(parameter.value.bottomRows(2) == RowMatrix<double>::Zero(2, 3));
  ASSERT_EQ(parameter.first.rows(), 4);
  EXPECT_EQ(parameter.second.bottomRows(2).squaredNorm(), 0);
  grow_parameter(parameter, 1, 1);
  EXPECT_EQ(parameter.value.rows(), 4);

  std::string bytes;
  StateWriter writer(bytes);
  save_parameter(writer, parameter);
  Parameter<double> loaded;
  loaded.value.setZero(4, 3);
  StateReader reader(bytes);
  load_parameter(reader, loaded);
  ASSERT_TRUE(reader.finish("a parameter"));
  EXPECT_TRUE(loaded.value == parameter.value && loaded.second == parameter.second);
  EXPECT_EQ(loaded.steps, 1u);
  Parameter<double> other_shape;
  other_shape.value.setZero(3, 4);
  StateReader refused(bytes);
  load_parameter(refused, other_shape);
  EXPECT_FALSE(refused.finish("a parameter"));
}

TEST(Flatness, OfAQuadraticIsItsCurvatureTimesTheSquareOfThePush) {
  Parameter<double> bowl = parameter_of(3, 4, 17);
  bowl.value.row(1).setZero();  // a row without length is not pushed
  const RowMatrix<double> lowest = bowl.value;
  const auto visit = [&](const VisitParameter<double>& each) { each("bowl", bowl); };
  constexpr double kRadius = 0.1;
  for (const double curvature : {1.0, 10.0}) {
    const auto loss = [&] { return 2 + curvature * (bowl.value - lowest).squaredNorm(); };
    const double rise = flatness_rise<double>(visit, loss, {5, kRadius}, Rng(1, 2, Purpose::Test));
    EXPECT_NEAR(rise, curvature * kRadius * kRadius * lowest.squaredNorm(), 1e-9);
    EXPECT_TRUE(bowl.value == lowest);
  }
  const auto peak = [&] { return -(bowl.value - lowest).squaredNorm(); };
  EXPECT_EQ(flatness_rise<double>(visit, peak, {5, kRadius}, Rng(1, 2, Purpose::Test)), 0);
}

TEST(Flatness, OfWhatIsNoNumberIsNone) {
  Parameter<double> slope = parameter_of(2, 6, 18);
  const auto visit = [&](const VisitParameter<double>& each) { each("slope", slope); };
  int calls = 0;
  const auto loss = [&] { return ++calls == 3 ? std::nan("") : 1.0; };
  EXPECT_TRUE(std::isnan(flatness_rise<double>(visit, loss, {5, .1}, Rng(4, 2, Purpose::Test))));
}

TEST(Flatness, IsTheLargestOverTheDirections) {
  Parameter<double> slope = parameter_of(2, 6, 18);
  const RowMatrix<double> here = slope.value;
  const auto visit = [&](const VisitParameter<double>& each) { each("slope", slope); };
  std::vector<double> rises;
  const auto loss = [&] {
    rises.push_back((slope.value - here).sum());
    return rises.back();
  };
  const double one = flatness_rise<double>(visit, loss, {1, .2}, Rng(3, 2, Purpose::Test));
  EXPECT_EQ(one, std::max(0.0, rises[1]));
  rises.clear();
  const double many = flatness_rise<double>(visit, loss, {20, .2}, Rng(3, 2, Purpose::Test));
  ASSERT_EQ(rises.size(), 21u);
  EXPECT_EQ(many, *std::max_element(rises.begin(), rises.end()));
  EXPECT_GT(many, 0);
}

}  // namespace
}  // namespace accrete::models
