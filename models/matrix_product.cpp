#include "models/matrix_product.h"

#include "proto/result.h"

namespace accrete::models {

template <class Real>
void multiply(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out, bool add) {
  ACCRETE_CHECK(a.cols() == b.rows());
  if (!add) out.setZero(a.rows(), b.cols());
  out.noalias() += a * b;
}

template <class Real>
void multiply_transposed(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                         bool add) {
  ACCRETE_CHECK(a.cols() == b.cols());
  if (!add) out.setZero(a.rows(), b.rows());
  out.noalias() += a * b.transpose();
}

template <class Real>
void add_outer(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.rows() == b.rows());
  out.noalias() += a.transpose() * b;
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
