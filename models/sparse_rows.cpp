// Products of sparse rows, eight outputs at a time.
#include "models/sparse_rows.h"

#include "proto/result.h"

namespace accrete::models {
namespace {

// Fixed-size arrays become vector instructions at -O2, where a loop of variable length does not.
template <class Real>
using Lanes = Eigen::Array<Real, static_cast<int>(kLanes), 1>;

template <class Real>
Lanes<Real> load(const Real* from) {
  return Eigen::Map<const Lanes<Real>>(from);
}

template <class Real>
void store(const Lanes<Real>& lanes, Real* to) {
  Eigen::Map<Lanes<Real>> place(to);
  place = lanes;
}

}  // namespace

template <class Real>
void multiply(const SparseRows& a, std::size_t rows, const RowMatrix<Real>& w,
              RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(w.cols());
  const auto columns = static_cast<std::size_t>(w.rows());
  ACCRETE_CHECK(outputs % kLanes == 0 && rows <= a.rows());
  out.resize(static_cast<Eigen::Index>(rows), w.cols());
  for (std::size_t i = 0; i < rows; ++i) {
    Real* const to = out.data() + i * outputs;
    for (std::size_t k = 0; k < outputs; k += kLanes) {
      Lanes<Real> sum = Lanes<Real>::Zero();
      for (const SparseEntry& entry : a.row(i)) {
        if (entry.column >= columns) continue;
        sum += static_cast<Real>(entry.value) * load(w.data() + entry.column * outputs + k);
      }
      store<Real>(sum, to + k);
    }
  }
}

template <class Real>
void add_transposed(const SparseRows& a, const RowMatrix<Real>& g, RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(g.cols());
  const auto columns = static_cast<std::size_t>(out.rows());
  ACCRETE_CHECK(outputs % kLanes == 0 && g.cols() == out.cols());
  ACCRETE_CHECK(static_cast<std::size_t>(g.rows()) <= a.rows());
  for (std::size_t i = 0; i < static_cast<std::size_t>(g.rows()); ++i) {
    for (std::size_t k = 0; k < outputs; k += kLanes) {
      const Lanes<Real> part = load(g.data() + i * outputs + k);
      for (const SparseEntry& entry : a.row(i)) {
        if (entry.column >= columns) continue;
        Real* const to = out.data() + entry.column * outputs + k;
        store<Real>(load(to) + static_cast<Real>(entry.value) * part, to);
      }
    }
  }
}

template void multiply(const SparseRows&, std::size_t, const RowMatrix<float>&, RowMatrix<float>&);
template void multiply(const SparseRows&, std::size_t, const RowMatrix<double>&,
                       RowMatrix<double>&);
template void add_transposed(const SparseRows&, const RowMatrix<float>&, RowMatrix<float>&);
template void add_transposed(const SparseRows&, const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
