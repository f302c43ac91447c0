// Attention of one row and its gradient in every vector width: against each other, by definition
// and by differences.
#include "models/attention_row.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/attention_kernels.h"
#include "models/register_length.h"

namespace accrete::models {
namespace {

template <class Real>
std::vector<AttentionKernels<Real>> runnable() {
  std::vector<AttentionKernels<Real>> out = {plain_attention_kernels<Real>()};
#if defined(__x86_64__)
  if (has_registers_of_32_bytes()) out.push_back(avx2_attention_kernels<Real>());
  if (has_registers_of_64_bytes()) out.push_back(avx512_attention_kernels<Real>());
#endif
  return out;
}

constexpr std::size_t kRows = 9;

/// Some nodes, repeats among them.
std::vector<std::uint32_t> nodes_of(std::size_t count) {
  std::vector<std::uint32_t> nodes;
  for (std::size_t e = 0; e < count; ++e)
    nodes.push_back(static_cast<std::uint32_t>(e * 7 % 5 + e % kRows / 2));
  return nodes;
}

struct Shape {
  std::size_t width, heads, nodes;
};
constexpr Shape kShapes[] = {{1, 1, 1},   {6, 3, 2},   {12, 4, 7},  {16, 2, 16},  {32, 4, 33},
                             {45, 5, 20}, {64, 4, 49}, {64, 8, 31}, {128, 4, 50}, {160, 5, 3}};

/// What one set of loops makes of a row.
template <class Real>
struct Outcome {
  RowMatrix<Real> share, mean, d_score, d_asks, d_input;
};

template <class Real>
struct Told {
  explicit Told(const Shape& shape)
      : nodes(nodes_of(shape.nodes)),
        input(random_matrix<Real>(1, kRows, shape.width)),
        asks(random_matrix<Real>(2, shape.heads, shape.width)),
        added(random_matrix<Real>(3, shape.heads, shape.nodes)),
        d_mean(random_matrix<Real>(4, shape.heads, shape.width)),
        d_before(random_matrix<Real>(5, kRows, shape.width)) {}

  std::vector<std::uint32_t> nodes;
  RowMatrix<Real> input, asks, added, d_mean, d_before;
};

template <class Real>
Outcome<Real> run(const AttentionKernels<Real>& kernels, const Shape& shape) {
  const Told<Real> told(shape);
  Outcome<Real> out;
  out.share = told.added;
  out.mean = random_matrix<Real>(6, shape.heads, shape.width);  // to be overwritten
  out.d_asks = told.d_mean;                                     // to be overwritten, as it may
  out.d_score = out.share;
  out.d_input = told.d_before;  // to be added to
  kernels.forward({told.input.data(), shape.width, shape.heads, told.nodes, told.asks.data(),
                   out.share.data(), out.mean.data()});
  kernels.back({told.input.data(), shape.width, shape.heads, told.nodes, told.asks.data(),
                out.share.data(), out.d_asks.data(), out.d_score.data(), out.d_asks.data(),
                out.d_input.data()});
  return out;
}

/// The means by definition.
Matrix means(const Told<double>& told, const Matrix& input, const Matrix& asks,
             const Matrix& added) {
  Matrix mean = Matrix::Zero(asks.rows(), asks.cols());
  for (Eigen::Index h = 0; h < asks.rows(); ++h) {
    double total = 0;
    for (std::size_t e = 0; e < told.nodes.size(); ++e) {
      const auto node = input.row(told.nodes[e]);
      const double power = std::exp(asks.row(h).dot(node) + added(h, static_cast<Eigen::Index>(e)));
      total += power;
      mean.row(h) += power * node;
    }
    mean.row(h) /= total;
  }
  return mean;
}

TEST(AttentionRow, IsItsDefinitionAndItsGradientThatOfDifferences) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(testing::Message() << shape.width << " wide, " << shape.nodes << " nodes");
    const Told<double> told(shape);
    const Outcome<double> out = run(runnable<double>().back(), shape);
    const Matrix expected = means(told, told.input, told.asks, told.added);
    EXPECT_LT((out.mean - expected).cwiseAbs().maxCoeff(), 1e-12);
    const Outcome<float> floats = run(runnable<float>().back(), shape);
    EXPECT_LT((floats.mean.cast<double>() - expected).cwiseAbs().maxCoeff(), 2e-5);
    constexpr double kStep = 1e-6;
    const auto slope = [&](Matrix Told<double>::*which, Eigen::Index i) {
      Told<double> above = told;
      Told<double> below = told;
      (above.*which).data()[i] += kStep;
      (below.*which).data()[i] -= kStep;
      return (means(above, above.input, above.asks, above.added) -
              means(below, below.input, below.asks, below.added))
                 .cwiseProduct(told.d_mean)
                 .sum() /
             2 / kStep;
    };
    for (Eigen::Index i = 0; i < out.d_asks.size(); ++i)
      EXPECT_NEAR(out.d_asks.data()[i], slope(&Told<double>::asks, i), 1e-7);
    for (Eigen::Index i = 0; i < out.d_score.size(); ++i)
      EXPECT_NEAR(out.d_score.data()[i], slope(&Told<double>::added, i), 1e-7);
    for (Eigen::Index i = 0; i < out.d_input.size(); ++i) {
      EXPECT_NEAR(out.d_input.data()[i] - told.d_before.data()[i], slope(&Told<double>::input, i),
                  1e-7);
    }
  }
}

template <class Real>
void expect_same_bits() {
  const auto all = runnable<Real>();
  for (const Shape& shape : kShapes) {
    const Outcome<Real> plain = run(all.front(), shape);
    for (const AttentionKernels<Real>& kernels : all) {
      const Outcome<Real> told = run(kernels, shape);
      EXPECT_TRUE(told.share == plain.share) << shape.width;
      EXPECT_TRUE(told.mean == plain.mean) << shape.width;
      EXPECT_TRUE(told.d_score == plain.d_score) << shape.width;
      EXPECT_TRUE(told.d_asks == plain.d_asks) << shape.width;
      EXPECT_TRUE(told.d_input == plain.d_input) << shape.width;
    }
  }
}

TEST(AttentionRow, AllWidthsSayTheSameBits) {
  expect_same_bits<float>();
  expect_same_bits<double>();
}

}  // namespace
}  // namespace accrete::models
