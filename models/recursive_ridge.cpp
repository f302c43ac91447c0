// Woodbury updates and full solves of ridge regression, lower triangles only.
#include "models/recursive_ridge.h"

#include <algorithm>
#include <utility>

#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::Lower;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using Factor = Eigen::LLT<MatrixXd, Lower>;

// A row that holds more than nine tenths of what is known in its direction is not taken out of P
// by the identity: it divides by the tenth that stays, and so multiplies what P lacks in digits.
constexpr double share_left_min = 0.1;

// Sums of weights differ by rounding when rows leave in another order than they came.
constexpr double weight_slack = 1e-6;

}  // namespace

MatrixXd map_rows(const std::vector<ColumnMap>& maps, const MatrixXd& rows) {
  ACCRETE_CHECK(static_cast<Index>(maps.size()) == rows.rows());
  MatrixXd to(rows.rows(), rows.cols());
  for (Index c = 0; c < rows.rows(); ++c) {
    const ColumnMap& map = maps[static_cast<std::size_t>(c)];
    to.row(c) = map.scale * rows.row(c);
    if (map.shift != 0) to.row(c) += map.shift * rows.row(0);
    if (map.shift != 0 && map.absent > 0) to.row(c) -= map.shift * rows.row(map.absent);
  }
  return to;
}

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
  const MatrixXd full = gram_.selfadjointView<Lower>();
  // G' = A G A' and B' = A B, A having at most three entries a row.
  const MatrixXd half = map_rows(maps, full);
  gram_ = map_rows(maps, half.transpose());
  moments_ = map_rows(maps, moments_);
  solved_ = false;
}

void RecursiveRidge::solve(const VectorXd& prior) {
  ACCRETE_CHECK(prior.size() == columns() && prior.minCoeff() > 0);
  MatrixXd precision = gram_;
  precision.diagonal() += prior;
  invert(Factor(precision));
}

void RecursiveRidge::invert(const Factor& factor) {
  const Index K = columns();
  inverse_ = factor.solve(MatrixXd::Identity(K, K));
  weights_.resize(K, outputs());
  // Before the first class there is nothing to multiply, and Eigen would take the address of it.
  if (outputs() > 0) weights_.noalias() = inverse_.selfadjointView<Lower>() * moments_;
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
  const Factor factor(inner);
  MatrixXd errors = Y.transpose();
  errors.noalias() -= Z.transpose() * weights_;
  // With inner = L L': columns of gain L'^-1 downdate P, rows of L^-1 errors are the innovations.
  const MatrixXd innovations = factor.matrixL().solve(errors);
  const MatrixXd scaled = factor.matrixL().solve(gain.transpose());
  weights_.noalias() += scaled.transpose() * innovations;
  inverse_.selfadjointView<Lower>().rankUpdate(scaled.transpose(), -1.0);
  return innovations.col(0).squaredNorm();
}

Status RecursiveRidge::forget(const MatrixXd& rows, const MatrixXd& targets,
                              const VectorXd& weights, const VectorXd& prior) {
  const Index N = rows.cols();
  ACCRETE_CHECK(solved_ && rows.rows() == columns() && targets.rows() == outputs());
  ACCRETE_CHECK(targets.cols() == N && weights.size() == N && prior.size() == columns());
  if (N == 0) return Ok{};
  const VectorXd root = weights.cwiseSqrt();
  const MatrixXd Z = rows * root.asDiagonal();
  const MatrixXd Y = targets * root.asDiagonal();
  const Error unknown{Errc::NotFound, "ridge: more is forgotten than was learnt"};
  if (Z.row(0).squaredNorm() > (1 + weight_slack) * gram_(0, 0)) return unknown;
  MatrixXd gram = gram_;
  gram.selfadjointView<Lower>().rankUpdate(Z, -1.0);

  MatrixXd gain(columns(), N);
  gain.noalias() = inverse_.selfadjointView<Lower>() * Z;
  MatrixXd inner = MatrixXd::Identity(N, N);
  inner.noalias() -= Z.transpose() * gain;
  // A pivot is the share of what is known in a row's direction that others hold, those before it
  // in the block being gone.
  const Factor factor(inner);
  const bool small = factor.info() == Eigen::Success &&
                     factor.matrixLLT().diagonal().cwiseAbs2().minCoeff() >= share_left_min;
  if (small) {
    MatrixXd errors = Y.transpose();
    errors.noalias() -= Z.transpose() * weights_;
    const MatrixXd innovations = factor.matrixL().solve(errors);
    const MatrixXd scaled = factor.matrixL().solve(gain.transpose());
    weights_.noalias() -= scaled.transpose() * innovations;
    inverse_.selfadjointView<Lower>().rankUpdate(scaled.transpose());
    gram_ = std::move(gram);
    moments_.noalias() -= Z * Y.transpose();
    return Ok{};
  }
  MatrixXd precision = gram;
  precision.diagonal() += prior;
  const Factor left(precision);
  if (left.info() != Eigen::Success) return unknown;
  gram_ = std::move(gram);
  moments_.noalias() -= Z * Y.transpose();
  invert(left);
  return Ok{};
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
