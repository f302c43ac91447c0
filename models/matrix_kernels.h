// Inner kernels of matrix products, one set a vector width; for matrix_product.cpp and its test.
//
// Dimensions, here and in matrix_kernels*.cpp, matrix_tile.h:
//   N rows of the result   K inner   M columns of the result
//
// A kernel keeps a tile of the result (rows × vectors of columns) in registers while it walks the
// inner index. Every number of the tile has a lane of its own, so its chain of fused multiply-adds
// is the same whatever the width: all sets give the same bits (which NaN a NaN is, aside).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace accrete::models {

inline constexpr std::size_t kTileRowsMax = 6;
inline constexpr std::size_t kTileVectorsMax = 4;

/// out[r][c] = fma chain over k of a[r][k * a_inner] * b[k * b_inner + c], for a whole tile of
/// columns. `fresh`: the chain begins at 0, else at what is in `out`.
template <class Real>
struct Tile {
  const Real* a[kTileRowsMax];
  std::size_t a_inner;
  const Real* b;
  std::size_t b_inner;
  Real* out[kTileRowsMax];
  std::size_t inner;
  bool fresh;
};

template <class Real>
struct Kernels {
  const char* name;
  std::size_t lanes;                                               ///< numbers of a vector
  std::size_t rows;                                                ///< of the largest tile
  std::size_t vectors;                                             ///< of the widest tile
  void (*tile[kTileRowsMax][kTileVectorsMax])(const Tile<Real>&);  ///< [rows - 1][vectors - 1]
};

/// The sets. The wide ones need a processor that has them.
template <class Real>
const Kernels<Real>& plain_kernels();
template <class Real>
const Kernels<Real>& avx2_kernels();
template <class Real>
const Kernels<Real>& avx512_kernels();
template <>
const Kernels<float>& avx2_kernels();
template <>
const Kernels<double>& avx2_kernels();
template <>
const Kernels<float>& avx512_kernels();
template <>
const Kernels<double>& avx512_kernels();

/// The sets that this processor can run, the fastest first.
template <class Real>
std::vector<const Kernels<Real>*> runnable_kernels();
/// The first of them, chosen once. Threads: any.
template <class Real>
const Kernels<Real>& fastest_kernels();

/// out (N, M) = or, if `add`, += A B with A[n, k] = a[n * a_row + k * a_inner] and
/// B[k, m] = b[k * b_inner + m * b_column]. Lists, where there are any, say which row of what is
/// pointed to is row n of A, row k or column m of B and row n of out.
template <class Real>
struct Product {
  const Real* a;
  std::size_t a_row, a_inner;
  const Real* b;
  std::size_t b_inner, b_column;
  Real* out;
  std::size_t rows, inner, columns;  // N, K, M
  bool add;
  std::size_t out_row = columns;  ///< numbers from one row of out to the next
  const std::uint32_t* a_rows = nullptr;
  const std::uint32_t* b_rows = nullptr;
  const std::uint32_t* out_rows = nullptr;   ///< no row twice
  const std::uint32_t* b_columns = nullptr;  ///< of a B whose columns lie together (b_inner 1)
};

/// Cost: 2 N K M flop, and a copy of B unless its rows are few or near; memory of at most 128 × M
/// numbers, or 128 × 64, that the thread keeps. Threads: any.
template <class Real>
void run_product(const Kernels<Real>& kernels, const Product<Real>& product);

extern template const Kernels<float>& plain_kernels();
extern template const Kernels<double>& plain_kernels();
extern template std::vector<const Kernels<float>*> runnable_kernels();
extern template std::vector<const Kernels<double>*> runnable_kernels();
extern template const Kernels<float>& fastest_kernels();
extern template const Kernels<double>& fastest_kernels();
extern template void run_product(const Kernels<float>&, const Product<float>&);
extern template void run_product(const Kernels<double>&, const Product<double>&);

}  // namespace accrete::models
