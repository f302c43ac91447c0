// Sums over neighbours and their gradients in every vector width against each other and by
// definition.
#include "models/neighbour_sum.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/neighbour_kernels.h"
#include "models/register_length.h"

namespace accrete::models {
namespace {

template <class Real>
std::vector<NeighbourKernels<Real>> runnable() {
  std::vector<NeighbourKernels<Real>> out = {plain_neighbour_kernels<Real>()};
#if defined(__x86_64__)
  if (has_registers_of_32_bytes()) out.push_back(avx2_neighbour_kernels<Real>());
  if (has_registers_of_64_bytes()) out.push_back(avx512_neighbour_kernels<Real>());
#endif
  return out;
}

/// What one set of loops makes of rows of a width: the sums, and both gradients.
template <class Real>
struct Outcome {
  RowMatrix<Real> sums;
  RowMatrix<Real> d_rows;  ///< of kAsked
  RowMatrix<Real> d_weights;
};

constexpr std::size_t kRows = 9;
const std::vector<std::uint32_t> kNeighbours = {3, 0, 8, 3, 5, 1, 7};

// Rows that are asked what comes back to them, those of three sums that each is part of, and which
// rows begin with something.
const std::vector<std::uint32_t> kAsked = {8, 3, 4, 0, 5};
const std::vector<std::vector<std::uint32_t>> kPartOf = {
    {2}, {}, {1}, {0, 2, 0, 1, 2, 1, 0}, {}, {1}, {}, {2}, {0, 1}};
const std::vector<std::uint8_t> kBegun = {1, 0, 0, 0, 1, 0, 1, 0, 1};
constexpr std::size_t kSums = 3;
constexpr std::size_t kAskedParts = 11;

template <class Real>
struct Parts {
  std::vector<std::uint32_t> begin{0};
  std::vector<SumPart<Real>> parts;

  Parts() {
    const RowMatrix<Real> weights = random_matrix<Real>(2, 1, 64);
    for (const auto& sums : kPartOf) {
      for (const std::uint32_t sum : sums)
        parts.push_back({sum, weights.data()[parts.size()]});
      begin.push_back(static_cast<std::uint32_t>(parts.size()));
    }
  }
};

template <class Real>
Outcome<Real> run(const NeighbourKernels<Real>& kernels, std::size_t width, std::size_t listeners) {
  const RowMatrix<Real> input = random_matrix<Real>(1, kRows, width);
  const RowMatrix<Real> weights = random_matrix<Real>(2, kNeighbours.size(), listeners);
  Outcome<Real> out;
  out.sums = random_matrix<Real>(4, listeners, width);  // to be overwritten
  std::array<Real*, kListenersMax> to{};
  for (std::size_t j = 0; j < listeners; ++j)
    to[j] = out.sums.data() + j * width;
  const std::span told(weights.data(), kNeighbours.size() * listeners);
  kernels.sum({input.data(), width, kNeighbours, told, std::span(to).first(listeners)});
  const RowMatrix<Real> d_sums = random_matrix<Real>(3, kSums, width);
  RowMatrix<Real> first = random_matrix<Real>(5, kRows, width);
  for (std::size_t u = 0; u < kRows; ++u) {
    if (kBegun[u] == 0) first.row(static_cast<Eigen::Index>(u)).setConstant(Real(NAN));
  }
  const Parts<Real> parts;
  out.d_rows = random_matrix<Real>(6, kAsked.size(), width);
  out.d_weights = random_matrix<Real>(7, 1, kAskedParts);
  NeighbourGradient<Real> back{input.data(),       width,         kAsked,        parts.begin.data(),
                               parts.parts.data(), d_sums.data(), kBegun.data(), first.data(),
                               out.d_rows.data()};
  kernels.back(back);
  const RowMatrix<Real> alone = out.d_rows;
  back.d_weights = out.d_weights.data();
  kernels.back(back);
  EXPECT_TRUE(out.d_rows == alone) << "whether anybody asks for weights or not";
  return out;
}

TEST(NeighbourSum, IsItsDefinition) {
  for (const std::size_t width : {1UL, 7UL, 32UL, 61UL, 128UL}) {
    for (const std::size_t listeners : {1UL, 2UL}) {
      const Outcome<double> told = run(runnable<double>().back(), width, listeners);
      const Matrix input = random_matrix<double>(1, kRows, width);
      const Matrix weights = random_matrix<double>(2, kNeighbours.size(), listeners);
      Matrix sums = Matrix::Zero(told.sums.rows(), told.sums.cols());
      for (Eigen::Index i = 0; i < weights.rows(); ++i) {
        const auto u = static_cast<Eigen::Index>(kNeighbours[static_cast<std::size_t>(i)]);
        for (Eigen::Index j = 0; j < weights.cols(); ++j)
          sums.row(j) += weights(i, j) * input.row(u);
      }
      EXPECT_LT((told.sums - sums).cwiseAbs().maxCoeff(), 1e-12);
    }
  }
}

TEST(NeighbourGradient, IsItsDefinition) {
  for (const std::size_t width : {1UL, 7UL, 32UL, 61UL, 64UL, 128UL}) {
    const Matrix input = random_matrix<double>(1, kRows, width);
    const Matrix d_sums = random_matrix<double>(3, kSums, width);
    const Matrix first = random_matrix<double>(5, kRows, width);
    const Parts<double> parts;
    for (const NeighbourKernels<double>& kernels : runnable<double>()) {
      const Outcome<double> told = run(kernels, width, 1);
      Eigen::Index part = 0;
      for (std::size_t i = 0; i < kAsked.size(); ++i) {
        const std::uint32_t u = kAsked[i];
        Matrix expected = Matrix::Zero(1, input.cols());
        if (kBegun[u] != 0) expected = first.row(u);
        for (std::uint32_t p = parts.begin[u]; p < parts.begin[u + 1]; ++p) {
          expected += parts.parts[p].weight * d_sums.row(parts.parts[p].sum);
          EXPECT_NEAR(told.d_weights(0, part++), d_sums.row(parts.parts[p].sum).dot(input.row(u)),
                      1e-12);
        }
        const auto row = told.d_rows.row(static_cast<Eigen::Index>(i));
        EXPECT_LT((row - expected).cwiseAbs().maxCoeff(), 1e-12) << width;
      }
      EXPECT_EQ(part, static_cast<Eigen::Index>(kAskedParts));
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
        EXPECT_TRUE(told.d_rows == plain.d_rows) << width;
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

TEST(ScoreRows, IsItsDefinitionInAllWidths) {
  const std::vector<std::uint32_t> nodes = {8, 0, 5};
  for (const std::size_t width : {1UL, 7UL, 16UL, 61UL, 128UL}) {
    const RowMatrix<float> input = random_matrix<float>(1, kRows, width);
    const RowMatrix<float> query = random_matrix<float>(2, kScores, width);
    RowMatrix<float> plain(kRows, kScores);
    plain_neighbour_kernels<float>().score(
        {input.data(), width, kRows, query.data(), kScores, plain.data()});
    const Matrix exact = input.cast<double>() * query.cast<double>().transpose();
    EXPECT_LT((plain.cast<double>() - exact).cwiseAbs().maxCoeff(), 1e-4) << width;
    for (const NeighbourKernels<float>& kernels : runnable<float>()) {
      RowMatrix<float> all(kRows, kScores);
      kernels.score({input.data(), width, kRows, query.data(), kScores, all.data()});
      EXPECT_TRUE(all == plain) << width;
      RowMatrix<float> some = RowMatrix<float>::Constant(kRows, kScores, 7);
      kernels.score(
          {input.data(), width, nodes.size(), query.data(), kScores, some.data(), nodes.data()});
      for (std::uint32_t u = 0; u < kRows; ++u) {
        const bool told = std::ranges::count(nodes, u) > 0;
        EXPECT_TRUE(told ? some.row(u) == plain.row(u) : (some.row(u).array() == 7).all()) << u;
      }
    }
  }
}

const std::vector<std::uint32_t> kNodes = {3, 0, 8, 2, 5, 1, 7};

/// What scores of kNodes send back: to each of them, and to the queries below.
template <class Real>
RowMatrix<Real> send_back(const NeighbourKernels<Real>& kernels, std::size_t width) {
  const RowMatrix<Real> input = random_matrix<Real>(1, kRows, width);
  const RowMatrix<Real> query = random_matrix<Real>(2, kScores, width);
  const RowMatrix<Real> d_score = random_matrix<Real>(3, kRows, kScores);
  RowMatrix<Real> both = random_matrix<Real>(4, kNodes.size() + kScores, width);
  kernels.score_back({input.data(), width, kNodes, query.data(), kScores, d_score.data(),
                      both.data(), both.data() + kNodes.size() * width});
  return both;
}

TEST(ScoreGradient, IsItsDefinition) {
  for (const std::size_t width : {1UL, 7UL, 32UL, 61UL, 128UL}) {
    const Matrix input = random_matrix<double>(1, kRows, width);
    const Matrix query = random_matrix<double>(2, kScores, width);
    const Matrix d_score = random_matrix<double>(3, kRows, kScores);
    Matrix expected = random_matrix<double>(4, kNodes.size() + kScores, width);
    for (std::size_t i = 0; i < kNodes.size(); ++i) {
      const std::uint32_t u = kNodes[i];
      expected.row(static_cast<Eigen::Index>(i)) += d_score.row(u) * query;
      expected.bottomRows(kScores) += d_score.row(u).transpose() * input.row(u);
    }
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
