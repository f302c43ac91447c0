// Mixtures along the principal axes of rows that vary together.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <Eigen/Dense>
#include <gtest/gtest.h>

#include "models/gaussian_mixture.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Rows = RowMatrix<float>;

constexpr Index kWidth = 5;

MixtureOptions along_axes(std::size_t components) {
  MixtureOptions options;
  options.components = components;
  options.axes = kWidth;
  return options;
}

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

/// Rows that vary together, by one part in ten each by itself, around a place `off` along the
/// direction in which they vary least.
Rows together(std::size_t count, float off, Rng& rng) {
  Rows rows(static_cast<Index>(count), kWidth);
  for (Index i = 0; i < rows.rows(); ++i) {
    const double all = 2 * normal(rng);
    for (Index c = 0; c < kWidth; ++c)
      rows(i, c) = static_cast<float>(all + 0.2 * normal(rng)) + (c % 2 == 0 ? off : -off);
  }
  return rows;
}

Eigen::MatrixXd covariance(const Rows& rows) {
  const Eigen::MatrixXd all = rows.cast<double>();
  const Eigen::MatrixXd gaps = all.rowwise() - all.colwise().mean();
  return gaps.transpose() * gaps / static_cast<double>(rows.rows());
}

TEST(GaussianAxes, OfOneComponentItIsTheNormalOfAllCovariances) {
  Rng rng(301, 0, Purpose::Test);
  const Rows rows = together(400, 0.3F, rng);
  const auto mixture = GaussianMixture::fit(rows, along_axes(1), Rng(1, 0, Purpose::Training));
  const Eigen::MatrixXd varies = covariance(rows);
  const Eigen::MatrixXd inverse = varies.inverse();
  const Eigen::RowVectorXd mean = rows.cast<double>().colwise().mean();
  const double height = -0.5 * (static_cast<double>(kWidth) * std::log(2 * std::numbers::pi) +
                                std::log(varies.determinant()));
  for (Index i = 0; i < 50; ++i) {
    const Eigen::RowVectorXd gap = rows.row(i).cast<double>() - mean;
    const double expected = height - 0.5 * (gap * inverse * gap.transpose())(0);
    EXPECT_NEAR(mixture.log_density(rows, static_cast<std::size_t>(i)), expected, 1e-3);
  }
}

TEST(GaussianAxes, SamplesVaryTogetherAsTheRowsDo) {
  Rng rng(302, 0, Purpose::Test);
  const Rows rows = together(1000, 0.3F, rng);
  const auto mixture = GaussianMixture::fit(rows, along_axes(1), Rng(1, 0, Purpose::Training));
  constexpr std::size_t kDrawn = 20'000;
  const Rows drawn = mixture.sample(kDrawn, rng);
  const Eigen::MatrixXd expected = covariance(rows);
  const Eigen::MatrixXd found = covariance(drawn);
  for (Index a = 0; a < kWidth; ++a) {
    const double error = std::sqrt(expected(a, a) / kDrawn);
    EXPECT_NEAR(drawn.col(a).cast<double>().mean(), rows.col(a).cast<double>().mean(), 3 * error);
    for (Index b = 0; b < kWidth; ++b) {
      const double spread = expected(a, a) * expected(b, b) + expected(a, b) * expected(a, b);
      EXPECT_NEAR(found(a, b), expected(a, b), 3 * std::sqrt(spread / kDrawn)) << a << " " << b;
    }
  }
}

TEST(GaussianAxes, TellBlocksApartThatLieSideBySide) {
  Rng rng(303, 0, Purpose::Test);
  const auto right = [&](bool axes) {
    MixtureOptions options;
    options.axes = axes ? kWidth : 0;
    BlockMixtures mixtures(options, 7);
    for (std::uint32_t block = 0; block < 2; ++block)
      mixtures.add(block, together(500, block == 0 ? 0.2F : -0.2F, rng));
    std::ptrdiff_t hits = 0;
    for (std::uint32_t block = 0; block < 2; ++block)
      hits += std::ranges::count(mixtures.likeliest(together(500, block == 0 ? 0.2F : -0.2F, rng)),
                                 block);
    return static_cast<double>(hits) / 1000;
  };
  EXPECT_GT(right(true), 0.95);
  EXPECT_LT(right(false), 0.85) << "columns by themselves do not show it";
}

TEST(GaussianAxes, LikelihoodNeverFallsAndAwkwardRowsAreFitted) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Rng rng(304, seed, Purpose::Test);
    Rows rows = together(1 + rng.below(40), 0.5F, rng);
    if (seed % 4 == 1) rows.col(1).setConstant(3);
    if (seed % 4 == 2) rows.setConstant(0.5F);
    if (seed % 4 == 3) rows.row(0) *= 1000;
    std::vector<double> path;
    const auto mixture = GaussianMixture::fit(rows, along_axes(1 + rng.below(3)),
                                              Rng(7, seed, Purpose::Training), &path);
    for (std::size_t r = 1; r < path.size(); ++r)
      ASSERT_GE(path[r], path[r - 1] - 1e-9 * std::max(1.0, std::abs(path[r]))) << seed;
    ASSERT_TRUE(std::isfinite(path.back()));
    EXPECT_TRUE(mixture.sample(10, rng).allFinite());
  }
}

TEST(GaussianAxes, AreTheSameBitsFromTheirState) {
  Rng rng(305, 0, Purpose::Test);
  const auto mixture =
      GaussianMixture::fit(together(80, 0.3F, rng), along_axes(2), Rng(1, 0, Purpose::Training));
  const std::string bytes = saved(mixture);
  EXPECT_EQ(mixture.memory_bytes(), 8U * (2 * (1 + 2 * kWidth) + 1) + 4U * kWidth * kWidth);
  EXPECT_EQ(bytes.size(), mixture.memory_bytes() + 37);
  GaussianMixture copy;
  expect_exact_state(bytes, copy);
  Rng first(306, 0, Purpose::Test);
  Rng second(306, 0, Purpose::Test);
  EXPECT_EQ(mixture.sample(20, first), copy.sample(20, second));
}

}  // namespace
}  // namespace accrete::models
