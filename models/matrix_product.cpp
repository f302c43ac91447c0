// The three products as strides of one.
#include "models/matrix_product.h"

#include "models/matrix_kernels.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

std::size_t size(Eigen::Index n) {
  return static_cast<std::size_t>(n);
}

/// `out` with its size, old numbers kept only where they are added to.
template <class Real>
void shape(RowMatrix<Real>& out, Eigen::Index rows, Eigen::Index columns, bool add) {
  if (add) {
    ACCRETE_CHECK(out.rows() == rows && out.cols() == columns);
  } else {
    out.resize(rows, columns);
  }
}

}  // namespace

template <class Real>
void multiply(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out, bool add) {
  ACCRETE_CHECK(a.cols() == b.rows() && &out != &a && &out != &b);
  shape(out, a.rows(), b.cols(), add);
  const std::size_t K = size(a.cols());
  const std::size_t M = size(b.cols());
  run_product<Real>(fastest_kernels<Real>(),
                    {a.data(), K, 1, b.data(), M, 1, out.data(), size(a.rows()), K, M, add});
}

template <class Real>
void multiply_transposed(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                         bool add) {
  ACCRETE_CHECK(a.cols() == b.cols() && &out != &a && &out != &b);
  shape(out, a.rows(), b.rows(), add);
  const std::size_t K = size(a.cols());
  const std::size_t M = size(b.rows());
  run_product<Real>(fastest_kernels<Real>(),
                    {a.data(), K, 1, b.data(), 1, K, out.data(), size(a.rows()), K, M, add});
}

template <class Real>
void add_outer(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.rows() == b.rows() && &out != &a && &out != &b);
  shape(out, a.cols(), b.cols(), true);
  const std::size_t K = size(a.cols());
  const std::size_t M = size(b.cols());
  run_product<Real>(fastest_kernels<Real>(),
                    {a.data(), 1, K, b.data(), M, 1, out.data(), K, size(a.rows()), M, true});
}

template void multiply(const RowMatrix<float>&, const RowMatrix<float>&, RowMatrix<float>&, bool);
template void multiply(const RowMatrix<double>&, const RowMatrix<double>&, RowMatrix<double>&,
                       bool);
template void multiply_transposed(const RowMatrix<float>&, const RowMatrix<float>&,
                                  RowMatrix<float>&, bool);
template void multiply_transposed(const RowMatrix<double>&, const RowMatrix<double>&,
                                  RowMatrix<double>&, bool);
template void add_outer(const RowMatrix<float>&, const RowMatrix<float>&, RowMatrix<float>&);
template void add_outer(const RowMatrix<double>&, const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
