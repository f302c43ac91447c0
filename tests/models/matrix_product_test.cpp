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
  std::vector<Shape> out = {{0, 3, 4},     {3, 0, 4},    {3, 4, 0},     {1, 1, 1},     {6, 16, 64},
                            {7, 17, 65},   {23, 5, 63},  {24, 5, 64},   {25, 5, 128},  {121, 2, 3},
                            {120, 128, 8}, {5, 129, 33}, {30, 300, 31}, {1, 256, 200}, {64, 128, 8},
                            {64, 128, 9},  {65, 126, 8}, {150, 53, 3},  {33, 131, 4}};
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

TYPED_TEST(MatrixProduct, ListsStandForTheRowsTheyName) {
  using Matrix = RowMatrix<TypeParam>;
  Rng rng(5, 0, Purpose::Test);
  constexpr Index kAll = 40;
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{31}}) {
    std::vector<std::uint32_t> rows;
    for (std::size_t i = 0; i < count; ++i)
      rows.push_back(static_cast<std::uint32_t>((7 * i + 3) % 37));
    const auto n = static_cast<Index>(count);
    const auto picked = [&](const Matrix& from) {
      Matrix out(n, from.cols());
      for (Index i = 0; i < n; ++i)
        out.row(i) = from.row(rows[static_cast<std::size_t>(i)]);
      return out;
    };
    const Matrix a = random_matrix<TypeParam>(n, 20, Numbers::Tame, rng);
    const Matrix b = random_matrix<TypeParam>(20, 45, Numbers::Tame, rng);
    const Matrix b_turned = b.transpose();
    const Matrix wide = random_matrix<TypeParam>(kAll, 45, Numbers::Tame, rng);
    const Matrix narrow = random_matrix<TypeParam>(kAll, 20, Numbers::Tame, rng);
    Matrix some = picked(wide);
    naive_add(a, b, some);
    Matrix expected = wide;
    for (Index i = 0; i < n; ++i)
      expected.row(rows[static_cast<std::size_t>(i)]) = some.row(i);
    constexpr Index kFirst = 4;  // rows of other products lie around those of a
    Matrix around = random_matrix<TypeParam>(n + 6, 20, Numbers::Tame, rng);
    around.middleRows(kFirst, n) = a;
    Matrix out = wide;
    multiply_into<TypeParam>(around, kFirst, b, rows, out);
    expect_same(out, expected);
    out = wide;
    multiply_transposed_into<TypeParam>(a, b_turned, rows, out);
    expect_same(out, expected);
    expected = Matrix::Zero(n, 45);
    naive_add(picked(narrow), b, expected);
    out = random_matrix<TypeParam>(n + 6, 45, Numbers::Tame, rng);
    Matrix placed = out;
    placed.middleRows(kFirst, n) = expected;
    multiply_rows_transposed<TypeParam>(narrow, rows, b_turned, kFirst, out);
    expect_same(out, placed);
    multiply_rows<TypeParam>(narrow, rows, b, out);
    expect_same(out, expected);
    for (const Index columns : {3, 45}) {  // few are worked on another way
      const Matrix part = b.leftCols(columns);
      expected = Matrix::Zero(n, columns);
      naive_add(picked(narrow), part, expected);
      multiply_rows<TypeParam>(narrow, rows, part, out);
      expect_same(out, expected);
    }
    expected = b;
    naive_add(Matrix(a.transpose()), picked(wide), expected);
    out = b;
    add_outer_rows<TypeParam>(around, kFirst, wide, rows, out);
    expect_same(out, expected);
  }
}

/// One inner step and as many rows as a tile is wide: B has columns of one number then, in a list.
TYPED_TEST(MatrixProduct, ListsHoldForOneInnerStep) {
  using Matrix = RowMatrix<TypeParam>;
  Rng rng(6, 0, Purpose::Test);
  std::vector<std::uint32_t> rows;
  for (std::uint32_t i = 0; i < 128; ++i)
    rows.push_back(199 - i);
  for (const Index inner : {1, 2}) {
    for (const Index columns : {1, 3, 8}) {
      const Matrix a = random_matrix<TypeParam>(200, inner, Numbers::Tame, rng);
      const Matrix b = random_matrix<TypeParam>(inner, columns, Numbers::Tame, rng);
      Matrix picked(128, inner);
      for (Index i = 0; i < 128; ++i)
        picked.row(i) = a.row(199 - i);
      Matrix expected = Matrix::Zero(128, columns);
      naive_add(picked, b, expected);
      Matrix out;
      multiply_rows<TypeParam>(a, rows, b, out);
      expect_same(out, expected);
    }
  }
}

TYPED_TEST(MatrixProduct, HeadByHeadIsThatOfTheirBlocks) {
  using Matrix = RowMatrix<TypeParam>;
  Rng rng(4, 0, Purpose::Test);
  for (const Index heads : {1, 3, 4}) {
    constexpr Index kWidth = 24;
    const Index part = kWidth / heads;
    const Matrix x = random_matrix<TypeParam>(31, kWidth, Numbers::Tame, rng);
    const Matrix y = random_matrix<TypeParam>(31, heads * kWidth, Numbers::Tame, rng);
    const Matrix w = random_matrix<TypeParam>(kWidth, kWidth, Numbers::Tame, rng);
    const Matrix before = random_matrix<TypeParam>(kWidth, kWidth, Numbers::Tame, rng);
    Matrix expanded;
    Matrix reduced;
    Matrix outer = before;
    expand_heads(x, w, static_cast<std::size_t>(heads), expanded);
    reduce_heads(y, w, static_cast<std::size_t>(heads), reduced);
    add_head_outer(y, x, static_cast<std::size_t>(heads), outer);
    for (Index h = 0; h < heads; ++h) {
      const Matrix w_h = w.middleCols(h * part, part);
      const Matrix x_h = x.middleCols(h * part, part);
      const Matrix y_h = y.middleCols(h * kWidth, kWidth);
      Matrix expected = Matrix::Zero(31, kWidth);
      naive_add(x_h, Matrix(w_h.transpose()), expected);
      expect_same(Matrix(expanded.middleCols(h * kWidth, kWidth)), expected);
      expected = Matrix::Zero(31, part);
      naive_add(y_h, w_h, expected);
      expect_same(Matrix(reduced.middleCols(h * part, part)), expected);
      expected = Matrix::Zero(kWidth, part);
      naive_add(Matrix(y_h.transpose()), x_h, expected);
      expected += before.middleCols(h * part, part);
      expect_same(Matrix(outer.middleCols(h * part, part)), expected);
    }
  }
}

}  // namespace
}  // namespace accrete::models
