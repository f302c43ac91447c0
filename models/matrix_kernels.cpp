// Products cut into tiles, and the kernels of a processor without vectors for them.
#include "models/matrix_kernels.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "models/register_length.h"

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
// For fewer rows than these a copy of B costs more than the walk over its far-apart rows; and rows
// of B of so few bytes are near enough to each other to be read where they are by any number.
constexpr std::size_t kRowsWorthPacking = 24;
constexpr std::size_t kNearBytes = 512;
constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHotBytes = std::size_t{32} << 10;
// Of a turned product's result: half as many rows as a line holds numbers, each of as many lines as
// a tile has vectors.
constexpr std::size_t kNarrowLines = kCacheLine / sizeof(float) / 2 * kTileVectorsMax;

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

/// Rows and columns of what turn_square() turns: those of a small register.
template <class Real>
constexpr std::size_t kTurned = 16 / sizeof(Real);

template <class Real>
using Small [[gnu::vector_size(16), gnu::aligned(alignof(Real)), gnu::may_alias]] = Real;

/// Row i of `to`, with so many numbers from one row to the next, is number i of each row of `from`:
/// row(i) says where those begin.
template <class Row>
void turn_square(const Row& from, float* to, std::size_t to_row) {
  using Four = Small<float>;
  const auto row = [&](std::size_t i) { return *reinterpret_cast<const Four*>(from(i)); };
  const auto set = [&](std::size_t i, Four turned) {
    *reinterpret_cast<Four*>(to + i * to_row) = turned;
  };
  const Four a = row(0);
  const Four b = row(1);
  const Four c = row(2);
  const Four d = row(3);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four ab_end = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_end = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  set(0, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
  set(1, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
  set(2, __builtin_shufflevector(ab_end, cd_end, 0, 1, 4, 5));
  set(3, __builtin_shufflevector(ab_end, cd_end, 2, 3, 6, 7));
}

template <class Row>
void turn_square(const Row& from, double* to, std::size_t to_row) {
  for (std::size_t i = 0; i < kTurned<double>; ++i) {
    for (std::size_t j = 0; j < kTurned<double>; ++j)
      to[i * to_row + j] = from(j)[i];
  }
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
        in_place_(
            product.b_column == 1 && product.b_rows == nullptr && product.b_columns == nullptr &&
            (product.rows < kRowsWorthPacking || product.b_inner * sizeof(Real) <= kNearBytes)) {
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
        for (std::size_t row = begin; row < end; row += kernels_.rows) {
          if (column == 0) fetch(row + kernels_.rows);
          multiply_tile(row, std::min(kernels_.rows, end - row), column);
        }
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
    if (product_.b_inner == 1 && product_.b_rows == nullptr) return turn(column, to);
    const Real* const from = product_.b + column * product_.b_column;
    const std::size_t columns = columns_of(column);
    const std::size_t stride = vectors_of(column) * kernels_.lanes;
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

  /// A panel whose columns lie together in B.
  void turn(std::size_t column, Real* to) const {
    if (product_.b_columns == nullptr) {
      const Real* const first = product_.b + column * product_.b_column + first_;
      turn_columns(columns_of(column), to,
                   [&](std::size_t c) { return first + c * product_.b_column; });
    } else {
      turn_columns(columns_of(column), to, [&](std::size_t c) {
        return product_.b + product_.b_columns[column + c] * product_.b_column + first_;
      });
    }
  }

  /// In squares: all inner steps of a line's columns, then of the next, so that few lines are read
  /// at a time and each is written as a whole. from(c): where column c begins.
  template <class From>
  void turn_columns(std::size_t columns, Real* to, const From& from) const {
    constexpr std::size_t kSide = kTurned<Real>;
    constexpr std::size_t kTogether = kCacheLine / sizeof(Real);
    const std::size_t stride = (columns + kernels_.lanes - 1) / kernels_.lanes * kernels_.lanes;
    const std::size_t whole_k = count_ / kSide * kSide;
    const std::size_t whole_c = columns / kSide * kSide;
    for (std::size_t first = 0; first < whole_c; first += kTogether) {
      const std::size_t end = std::min(first + kTogether, whole_c);
      for (std::size_t k = 0; k < whole_k; k += kSide) {
        for (std::size_t c = first; c < end; c += kSide)
          turn_square([&](std::size_t i) { return from(c + i) + k; }, to + k * stride + c, stride);
      }
    }
    for (std::size_t k = 0; k < count_; ++k) {
      for (std::size_t c = k < whole_k ? whole_c : 0; c < columns; ++c)
        to[k * stride + c] = from(c)[k];
      std::fill(to + k * stride + columns, to + (k + 1) * stride, Real{0});
    }
  }

  /// Sends for the next tile's rows of A, which the first panel is the first to read.
  void fetch(std::size_t row) const {
    if (product_.a_inner != 1) return;
    const std::size_t end = std::min(row + kernels_.rows, product_.rows);
    for (; row < end; ++row) {
      const Real* const from = product_.a + listed(product_.a_rows, row) * product_.a_row + first_;
      for (std::size_t k = 0; k < count_; k += kCacheLine / sizeof(Real))
        __builtin_prefetch(from + k);
    }
  }

  void multiply_tile(std::size_t row, std::size_t rows, std::size_t column) const {
    const std::size_t vectors = vectors_of(column);
    const auto run = kernels_.tile[rows - 1][vectors - 1];
    // Not cleared: what is read is set, and to clear it costs as much as some steps.
    Tile<Real> tile;
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
  void run_in_copy(Tile<Real>& tile, void (*run)(const Tile<Real>&), std::size_t rows,
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

template <class Real>
void run_panels(const Kernels<Real>& kernels, const Product<Real>& product) {
  for (std::size_t first = 0; first < product.inner; first += kInnerPanel)
    InnerPanel<Real>(kernels, product, first).multiply();
}

/// Whether columns are so few that most lanes of a tile would be empty, and rows of A so few that
/// they may lie in a first cache: from further away reading them is what costs.
template <class Real>
bool is_narrow(const Kernels<Real>& kernels, const Product<Real>& product) {
  return 2 * product.columns <= kernels.lanes && product.rows >= kernels.lanes &&
         product.rows * product.inner * sizeof(Real) <= kHotBytes && !product.add &&
         product.a_inner == 1 && product.b_rows == nullptr;
}

/// The same chains with a lane for a row of the result, some rows at a time.
template <class Real>
void run_turned(const Kernels<Real>& kernels, const Product<Real>& product) {
  const std::size_t at_once = kernels.lanes * kernels.vectors;
  alignas(kCacheLine) Real turned[kNarrowLines * kCacheLine / sizeof(Real)];  // (columns, at_once)
  for (std::size_t first = 0; first < product.rows; first += at_once) {
    const std::size_t count = std::min(at_once, product.rows - first);
    Product<Real> part{product.b,     product.b_column, product.b_inner, product.a,     1,
                       product.a_row, turned,           product.columns, product.inner, count,
                       false,         at_once};
    if (product.a_rows != nullptr) {
      part.b_columns = product.a_rows + first;
    } else {
      part.b += first * product.a_row;
    }
    run_panels(kernels, part);
    for (std::size_t n = 0; n < count; ++n) {
      Real* const to = product.out + listed(product.out_rows, first + n) * product.out_row;
      for (std::size_t m = 0; m < product.columns; ++m)
        to[m] = turned[m * at_once + n];
    }
  }
}

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
  if (has_registers_of_64_bytes()) out.push_back(&avx512_kernels<Real>());
  if (has_registers_of_32_bytes()) out.push_back(&avx2_kernels<Real>());
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
  for (std::size_t row = 0; product.inner == 0 && !product.add && row < product.rows; ++row) {
    std::fill_n(product.out + listed(product.out_rows, row) * product.out_row, product.columns,
                Real{0});
  }
  if (product.rows == 0 || product.inner == 0) return;  // B is not packed either
  if (is_narrow(kernels, product)) {
    run_turned(kernels, product);
  } else {
    run_panels(kernels, product);
  }
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
