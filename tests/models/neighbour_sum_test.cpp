// Sums over neighbours and their gradients in every vector width against each other and by
// definition.
#include "models/neighbour_sum.h"

#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/neighbour_kernels.h"

namespace accrete::models {
namespace {

template <class Real>
std::vector<NeighbourKernels<Real>> runnable() {
  std::vector<NeighbourKernels<Real>> out = {plain_neighbour_kernels<Real>()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) out.push_back(avx2_neighbour_kernels<Real>());
  if (__builtin_cpu_supports("avx512f")) out.push_back(avx512_neighbour_kernels<Real>());
#endif
  return out;
}

/// What one set of loops makes of rows of a width: the sums, and both gradients.
template <class Real>
struct Outcome {
  RowMatrix<Real> sums;
  RowMatrix<Real> d_input;
  RowMatrix<Real> d_weights;
};

constexpr std::size_t kRows = 9;
const std::vector<std::uint32_t> kNeighbours = {3, 0, 8, 3, 5, 1, 7};

template <class Real>
Outcome<Real> run(const NeighbourKernels<Real>& kernels, std::size_t width, std::size_t listeners) {
  const RowMatrix<Real> input = random_matrix<Real>(1, kRows, width);
  const RowMatrix<Real> weights = random_matrix<Real>(2, kNeighbours.size(), listeners);
  const RowMatrix<Real> d_sums = random_matrix<Real>(3, listeners, width);
  Outcome<Real> out;
  out.sums = random_matrix<Real>(4, listeners, width);  // to be overwritten
  out.d_input = random_matrix<Real>(5, kRows, width);   // to be added to
  out.d_weights = random_matrix<Real>(6, kNeighbours.size(), listeners);
  std::array<Real*, kListenersMax> to{};
  std::array<const Real*, kListenersMax> d_sum{};
  for (std::size_t j = 0; j < listeners; ++j) {
    to[j] = out.sums.data() + j * width;
    d_sum[j] = d_sums.data() + j * width;
  }
  const std::span told(weights.data(), kNeighbours.size() * listeners);
  kernels.sum({input.data(), width, kNeighbours, told, std::span(to).first(listeners)});
  const std::span by_weight(out.d_weights.data(), told.size());
  kernels.back({input.data(), width, kNeighbours, told, std::span(d_sum).first(listeners),
                out.d_input.data(), by_weight});
  return out;
}

TEST(NeighbourSum, IsItsDefinition) {
  for (const std::size_t width : {1UL, 7UL, 32UL, 61UL, 128UL}) {
    for (const std::size_t listeners : {1UL, 2UL}) {
      const Outcome<double> told = run(runnable<double>().back(), width, listeners);
      const Matrix input = random_matrix<double>(1, kRows, width);
      const Matrix weights = random_matrix<double>(2, kNeighbours.size(), listeners);
      const Matrix d_sums = random_matrix<double>(3, listeners, width);
      Matrix d_input = random_matrix<double>(5, kRows, width);
      Matrix sums = Matrix::Zero(d_sums.rows(), d_sums.cols());
      for (Eigen::Index i = 0; i < weights.rows(); ++i) {
        const auto u = static_cast<Eigen::Index>(kNeighbours[static_cast<std::size_t>(i)]);
        for (Eigen::Index j = 0; j < weights.cols(); ++j) {
          sums.row(j) += weights(i, j) * input.row(u);
          d_input.row(u) += weights(i, j) * d_sums.row(j);
          EXPECT_NEAR(told.d_weights(i, j), d_sums.row(j).dot(input.row(u)), 1e-12);
        }
      }
      EXPECT_LT((told.sums - sums).cwiseAbs().maxCoeff(), 1e-12);
      EXPECT_LT((told.d_input - d_input).cwiseAbs().maxCoeff(), 1e-12);
    }
  }
}

template <class Real>
void expect_same_bits() {
  const auto all = runnable<Real>();
  for (const std::size_t width : {3UL, 16UL, 45UL, 64UL, 128UL}) {
    for (const std::size_t listeners : {1UL, 2UL}) {
      const Outcome<Real> plain = run(all.front(), width, listeners);
      for (const NeighbourKernels<Real>& kernels : all) {
        const Outcome<Real> told = run(kernels, width, listeners);
        EXPECT_TRUE(told.sums == plain.sums) << width;
        EXPECT_TRUE(told.d_input == plain.d_input) << width;
        EXPECT_TRUE(told.d_weights == plain.d_weights) << width;
      }
    }
  }
}

TEST(NeighbourSum, AllWidthsSayTheSameBits) {
  expect_same_bits<float>();
  expect_same_bits<double>();
}

constexpr std::size_t kScores = 3;
const std::vector<std::uint32_t> kNodes = {3, 0, 8, 2, 5, 1, 7};

/// What scores of kNodes send back: to their rows of the input, and to the queries below.
template <class Real>
RowMatrix<Real> send_back(const NeighbourKernels<Real>& kernels, std::size_t width) {
  const RowMatrix<Real> input = random_matrix<Real>(1, kRows, width);
  const RowMatrix<Real> query = random_matrix<Real>(2, kScores, width);
  const RowMatrix<Real> d_score = random_matrix<Real>(3, kRows, kScores);
  RowMatrix<Real> both = random_matrix<Real>(4, kRows + kScores, width);
  kernels.scores({input.data(), width, kNodes, query.data(), kScores, d_score.data(), both.data(),
                  both.data() + kRows * width});
  return both;
}

TEST(ScoreGradient, IsItsDefinition) {
  for (const std::size_t width : {1UL, 7UL, 32UL, 61UL, 128UL}) {
    const Matrix input = random_matrix<double>(1, kRows, width);
    const Matrix query = random_matrix<double>(2, kScores, width);
    Matrix d_score = random_matrix<double>(3, kRows, kScores);
    d_score.row(4).setZero();  // nobody asked for these
    d_score.row(6).setZero();
    Matrix expected = random_matrix<double>(4, kRows + kScores, width);
    expected.topRows(kRows) += d_score * query;
    expected.bottomRows(kScores) += d_score.transpose() * input;
    for (const NeighbourKernels<double>& kernels : runnable<double>())
      EXPECT_LT((send_back(kernels, width) - expected).cwiseAbs().maxCoeff(), 1e-12) << width;
  }
}

TEST(ScoreGradient, AllWidthsSayTheSameBits) {
  for (const std::size_t width : {3UL, 16UL, 45UL, 128UL}) {
    const RowMatrix<float> plain = send_back(runnable<float>().front(), width);
    for (const NeighbourKernels<float>& kernels : runnable<float>())
      EXPECT_TRUE(send_back(kernels, width) == plain) << width;
  }
}

/// Rows that are begun by the first who adds to them, in room that holds anything, are those that
/// were zero before.
TEST(NeighbourSum, RowsThatNobodyBeganNeedNotBeCleared) {
  for (const NeighbourKernels<float>& kernels : runnable<float>()) {
    for (const std::size_t width : {7UL, 61UL, 128UL}) {
      const RowMatrix<float> input = random_matrix<float>(1, kRows, width);
      const RowMatrix<float> weights = random_matrix<float>(2, kNeighbours.size(), 1);
      const RowMatrix<float> d_sum = random_matrix<float>(3, 1, width);
      const std::array<const float*, 1> from{d_sum.data()};
      NeighbourGradient<float> back{
          input.data(), width,   kNeighbours, std::span(weights.data(), kNeighbours.size()),
          from,         nullptr, {}};
      RowMatrix<float> cleared = RowMatrix<float>::Zero(input.rows(), input.cols());
      back.d_input = cleared.data();
      kernels.back(back);
      RowMatrix<float> room = RowMatrix<float>::Constant(input.rows(), input.cols(), NAN);
      room.row(0).setZero();
      std::vector<std::uint8_t> begun(kRows, 0);
      begun[0] = 1;
      back.d_input = room.data();
      back.begun = begun.data();
      kernels.back(back);
      for (Eigen::Index u = 0; u < room.rows(); ++u) {
        const bool heard = begun[static_cast<std::size_t>(u)] != 0;
        EXPECT_TRUE(heard ? room.row(u) == cleared.row(u) : std::isnan(room(u, 0))) << u;
      }
      EXPECT_EQ(begun, (std::vector<std::uint8_t>{1, 1, 0, 1, 0, 1, 0, 1, 1}));
    }
  }
}

/// Lists name rows in any order and more than once; without one a row is added to its like.
TEST(RowAddition, IsItsDefinition) {
  const std::vector<std::uint32_t> to_rows = {2, 7, 2, 0, 8, 1, 2};
  for (const std::size_t width : {1UL, 7UL, 16UL, 61UL, 128UL}) {
    const RowMatrix<float> from = random_matrix<float>(1, kRows, width);
    const RowMatrix<float> start = random_matrix<float>(2, kRows, width);
    for (const bool from_listed : {false, true}) {
      for (const bool to_listed : {false, true}) {
        RowMatrix<float> expected = start;
        for (std::size_t i = 0; i < kNeighbours.size(); ++i) {
          const auto source = static_cast<Eigen::Index>(from_listed ? kNeighbours[i] : i);
          expected.row(static_cast<Eigen::Index>(to_listed ? to_rows[i] : i)) += from.row(source);
        }
        RowMatrix<float> told = start;
        add_rows<float>({kNeighbours.size(), width, from.data(), told.data(),
                         from_listed ? kNeighbours.data() : nullptr,
                         to_listed ? to_rows.data() : nullptr});
        EXPECT_TRUE(told == expected) << width << from_listed << to_listed;
      }
    }
  }
}

}  // namespace
}  // namespace accrete::models
