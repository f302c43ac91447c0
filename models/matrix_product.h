// The one seam for dense matrix products of the graph network.
//
// Every output is one chain of fused multiply-adds over the inner index, ascending, beginning with
// what was there (or zero): so the bits do not depend on the processor's vector width, on the
// compiler or on how the product is cut, and the same binary says the same on every machine.
#pragma once

#include "models/sparse_rows.h"

namespace accrete::models {

/// out (N, M) = or += a (N, K) b (K, M). `add`: keep what is in `out`; else it is resized.
/// Checks, of all three: sizes agree; `out` is neither a nor b. Cost: 2 N K M flop and a copy of b
/// in memory that the thread keeps, at most 128 × M numbers. Threads: any, none of its own.
template <class Real>
void multiply(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
              bool add = false);

/// out (N, M) = or += a (N, K) bᵀ, b (M, K).
template <class Real>
void multiply_transposed(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                         bool add = false);

/// out (K, M) += aᵀ b over the rows of a (N, K) and b (N, M).
template <class Real>
void add_outer(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out);

extern template void multiply(const RowMatrix<float>&, const RowMatrix<float>&, RowMatrix<float>&,
                              bool);
extern template void multiply(const RowMatrix<double>&, const RowMatrix<double>&,
                              RowMatrix<double>&, bool);
extern template void multiply_transposed(const RowMatrix<float>&, const RowMatrix<float>&,
                                         RowMatrix<float>&, bool);
extern template void multiply_transposed(const RowMatrix<double>&, const RowMatrix<double>&,
                                         RowMatrix<double>&, bool);
extern template void add_outer(const RowMatrix<float>&, const RowMatrix<float>&, RowMatrix<float>&);
extern template void add_outer(const RowMatrix<double>&, const RowMatrix<double>&,
                               RowMatrix<double>&);

}  // namespace accrete::models
