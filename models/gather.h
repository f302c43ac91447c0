// Means over neighbours: rows of a matrix picked by lists, summed in the order of the list.
//
// Dimensions, here and in gather.cpp:
//   N rows to pick from   O lists   E entries of all lists   d columns
//
// Like matrix_product.h, every number is one chain of fused multiply-adds in the order of its list,
// so the width of a vector changes no bits.
#pragma once

#include <cstdint>
#include <span>

#include "models/sparse_rows.h"

namespace accrete::models {

/// Lists of rows; list i is source[begin[i] … begin[i + 1]). Weights: one an entry, or none: all 1.
template <class Real>
struct RowLists {
  std::span<const std::uint32_t> begin;   ///< O + 1, ascending, or empty: no list
  std::span<const std::uint32_t> source;  ///< E
  std::span<const Real> weight;           ///< E or none

  std::size_t size() const { return begin.empty() ? 0 : begin.size() - 1; }
};

/// out (O, d): row i is (sum over list i of weight × row) × (1 / length of list i); 0 where the
/// list is empty. The length counts entries, whatever their weights. Checks: every source < N; list
/// ends within the sources. Cost: E d multiply-adds, E rows read. Threads: pure.
template <class Real>
void gather_mean(const RowLists<Real>& lists, const RowMatrix<Real>& rows, RowMatrix<Real>& out);

/// The transpose: rows (N, d): row source[e] += weight[e] × (g row i × (1 / length of list i)) for
/// each entry e of each list i, both ascending. g (O, d). Checks and cost as above.
template <class Real>
void scatter_mean(const RowLists<Real>& lists, const RowMatrix<Real>& g, RowMatrix<Real>& rows);

extern template void gather_mean(const RowLists<float>&, const RowMatrix<float>&,
                                 RowMatrix<float>&);
extern template void gather_mean(const RowLists<double>&, const RowMatrix<double>&,
                                 RowMatrix<double>&);
extern template void scatter_mean(const RowLists<float>&, const RowMatrix<float>&,
                                  RowMatrix<float>&);
extern template void scatter_mean(const RowLists<double>&, const RowMatrix<double>&,
                                  RowMatrix<double>&);

}  // namespace accrete::models
