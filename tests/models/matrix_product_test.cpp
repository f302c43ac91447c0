// Products and gathers of every kernel this machine can run against naive loops, bit by bit.
#include "models/matrix_product.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "models/gather.h"
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

/// Lists of 0 to 6 of `rows` rows, with weights.
template <class Real>
struct Lists {
  std::vector<std::uint32_t> begin{0};
  std::vector<std::uint32_t> source;
  std::vector<Real> weight;

  Lists(std::size_t lists, std::size_t rows, Numbers numbers, Rng& rng) {
    for (std::size_t i = 0; i < lists; ++i) {
      for (std::uint64_t e = rng.below(7); e > 0; --e)
        source.push_back(static_cast<std::uint32_t>(rng.below(rows)));
      begin.push_back(static_cast<std::uint32_t>(source.size()));
    }
    const auto weights = random_matrix<Real>(1, static_cast<Index>(source.size()), numbers, rng);
    weight.assign(weights.data(), weights.data() + weights.size());
  }
  RowLists<Real> spans(bool weighted) const {
    return {begin, source, weighted ? std::span<const Real>(weight) : std::span<const Real>()};
  }
};

template <class Real>
RowMatrix<Real> naive_gather(const RowLists<Real>& lists, const RowMatrix<Real>& rows) {
  RowMatrix<Real> out = RowMatrix<Real>::Zero(static_cast<Index>(lists.size()), rows.cols());
  for (std::size_t i = 0; i < lists.size(); ++i) {
    const std::size_t count = lists.begin[i + 1] - lists.begin[i];
    for (Index c = 0; c < rows.cols() && count > 0; ++c) {
      Real sum = 0;
      for (std::size_t e = lists.begin[i]; e < lists.begin[i + 1]; ++e) {
        const Real x = rows(static_cast<Index>(lists.source[e]), c);
        sum = lists.weight.empty() ? sum + x : std::fma(lists.weight[e], x, sum);
      }
      out(static_cast<Index>(i), c) = sum * (1 / static_cast<Real>(count));
    }
  }
  return out;
}

template <class Real>
void naive_scatter(const RowLists<Real>& lists, const RowMatrix<Real>& g, RowMatrix<Real>& rows) {
  for (std::size_t i = 0; i < lists.size(); ++i) {
    for (std::size_t e = lists.begin[i]; e < lists.begin[i + 1]; ++e) {
      const Real scale = 1 / static_cast<Real>(lists.begin[i + 1] - lists.begin[i]);
      for (Index c = 0; c < rows.cols(); ++c) {
        const Real part = g(static_cast<Index>(i), c) * scale;
        Real& place = rows(static_cast<Index>(lists.source[e]), c);
        place = lists.weight.empty() ? place + part : std::fma(lists.weight[e], part, place);
      }
    }
  }
}

TYPED_TEST(MatrixProduct, GathersAndScattersAreTheNaiveOnesForEveryWidth) {
  using Matrix = RowMatrix<TypeParam>;
  constexpr std::size_t kRows = 37;
  constexpr std::size_t kLists = 50;
  Rng rng(4, 0, Purpose::Test);
  for (const Index width : {0, 1, 3, 7, 8, 15, 16, 31, 32, 33, 64, 100, 128, 255, 256, 300}) {
    for (const Numbers numbers : {Numbers::Tame, Numbers::Wild}) {
      const Lists<TypeParam> lists(kLists, kRows, numbers, rng);
      const auto rows = random_matrix<TypeParam>(kRows, width, numbers, rng);
      const auto g = random_matrix<TypeParam>(kLists, width, numbers, rng);
      for (const bool weighted : {false, true}) {
        SCOPED_TRACE(testing::Message() << "width " << width << ", weighted " << weighted);
        Matrix out = Matrix::Constant(2, 3, TypeParam{7});
        gather_mean(lists.spans(weighted), rows, out);
        expect_same(out, naive_gather(lists.spans(weighted), rows));
        Matrix back = rows;
        Matrix expected = rows;
        scatter_mean(lists.spans(weighted), g, back);
        naive_scatter(lists.spans(weighted), g, expected);
        expect_same(back, expected);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

/// One list of all rows, through each kernel by itself.
TYPED_TEST(MatrixProduct, EveryKernelGathersAlike) {
  using Matrix = RowMatrix<TypeParam>;
  constexpr std::size_t kRows = 9;
  const std::vector<std::uint32_t> begin = {0, kRows};
  const std::vector<std::uint32_t> source = {8, 3, 3, 0, 1, 7, 2, 5, 6};
  Rng rng(5, 0, Purpose::Test);
  for (const std::size_t width : {1u, 29u, 64u, 131u, 256u, 517u}) {
    const auto columns = static_cast<Index>(width);
    const auto rows = random_matrix<TypeParam>(kRows, columns, Numbers::Tame, rng);
    const auto weight = random_matrix<TypeParam>(1, kRows, Numbers::Tame, rng);
    const auto g = random_matrix<TypeParam>(1, columns, Numbers::Tame, rng);
    const RowLists<TypeParam> lists{begin, source, {weight.data(), kRows}};
    const TypeParam scale = 1 / static_cast<TypeParam>(kRows);
    Matrix expected_back = rows;
    naive_scatter(lists, g, expected_back);
    for (const Kernels<TypeParam>* kernels : runnable_kernels<TypeParam>()) {
      SCOPED_TRACE(testing::Message() << kernels->name << ", width " << width);
      Matrix out(1, columns);
      kernels->gather({rows.data(), width, source.data(), weight.data(), kRows, scale, out.data()});
      expect_same(out, naive_gather(lists, rows));
      Matrix back = rows;
      kernels->scatter({back.data(), width, source.data(), weight.data(), kRows, scale, g.data()});
      expect_same(back, expected_back);
    }
  }
}

/// <g, gather(x)> = <scatter(g), x>: one is the gradient of the other.
TEST(Gather, ScatteringIsItsTranspose) {
  Rng rng(6, 0, Purpose::Test);
  const Lists<double> lists(40, 25, Numbers::Tame, rng);
  const auto x = random_matrix<double>(25, 30, Numbers::Tame, rng);
  const auto g = random_matrix<double>(40, 30, Numbers::Tame, rng);
  RowMatrix<double> gathered;
  gather_mean(lists.spans(true), x, gathered);
  RowMatrix<double> scattered = RowMatrix<double>::Zero(25, 30);
  scatter_mean(lists.spans(true), g, scattered);
  EXPECT_NEAR(g.cwiseProduct(gathered).sum(), scattered.cwiseProduct(x).sum(), 1e-12);
  EXPECT_GT(std::abs(g.cwiseProduct(gathered).sum()), 1e-3);
}

}  // namespace
}  // namespace accrete::models
