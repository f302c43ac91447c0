// Ridge over columns that were always there and columns that joined later; one number or classes.
//
// Dimensions, here and in joined_ridge.cpp:
//   N rows   B base columns   d joined columns   K = B + d + 1   C outputs
//
//   z = [φ | e | 1]      G = Σ z zᵀ      V = Σ z yᵀ   over the rows that have joined columns
//
// A number (B = 0, the intercept without a share of the prior):
//
//   β = (G + λ K I)^-1 V
//
// Classes, each counting the same (class_balance.h): with H, M of G, V and H₀, M₀ of the rows from
// before the joined columns, which are zero there,
//
//   β = (H + H₀ + diag Λ)^-1 (M + M₀)     Λ of a block of columns: λ × its mean diagonal
//
// so columns join without a fit to old rows: these stay the sums they were. Where the columns'
// values change for all rows at once, dropping them is as exact: a new JoinedRidge beside the same
// H₀, M₀.
//
// Source: Zhuang et al. 2022, arXiv:2205.14922 (ACIL), for learning by sums; the blocks are ours.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "models/class_balance.h"
#include "models/sparse_rows.h"
#include "models/state_bytes.h"

namespace accrete::models {

struct JoinedRidgeOptions {
  bool classes = false;      ///< targets are class indices; else numbers
  std::size_t base = 0;      ///< B; 0 for numbers
  std::size_t joined = 0;    ///< d
  double base_lambda = 0.5;  ///< λ of the base columns
  double lambda = 1;         ///< λ of the joined ones and the intercept, or of a number
};

template <class Real>
class JoinedRidge {
 public:
  using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic>;

  explicit JoinedRidge(const JoinedRidgeOptions& options);

  /// Account rows: base (N, B), joined (N, d), targets (N). A row with a number that is not finite
  /// is left out: it would be in all sums for ever. Checks: sizes; targets are finite, classes
  /// below 2^16. Cost: K² N. Memory: K N numbers.
  void learn(const Matrix& base, const RowMatrix<Real>& joined, std::span<const double> targets);

  /// β (K, C); C 0: nothing was learnt. `before`: of rows without the joined columns, (B, B) and
  /// (B, C'), C' at most or at least the classes here; null: there are none. Checks: B > 0 if there
  /// are. Cost: K³/3 + K² C.
  Matrix solve(const BalancedClasses<Real>* before = nullptr) const;

  std::size_t memory_bytes() const;
  void save(StateWriter& writer) const;
  /// Fails the reader where the bytes are of other options.
  void load(StateReader& reader, std::size_t outputs_max);

 private:
  Eigen::Index size() const {
    return static_cast<Eigen::Index>(options_.base + options_.joined + 1);
  }
  Matrix solve_number() const;

  JoinedRidgeOptions options_;
  Matrix gram_;                 // G, lower triangle
  Matrix moments_;              // V
  std::vector<double> counts_;  // rows of each output's class; of numbers all
};

extern template class JoinedRidge<float>;
extern template class JoinedRidge<double>;

}  // namespace accrete::models
