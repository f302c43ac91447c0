// Products of sparse rows, eight outputs at a time.
#include "models/sparse_rows.h"

#include "proto/result.h"

namespace accrete::models {
namespace {

// Fixed-size arrays become vector instructions at -O2, where a loop of variable length does not.
template <class Real, int Width>
using Lanes = Eigen::Array<Real, Width, 1>;

template <class Real, int Width>
Eigen::Map<const Lanes<Real, Width>> at(const Real* from) {
  return Eigen::Map<const Lanes<Real, Width>>(from);
}

/// Outputs [k, k + Width) of one row of A times W. The sum of each output runs in the order of the
/// entries whatever the width, so a width changes no bits.
template <class Real, int Width>
void multiply_row(std::span<const SparseEntry> row, const RowMatrix<Real>& w, std::size_t k,
                  Real* to) {
  const auto outputs = static_cast<std::size_t>(w.cols());
  const auto columns = static_cast<std::size_t>(w.rows());
  Lanes<Real, Width> sum = Lanes<Real, Width>::Zero();
  for (const SparseEntry& entry : row) {
    if (entry.column >= columns) continue;
    sum += static_cast<Real>(entry.value) * at<Real, Width>(w.data() + entry.column * outputs + k);
  }
  Eigen::Map<Lanes<Real, Width>> place(to + k);
  place = sum;
}

template <class Real, int Width>
void add_row(std::span<const SparseEntry> row, const Real* from, std::size_t k,
             RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(out.cols());
  const auto columns = static_cast<std::size_t>(out.rows());
  const Lanes<Real, Width> part = at<Real, Width>(from + k);
  for (const SparseEntry& entry : row) {
    if (entry.column >= columns) continue;
    Eigen::Map<Lanes<Real, Width>> place(out.data() + entry.column * outputs + k);
    place += static_cast<Real>(entry.value) * part;
  }
}

constexpr std::size_t kWide = 32;  // eight registers of floats: entries are walked seldom

}  // namespace

template <class Real>
void multiply(const SparseRows& a, std::size_t rows, const RowMatrix<Real>& w,
              RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(w.cols());
  ACCRETE_CHECK(outputs % kLanes == 0 && rows <= a.rows());
  out.resize(static_cast<Eigen::Index>(rows), w.cols());
  for (std::size_t i = 0; i < rows; ++i) {
    Real* const to = out.data() + i * outputs;
    std::size_t k = 0;
    for (; k + kWide <= outputs; k += kWide)
      multiply_row<Real, kWide>(a.row(i), w, k, to);
    for (; k + 2 * kLanes <= outputs; k += 2 * kLanes)
      multiply_row<Real, 2 * kLanes>(a.row(i), w, k, to);
    if (k < outputs) multiply_row<Real, kLanes>(a.row(i), w, k, to);
  }
}

template <class Real>
void add_transposed(const SparseRows& a, const RowMatrix<Real>& g, RowMatrix<Real>& out) {
  const auto outputs = static_cast<std::size_t>(g.cols());
  ACCRETE_CHECK(outputs % kLanes == 0 && g.cols() == out.cols());
  ACCRETE_CHECK(static_cast<std::size_t>(g.rows()) <= a.rows());
  for (std::size_t i = 0; i < static_cast<std::size_t>(g.rows()); ++i) {
    const Real* const from = g.data() + i * outputs;
    std::size_t k = 0;
    for (; k + 2 * kLanes <= outputs; k += 2 * kLanes)
      add_row<Real, 2 * kLanes>(a.row(i), from, k, out);
    if (k < outputs) add_row<Real, kLanes>(a.row(i), from, k, out);
  }
}

template void multiply(const SparseRows&, std::size_t, const RowMatrix<float>&, RowMatrix<float>&);
template void multiply(const SparseRows&, std::size_t, const RowMatrix<double>&,
                       RowMatrix<double>&);
template void add_transposed(const SparseRows&, const RowMatrix<float>&, RowMatrix<float>&);
template void add_transposed(const SparseRows&, const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
