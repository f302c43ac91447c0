// Ages and rows to vectors, against their definitions.
#include "models/row_projection.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/row_gather.h"
#include "proto/rng.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

constexpr std::int64_t kDayUs = 86'400'000'000;

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
  RowMatrix<double> slope(hidden.rows(), hidden.cols());
  Rng rng(8, 3, Purpose::Test);
  for (Eigen::Index i = 0; i < slope.size(); ++i)
    slope.data()[i] = 2 * rng.uniform() - 1;
  rows.backward(batch, tape,
                [&](std::span<const std::uint32_t> nodes, RowMatrix<double>& d_hidden) {
                  gather_rows(slope, nodes, d_hidden);
                });
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

}  // namespace
}  // namespace accrete::models
