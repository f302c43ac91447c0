// The bodies of the kernels (matrix_kernels.h), for any vector width. A source that includes this
// defines ACCRETE_TARGET, the attribute that lets its functions use the width's instructions: a
// compiler flag for the whole file would also reach inline functions that other files share.
//
// Isa says the width: Real, Vector, kLanes, kRows, kVectors, load, store, broadcast and fma.
// Everything here belongs to the including file alone.
#pragma once

#include <cstddef>
#include <utility>

#include "models/matrix_kernels.h"
#include "models/unroll.h"

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
      sum[r][v] = tile.fresh ? Isa::broadcast(0) : Isa::load(tile.out[r] + v * Isa::kLanes);
    }
  }
  const typename Isa::Real* a[Rows];
  ACCRETE_UNROLL
  for (std::size_t r = 0; r < Rows; ++r)
    a[r] = tile.a[r];
  const auto* b = tile.b;
  std::size_t at = 0;
  for (std::size_t k = 0; k < tile.inner; ++k) {
    Vector right[Vectors];
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      right[v] = Isa::load(b + v * Isa::kLanes);
    ACCRETE_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) {
      const Vector left = Isa::broadcast(a[r][at]);
      ACCRETE_UNROLL
      for (std::size_t v = 0; v < Vectors; ++v)
        sum[r][v] = Isa::fma(left, right[v], sum[r][v]);
    }
    at += tile.a_inner;
    b += tile.b_inner;
  }
  ACCRETE_UNROLL
  for (std::size_t r = 0; r < Rows; ++r) {
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v)
      Isa::store(tile.out[r] + v * Isa::kLanes, sum[r][v]);
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
  Kernels<Real> kernels{name, Isa::kLanes, Isa::kRows, Isa::kVectors, {}};
  fill_tiles<Isa>(kernels, std::make_index_sequence<Isa::kRows>());
  return kernels;
}

}  // namespace
}  // namespace accrete::models
