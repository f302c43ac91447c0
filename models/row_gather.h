// Rows picked out of a matrix and put back: what turns a list of rows into one matrix product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "models/fixed_lanes.h"
#include "models/neighbour_sum.h"
#include "models/sparse_rows.h"

namespace accrete::models {

template <class Real>
const Real* row_of(const RowMatrix<Real>& matrix, std::size_t row) {
  return matrix.data() + row * static_cast<std::size_t>(matrix.cols());
}
template <class Real>
Real* row_of(RowMatrix<Real>& matrix, std::size_t row) {
  return matrix.data() + row * static_cast<std::size_t>(matrix.cols());
}

/// Features are floats; a network in doubles (the gradient checks) reads a copy.
template <class Real>
decltype(auto) as_real(const RowMatrix<float>& features) {
  if constexpr (std::is_same_v<Real, float>) {
    return static_cast<const RowMatrix<float>&>(features);
  } else {
    return RowMatrix<Real>(features.template cast<Real>());
  }
}

/// out (size of `rows`, d): row i is row rows[i] of `from`.
template <class Real>
void gather_rows(const RowMatrix<Real>& from, std::span<const std::uint32_t> rows,
                 RowMatrix<Real>& out) {
  out.resize(static_cast<Eigen::Index>(rows.size()), from.cols());
  for (std::size_t i = 0; i < rows.size(); ++i)
    out.row(static_cast<Eigen::Index>(i)) = from.row(static_cast<Eigen::Index>(rows[i]));
}

/// Row rows[i] of `to` += row i of `from`, in the order of the list.
template <class Real>
void add_rows(const RowMatrix<Real>& from, std::span<const std::uint32_t> rows,
              RowMatrix<Real>& to) {
  const auto width = static_cast<std::size_t>(from.cols());
  add_rows<Real>({rows.size(), width, from.data(), to.data(), nullptr, rows.data()});
}

/// The first rows of `to` += those of `from`, so many.
template <class Real>
void add_first_rows(const RowMatrix<Real>& from, Eigen::Index rows, RowMatrix<Real>& to) {
  const auto width = static_cast<std::size_t>(from.cols());
  add_rows<Real>({static_cast<std::size_t>(rows), width, from.data(), to.data()});
}

/// Adds the sum of all rows to a matrix of one row, top to bottom.
template <class Real>
void add_column_sums(const RowMatrix<Real>& from, RowMatrix<Real>& to) {
  const auto width = static_cast<std::size_t>(from.cols());
  for (std::size_t i = 0; i < static_cast<std::size_t>(from.rows()); ++i)
    add_scaled(Real(1), row_of(from, i), width, to.data());
}

}  // namespace accrete::models
