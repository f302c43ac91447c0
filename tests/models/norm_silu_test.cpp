// SiLU(LayerNorm(x)), its gradient and sigmoids in every vector width: against each other, by
// definition and by differences.
#include "models/norm_silu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/fixed_lanes.h"
#include "models/norm_silu_kernels.h"
#include "models/register_length.h"

namespace accrete::models {
namespace {

template <class Real>
std::vector<NormSiluKernels<Real>> runnable() {
  std::vector<NormSiluKernels<Real>> out = {plain_norm_silu_kernels<Real>()};
#if defined(__x86_64__)
  if (has_registers_of_32_bytes()) out.push_back(avx2_norm_silu_kernels<Real>());
  if (has_registers_of_64_bytes()) out.push_back(avx512_norm_silu_kernels<Real>());
#endif
  return out;
}

constexpr std::size_t kRows = 19;  // more than are worked on at once, and some are left

/// Rows of a larger matrix, in no order, and their weights.
constexpr std::size_t kFarRows = 22;

std::vector<std::uint32_t> places() {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < kRows; ++i)
    out.push_back((7 * i + 8) % kFarRows);
  return out;
}

template <class Real>
std::vector<Real> weights() {
  std::vector<Real> out;
  for (std::size_t i = 0; i < kRows; ++i)
    out.push_back(static_cast<Real>(i * 5 % 8) / 8);
  return out;
}

/// What one set of loops makes of rows of a width.
template <class Real>
struct Outcome {
  RowMatrix<Real> out, normal, gate, d_x, d_gain, d_shift;
  std::vector<Real> scale = std::vector<Real>(kRows);
  std::uint64_t asleep = 0;
};

template <class Real>
RowMatrix<Real> gain_of(std::size_t width) {
  return random_matrix<Real>(1, 1, width) * Real(4);
}

template <class Real>
Outcome<Real> run(const NormSiluKernels<Real>& kernels, std::size_t width) {
  const RowMatrix<Real> gain = gain_of<Real>(width);
  const RowMatrix<Real> shift = random_matrix<Real>(2, 1, width) * Real(3);
  const RowMatrix<Real> x = random_matrix<Real>(3, kRows, width);
  const RowMatrix<Real> d_out = random_matrix<Real>(4, kRows, width);
  Outcome<Real> told;
  for (RowMatrix<Real>* matrix : {&told.out, &told.normal, &told.gate, &told.d_x})
    matrix->resize(x.rows(), x.cols());
  told.d_gain = random_matrix<Real>(5, 1, width);  // to be added to
  told.d_shift = random_matrix<Real>(6, 1, width);
  told.asleep =
      kernels.forward({kRows, width, gain.data(), shift.data(), x.data(), told.normal.data(),
                       told.gate.data(), width, told.scale.data(), told.out.data()});
  kernels.back({kRows, width, gain.data(), shift.data(), told.normal.data(), told.gate.data(),
                told.scale.data(), d_out.data(), told.d_x.data(), told.d_gain.data(),
                told.d_shift.data()});
  return told;
}

Matrix defined(const Matrix& x, const Matrix& gain, const Matrix& shift) {
  Matrix out = x;
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    const double mean = x.row(i).mean();
    const double variance = (x.row(i).array() - mean).square().mean();
    for (Eigen::Index c = 0; c < x.cols(); ++c) {
      const double y = (x(i, c) - mean) / std::sqrt(variance + 1e-5) * gain(0, c) + shift(0, c);
      out(i, c) = y / (1 + std::exp(-y));
    }
  }
  return out;
}

constexpr std::size_t kWidths[] = {1, 7, 8, 16, 21, 32, 61, 128};

TEST(NormSilu, IsItsDefinitionAndItsGradientThatOfDifferences) {
  for (const std::size_t width : kWidths) {
    const Matrix gain = gain_of<double>(width);
    const Matrix shift = random_matrix<double>(2, 1, width) * 3;
    const Matrix x = random_matrix<double>(3, kRows, width);
    const Matrix d_out = random_matrix<double>(4, kRows, width);
    const Outcome<double> told = run(runnable<double>().back(), width);
    const Matrix expected = defined(x, gain, shift);
    EXPECT_LT((told.out - expected).cwiseAbs().maxCoeff(), 1e-12) << width;
    const Outcome<float> floats = run(runnable<float>().back(), width);
    EXPECT_LT((floats.out.cast<double>() - expected).cwiseAbs().maxCoeff(), 2e-5) << width;
    std::uint64_t asleep = 0;
    for (Eigen::Index i = 0; i < x.size(); ++i) {
      const double y = gain(0, i % x.cols()) * told.normal.data()[i] + shift(0, i % x.cols());
      asleep += y < -4 ? 1 : 0;
    }
    EXPECT_EQ(told.asleep, asleep);
    const auto moved = [&](Matrix a, Matrix g, Matrix s) {
      return defined(a, g, s).cwiseProduct(d_out).sum();
    };
    constexpr double kStep = 1e-6;
    Matrix one = Matrix::Zero(1, x.cols());
    for (Eigen::Index c = 0; c < x.cols(); ++c) {
      one.setZero();
      one(0, c) = kStep;
      const double by_gain =
          (moved(x, gain + one, shift) - moved(x, gain - one, shift)) / 2 / kStep;
      const double by_shift =
          (moved(x, gain, shift + one) - moved(x, gain, shift - one)) / 2 / kStep;
      EXPECT_NEAR(told.d_gain(0, c) - random_matrix<double>(5, 1, width)(0, c), by_gain, 1e-6);
      EXPECT_NEAR(told.d_shift(0, c) - random_matrix<double>(6, 1, width)(0, c), by_shift, 1e-6);
      for (Eigen::Index i = 0; i < x.rows(); ++i) {
        Matrix above = x;
        Matrix below = x;
        above(i, c) += kStep;
        below(i, c) -= kStep;
        const double expect = (moved(above, gain, shift) - moved(below, gain, shift)) / 2 / kStep;
        EXPECT_NEAR(told.d_x(i, c), expect, 1e-5) << width;
      }
    }
  }
}

template <class Real>
void expect_same_bits() {
  const auto all = runnable<Real>();
  for (const std::size_t width : kWidths) {
    const Outcome<Real> plain = run(all.front(), width);
    for (const NormSiluKernels<Real>& kernels : all) {
      const Outcome<Real> told = run(kernels, width);
      EXPECT_TRUE(told.out == plain.out && told.normal == plain.normal) << width;
      EXPECT_TRUE(told.gate == plain.gate && told.scale == plain.scale) << width;
      EXPECT_TRUE(told.d_x == plain.d_x) << width;
      EXPECT_TRUE(told.d_gain == plain.d_gain && told.d_shift == plain.d_shift) << width;
      EXPECT_EQ(told.asleep, plain.asleep);
    }
  }
}

TEST(NormSilu, AllWidthsSayTheSameBits) {
  expect_same_bits<float>();
  expect_same_bits<double>();
}

TEST(NormSilu, KeepsNothingAndWorksInPlace) {
  constexpr std::size_t kWidth = 37;
  const Outcome<float> told = run(runnable<float>().front(), kWidth);
  const RowMatrix<float> gain = gain_of<float>(kWidth);
  const RowMatrix<float> shift = random_matrix<float>(2, 1, kWidth) * 3.0F;
  RowMatrix<float> x = random_matrix<float>(3, kRows, kWidth);
  std::vector<float> normal(NormSiluRows<float>::kRowsAtOnce * kWidth);
  std::vector<float> gate(kWidth);
  norm_silu<float>({kRows, kWidth, gain.data(), shift.data(), x.data(), normal.data(), gate.data(),
                    0, nullptr, x.data()});
  EXPECT_TRUE(x == told.out);
  RowMatrix<float> d_x = random_matrix<float>(4, kRows, kWidth);
  norm_silu_gradient<float>({kRows, kWidth, gain.data(), shift.data(), told.normal.data(),
                             told.gate.data(), told.scale.data(), d_x.data(), d_x.data(), nullptr,
                             nullptr});
  EXPECT_TRUE(d_x == told.d_x);
}

TEST(NormSilu, WritesAndReadsRowsWhereTheyLie) {
  constexpr std::size_t kWidth = 37;
  const std::vector<std::uint32_t> far = places();
  const Outcome<float> told = run(runnable<float>().front(), kWidth);
  const RowMatrix<float> gain = gain_of<float>(kWidth);
  const RowMatrix<float> shift = random_matrix<float>(2, 1, kWidth) * 3.0F;
  const RowMatrix<float> x = random_matrix<float>(3, kRows, kWidth);
  const RowMatrix<float> d_out = random_matrix<float>(4, kRows, kWidth);
  RowMatrix<float> normal(x.rows(), x.cols());
  RowMatrix<float> gate(x.rows(), x.cols());
  RowMatrix<float> d_x(x.rows(), x.cols());
  RowMatrix<float> out = RowMatrix<float>::Zero(kFarRows, x.cols());
  RowMatrix<float> d_far = RowMatrix<float>::Zero(kFarRows, x.cols());
  norm_silu<float>({kRows, kWidth, gain.data(), shift.data(), x.data(), normal.data(), gate.data(),
                    kWidth, nullptr, out.data(), nullptr, far.data()});
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    EXPECT_TRUE(out.row(far[static_cast<std::size_t>(i)]) == told.out.row(i));
    d_far.row(far[static_cast<std::size_t>(i)]) = d_out.row(i);
  }
  for (std::uint32_t row = 0; row < kFarRows; ++row) {
    const bool written = std::ranges::count(far, row) > 0;
    EXPECT_EQ(out.row(row).isZero(0), !written) << row;
  }
  norm_silu_gradient<float>({kRows, kWidth, gain.data(), shift.data(), normal.data(), gate.data(),
                             told.scale.data(), d_far.data(), d_x.data(), nullptr, nullptr,
                             far.data()});
  EXPECT_TRUE(d_x == told.d_x);
}

/// Rows and what is added to them are read where lists say, and what comes back is summed there.
TEST(NormSilu, ReadsAndSumsRowsByTheirLists) {
  constexpr std::size_t kWidth = 45;
  constexpr std::size_t kBiases = 3;
  const std::vector<std::uint32_t> far = places();
  std::vector<std::uint32_t> added;
  for (std::size_t i = 0; i < kRows; ++i)
    added.push_back(static_cast<std::uint32_t>(i * i % kBiases));
  const RowMatrix<float> gain = gain_of<float>(kWidth);
  const RowMatrix<float> shift = random_matrix<float>(2, 1, kWidth) * 3.0F;
  const RowMatrix<float> all = random_matrix<float>(3, kFarRows, kWidth);
  const RowMatrix<float> biases = random_matrix<float>(9, kBiases, kWidth);
  const RowMatrix<float> d_out = random_matrix<float>(4, kRows, kWidth);
  RowMatrix<float> x(kRows, kWidth);
  for (std::size_t i = 0; i < kRows; ++i)
    x.row(static_cast<Eigen::Index>(i)) = all.row(far[i]) + biases.row(added[i]);
  for (const NormSiluKernels<float>& kernels : runnable<float>()) {
    Outcome<float> plain;
    Outcome<float> told;
    for (Outcome<float>* one : {&plain, &told}) {
      for (RowMatrix<float>* matrix : {&one->out, &one->normal, &one->gate, &one->d_x})
        matrix->resize(x.rows(), x.cols());
      NormSiluRows<float> rows{kRows,
                               kWidth,
                               gain.data(),
                               shift.data(),
                               x.data(),
                               one->normal.data(),
                               one->gate.data(),
                               kWidth,
                               one->scale.data(),
                               one->out.data()};
      if (one == &told) {
        rows.x = all.data();
        rows.x_rows = far.data();
        rows.bias = biases.data();
        rows.bias_rows = added.data();
      }
      kernels.forward(rows);
    }
    EXPECT_TRUE(told.out == plain.out && told.normal == plain.normal);
    NormSiluGradient<float> back{kRows,
                                 kWidth,
                                 gain.data(),
                                 shift.data(),
                                 told.normal.data(),
                                 told.gate.data(),
                                 told.scale.data(),
                                 d_out.data(),
                                 plain.d_x.data(),
                                 nullptr,
                                 nullptr};
    kernels.back(back);
    RowMatrix<float> sums = random_matrix<float>(5, kBiases, kWidth);
    RowMatrix<float> expected = sums;
    for (std::size_t i = 0; i < kRows; ++i)
      expected.row(added[i]) += plain.d_x.row(static_cast<Eigen::Index>(i));
    back.d_x = told.d_x.data();
    back.sums = sums.data();
    back.sum_rows = added.data();
    kernels.back(back);
    EXPECT_TRUE(told.d_x == plain.d_x);
    EXPECT_TRUE(sums == expected);
  }
}

template <class Real>
void expect_mixed_rows() {
  const std::vector<std::uint32_t> far = places();
  const std::vector<Real> share = weights<Real>();
  for (const NormSiluKernels<Real>& kernels : runnable<Real>()) {
    for (const std::size_t width : kWidths) {
      const Outcome<Real> plain = run(kernels, width);
      const RowMatrix<Real> gain = gain_of<Real>(width);
      const RowMatrix<Real> shift = random_matrix<Real>(2, 1, width) * Real(3);
      const RowMatrix<Real> x = random_matrix<Real>(3, kRows, width);
      const RowMatrix<Real> before = random_matrix<Real>(7, kFarRows, width);
      RowMatrix<Real> out = before;
      RowMatrix<Real> normal(x.rows(), x.cols());
      RowMatrix<Real> gate(x.rows(), x.cols());
      const std::uint64_t asleep = kernels.forward(
          {kRows, width, gain.data(), shift.data(), x.data(), normal.data(), gate.data(), width,
           nullptr, out.data(), nullptr, far.data(), share.data()});
      EXPECT_EQ(asleep, plain.asleep);
      RowMatrix<Real> expected = before;
      const RowMatrix<Real> d_far = random_matrix<Real>(8, kFarRows, width);
      RowMatrix<Real> d_out(x.rows(), x.cols());
      for (Eigen::Index i = 0; i < x.rows(); ++i) {
        for (Eigen::Index c = 0; c < x.cols(); ++c) {
          Real& to = expected(far[static_cast<std::size_t>(i)], c);
          to = std::fma(share[static_cast<std::size_t>(i)], plain.out(i, c), to);
        }
        d_out.row(i) =
            share[static_cast<std::size_t>(i)] * d_far.row(far[static_cast<std::size_t>(i)]);
      }
      EXPECT_TRUE(out == expected) << width;
      // On the way back as if the weighted rows had been sent, and what the weights moved.
      RowMatrix<Real> d_x(x.rows(), x.cols());
      RowMatrix<Real> d_x_expected(x.rows(), x.cols());
      std::vector<Real> d_weights(kRows);
      kernels.back({kRows, width, gain.data(), shift.data(), normal.data(), gate.data(),
                    plain.scale.data(), d_out.data(), d_x_expected.data(), nullptr, nullptr});
      kernels.back({kRows, width, gain.data(), shift.data(), normal.data(), gate.data(),
                    plain.scale.data(), d_far.data(), d_x.data(), nullptr, nullptr, far.data(),
                    share.data(), d_weights.data()});
      EXPECT_TRUE(d_x == d_x_expected) << width;
      for (std::size_t i = 0; i < kRows; ++i) {
        const Real dot = fixed_dot(d_far.data() + far[static_cast<std::size_t>(i)] * width,
                                   plain.out.data() + i * width, width);
        if constexpr (sizeof(Real) == sizeof(float)) {
          EXPECT_EQ(d_weights[i], dot) << width;
        } else {
          EXPECT_NEAR(d_weights[i], dot, 1e-12) << width;
        }
      }
    }
  }
}

TEST(NormSilu, MixesRowsByWeight) {
  expect_mixed_rows<float>();
  expect_mixed_rows<double>();
}

std::vector<float> numbers_of_all_sizes() {
  std::vector<float> in;
  for (int i = -40'000; i <= 40'000; ++i)
    in.push_back(static_cast<float>(i) * 0.0025F);  // ±100
  for (const float far : {1e-30F, 1e30F, -1e30F, std::numeric_limits<float>::infinity()})
    in.push_back(far);
  in.push_back(-in.back());
  return in;
}

TEST(Sigmoids, AreNearAtEveryNumberAndTheSameInAllWidths) {
  const std::vector<float> in = numbers_of_all_sizes();
  std::vector<float> plain(in.size());
  plain_norm_silu_kernels<float>().sigmoids(in.data(), in.size(), plain.data());
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double expected = 1 / (1 + std::exp(-static_cast<double>(in[i])));
    EXPECT_NEAR(plain[i], expected, 3e-7 * expected + 2e-38) << in[i];
  }
  for (const NormSiluKernels<float>& kernels : runnable<float>()) {
    std::vector<float> told(in.size());
    kernels.sigmoids(in.data(), in.size(), told.data());
    EXPECT_TRUE(told == plain);
    float not_a_number = std::numeric_limits<float>::quiet_NaN();
    kernels.sigmoids(&not_a_number, 1, &not_a_number);
    EXPECT_TRUE(std::isnan(not_a_number));
  }
  std::vector<double> doubles(in.begin(), in.end());
  sigmoids(doubles.data(), doubles.size(), doubles.data());
  for (std::size_t i = 0; i < in.size(); ++i)
    EXPECT_EQ(doubles[i], 1 / (1 + std::exp(-static_cast<double>(in[i]))));
}

TEST(Exponentials, AreNearAtEveryNumberAndTheSameInAllWidths) {
  const std::vector<float> in = numbers_of_all_sizes();
  std::vector<float> plain(in.size());
  plain_norm_silu_kernels<float>().exponentials(in.data(), in.size(), plain.data());
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double expected = std::exp(std::clamp(static_cast<double>(in[i]), -87.0, 87.0));
    EXPECT_NEAR(plain[i], expected, 2e-7 * expected) << in[i];
  }
  for (const NormSiluKernels<float>& kernels : runnable<float>()) {
    std::vector<float> told = in;
    kernels.exponentials(told.data(), told.size(), told.data());
    EXPECT_TRUE(told == plain);
    float not_a_number = std::numeric_limits<float>::quiet_NaN();
    kernels.exponentials(&not_a_number, 1, &not_a_number);
    EXPECT_TRUE(std::isnan(not_a_number));
  }
  std::vector<double> doubles(in.begin(), in.end());
  exponentials(doubles.data(), doubles.size(), doubles.data());
  for (std::size_t i = 0; i < in.size(); ++i)
    EXPECT_EQ(doubles[i], std::exp(static_cast<double>(in[i])));
}

TEST(LogSigmoids, AreNearAtEveryNumberAndTheSameInAllWidths) {
  std::vector<float> in = numbers_of_all_sizes();
  in.resize(in.size() - 2);  // of −∞ it is −∞
  std::vector<float> plain(in.size());
  plain_norm_silu_kernels<float>().log_sigmoids(in.data(), in.size(), plain.data());
  std::vector<double> doubles(in.begin(), in.end());
  log_sigmoids(doubles.data(), doubles.size(), doubles.data());
  for (std::size_t i = 0; i < in.size(); ++i) {
    const double x = in[i];
    const double expected = std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x)));
    EXPECT_NEAR(plain[i], expected, 2e-7 + 2e-7 * std::abs(expected)) << in[i];
    EXPECT_NEAR(doubles[i], expected, 1e-14 * std::abs(expected));
  }
  for (const NormSiluKernels<float>& kernels : runnable<float>()) {
    std::vector<float> told(in.size());
    kernels.log_sigmoids(in.data(), in.size(), told.data());
    EXPECT_TRUE(told == plain);
    float not_a_number = std::numeric_limits<float>::quiet_NaN();
    kernels.log_sigmoids(&not_a_number, 1, &not_a_number);
    EXPECT_TRUE(std::isnan(not_a_number));
  }
}

}  // namespace
}  // namespace accrete::models
