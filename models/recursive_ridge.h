// Recursive ridge regression in fixed coordinates: the algebra, without scales or missing values.
//
// Dimensions, here and in recursive_ridge.cpp:
//   K columns (0 is the intercept)   O outputs   N rows of one block
//
//   G = sum w z z'   (K, K)      B = sum w z y'   (K, O)      over all rows so far
//   P = (G + prior)^-1           W = P B          (K, O)      the batch ridge solution
//
// A block of rows updates P and W by Woodbury's identity, so W is the batch solution after every
// block, for any order and any cutting into blocks. G and B are kept beside them: they let the
// coordinates change (an affine map of the rows) and the prior stay what it is, in one new solve.
//
// Source: Zhuang et al. 2022, arXiv:2205.14922 (ACIL), section 3, with weights.
#pragma once

#include <cstddef>
#include <vector>

#include <Eigen/Core>

#include "models/state_bytes.h"

namespace accrete::models {

/// New coordinates of one column: z'[c] = scale z[c] + shift (z[0] - z[absent]); absent 0 = none.
struct ColumnMap {
  double scale = 1;
  double shift = 0;
  Eigen::Index absent = 0;
};

class RecursiveRidge {
 public:
  explicit RecursiveRidge(Eigen::Index outputs);

  Eigen::Index columns() const { return gram_.rows(); }
  Eigen::Index outputs() const { return weights_.cols(); }

  /// Append like.size() columns; in new column i the rows so far hold what they hold in the old
  /// column like[i], or 0 for like[i] < 0. Needs a solve() before the next learn(). Cost: K^2.
  void grow_columns(const std::vector<Eigen::Index>& like);
  /// Append outputs; the rows so far have 0 there, so the solution stays exact without a solve.
  void grow_outputs(Eigen::Index outputs);
  /// Re-express all rows so far. Needs a solve(). Cost: K^2.
  void map_columns(const std::vector<ColumnMap>& maps);

  /// P and W from G and B under a diagonal prior. Cost: K^3. Checks: prior > 0.
  void solve(const Eigen::VectorXd& prior);

  /// Account a block: rows (K, N), targets (O, N), weights (N) > 0. Returns the sum over rows of
  /// w e^2 / (1 + w z'Pz) of output 0, e being the error of the prediction just before that row.
  /// Cost: 2 K^2 N + K N^2. Checks: solved.
  double learn(const Eigen::MatrixXd& rows, const Eigen::MatrixXd& targets,
               const Eigen::VectorXd& weights);

  const Eigen::MatrixXd& weights() const { return weights_; }
  /// z'Pz, the variance of the prediction at z per unit of noise variance. Cost: K^2.
  double leverage(const Eigen::VectorXd& row) const;

  void save(StateWriter& writer) const;
  void load(StateReader& reader, std::size_t columns_max, std::size_t outputs_max);

 private:
  Eigen::MatrixXd gram_;     // lower triangle
  Eigen::MatrixXd moments_;  // B
  Eigen::MatrixXd inverse_;  // P, lower triangle
  Eigen::MatrixXd weights_;  // W
  bool solved_ = false;
};

}  // namespace accrete::models
