// Products of sparse rows in every vector width against each other and by definition.
#include "models/sparse_rows.h"

#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/register_length.h"
#include "models/sparse_kernels.h"

namespace accrete::models {
namespace {

constexpr std::size_t kColumns = 11;
// Columns come again, in any order, and two are beyond what the matrix has.
const std::vector<SparseEntry> kRow = {{3, 0.5F}, {0, -1.25F}, {11, 7},   {10, 0.3F},
                                       {3, 2},    {4000, 1},   {7, -0.1F}};

template <class Real>
std::vector<SparseKernels<Real>> runnable() {
  std::vector<SparseKernels<Real>> out = {plain_sparse_kernels<Real>()};
#if defined(__x86_64__)
  if (has_registers_of_32_bytes()) out.push_back(avx2_sparse_kernels<Real>());
  if (has_registers_of_64_bytes()) out.push_back(avx512_sparse_kernels<Real>());
#endif
  return out;
}

template <class Real>
void expect_definition(double error_max) {
  for (const std::size_t outputs : {8UL, 16UL, 24UL, 64UL, 72UL, 136UL}) {
    const RowMatrix<Real> w = random_matrix<Real>(1, kColumns, outputs);
    const RowMatrix<Real> from = random_matrix<Real>(2, 1, outputs);
    const RowMatrix<Real> start = random_matrix<Real>(3, kColumns, outputs);
    RowMatrix<Real> product = RowMatrix<Real>::Zero(1, w.cols());
    RowMatrix<Real> added = start;
    for (const SparseEntry& entry : kRow) {
      if (entry.column >= kColumns) continue;
      product += static_cast<Real>(entry.value) * w.row(entry.column);
      added.row(entry.column) += static_cast<Real>(entry.value) * from.row(0);
    }
    std::vector<RowMatrix<Real>> products;
    std::vector<RowMatrix<Real>> sums;
    for (const SparseKernels<Real>& kernels : runnable<Real>()) {
      RowMatrix<Real>& told = products.emplace_back(random_matrix<Real>(4, 1, outputs));
      RowMatrix<Real>& sum = sums.emplace_back(start);
      kernels.multiply({kRow, kColumns, outputs}, w.data(), told.data());
      kernels.add_transposed({kRow, kColumns, outputs}, from.data(), sum.data());
      EXPECT_LT((told - product).cwiseAbs().maxCoeff(), error_max) << outputs;
      EXPECT_LT((sum - added).cwiseAbs().maxCoeff(), error_max) << outputs;
      EXPECT_TRUE(told == products.front() && sum == sums.front()) << outputs;
    }
  }
}

TEST(SparseKernels, AreTheirDefinitionWithTheSameBitsInAllWidths) {
  expect_definition<double>(1e-12);
  expect_definition<float>(1e-5);
}

TEST(SparseRows, RowsArePickedOneByOne) {
  SparseRows rows;
  rows.add_row(kRow);
  rows.end_row();  // of nothing
  rows.add_row(std::span(kRow).first(2));
  const RowMatrix<double> w = random_matrix<double>(1, kColumns, 24);
  RowMatrix<double> out;
  multiply(rows, 3, w, out);
  ASSERT_EQ(out.rows(), 3);
  EXPECT_EQ(out.row(1).squaredNorm(), 0);
  EXPECT_LT((out.row(2) - 0.5 * w.row(3) + 1.25 * w.row(0)).norm(), 1e-12);
  RowMatrix<double> sums = RowMatrix<double>::Zero(w.rows(), w.cols());
  add_transposed(rows, out, sums);
  EXPECT_EQ(sums.row(1).squaredNorm(), 0) << "nobody names it";
  EXPECT_LT((sums.row(7) - double{-0.1F} * out.row(0)).norm(), 1e-12);
  EXPECT_LT((sums.row(0) + 1.25 * (out.row(0) + out.row(2))).norm(), 1e-12);
}

}  // namespace
}  // namespace accrete::models
