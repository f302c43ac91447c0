// Fading sums and their Cholesky solves, lower triangles only.
#include "models/quadratic_memory.h"

#include <utility>

#include "models/matrix_bytes.h"

namespace accrete::models {

using Eigen::Index;
using Eigen::Lower;
using Eigen::MatrixXd;
using Eigen::VectorXd;

void QuadraticMemory::reset(Index columns, Index outputs, double prior, double intercept_prior) {
  ACCRETE_CHECK(prior > 0 && intercept_prior > 0 && columns > 0);
  pin_block_sizes();
  curvature_ = MatrixXd::Zero(columns, columns);
  moments_ = MatrixXd::Zero(columns, outputs);
  prior_ = VectorXd::Constant(columns, prior);
  prior_[0] = intercept_prior;
  solve();
}

void QuadraticMemory::fade(double factor) {
  ACCRETE_CHECK(factor >= 0 && factor <= 1);
  curvature_ *= factor;
  moments_ *= factor;
}

void QuadraticMemory::add(const BlockSums& sums, double sign) {
  curvature_ += sign * sums.curvature;
  moments_ += sign * sums.moments;
}

void QuadraticMemory::solve() {
  factor_ = curvature_;
  factor_.diagonal() += prior_;
  Eigen::LLT<Eigen::Ref<MatrixXd>, Lower> in_place(factor_);
  weights_ = in_place.solve(moments_);
}

QuadraticMemory::Trial QuadraticMemory::attempt(const BlockSums& extra) const {
  Trial trial{moments_ + extra.moments, curvature_ + extra.curvature};
  trial.factor.diagonal() += prior_;
  Eigen::LLT<Eigen::Ref<MatrixXd>, Lower> in_place(trial.factor);
  in_place.solveInPlace(trial.weights);
  return trial;
}

void QuadraticMemory::accept(const BlockSums& extra, Trial trial) {
  add(extra);
  weights_ = std::move(trial.weights);
  factor_ = std::move(trial.factor);
}

double QuadraticMemory::leverage(const VectorXd& row) const {
  VectorXd image = row;
  factor_.triangularView<Lower>().solveInPlace(image);
  return image.squaredNorm();
}

void QuadraticMemory::save(StateWriter& writer) const {
  writer.u64(static_cast<std::uint64_t>(columns()));
  writer.u64(static_cast<std::uint64_t>(outputs()));
  save_lower(writer, curvature_);
  writer.raw(moments_.data(), byte_size(moments_));
  save_vector(writer, prior_);
  writer.raw(weights_.data(), byte_size(weights_));
  save_lower(writer, factor_);
}

void QuadraticMemory::load(StateReader& reader, Index columns_max, Index outputs) {
  const auto K = static_cast<Index>(reader.count(2 * sizeof(double)));
  reader.require(K > 0 && K <= columns_max && reader.u64() == static_cast<std::uint64_t>(outputs));
  reader.require(static_cast<std::uint64_t>(K * (K + 1)) <= reader.left() / sizeof(double));
  if (reader.failed()) return;
  pin_block_sizes();
  curvature_ = MatrixXd::Zero(K, K);
  moments_ = MatrixXd::Zero(K, outputs);
  weights_ = MatrixXd::Zero(K, outputs);
  factor_ = MatrixXd::Zero(K, K);
  load_lower(reader, curvature_);
  reader.raw(moments_.data(), byte_size(moments_));
  prior_ = load_vector(reader);
  reader.require(prior_.size() == K);
  reader.raw(weights_.data(), byte_size(weights_));
  load_lower(reader, factor_);
}

BlockSums block_sums(const MatrixXd& rows, const VectorXd& curvatures,
                     const MatrixXd& weighted_targets) {
  ACCRETE_CHECK(rows.cols() == curvatures.size() && rows.cols() == weighted_targets.rows());
  BlockSums sums{MatrixXd::Zero(rows.rows(), rows.rows()), MatrixXd()};
  const MatrixXd scaled = rows * curvatures.cwiseSqrt().asDiagonal();
  sums.curvature.selfadjointView<Lower>().rankUpdate(scaled);
  sums.moments.noalias() = rows * weighted_targets;
  return sums;
}

}  // namespace accrete::models
