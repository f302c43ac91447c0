// Woodbury updates and full solves of ridge regression, lower triangles only.
#include "models/recursive_ridge.h"

#include <algorithm>

#include <Eigen/Cholesky>

#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::Lower;
using Eigen::MatrixXd;
using Eigen::VectorXd;

}  // namespace

RecursiveRidge::RecursiveRidge(Index outputs)
    : gram_(MatrixXd::Zero(1, 1)),
      moments_(MatrixXd::Zero(1, outputs)),
      inverse_(MatrixXd::Zero(1, 1)),
      weights_(MatrixXd::Zero(1, outputs)) {
  pin_block_sizes();
}

void RecursiveRidge::grow_columns(const std::vector<Index>& like) {
  if (like.empty()) return;
  const Index old = columns();
  const Index K = old + static_cast<Index>(like.size());
  const auto origin = [&](Index c) {
    return c < old ? c : like[static_cast<std::size_t>(c - old)];
  };
  MatrixXd gram = MatrixXd::Zero(K, K);
  MatrixXd moments = MatrixXd::Zero(K, outputs());
  for (Index c = 0; c < K; ++c) {
    const Index from = origin(c);
    if (from < 0) continue;
    ACCRETE_CHECK(from < old);
    moments.row(c) = moments_.row(from);
    for (Index r = c; r < K; ++r) {
      const Index other = origin(r);
      if (other >= 0) gram(r, c) = gram_(std::max(other, from), std::min(other, from));
    }
  }
  gram_ = std::move(gram);
  moments_ = std::move(moments);
  solved_ = false;
}

void RecursiveRidge::grow_outputs(Index outputs) {
  const Index old = this->outputs();
  ACCRETE_CHECK(outputs >= old);
  moments_.conservativeResize(Eigen::NoChange, outputs);
  weights_.conservativeResize(Eigen::NoChange, outputs);
  moments_.rightCols(outputs - old).setZero();
  weights_.rightCols(outputs - old).setZero();
}

void RecursiveRidge::map_columns(const std::vector<ColumnMap>& maps) {
  const Index K = columns();
  ACCRETE_CHECK(static_cast<Index>(maps.size()) == K);
  const MatrixXd full = gram_.selfadjointView<Lower>();
  // G' = A G A' and B' = A B, A having at most three entries a row.
  const auto apply = [&](const MatrixXd& from) {
    MatrixXd to(from.rows(), from.cols());
    for (Index c = 0; c < K; ++c) {
      const ColumnMap& map = maps[static_cast<std::size_t>(c)];
      to.row(c) = map.scale * from.row(c);
      if (map.shift != 0) to.row(c) += map.shift * from.row(0);
      if (map.shift != 0 && map.absent > 0) to.row(c) -= map.shift * from.row(map.absent);
    }
    return to;
  };
  const MatrixXd half = apply(full);
  gram_ = apply(half.transpose());
  moments_ = apply(moments_);
  solved_ = false;
}

void RecursiveRidge::solve(const VectorXd& prior) {
  const Index K = columns();
  ACCRETE_CHECK(prior.size() == K && prior.minCoeff() > 0);
  MatrixXd precision = gram_;
  precision.diagonal() += prior;
  const Eigen::LLT<MatrixXd, Lower> factor(precision);
  inverse_ = factor.solve(MatrixXd::Identity(K, K));
  weights_.noalias() = inverse_.selfadjointView<Lower>() * moments_;
  solved_ = true;
}

double RecursiveRidge::learn(const MatrixXd& rows, const MatrixXd& targets,
                             const VectorXd& weights) {
  const Index N = rows.cols();
  ACCRETE_CHECK(solved_ && rows.rows() == columns() && targets.rows() == outputs());
  ACCRETE_CHECK(targets.cols() == N && weights.size() == N);
  if (N == 0) return 0;
  const VectorXd root = weights.cwiseSqrt();
  const MatrixXd Z = rows * root.asDiagonal();
  const MatrixXd Y = targets * root.asDiagonal();
  gram_.selfadjointView<Lower>().rankUpdate(Z);
  moments_.noalias() += Z * Y.transpose();

  MatrixXd gain(columns(), N);
  gain.noalias() = inverse_.selfadjointView<Lower>() * Z;
  MatrixXd inner = MatrixXd::Identity(N, N);
  inner.noalias() += Z.transpose() * gain;
  const Eigen::LLT<MatrixXd, Lower> factor(inner);
  MatrixXd errors = Y.transpose();
  errors.noalias() -= Z.transpose() * weights_;
  // With inner = L L': columns of gain L'^-1 downdate P, rows of L^-1 errors are the innovations.
  const MatrixXd innovations = factor.matrixL().solve(errors);
  const MatrixXd scaled = factor.matrixL().solve(gain.transpose());
  weights_.noalias() += scaled.transpose() * innovations;
  inverse_.selfadjointView<Lower>().rankUpdate(scaled.transpose(), -1.0);
  return innovations.col(0).squaredNorm();
}

double RecursiveRidge::leverage(const VectorXd& row) const {
  ACCRETE_CHECK(solved_);
  const VectorXd image = inverse_.selfadjointView<Lower>() * row;
  return row.dot(image);
}

void RecursiveRidge::save(StateWriter& writer) const {
  writer.u64(static_cast<std::uint64_t>(columns()));
  writer.u64(static_cast<std::uint64_t>(outputs()));
  writer.u8(solved_ ? 1 : 0);
  save_lower(writer, gram_);
  writer.raw(moments_.data(), byte_size(moments_));
  if (!solved_) return;
  save_lower(writer, inverse_);
  writer.raw(weights_.data(), byte_size(weights_));
}

void RecursiveRidge::load(StateReader& reader, std::size_t columns_max, std::size_t outputs_max) {
  const std::uint64_t columns = reader.u64();
  const std::uint64_t outputs = reader.u64();
  const bool solved = reader.u8() != 0;
  reader.require(columns >= 1 && columns <= columns_max && outputs <= outputs_max);
  const std::uint64_t triangle = reader.failed() ? 0 : columns * (columns + 1) / 2;
  const std::uint64_t doubles =
      (triangle + (reader.failed() ? 0 : columns * outputs)) * (solved ? 2 : 1);
  reader.require(doubles <= reader.left() / sizeof(double));
  if (reader.failed()) return;
  const auto K = static_cast<Index>(columns);
  const auto O = static_cast<Index>(outputs);
  gram_ = MatrixXd::Zero(K, K);
  moments_ = MatrixXd::Zero(K, O);
  inverse_ = MatrixXd::Zero(K, K);
  weights_ = MatrixXd::Zero(K, O);
  solved_ = solved;
  load_lower(reader, gram_);
  reader.raw(moments_.data(), byte_size(moments_));
  if (!solved_) return;
  load_lower(reader, inverse_);
  reader.raw(weights_.data(), byte_size(weights_));
}

}  // namespace accrete::models
