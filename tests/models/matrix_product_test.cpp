// Products of every kernel this machine can run against naive loops, bit by bit.
#include "models/matrix_product.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "models/matrix_kernels.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;

/// What the numbers of a matrix are: tame, or one in eight a NaN, an infinity, a zero of either
/// sign, the smallest or the largest number.
enum class Numbers { Tame, Wild };

template <class Real>
RowMatrix<Real> random_matrix(Index rows, Index columns, Numbers numbers, Rng& rng) {
  using Limits = std::numeric_limits<Real>;
  const std::vector<Real> wild = {
      Limits::quiet_NaN(),  Limits::infinity(), -Limits::infinity(), Real{0}, -Real{0},
      Limits::denorm_min(), Limits::max(),      -Limits::max()};
  RowMatrix<Real> out(rows, columns);
  for (Index i = 0; i < out.size(); ++i) {
    out.data()[i] = static_cast<Real>(2 * rng.uniform() - 1);
    if (numbers == Numbers::Wild && rng.below(8) == 0) out.data()[i] = wild[rng.below(wild.size())];
  }
  return out;
}

/// Same bits, or both NaN.
template <class Real>
bool same(Real a, Real b) {
  using Bits = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;
  return std::bit_cast<Bits>(a) == std::bit_cast<Bits>(b) || (std::isnan(a) && std::isnan(b));
}

template <class Real>
void expect_same(const RowMatrix<Real>& a, const RowMatrix<Real>& b) {
  ASSERT_EQ(a.rows(), b.rows());
  ASSERT_EQ(a.cols(), b.cols());
  for (Index r = 0; r < a.rows(); ++r) {
    for (Index c = 0; c < a.cols(); ++c) {
      ASSERT_TRUE(same(a(r, c), b(r, c)))
          << "at " << r << ", " << c << ": " << a(r, c) << " and " << b(r, c);
    }
  }
}

template <class Real>
void naive_add(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  for (Index n = 0; n < a.rows(); ++n) {
    for (Index m = 0; m < b.cols(); ++m) {
      for (Index k = 0; k < a.cols(); ++k)
        out(n, m) = std::fma(a(n, k), b(k, m), out(n, m));
    }
  }
}

struct Shape {
  Index rows, inner, columns;
};

/// Nothing, one, tiles and panels and their neighbours, then whatever comes.
std::vector<Shape> shapes() {
  std::vector<Shape> out = {{0, 3, 4},     {3, 0, 4},    {3, 4, 0},     {1, 1, 1},    {6, 16, 64},
                            {7, 17, 65},   {23, 5, 63},  {24, 5, 64},   {25, 5, 128}, {121, 2, 3},
                            {120, 128, 8}, {5, 129, 33}, {30, 300, 31}, {1, 256, 200}};
  Rng rng(1, 0, Purpose::Test);
  for (int i = 0; i < 40; ++i) {
    const auto any = [&] { return static_cast<Index>(rng.below(rng.below(4) == 0 ? 150 : 40)); };
    out.push_back({any(), any(), any()});
  }
  return out;
}

template <class Real>
class MatrixProduct : public testing::Test {};
using Reals = testing::Types<float, double>;
TYPED_TEST_SUITE(MatrixProduct, Reals);

TYPED_TEST(MatrixProduct, EveryKernelGivesTheBitsOfTheNaiveLoop) {
  using Matrix = RowMatrix<TypeParam>;
  Rng rng(2, 0, Purpose::Test);
  for (const Shape& s : shapes()) {
    for (const Numbers numbers : {Numbers::Tame, Numbers::Wild}) {
      const Matrix a = random_matrix<TypeParam>(s.rows, s.inner, numbers, rng);
      const Matrix b = random_matrix<TypeParam>(s.inner, s.columns, numbers, rng);
      const Matrix a_turned = a.transpose();
      const Matrix b_turned = b.transpose();
      const Matrix before = random_matrix<TypeParam>(s.rows, s.columns, numbers, rng);
      const auto N = static_cast<std::size_t>(s.rows);
      const auto K = static_cast<std::size_t>(s.inner);
      const auto M = static_cast<std::size_t>(s.columns);
      for (const bool add : {false, true}) {
        Matrix expected = before;
        if (!add) expected.setZero();
        naive_add(a, b, expected);
        for (const Kernels<TypeParam>* kernels : runnable_kernels<TypeParam>()) {
          SCOPED_TRACE(testing::Message() << kernels->name << " " << N << "x" << K << "x" << M);
          Matrix out = before;
          run_product<TypeParam>(*kernels,
                                 {a.data(), K, 1, b.data(), M, 1, out.data(), N, K, M, add});
          expect_same(out, expected);
          out = before;
          run_product<TypeParam>(*kernels,
                                 {a.data(), K, 1, b_turned.data(), 1, K, out.data(), N, K, M, add});
          expect_same(out, expected);
          out = before;
          run_product<TypeParam>(*kernels,
                                 {a_turned.data(), 1, N, b.data(), M, 1, out.data(), N, K, M, add});
          expect_same(out, expected);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TYPED_TEST(MatrixProduct, TheSeamKnowsItsOperandsAndSizes) {
  using Matrix = RowMatrix<TypeParam>;
  Rng rng(3, 0, Purpose::Test);
  const Matrix a = random_matrix<TypeParam>(31, 20, Numbers::Tame, rng);
  const Matrix b = random_matrix<TypeParam>(20, 45, Numbers::Tame, rng);
  Matrix expected = Matrix::Zero(31, 45);
  naive_add(a, b, expected);
  Matrix out = Matrix::Constant(2, 3, TypeParam{7});
  multiply(a, b, out);
  expect_same(out, expected);
  out = Matrix::Constant(2, 3, TypeParam{7});
  multiply_transposed(a, Matrix(b.transpose()), out);
  expect_same(out, expected);

  naive_add(a, b, expected);
  Matrix sum = out;
  multiply(a, b, sum, true);
  expect_same(sum, expected);
  sum = out;
  multiply_transposed(a, Matrix(b.transpose()), sum, true);
  expect_same(sum, expected);
  sum = out;
  add_outer(Matrix(a.transpose()), b, sum);
  expect_same(sum, expected);
}

}  // namespace
}  // namespace accrete::models
