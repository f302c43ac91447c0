// A parameter grows, is written and read.
#include "models/parameter_state.h"

#include <algorithm>

namespace accrete::models {
namespace {

/// New numbers are zero. Rows that come one by one do not move the others each time.
template <class Real>
void grow_matrix(RowMatrix<Real>& matrix, Eigen::Index rows, Eigen::Index cols) {
  const Eigen::Index before = matrix.rows();
  if (cols == matrix.cols()) {
    matrix.conservativeResize(rows, cols);
    matrix.bottomRows(rows - before).setZero();
    return;
  }
  RowMatrix<Real> grown = RowMatrix<Real>::Zero(rows, cols);
  grown.topLeftCorner(before, matrix.cols()) = matrix;
  matrix = std::move(grown);
}

template <class Real>
std::size_t byte_size(const RowMatrix<Real>& matrix) {
  return static_cast<std::size_t>(matrix.size()) * sizeof(Real);
}

}  // namespace

template <class Real>
void grow_parameter(Parameter<Real>& parameter, std::size_t rows, std::size_t cols) {
  RowMatrix<Real>& value = parameter.value;
  const Eigen::Index r = std::max(static_cast<Eigen::Index>(rows), value.rows());
  const Eigen::Index c = std::max(static_cast<Eigen::Index>(cols), value.cols());
  if (r == value.rows() && c == value.cols()) return;
  for (RowMatrix<Real>* matrix : {&parameter.gradient, &parameter.first, &parameter.second})
    if (matrix->size() > 0) grow_matrix(*matrix, r, c);
  grow_matrix(value, r, c);
  ++parameter.version;
}

template <class Real>
void save_parameter(StateWriter& writer, const Parameter<Real>& parameter) {
  writer.u64(static_cast<std::uint64_t>(parameter.value.rows()));
  writer.u64(static_cast<std::uint64_t>(parameter.value.cols()));
  writer.u64(parameter.steps);
  writer.u64(parameter.version);
  writer.u64(parameter.frozen_rows);
  const bool moments = parameter.first.size() > 0;
  writer.u8(moments ? 1 : 0);
  writer.raw(parameter.value.data(), byte_size(parameter.value));
  if (!moments) return;
  writer.raw(parameter.first.data(), byte_size(parameter.first));
  writer.raw(parameter.second.data(), byte_size(parameter.second));
}

template <class Real>
void load_parameter(StateReader& reader, Parameter<Real>& parameter) {
  RowMatrix<Real>& value = parameter.value;
  reader.require(reader.u64() == static_cast<std::uint64_t>(value.rows()));
  reader.require(reader.u64() == static_cast<std::uint64_t>(value.cols()));
  parameter.steps = reader.u64();
  parameter.version = reader.u64();
  parameter.frozen_rows = reader.u64();
  reader.require(parameter.frozen_rows <= static_cast<std::uint64_t>(value.rows()));
  const std::uint8_t moments = reader.u8();
  reader.require(moments <= 1);
  if (reader.failed()) return;
  reader.raw(value.data(), byte_size(value));
  parameter.first.resize(0, 0);
  parameter.second.resize(0, 0);
  if (moments == 0) return;
  for (RowMatrix<Real>* matrix : {&parameter.first, &parameter.second}) {
    matrix->setZero(value.rows(), value.cols());
    reader.raw(matrix->data(), byte_size(*matrix));
  }
}

template <class Real>
std::size_t memory_bytes(const Parameter<Real>& parameter) {
  return byte_size(parameter.value) + byte_size(parameter.gradient) + byte_size(parameter.first) +
         byte_size(parameter.second);
}

template void grow_parameter(Parameter<float>&, std::size_t, std::size_t);
template void grow_parameter(Parameter<double>&, std::size_t, std::size_t);
template void save_parameter(StateWriter&, const Parameter<float>&);
template void save_parameter(StateWriter&, const Parameter<double>&);
template void load_parameter(StateReader&, Parameter<float>&);
template void load_parameter(StateReader&, Parameter<double>&);
template std::size_t memory_bytes(const Parameter<float>&);
template std::size_t memory_bytes(const Parameter<double>&);

}  // namespace accrete::models
