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
// The same identity with the sign turned takes rows out again: what is left is the batch solution
// over the rows that are left.
//
// Source: Zhuang et al. 2022, arXiv:2205.14922 (ACIL), section 3, with weights.
#pragma once

#include <cstddef>
#include <vector>

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "models/state_bytes.h"
#include "proto/result.h"

namespace accrete::models {

/// New coordinates of one column: z'[c] = scale z[c] + shift (z[0] - z[absent]); absent 0 = none.
struct ColumnMap {
  double scale = 1;
  double shift = 0;
  Eigen::Index absent = 0;
};

/// What map_columns(maps) makes of rows (K, N) learnt before it. Cost: K N.
Eigen::MatrixXd map_rows(const std::vector<ColumnMap>& maps, const Eigen::MatrixXd& rows);

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

  /// Take a block out that was learnt, in any order, cutting or company; targets of outputs younger
  /// than a row are 0. Rows are told in the columns of now: as they were learnt, then through every
  /// map_columns() (map_rows() says how) and grow_columns() (row[like[i]] or 0) since. Then it is
  /// exact. With the coordinates of a FeatureScale in between (ridge.h) there is a shorter way:
  /// standardise the row's values in the scale of now, without a clip. That is exact for a value
  /// that had its column, and that column a deviation, when the row was learnt, and that was not
  /// clipped then; of any other value only the row as learnt tells what it counted as.
  /// `prior` is that of the last solve(). Where little but the prior stays behind in some
  /// direction, digits of P would be lost, so it is solved anew under it.
  /// Errors: NotFound if the block weighs more than all rows there are (to a part in 10^6) or
  /// leaves nothing that can be solved; then nothing has changed. Other rows that were never learnt
  /// are not noticed.
  /// Cost: as learn() and K^2 more; K^3 where it is solved anew. Checks: solved.
  Status forget(const Eigen::MatrixXd& rows, const Eigen::MatrixXd& targets,
                const Eigen::VectorXd& weights, const Eigen::VectorXd& prior);

  const Eigen::MatrixXd& weights() const { return weights_; }
  /// z'Pz, the variance of the prediction at z per unit of noise variance. Cost: K^2.
  double leverage(const Eigen::VectorXd& row) const;

  void save(StateWriter& writer) const;
  void load(StateReader& reader, std::size_t columns_max, std::size_t outputs_max);

 private:
  /// P and W from a factor of G + prior.
  void invert(const Eigen::LLT<Eigen::MatrixXd, Eigen::Lower>& factor);

  Eigen::MatrixXd gram_;     // lower triangle
  Eigen::MatrixXd moments_;  // B
  Eigen::MatrixXd inverse_;  // P, lower triangle
  Eigen::MatrixXd weights_;  // W
  bool solved_ = false;
};

}  // namespace accrete::models
