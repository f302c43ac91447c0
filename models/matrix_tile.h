// The bodies of the kernels (matrix_kernels.h), for any vector width. A source that includes this
// defines ACCRETE_TARGET, the attribute that lets its functions use the width's instructions: a
// compiler flag for the whole file would also reach inline functions that other files share.
//
// Isa says the width: Real, Vector, kLanes, kRows, kVectors, kGatherVectors, load, store,
// broadcast, multiply and fma. Everything here belongs to the including file alone.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "models/matrix_kernels.h"

// Loops of a constant count become straight code, so that arrays of vectors become registers.
#if defined(__clang__)
#define ACCRETE_UNROLL _Pragma("unroll")
#else
#define ACCRETE_UNROLL _Pragma("GCC unroll 16")
#endif

namespace accrete::models {
namespace {

template <class Isa, std::size_t Rows, std::size_t Vectors>
ACCRETE_TARGET void run_tile(const Tile<typename Isa::Real>& tile) {
  using Vector = typename Isa::Vector;
  Vector sum[Rows][Vectors];
  ACCRETE_UNROLL
  for (std::size_t r = 0; r < Rows; ++r) {
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v) {
      sum[r][v] =
          tile.fresh ? Isa::broadcast(0) : Isa::load(tile.out + r * tile.out_row + v * Isa::kLanes);
    }
  }
  const auto* a = tile.a;
  const auto* b = tile.b;
  for (std::size_t k = 0; k < tile.inner; ++k) {
    Vector right[Vectors];
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      right[v] = Isa::load(b + v * Isa::kLanes);
    ACCRETE_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) {
      const Vector left = Isa::broadcast(a[r * tile.a_row]);
      ACCRETE_UNROLL
      for (std::size_t v = 0; v < Vectors; ++v)
        sum[r][v] = Isa::fma(left, right[v], sum[r][v]);
    }
    a += tile.a_inner;
    b += tile.b_inner;
  }
  ACCRETE_UNROLL
  for (std::size_t r = 0; r < Rows; ++r) {
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      Isa::store(tile.out + r * tile.out_row + v * Isa::kLanes, sum[r][v]);
  }
}

/// Columns [column, column + Vectors × kLanes) of one gathered row.
template <class Isa, std::size_t Vectors>
ACCRETE_TARGET void gather_block(const GatherRow<typename Isa::Real>& row, std::size_t column) {
  using Vector = typename Isa::Vector;
  Vector sum[Vectors];
  ACCRETE_UNROLL
  for (std::size_t v = 0; v < Vectors; ++v)
    sum[v] = Isa::broadcast(0);
  for (std::size_t e = 0; e < row.count; ++e) {
    const auto* const from = row.rows + row.source[e] * row.width + column;
    // 1 x + s rounds as x + s does.
    const Vector weight = Isa::broadcast(row.weight == nullptr ? 1 : row.weight[e]);
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      sum[v] = Isa::fma(weight, Isa::load(from + v * Isa::kLanes), sum[v]);
  }
  const Vector scale = Isa::broadcast(row.scale);
  ACCRETE_UNROLL
  for (std::size_t v = 0; v < Vectors; ++v)
    Isa::store(row.out + column + v * Isa::kLanes, Isa::multiply(sum[v], scale));
}

template <class Isa, std::size_t Vectors>
ACCRETE_TARGET void scatter_block(const ScatterRow<typename Isa::Real>& row, std::size_t column) {
  using Vector = typename Isa::Vector;
  Vector part[Vectors];
  const Vector scale = Isa::broadcast(row.scale);
  ACCRETE_UNROLL
  for (std::size_t v = 0; v < Vectors; ++v)
    part[v] = Isa::multiply(Isa::load(row.from + column + v * Isa::kLanes), scale);
  for (std::size_t e = 0; e < row.count; ++e) {
    auto* const to = row.rows + row.source[e] * row.width + column;
    const Vector weight = Isa::broadcast(row.weight == nullptr ? 1 : row.weight[e]);
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      Isa::store(to + v * Isa::kLanes, Isa::fma(weight, part[v], Isa::load(to + v * Isa::kLanes)));
  }
}

/// The columns that no vector fills, from `column` on: the same chains one number at a time.
template <class Isa>
ACCRETE_TARGET void gather_rest(const GatherRow<typename Isa::Real>& row, std::size_t column) {
  using Real = typename Isa::Real;
  std::array<Real, Isa::kLanes> sum{};
  const std::size_t rest = row.width - column;
  for (std::size_t e = 0; e < row.count; ++e) {
    const Real* const from = row.rows + row.source[e] * row.width + column;
    const Real weight = row.weight == nullptr ? 1 : row.weight[e];
    for (std::size_t c = 0; c < rest; ++c)
      sum[c] = std::fma(weight, from[c], sum[c]);
  }
  for (std::size_t c = 0; c < rest; ++c)
    row.out[column + c] = sum[c] * row.scale;
}

template <class Isa>
ACCRETE_TARGET void scatter_rest(const ScatterRow<typename Isa::Real>& row, std::size_t column) {
  using Real = typename Isa::Real;
  for (std::size_t e = 0; e < row.count; ++e) {
    Real* const to = row.rows + row.source[e] * row.width + column;
    const Real weight = row.weight == nullptr ? 1 : row.weight[e];
    for (std::size_t c = 0; column + c < row.width; ++c)
      to[c] = std::fma(weight, row.from[column + c] * row.scale, to[c]);
  }
}

/// The widest blocks first, then half of them, down to single numbers: 32, 64, 128 and 256 columns
/// are one block or a few.
template <class Isa, std::size_t Vectors = Isa::kGatherVectors>
void run_gather(const GatherRow<typename Isa::Real>& row, std::size_t column) {
  for (; column + Vectors * Isa::kLanes <= row.width; column += Vectors * Isa::kLanes)
    gather_block<Isa, Vectors>(row, column);
  if constexpr (Vectors > 1) {
    run_gather<Isa, Vectors / 2>(row, column);
  } else if (column < row.width) {
    gather_rest<Isa>(row, column);
  }
}

template <class Isa, std::size_t Vectors = Isa::kGatherVectors>
void run_scatter(const ScatterRow<typename Isa::Real>& row, std::size_t column) {
  for (; column + Vectors * Isa::kLanes <= row.width; column += Vectors * Isa::kLanes)
    scatter_block<Isa, Vectors>(row, column);
  if constexpr (Vectors > 1) {
    run_scatter<Isa, Vectors / 2>(row, column);
  } else if (column < row.width) {
    scatter_rest<Isa>(row, column);
  }
}

template <class Isa, std::size_t Rows, std::size_t... V>
constexpr void fill_row(Kernels<typename Isa::Real>& kernels, std::index_sequence<V...>) {
  ((kernels.tile[Rows - 1][V] = &run_tile<Isa, Rows, V + 1>), ...);
}

template <class Isa, std::size_t... R>
constexpr void fill_tiles(Kernels<typename Isa::Real>& kernels, std::index_sequence<R...>) {
  (fill_row<Isa, R + 1>(kernels, std::make_index_sequence<Isa::kVectors>()), ...);
}

template <class Isa>
constexpr Kernels<typename Isa::Real> make_kernels(const char* name) {
  using Real = typename Isa::Real;
  Kernels<Real> kernels{name, Isa::kLanes, Isa::kRows, Isa::kVectors, {}, nullptr, nullptr};
  fill_tiles<Isa>(kernels, std::make_index_sequence<Isa::kRows>());
  kernels.gather = [](const GatherRow<Real>& row) { run_gather<Isa>(row, 0); };
  kernels.scatter = [](const ScatterRow<Real>& row) { run_scatter<Isa>(row, 0); };
  return kernels;
}

}  // namespace
}  // namespace accrete::models
