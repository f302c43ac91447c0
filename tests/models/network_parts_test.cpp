// What the graph network is made of beside its layers, each against its definition: ages, rows to
// vectors, losses, Adam with its bound, parameters that grow, flatness.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>

#include "models/adam.h"
#include "models/flatness.h"
#include "models/network_head.h"
#include "models/parameter_state.h"
#include "models/row_projection.h"
#include "proto/rng.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

constexpr std::int64_t kDayUs = 86'400'000'000;

Parameter<double> parameter_of(Eigen::Index rows, Eigen::Index cols, std::uint64_t seed) {
  Rng rng(seed, 3, Purpose::Test);
  Parameter<double> parameter;
  parameter.value.resize(rows, cols);
  for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
    parameter.value.data()[i] = 2 * rng.uniform() - 1;
  return parameter;
}

TEST(EncodeAge, IsSinesAndCosinesOfPeriodsFromAQuarterOfADayToDecades) {
  for (const std::int64_t age : {std::int64_t{0}, std::int64_t{1}, kDayUs / 7, kDayUs,
                                 365 * kDayUs + 12345, 22'000 * kDayUs + 1}) {
    const auto phi = encode_age(age);
    const double days = static_cast<double>(age) / static_cast<double>(kDayUs);
    double period = 0.25;
    for (std::size_t i = 0; i < age_periods; ++i, period *= 3) {
      const double angle = 2 * std::numbers::pi * std::fmod(days, period) / period;
      EXPECT_NEAR(phi[2 * i], std::sin(angle), 1e-8) << age << " at " << period;
      EXPECT_NEAR(phi[2 * i + 1], std::cos(angle), 1e-8) << age << " at " << period;
    }
    EXPECT_GT(period / 3, 40 * 365);
    EXPECT_DOUBLE_EQ(phi[2 * age_periods], std::log1p(days) / std::log1p(period / 3));
    EXPECT_EQ(phi.back(), 0);
  }
  auto ageless = encode_age(kAgeless);
  EXPECT_EQ(ageless.back(), 1);
  ageless.back() = 0;
  for (const double number : ageless)
    EXPECT_EQ(number, 0);
}

TEST(RowProjection, IsWhatItsDefinitionSaysNodeByNode) {
  const GraphWorld world = make_graph_world(1, {});
  const GraphBatch batch = make_batch(world, {{0}, {1}, {2, kWorldEndUs / 2}});
  constexpr std::size_t kWidth = 5;
  RowProjection<double> rows(world.columns(), kWidth, 1);
  std::map<std::string, RowMatrix<double>> values;
  Rng rng(5, 4, Purpose::Test);
  rows.visit([&](std::string_view name, Parameter<double>& parameter) {
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] += rng.uniform() - 0.5;
    values[std::string(name)] = parameter.value;
  });
  RowMatrix<double> hidden;
  rows.forward(batch, hidden, nullptr);
  ASSERT_EQ(static_cast<std::size_t>(hidden.rows()), batch.nodes());
  bool any_ageless = false;
  for (std::size_t v = 0; v < batch.nodes(); ++v) {
    const std::string table = "rows.table" + std::to_string(batch.table[v]);
    Eigen::RowVectorXd x = values[table + ".bias"];
    x += batch.features[batch.table[v]].row(batch.row[v]).cast<double>() *
         values[table + ".weights"];
    const auto phi = encode_age(batch.age_us[v]);
    any_ageless = any_ageless || batch.age_us[v] == kAgeless;
    for (std::size_t k = 0; k < age_numbers; ++k)
      x += phi[k] * values[table + ".ages"].row(static_cast<Eigen::Index>(k));
    const double variance = (x.array() - x.mean()).square().mean();
    for (Eigen::Index j = 0; j < x.cols(); ++j) {
      const double y =
          (x[j] - x.mean()) / std::sqrt(variance + 1e-5) * values["rows.norm.gain"](0, j) +
          values["rows.norm.shift"](0, j);
      EXPECT_NEAR(hidden(static_cast<Eigen::Index>(v), j), y / (1 + std::exp(-y)), 1e-9);
    }
  }
  EXPECT_TRUE(any_ageless);
}

TEST(AgeNumbers, AreTheOrderInWhichAgesComeFirst) {
  AgeNumbers numbers;
  for (int round = 0; round < 2; ++round) {
    numbers.clear();
    EXPECT_EQ(numbers.number(kAgeless), 0U);
    for (std::uint32_t i = 1; i < 5000; ++i) {
      ASSERT_EQ(numbers.number(i * kDayUs), i);
      ASSERT_EQ(numbers.number((i / 2 + 1) * kDayUs), i / 2 + 1);
    }
    EXPECT_EQ(numbers.ages().size(), 5000U);
    EXPECT_EQ(numbers.ages()[4999], 4999 * kDayUs);
  }
}

TEST(RowProjection, SaysTheSameWhenNothingIsKept) {
  const GraphWorld world = make_graph_world(3, {});
  const GraphBatch batch = make_batch(world, {{0}, {1}, {2, kWorldEndUs / 2}});
  const RowProjection<float> rows(world.columns(), 21, 1);
  RowMatrix<float> answered;
  rows.forward(batch, answered, nullptr);
  RowMatrix<float> trained;
  RowProjection<float>::Tape tape;
  rows.forward(batch, trained, &tape);
  EXPECT_TRUE(answered == trained);
}

TEST(RowProjection, NewColumnsChangeNothingUntilTheyAreLearnt) {
  const GraphWorld world = make_graph_world(2, {});
  GraphBatch batch = make_batch(world, {{0}, {1}});
  RowProjection<double> rows(world.columns(), 6, 1);
  RowMatrix<double> before;
  rows.forward(batch, before, nullptr);
  rows.grow_columns(1, 5);
  ASSERT_EQ(rows.columns(1), 5u);
  batch.features[1].conservativeResize(Eigen::NoChange, 5);
  batch.features[1].rightCols(3).setConstant(7);
  RowMatrix<double> after;
  rows.forward(batch, after, nullptr);
  EXPECT_LT((after - before).cwiseAbs().maxCoeff(), 1e-12);
}

/// Items of table 0's rows, repeats among them and one that the weights do not have.
void add_items(GraphBatch& batch, std::uint64_t seed) {
  Rng rng(seed, 5, Purpose::Test);
  batch.items.assign(batch.features.size(), {});
  for (Eigen::Index row = 0; row < batch.features[0].rows(); ++row) {
    for (std::uint64_t i = rng.below(4); i > 0; --i) {
      batch.items[0].add(static_cast<std::uint32_t>(rng.below(8)),
                         static_cast<float>(rng.uniform() - 0.3));
    }
    batch.items[0].end_row();
  }
}

TEST(RowProjection, ItemsAreColumnsOfTheirOwn) {
  const GraphWorld world = make_graph_world(4, {});
  const GraphBatch plain = make_batch(world, {{0}, {1}, {2, kWorldEndUs / 2}, {5}});
  GraphBatch batch = plain;
  add_items(batch, 4);
  RowProjection<double> rows(world.columns(), 8, 1);
  RowMatrix<double> without;
  rows.forward(batch, without, nullptr);
  RowMatrix<double> same;
  rows.forward(plain, same, nullptr);
  EXPECT_EQ(same, without) << "items nobody has weights for say nothing";
  rows.grow_items(0, 7);
  ASSERT_EQ(rows.items(0), 7U);
  // The same numbers as more columns of the features.
  RowMatrix<double> items;
  rows.visit([&](std::string_view name, Parameter<double>& parameter) {
    if (name == "rows.table0.items") items = parameter.value;
  });
  ASSERT_EQ(items.rows(), 7);
  EXPECT_GT(items.cwiseAbs().rowwise().maxCoeff().minCoeff(), 0.0);
  RowMatrix<double> hidden;
  rows.forward(batch, hidden, nullptr);
  GraphBatch dense = plain;
  dense.features[0].conservativeResize(Eigen::NoChange, 3 + 7);
  dense.features[0].rightCols(7).setZero();
  for (Eigen::Index row = 0; row < dense.features[0].rows(); ++row) {
    for (const SparseEntry& entry : batch.items[0].row(static_cast<std::size_t>(row)))
      if (entry.column < 7) dense.features[0](row, 3 + entry.column) += entry.value;
  }
  rows.grow_columns(0, 10);
  rows.visit([&](std::string_view name, Parameter<double>& parameter) {
    if (name == "rows.table0.weights") parameter.value.bottomRows(7) = items;
  });
  RowMatrix<double> expected;
  rows.forward(dense, expected, nullptr);
  EXPECT_LT((hidden - expected).cwiseAbs().maxCoeff(), 1e-6);
  EXPECT_GT((hidden - without).cwiseAbs().maxCoeff(), 1e-3);
}

TEST(RowProjection, AnItemBeginsTheSameWheneverItComes) {
  const auto items_after = [](const std::vector<std::size_t>& sizes) {
    RowProjection<double> rows(std::vector<std::size_t>{2, 0}, 8, 3);
    for (const std::size_t size : sizes)
      rows.grow_items(1, size);
    RowMatrix<double> items;
    rows.visit([&](std::string_view name, Parameter<double>& parameter) {
      if (name == "rows.table1.items") items = parameter.value;
    });
    return items;
  };
  EXPECT_EQ(items_after({9}), items_after({2, 2, 3, 9, 5}));
}

TEST(RowProjection, GradientsOfItemsAreThoseOfDifferences) {
  const GraphWorld world = make_graph_world(6, {});
  GraphBatch batch = make_batch(world, {{0}, {1}, {3}, {2, kWorldEndUs / 3}});
  add_items(batch, 6);
  RowProjection<double> rows(world.columns(), 8, 1);
  rows.grow_items(0, 8);
  RowMatrix<double> hidden;
  RowProjection<double>::Tape tape;
  rows.forward(batch, hidden, &tape);
  const RowMatrix<double> slope = parameter_of(hidden.rows(), hidden.cols(), 8).value;
  RowMatrix<double> d_hidden = slope;
  rows.backward(batch, tape, d_hidden);
  Parameter<double>* items = nullptr;
  rows.visit([&](std::string_view name, Parameter<double>& parameter) {
    if (name == "rows.table0.items") items = &parameter;
  });
  ASSERT_NE(items, nullptr);
  ASSERT_GT(items->gradient.cwiseAbs().maxCoeff(), 0.01);
  const auto objective = [&] {
    RowMatrix<double> out;
    rows.forward(batch, out, nullptr);
    return out.cwiseProduct(slope).sum();
  };
  for (Eigen::Index i = 0; i < items->value.size(); ++i) {
    const double kept = items->value.data()[i];
    items->value.data()[i] = kept + 1e-5;
    const double above = objective();
    items->value.data()[i] = kept - 1e-5;
    const double below = objective();
    items->value.data()[i] = kept;
    EXPECT_NEAR(items->gradient.data()[i], (above - below) / 2e-5, 1e-6);
  }
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
