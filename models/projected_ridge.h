// Ridge over a fixed random projection of rows and of what lies two steps around them: keeps sums,
// never examples.
//
// Dimensions, here and in projected_ridge.cpp (N, I, M, F, C as in propagation.h):
//   d numbers of hop 0, e of hop 2     B = d + e
//
//   R (F, d) signs / √d, Q (F, e) signs / √e        Φ = [D R | S S X Q]  (N, B)
//   G = Σ φ φᵀ    V = Σ φ yᵀ, y one-hot    n_c rows of a class c
//
// Every class is to count the same, however many rows it has (class_balance.h, which says H, M):
//
//   β = (H + λ tr(H)/B I)^-1 M
//
// R and Q never change: a column's signs come from its number alone, so what was summed long ago
// and what comes today speak of the same numbers, and a new column needs no new sum. Columns [bd,
// bd + d) of R have the rows of a d × d Hadamard matrix with its columns' signs drawn by the seed
// and b: among each other they are orthogonal, so items that came first, the frequent ones, do not
// blur each other. Against independent signs (Achlioptas 2003) that is worth what half as many
// numbers again are. Averages over surroundings differ less than rows do: e may be smaller than d.
//
// Source: Zhuang et al. 2022, arXiv:2205.14922 (ACIL) for learning classes by sums; Yu et al.
// 2016, arXiv:1610.09072, for orthogonal blocks. Hops, weights and λ: bench/RESULTS.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "models/class_balance.h"
#include "models/propagation.h"
#include "models/state_bytes.h"

namespace accrete::models {

struct ProjectedRidgeOptions {
  std::size_t own = 1024;    ///< d, a power of two, 64 at least
  std::size_t around = 512;  ///< e, the same, at most d; 0: there is no hop 2
  double lambda = 0.5;
  std::uint64_t seed = 1;
};

class ProjectedRidge {
 public:
  explicit ProjectedRidge(const ProjectedRidgeOptions& options);

  /// Add the centres to the sums, as they and their surroundings are now; `columns` are F.
  /// Cost: d × entries of D and X, B² N. Memory: B N numbers, and (M + F) × 64.
  /// Checks: a label for each centre.
  void learn(const Neighbourhood& rows, std::span<const std::uint32_t> labels, std::size_t columns);

  /// β as weights of the columns themselves, W0 = R β0 and W2 = R β2, so that predicting costs what
  /// propagation.h says. Cost: B³/3 + F B C.
  void solve(std::size_t columns, HopWeights<float>& weights) const;

  /// For who puts these columns beside others (joined_ridge.h): B; Φ of rows, at learn()'s cost but
  /// for the sums; H and M, empty before the first row; and weights of columns from such a β (B,
  /// C).
  std::size_t width() const { return options_.own + options_.around; }
  Eigen::MatrixXf project(const Neighbourhood& rows, std::size_t columns) const;
  BalancedClasses<float> balanced() const {
    return balance_classes<float>(gram_, moments_, counts_);
  }
  void expand(const Eigen::MatrixXf& beta, std::size_t columns, HopWeights<float>& weights) const;

  std::size_t classes() const { return static_cast<std::size_t>(moments_.cols()); }
  std::size_t memory_bytes() const;
  /// What learn() takes for a centre while it runs.
  std::size_t row_bytes() const { return static_cast<std::size_t>(size()) * sizeof(float); }
  void save(StateWriter& writer) const;
  /// Fails the reader where the bytes are of other options.
  void load(StateReader& reader, std::size_t classes_max);

 private:
  Eigen::Index size() const;  // B
  void signs(std::size_t columns, std::size_t width, Eigen::Index from,
             RowMatrix<float>& out) const;

  ProjectedRidgeOptions options_;
  Eigen::MatrixXf gram_;        // G, lower triangle
  Eigen::MatrixXf moments_;     // V, (B, C)
  std::vector<double> counts_;  // n_c
};

}  // namespace accrete::models
