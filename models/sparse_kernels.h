// The loops of sparse_rows*.cpp, compiled once a vector width: whoever includes this names its
// instructions by ACCRETE_TARGET.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "models/sparse_rows.h"
#include "models/unroll.h"

namespace accrete::models {

/// One row of A, and all of a dense matrix: (F, K), K a multiple of kLanes.
template <class Real>
struct SparseProduct {
  std::span<const SparseEntry> row;
  std::size_t columns;  ///< F; entries beyond are left out
  std::size_t outputs;  ///< K
};

template <class Real>
struct SparseKernels {
  void (*multiply)(const SparseProduct<Real>&, const Real* w, Real* to);
  void (*add_transposed)(const SparseProduct<Real>&, const Real* from, Real* out);
};

/// The wide ones need a processor that has them.
template <class Real>
SparseKernels<Real> plain_sparse_kernels();
template <class Real>
SparseKernels<Real> avx2_sparse_kernels();
template <class Real>
SparseKernels<Real> avx512_sparse_kernels();

#if defined(ACCRETE_TARGET)
namespace {

// Of the target: of wider vectors GCC (12) keeps none in registers.
#if !defined(ACCRETE_REGISTER_BYTES)
#define ACCRETE_REGISTER_BYTES 16
#endif

/// Numbers that are handled together: a register of them.
template <class Real, std::size_t Numbers>
using Chunk
    [[gnu::vector_size(Numbers * sizeof(Real)), gnu::aligned(alignof(Real)), gnu::may_alias]] =
        Real;

template <class Real>
inline constexpr std::size_t kRegister = ACCRETE_REGISTER_BYTES / sizeof(Real);

template <class Real, std::size_t Numbers>
Chunk<Real, Numbers>& chunk_at(Real* to) {
  return *reinterpret_cast<Chunk<Real, Numbers>*>(to);
}
template <class Real, std::size_t Numbers>
const Chunk<Real, Numbers>& chunk_at(const Real* from) {
  return *reinterpret_cast<const Chunk<Real, Numbers>*>(from);
}

/// Whole walks over the entries: of so many chunks.
inline constexpr std::size_t kChunksAWalk = ACCRETE_REGISTER_BYTES == 64 ? 4 : 8;

/// Outputs [k, k + Chunks × Numbers) of the row times W. The sum of each runs in the order of the
/// entries, so no width changes a bit.
template <class Real, std::size_t Numbers, std::size_t Chunks>
ACCRETE_TARGET void multiply_outputs(const SparseProduct<Real>& product, const Real* w,
                                     std::size_t k, Real* to) {
  Chunk<Real, Numbers> sums[Chunks] = {};
  for (const SparseEntry& entry : product.row) {
    if (entry.column >= product.columns) continue;
    const auto value = static_cast<Real>(entry.value);
    const Real* const from = w + entry.column * product.outputs + k;
    ACCRETE_UNROLL
    for (std::size_t c = 0; c < Chunks; ++c)
      sums[c] += value * chunk_at<Real, Numbers>(from + c * Numbers);
  }
  ACCRETE_UNROLL
  for (std::size_t c = 0; c < Chunks; ++c)
    chunk_at<Real, Numbers>(to + k + c * Numbers) = sums[c];
}

/// Columns [k, k + Chunks × Numbers) of Aᵀ times the row `from`, added to `out`.
template <class Real, std::size_t Numbers, std::size_t Chunks>
ACCRETE_TARGET void add_outputs(const SparseProduct<Real>& product, const Real* from, std::size_t k,
                                Real* out) {
  Chunk<Real, Numbers> parts[Chunks];
  ACCRETE_UNROLL
  for (std::size_t c = 0; c < Chunks; ++c)
    parts[c] = chunk_at<Real, Numbers>(from + k + c * Numbers);
  for (const SparseEntry& entry : product.row) {
    if (entry.column >= product.columns) continue;
    const auto value = static_cast<Real>(entry.value);
    Real* const to = out + entry.column * product.outputs + k;
    ACCRETE_UNROLL
    for (std::size_t c = 0; c < Chunks; ++c)
      chunk_at<Real, Numbers>(to + c * Numbers) += value * parts[c];
  }
}

template <class Real>
ACCRETE_TARGET void multiply_row(const SparseProduct<Real>& product, const Real* w, Real* to) {
  constexpr std::size_t kWide = kRegister<Real>;
  std::size_t k = 0;
  for (; k + kChunksAWalk * kWide <= product.outputs; k += kChunksAWalk * kWide)
    multiply_outputs<Real, kWide, kChunksAWalk>(product, w, k, to);
  for (; k + kWide <= product.outputs; k += kWide)
    multiply_outputs<Real, kWide, 1>(product, w, k, to);
  if (k < product.outputs) multiply_outputs<Real, kLanes, 1>(product, w, k, to);
}

template <class Real>
ACCRETE_TARGET void add_row(const SparseProduct<Real>& product, const Real* from, Real* out) {
  constexpr std::size_t kWide = kRegister<Real>;
  std::size_t k = 0;
  for (; k + kChunksAWalk * kWide <= product.outputs; k += kChunksAWalk * kWide)
    add_outputs<Real, kWide, kChunksAWalk>(product, from, k, out);
  for (; k + kWide <= product.outputs; k += kWide)
    add_outputs<Real, kWide, 1>(product, from, k, out);
  if (k < product.outputs) add_outputs<Real, kLanes, 1>(product, from, k, out);
}

template <class Real>
constexpr SparseKernels<Real> make_sparse_kernels() {
  return {multiply_row<Real>, add_row<Real>};
}

}  // namespace
#endif

}  // namespace accrete::models
