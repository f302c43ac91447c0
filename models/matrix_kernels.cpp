// Products cut into tiles, and the kernels of a processor without vectors for them.
#include "models/matrix_kernels.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#define ACCRETE_TARGET
#include "models/matrix_tile.h"

namespace accrete::models {
namespace {

template <class Number>
struct Single {
  using Real = Number;
  using Vector = Number;
  static constexpr std::size_t kLanes = 1;
  static constexpr std::size_t kRows = 1;
  static constexpr std::size_t kVectors = 4;
  static Vector load(const Real* from) { return *from; }
  static void store(Real* to, Vector x) { *to = x; }
  static Vector broadcast(Real x) { return x; }
  static Vector fma(Vector a, Vector b, Vector c) { return std::fma(a, b, c); }
};

// A panel of B, 128 × 64 floats or 128 × 32 doubles at most, fills two thirds of a first cache of
// 48 KiB, and so it is read from there by all rows of A.
constexpr std::size_t kInnerPanel = 128;
// Rows of A that meet one panel after the other: 60 KiB of floats, from the second cache.
constexpr std::size_t kRowTilesPerBlock = 20;
// For fewer rows than these a copy of B costs more than the walk over its far-apart rows.
constexpr std::size_t kRowsWorthPacking = 24;
constexpr std::size_t kCacheLine = 64;

template <class Real>
struct alignas(kCacheLine) Line {
  Real numbers[kCacheLine / sizeof(Real)];
};

/// Room for `numbers`, aligned to cache lines, that the calling thread keeps.
template <class Real>
Real* scratch(std::size_t numbers) {
  thread_local std::vector<Line<Real>> lines;
  const std::size_t needed = numbers * sizeof(Real) / kCacheLine + 1;
  if (lines.size() < needed) lines.resize(needed);
  return lines.front().numbers;
}

std::size_t listed(const std::uint32_t* rows, std::size_t i) {
  return rows != nullptr ? rows[i] : i;
}

/// Inner steps [first, first + count) of a product, its B in panels of `width` columns. A panel
/// lies at `width × count` numbers times its index and is padded with zeros to whole vectors.
template <class Real>
class InnerPanel {
 public:
  InnerPanel(const Kernels<Real>& kernels, const Product<Real>& product, std::size_t first)
      : kernels_(kernels),
        product_(product),
        first_(first),
        count_(std::min(kInnerPanel, product.inner - first)),
        width_(kernels.lanes * kernels.vectors),
        in_place_(product.b_column == 1 && product.b_rows == nullptr &&
                  product.rows < kRowsWorthPacking) {
    const std::size_t panels = (product.columns + width_ - 1) / width_;
    packed_ = scratch<Real>(panels * width_ * count_);
    for (std::size_t column = 0; column < product.columns; column += width_)
      if (!direct(column)) pack(column);
  }

  void multiply() const {
    const std::size_t block = kernels_.rows * kRowTilesPerBlock;
    for (std::size_t begin = 0; begin < product_.rows; begin += block) {
      const std::size_t end = std::min(begin + block, product_.rows);
      for (std::size_t column = 0; column < product_.columns; column += width_) {
        for (std::size_t row = begin; row < end; row += kernels_.rows)
          multiply_tile(row, std::min(kernels_.rows, end - row), column);
      }
    }
  }

 private:
  std::size_t columns_of(std::size_t column) const {
    return std::min(width_, product_.columns - column);
  }
  std::size_t vectors_of(std::size_t column) const {
    return (columns_of(column) + kernels_.lanes - 1) / kernels_.lanes;
  }
  bool whole(std::size_t column) const {
    return vectors_of(column) * kernels_.lanes == columns_of(column);
  }
  bool direct(std::size_t column) const { return in_place_ && whole(column); }

  void pack(std::size_t column) {
    Real* to = packed_ + column * count_;
    const Real* const from = product_.b + column * product_.b_column;
    const std::size_t columns = columns_of(column);
    const std::size_t stride = vectors_of(column) * kernels_.lanes;
    if (product_.b_inner == 1 && product_.b_rows == nullptr) {
      turn(from + first_, columns, stride, to);
      return;
    }
    for (std::size_t k = 0; k < count_; ++k, to += stride) {
      const Real* const row = from + listed(product_.b_rows, first_ + k) * product_.b_inner;
      if (product_.b_column == 1) {
        std::copy_n(row, columns, to);
      } else {
        for (std::size_t c = 0; c < columns; ++c)
          to[c] = row[c * product_.b_column];
      }
      std::fill(to + columns, to + stride, Real{0});
    }
  }

  /// A panel whose columns lie together in B: some at a time, or each line would be read as often
  /// as it holds numbers.
  void turn(const Real* from, std::size_t columns, std::size_t stride, Real* to) const {
    constexpr std::size_t kColumns = 8;
    std::size_t c = 0;
    for (; c + kColumns <= columns; c += kColumns) {
      const Real* const column = from + c * product_.b_column;
      for (std::size_t k = 0; k < count_; ++k) {
        ACCRETE_UNROLL
        for (std::size_t i = 0; i < kColumns; ++i)
          to[k * stride + c + i] = column[i * product_.b_column + k];
      }
    }
    for (std::size_t k = 0; k < count_; ++k) {
      for (std::size_t rest = c; rest < columns; ++rest)
        to[k * stride + rest] = from[rest * product_.b_column + k];
      std::fill_n(to + k * stride + columns, stride - columns, Real{0});
    }
  }

  void multiply_tile(std::size_t row, std::size_t rows, std::size_t column) const {
    const std::size_t vectors = vectors_of(column);
    const auto run = kernels_.tile[rows - 1][vectors - 1];
    Tile<Real> tile{};
    for (std::size_t r = 0; r < rows; ++r) {
      tile.a[r] = product_.a + listed(product_.a_rows, row + r) * product_.a_row +
                  first_ * product_.a_inner;
      tile.out[r] = product_.out + listed(product_.out_rows, row + r) * product_.out_row + column;
    }
    tile.a_inner = product_.a_inner;
    tile.b = packed_ + column * count_;
    tile.b_inner = vectors * kernels_.lanes;
    if (direct(column)) {
      tile.b = product_.b + first_ * product_.b_inner + column;
      tile.b_inner = product_.b_inner;
    }
    tile.inner = count_;
    tile.fresh = !product_.add && first_ == 0;
    if (whole(column)) {
      run(tile);
    } else {
      run_in_copy(tile, run, rows, columns_of(column));
    }
  }

  /// The last columns: the tile runs on a padded copy of its part of the result.
  void run_in_copy(Tile<Real> tile, void (*run)(const Tile<Real>&), std::size_t rows,
                   std::size_t columns) const {
    Line<Real> copy[kTileRowsMax * kTileVectorsMax] = {};
    Real* out[kTileRowsMax] = {};
    for (std::size_t r = 0; r < rows; ++r) {
      out[r] = std::exchange(tile.out[r], copy[0].numbers + r * tile.b_inner);
      if (!tile.fresh) std::copy_n(out[r], columns, tile.out[r]);
    }
    run(tile);
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(tile.out[r], columns, out[r]);
  }

  const Kernels<Real>& kernels_;
  const Product<Real>& product_;
  std::size_t first_;
  std::size_t count_;
  std::size_t width_;
  bool in_place_;
  Real* packed_;
};

}  // namespace

template <class Real>
const Kernels<Real>& plain_kernels() {
  static constexpr Kernels<Real> kKernels = make_kernels<Single<Real>>("plain");
  return kKernels;
}

template <class Real>
std::vector<const Kernels<Real>*> runnable_kernels() {
  std::vector<const Kernels<Real>*> out;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f")) out.push_back(&avx512_kernels<Real>());
    if (__builtin_cpu_supports("avx2")) out.push_back(&avx2_kernels<Real>());
  }
#endif
  out.push_back(&plain_kernels<Real>());
  return out;
}

template <class Real>
const Kernels<Real>& fastest_kernels() {
  static const Kernels<Real>& chosen = *runnable_kernels<Real>().front();
  return chosen;
}

template <class Real>
void run_product(const Kernels<Real>& kernels, const Product<Real>& product) {
  for (std::size_t row = 0; product.inner == 0 && !product.add && row < product.rows; ++row)
    std::fill_n(product.out + listed(product.out_rows, row) * product.out_row, product.columns,
                Real{0});
  for (std::size_t first = 0; first < product.inner; first += kInnerPanel)
    InnerPanel<Real>(kernels, product, first).multiply();
}

template const Kernels<float>& plain_kernels();
template const Kernels<double>& plain_kernels();
template std::vector<const Kernels<float>*> runnable_kernels();
template std::vector<const Kernels<double>*> runnable_kernels();
template const Kernels<float>& fastest_kernels();
template const Kernels<double>& fastest_kernels();
template void run_product(const Kernels<float>&, const Product<float>&);
template void run_product(const Kernels<double>&, const Product<double>&);

}  // namespace accrete::models
