// Sparse rows, and their products with dense matrices.
//
// Dimensions, here and in sparse_rows.cpp:
//   N rows   F columns   K outputs, padded to a multiple of kLanes (padded_outputs)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include "models/row_storage.h"

namespace accrete::models {

struct SparseEntry {
  std::uint32_t column = 0;
  float value = 0;
};

/// Rows of (column, value), one after another; columns of a row in any order, repeats add up.
class SparseRows {
 public:
  void add(std::uint32_t column, float value) { entries_.push_back({column, value}); }
  void end_row() { begin_.push_back(entries_.size()); }
  void add_row(std::span<const SparseEntry> entries) {
    entries_.insert(entries_.end(), entries.begin(), entries.end());
    end_row();
  }

  std::size_t rows() const { return begin_.size() - 1; }
  std::size_t size() const { return entries_.size(); }
  /// Bytes that it keeps.
  std::size_t room() const {
    return begin_.capacity() * sizeof(std::size_t) + entries_.capacity() * sizeof(SparseEntry);
  }
  std::span<const SparseEntry> row(std::size_t i) const {
    return {entries_.data() + begin_[i], begin_[i + 1] - begin_[i]};
  }

 private:
  std::vector<std::size_t> begin_{0};
  std::vector<SparseEntry> entries_;
};

/// A dense matrix whose rows lie together: what sparse rows pick from. It keeps its room when it
/// gets smaller.
template <class Real>
using RowMatrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, kRowOptions>;

/// Bytes of the room that matrices keep.
template <class... Matrices>
std::size_t room_bytes(const Matrices&... matrices) {
  const auto bytes = [](const auto& matrix) {
    using Matrix = std::remove_cvref_t<decltype(matrix)>;
    struct Opened : Matrix {  // Eigen shows no one but its heirs where numbers lie
      static std::size_t numbers(const Matrix& shut) {
        return static_cast<std::size_t>((shut.*(&Opened::m_storage)).capacity());
      }
    };
    return Opened::numbers(matrix) * sizeof(typename Matrix::Scalar);
  };
  return (bytes(matrices) + ... + 0);
}
template <class Real>
std::size_t room_bytes(const std::vector<RowMatrix<Real>>& matrices) {
  std::size_t bytes = 0;
  for (const RowMatrix<Real>& matrix : matrices)
    bytes += room_bytes(matrix);
  return bytes;
}

/// Outputs are handled eight at a time.
inline constexpr std::size_t kLanes = 8;
inline constexpr std::size_t padded_outputs(std::size_t outputs) {
  return (outputs + kLanes - 1) / kLanes * kLanes;
}

/// The first `rows` rows of A times W (F, K), into out (rows, K). Entries in columns that W does
/// not have count as 0. Sums run in the order of the entries. Cost: entries × K.
/// Checks: K is padded. Threads: pure.
template <class Real>
void multiply(const SparseRows& a, std::size_t rows, const RowMatrix<Real>& w,
              RowMatrix<Real>& out);

/// out (F, K) += Aᵀ G over the rows of G (N', K), N' <= rows of A; columns that `out` does not have
/// are left out. Same cost, order and checks.
template <class Real>
void add_transposed(const SparseRows& a, const RowMatrix<Real>& g, RowMatrix<Real>& out);

extern template void multiply(const SparseRows&, std::size_t, const RowMatrix<float>&,
                              RowMatrix<float>&);
extern template void multiply(const SparseRows&, std::size_t, const RowMatrix<double>&,
                              RowMatrix<double>&);
extern template void add_transposed(const SparseRows&, const RowMatrix<float>&, RowMatrix<float>&);
extern template void add_transposed(const SparseRows&, const RowMatrix<double>&,
                                    RowMatrix<double>&);

}  // namespace accrete::models
