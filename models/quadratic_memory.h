// A quadratic memory of examples that fades: what ridge keeps exactly, and what a Newton step keeps
// of any other loss.
//
// Dimensions, here and in quadratic_memory.cpp:
//   K columns (0 is the intercept)   O outputs   N rows of one block
//
//   A = sum c z z'   (K, K)     B = sum c z t'   (K, O)     W = (A + prior)^-1 B   (K, O)
//
// c is the weight of a row times the curvature of its loss, t the target of a Newton step (the
// label itself under squared loss). Only A and B fade, never the prior: a direction that no row has
// shown for long goes back to zero with the prior's confidence, where fading (A + prior) would let
// it drift unchecked.
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "models/state_bytes.h"

namespace accrete::models {

/// Sum of c z z' over the rows (K, N), lower triangle; and of z t' with t (N, O) already times c.
struct BlockSums {
  Eigen::MatrixXd curvature;
  Eigen::MatrixXd moments;
};

class QuadraticMemory {
 public:
  /// Empty, solved: W = 0. Checks: prior > 0, intercept_prior > 0.
  void reset(Eigen::Index columns, Eigen::Index outputs, double prior, double intercept_prior);

  Eigen::Index columns() const { return curvature_.rows(); }
  Eigen::Index outputs() const { return moments_.cols(); }

  /// All rows so far count `factor` of what they did. Cost: K^2.
  void fade(double factor);
  /// Add sums over rows; a negative sum takes rows out again
  /// exactly (forget: their present weight is the first one times every factor since). Cost: K^2.
  void add(const BlockSums& sums, double sign = 1);

  /// W and the factor from A and B. Cost: K^3 / 3.
  void solve();
  /// What solve() would find after add(extra, moments), without adding.
  struct Trial {
    Eigen::MatrixXd weights;
    Eigen::MatrixXd factor;
  };
  Trial attempt(const BlockSums& extra) const;
  /// Add for good what was attempted; same bits as add() and solve().
  void accept(const BlockSums& extra, Trial trial);

  const Eigen::MatrixXd& weights() const { return weights_; }
  /// Weights found by other means: A, B and the factor follow at the next solve().
  void set_weights(const Eigen::MatrixXd& weights) { weights_ = weights; }
  const Eigen::MatrixXd& curvature() const { return curvature_; }  ///< A, lower triangle
  const Eigen::MatrixXd& moments() const { return moments_; }      ///< B
  const Eigen::VectorXd& prior() const { return prior_; }
  /// z' (A + prior)^-1 z as of the last solve(). Cost: K^2. Threads: const.
  double leverage(const Eigen::VectorXd& row) const;

  void save(StateWriter& writer) const;
  /// Fails the reader unless the state has `outputs` outputs and at most `columns_max` columns.
  void load(StateReader& reader, Eigen::Index columns_max, Eigen::Index outputs);

 private:
  Eigen::MatrixXd curvature_;  // lower triangle
  Eigen::MatrixXd moments_;
  Eigen::VectorXd prior_;
  Eigen::MatrixXd weights_;
  Eigen::MatrixXd factor_;  // Cholesky factor of A + prior at the last solve, lower triangle
};

/// Cost: K^2 N + 2 K O N; curvatures >= 0.
BlockSums block_sums(const Eigen::MatrixXd& rows, const Eigen::VectorXd& curvatures,
                     const Eigen::MatrixXd& weighted_targets);

}  // namespace accrete::models
