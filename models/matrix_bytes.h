// How matrices are kept: the bytes they are saved as, and sums whose order the binary decides.
#pragma once

#include <cstddef>

#include <Eigen/Core>

#include "models/state_bytes.h"

namespace accrete::models {

/// Eigen cuts products into blocks that fit the caches it finds, and sums in block order. Naming
/// the sizes makes the bits a property of the binary, not of the machine. Call before any product.
inline void pin_block_sizes() {
  static const bool pinned = [] {
    Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20);
    return true;
  }();
  static_cast<void>(pinned);
}

inline std::size_t byte_size(const Eigen::MatrixXd& matrix) {
  return static_cast<std::size_t>(matrix.size()) * sizeof(double);
}

/// The lower triangle, column by column.
inline void save_lower(StateWriter& writer, const Eigen::MatrixXd& matrix) {
  for (Eigen::Index c = 0; c < matrix.cols(); ++c) {
    writer.raw(matrix.data() + c * matrix.rows() + c,
               static_cast<std::size_t>(matrix.rows() - c) * sizeof(double));
  }
}

inline void load_lower(StateReader& reader, Eigen::MatrixXd& matrix) {
  for (Eigen::Index c = 0; c < matrix.cols(); ++c) {
    reader.raw(matrix.data() + c * matrix.rows() + c,
               static_cast<std::size_t>(matrix.rows() - c) * sizeof(double));
  }
}

/// Size and content.
inline void save_matrix(StateWriter& writer, const Eigen::MatrixXd& matrix) {
  writer.u64(static_cast<std::uint64_t>(matrix.rows()));
  writer.u64(static_cast<std::uint64_t>(matrix.cols()));
  writer.raw(matrix.data(), byte_size(matrix));
}

/// Fails the reader when the bytes cannot hold what the sizes say.
inline Eigen::MatrixXd load_matrix(StateReader& reader) {
  const std::uint64_t rows = reader.count(1);
  const std::uint64_t cols = reader.count(1);
  const std::uint64_t room = reader.left() / sizeof(double);
  reader.require(rows == 0 || cols <= room / rows);
  if (reader.failed()) return {};
  Eigen::MatrixXd matrix(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  reader.raw(matrix.data(), byte_size(matrix));
  return matrix;
}

inline void save_vector(StateWriter& writer, const Eigen::VectorXd& vector) {
  writer.doubles({vector.data(), static_cast<std::size_t>(vector.size())});
}

inline Eigen::VectorXd load_vector(StateReader& reader) {
  const std::vector<double> values = reader.doubles();
  Eigen::VectorXd vector(static_cast<Eigen::Index>(values.size()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    vector[static_cast<Eigen::Index>(i)] = values[i];
  }
  return vector;
}

}  // namespace accrete::models
