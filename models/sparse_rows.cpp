// Sizes checked, then the loops of the processor's vector width, a row after the other.
#include "models/sparse_rows.h"

#include "models/register_length.h"
#include "proto/result.h"

#define ACCRETE_TARGET
#include "models/sparse_kernels.h"

namespace accrete::models {
namespace {

template <class Real>
const SparseKernels<Real>& widest() {
  static const SparseKernels<Real> chosen = [] {
#if defined(__x86_64__)
    if (has_registers_of_64_bytes()) return avx512_sparse_kernels<Real>();
    if (has_registers_of_32_bytes()) return avx2_sparse_kernels<Real>();
#endif
    return plain_sparse_kernels<Real>();
  }();
  return chosen;
}

template <class Real>
SparseProduct<Real> product_of(std::span<const SparseEntry> row, const RowMatrix<Real>& dense) {
  return {row, static_cast<std::size_t>(dense.rows()), static_cast<std::size_t>(dense.cols())};
}

}  // namespace

template <class Real>
SparseKernels<Real> plain_sparse_kernels() {
  return make_sparse_kernels<Real>();
}

template <class Real>
void multiply(const SparseRows& a, std::size_t rows, const RowMatrix<Real>& w,
              RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(w.cols());
  ACCRETE_CHECK(outputs % kLanes == 0 && rows <= a.rows());
  out.resize(static_cast<Eigen::Index>(rows), w.cols());
  const SparseKernels<Real>& kernels = widest<Real>();
  for (std::size_t i = 0; i < rows; ++i)
    kernels.multiply(product_of(a.row(i), w), w.data(), out.data() + i * outputs);
}

template <class Real>
void add_transposed(const SparseRows& a, const RowMatrix<Real>& g, RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(g.cols());
  ACCRETE_CHECK(outputs % kLanes == 0 && g.cols() == out.cols());
  ACCRETE_CHECK(static_cast<std::size_t>(g.rows()) <= a.rows());
  const SparseKernels<Real>& kernels = widest<Real>();
  for (std::size_t i = 0; i < static_cast<std::size_t>(g.rows()); ++i)
    kernels.add_transposed(product_of(a.row(i), out), g.data() + i * outputs, out.data());
}

template SparseKernels<float> plain_sparse_kernels();
template SparseKernels<double> plain_sparse_kernels();
template void multiply(const SparseRows&, std::size_t, const RowMatrix<float>&, RowMatrix<float>&);
template void multiply(const SparseRows&, std::size_t, const RowMatrix<double>&,
                       RowMatrix<double>&);
template void add_transposed(const SparseRows&, const RowMatrix<float>&, RowMatrix<float>&);
template void add_transposed(const SparseRows&, const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
