// One wild number must not hide what all others say; numbers that are of another size from now on
// must be believed.
#include "models/robust_moments.h"

#include <cmath>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "models/encoder.h"
#include "models/feature_scale.h"
#include "models/sparse_encoder.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr double kFar = 1e300;  // no clip

/// Standard normal numbers, the 500th of them replaced.
std::vector<double> with_one(double wild, std::size_t count) {
  Rng rng(1, 0, Purpose::Test);
  std::vector<double> all(count);
  for (double& x : all)
    x = rng.normal();
  all[500] = wild;
  return all;
}

FeatureScale scale_of(std::span<const double> numbers) {
  FeatureScale scale;
  scale.grow(1);
  for (const double x : numbers)
    scale.observe({&x, 1});
  static_cast<void>(scale.freeze());
  return scale;
}

TEST(RobustMoments, OneWildNumberLeavesAScaleNearlyAsItWas) {
  for (const double wild : {1e9, -1e155, 1.7e308, -1.7e308}) {
    const FeatureScale scale = scale_of(with_one(wild, 5000));
    EXPECT_NEAR(scale.standardise(0, 1, kFar), 1, 0.25) << wild;
    EXPECT_NEAR(scale.standardise(0, -1, kFar), -1, 0.25) << wild;
  }
}

TEST(RobustMoments, NumbersOfAnotherSizeAreBelieved) {
  for (const std::size_t before : {100UL, 5000UL, 200'000UL}) {
    std::vector<double> numbers = with_one(0, before + 1000);
    for (std::size_t i = before; i < numbers.size(); ++i)
      numbers[i] *= 1e6;
    const double told = scale_of(numbers).standardise(0, 1e6, kFar);
    EXPECT_LT(told, 2 * std::sqrt(static_cast<double>(numbers.size()) / 1000)) << before;
  }
}

TEST(RobustMoments, TheFirstNumbersAreBelievedAndStayFinite) {
  const std::vector<double> numbers = {1.7e308, -1.7e308, 1, 2, 3};
  EXPECT_TRUE(std::isfinite(scale_of(numbers).standardise(0, 1e10, kFar)));
  EXPECT_EQ(within_reach(1e9, 0, 1, 15), 1e9);
  EXPECT_EQ(within_reach(1e9, 0, 16, 16), 32);
  EXPECT_EQ(within_reach(-1e9, 0, 1e6, 1e6), -250) << "a sixteenth of the squares";
  EXPECT_EQ(within_reach(31, 0, 16, 16), 31);
  EXPECT_EQ(within_reach(5, 3, 0, 16), 5) << "nothing has varied yet";
}

TEST(RobustMoments, OneWildCellOfSparseRowsLeavesTheOthersApart) {
  Table table;
  table.columns = {{"much", ColumnKind::Number}};
  SparseEncoder encoder(64);
  RawRow row;
  const auto encode = [&](double x) {
    const std::vector<Value> cells = {Value::of_real(x)};
    encoder.encode(0, table, cells, {}, true, row);
  };
  for (const double x : with_one(1e9, 5000)) {
    encode(x);
    encoder.measure(row);
  }
  encoder.rescale();
  std::vector<SparseEntry> entries;
  encode(1);
  encoder.finish(row, entries);
  encode(-1);
  encoder.finish(row, entries);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_GT(entries[0].value - entries[1].value, 1.5F);
}

}  // namespace
}  // namespace accrete::models
