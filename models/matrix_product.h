// The one seam for dense matrix products of the graph network.
//
// Every output is one chain of fused multiply-adds over the inner index, ascending, beginning with
// what was there (or zero): so the bits do not depend on the processor's vector width, on the
// compiler or on how the product is cut, and the same binary says the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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

// The same where a list of rows stands for a matrix: row i is row rows[i] of what is told.

/// Rows of out (·, M) += N rows of a (·, K), from `first` on, × b (K, M). No row twice.
template <class Real>
void multiply_into(const RowMatrix<Real>& a, std::size_t first, const RowMatrix<Real>& b,
                   std::span<const std::uint32_t> rows, RowMatrix<Real>& out);

/// Rows of out (·, M) += a (N, K) bᵀ, b (M, K). No row twice.
template <class Real>
void multiply_transposed_into(const RowMatrix<Real>& a, const RowMatrix<Real>& b,
                              std::span<const std::uint32_t> rows, RowMatrix<Real>& out);

/// out (N, M) = rows of a (·, K) b (K, M).
template <class Real>
void multiply_rows(const RowMatrix<Real>& a, std::span<const std::uint32_t> rows,
                   const RowMatrix<Real>& b, RowMatrix<Real>& out);

/// N rows of out (·, M), from `first` on, = rows of a (·, K) bᵀ, b (M, K).
template <class Real>
void multiply_rows_transposed(const RowMatrix<Real>& a, std::span<const std::uint32_t> rows,
                              const RowMatrix<Real>& b, std::size_t first, RowMatrix<Real>& out);

/// out (K, M) += aᵀ b over N rows of a (·, K), from `first` on, and rows of b (·, M).
template <class Real>
void add_outer_rows(const RowMatrix<Real>& a, std::size_t first, const RowMatrix<Real>& b,
                    std::span<const std::uint32_t> rows, RowMatrix<Real>& out);

// Products head by head. A square matrix w (d, d) has H blocks of d/H columns, w_h; so has a row of
// d numbers, x_h; a row of H d numbers has H parts of d, y_h. Checks: H divides d.

/// out (N, H d): out_h = x_h w_hᵀ, x (N, d). Cost: 2 N d² flop, as that of the next two.
template <class Real>
void expand_heads(const RowMatrix<Real>& x, const RowMatrix<Real>& w, std::size_t heads,
                  RowMatrix<Real>& out);

/// out (N, d): out_h = y_h w_h, y (N, H d).
template <class Real>
void reduce_heads(const RowMatrix<Real>& y, const RowMatrix<Real>& w, std::size_t heads,
                  RowMatrix<Real>& out);

/// out (d, d): out_h += y_hᵀ x_h over the rows of y (N, H d) and x (N, d).
template <class Real>
void add_head_outer(const RowMatrix<Real>& y, const RowMatrix<Real>& x, std::size_t heads,
                    RowMatrix<Real>& out);

#define ACCRETE_DECLARE(Real)                                                                      \
  extern template void multiply(const RowMatrix<Real>&, const RowMatrix<Real>&, RowMatrix<Real>&,  \
                                bool);                                                             \
  extern template void multiply_transposed(const RowMatrix<Real>&, const RowMatrix<Real>&,         \
                                           RowMatrix<Real>&, bool);                                \
  extern template void add_outer(const RowMatrix<Real>&, const RowMatrix<Real>&,                   \
                                 RowMatrix<Real>&);                                                \
  extern template void multiply_into(const RowMatrix<Real>&, std::size_t, const RowMatrix<Real>&,  \
                                     std::span<const std::uint32_t>, RowMatrix<Real>&);            \
  extern template void multiply_transposed_into(const RowMatrix<Real>&, const RowMatrix<Real>&,    \
                                                std::span<const std::uint32_t>, RowMatrix<Real>&); \
  extern template void multiply_rows(const RowMatrix<Real>&, std::span<const std::uint32_t>,       \
                                     const RowMatrix<Real>&, RowMatrix<Real>&);                    \
  extern template void multiply_rows_transposed(                                                   \
      const RowMatrix<Real>&, std::span<const std::uint32_t>, const RowMatrix<Real>&, std::size_t, \
      RowMatrix<Real>&);                                                                           \
  extern template void add_outer_rows(const RowMatrix<Real>&, std::size_t, const RowMatrix<Real>&, \
                                      std::span<const std::uint32_t>, RowMatrix<Real>&);           \
  extern template void expand_heads(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t,   \
                                    RowMatrix<Real>&);                                             \
  extern template void reduce_heads(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t,   \
                                    RowMatrix<Real>&);                                             \
  extern template void add_head_outer(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t, \
                                      RowMatrix<Real>&);
ACCRETE_DECLARE(float)
ACCRETE_DECLARE(double)
#undef ACCRETE_DECLARE

}  // namespace accrete::models
