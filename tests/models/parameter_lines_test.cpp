// Parameters whose numbers are handled a line at a time: each number is what it would be alone.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/adam.h"
#include "models/parameter_state.h"

namespace accrete::models {
namespace {

TEST(Adam, ANumbersStepDoesNotDependOnWhereItLies) {
  constexpr float kRate = 0.01F;
  constexpr std::size_t kCols = 37;  // two lines and some
  Parameter<float> parameter;
  parameter.value = random_matrix<float>(1, 1, kCols);
  struct Naive {
    float w;
    float m = 0;
    float v = 0;
  };
  std::vector<Naive> naive;
  for (const float start : parameter.value.reshaped())
    naive.push_back({start});
  for (std::uint64_t step = 1; step <= 20; ++step) {
    const RowMatrix<float> gradient = 0.1F * random_matrix<float>(2 + step, 1, kCols);
    parameter.grad() = gradient;
    Parameter<float>* const all[] = {&parameter};
    ASSERT_LT(adam_step<float>(all, {kRate}), 1) << "or gradients are scaled";
    const auto steps = static_cast<double>(step);
    const auto rate = static_cast<float>(double{kRate} / (1 - std::pow(0.9, steps)));
    const auto correction = static_cast<float>(1 / (1 - std::pow(0.999, steps)));
    for (std::size_t i = 0; i < kCols; ++i) {
      Naive& n = naive[i];
      const float g = gradient.data()[i];
      n.m = 0.9F * n.m + static_cast<float>(1 - 0.9) * g;
      n.v = 0.999F * n.v + static_cast<float>(1 - 0.999) * g * g;
      n.w -= 0 * n.w + rate * n.m / (std::sqrt(n.v * correction) + 1e-8F);
      ASSERT_EQ(parameter.value.data()[i], n.w) << step << " " << i;
    }
  }
}

TEST(Parameter, NewRowsAreZeroAlsoInRoomThatWasUsed) {
  Parameter<float> parameter;
  parameter.value = random_matrix<float>(1, 64, 3);
  const RowMatrix<float> first = parameter.value.topRows(5);
  parameter.value.conservativeResize(5, 3);  // its room keeps the rest
  for (std::size_t rows = 6; rows < 200; ++rows) {
    grow_parameter(parameter, rows, 3);
    ASSERT_EQ(parameter.value.row(parameter.value.rows() - 1).squaredNorm(), 0) << rows;
    parameter.value.bottomRows(1).setConstant(static_cast<float>(rows));
  }
  EXPECT_TRUE(parameter.value.topRows(5) == first);
  for (Eigen::Index row = 5; row < parameter.value.rows(); ++row)
    EXPECT_EQ(parameter.value(row, 2), static_cast<float>(row + 1));
  grow_parameter(parameter, 300, 5);  // columns move every row
  EXPECT_TRUE(parameter.value.topLeftCorner(5, 3) == first);
  EXPECT_EQ(parameter.value.rightCols(2).squaredNorm(), 0);
}

}  // namespace
}  // namespace accrete::models
