// Gradient-boosted shallow trees over columns cut into bins: what linear heads cannot say, fitted
// anew at set points of the stream.
//
// Dimensions, here and in boosted_trees.cpp:
//   K columns of Z (0 is the intercept, never split on)   N rows (columns of Z)   B bins of a
//   column
//
//   F(z) = base + rate × sum over rounds of the leaf that z falls into
//
// A round draws rows and columns, grows one tree level by level on the slopes g and curvatures h of
// the loss at F (loss_at of convex_fit.h), each split by the gain
// G_l² / (H_l + l2) + G_r² / (H_r + l2) − G² / (H + l2), and gives each leaf −G / (H + l2).
//
// Source: Friedman 2001, "Greedy function approximation: a gradient boosting machine"; leaves by
// curvature as in Chen and Guestrin 2016, "XGBoost", section 2.2.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <Eigen/Core>

#include "models/convex_fit.h"
#include "models/state_bytes.h"

namespace accrete::models {

struct TreeOptions {
  std::size_t rounds = 150;
  double rate = 0.06;
  double column_share = 0.3;       ///< of the columns, drawn for each round
  double row_share = 0.5;          ///< of the rows
  std::size_t rows_max = 6144;     ///< and at most so many of them
  std::size_t leaf_rows_min = 24;  ///< of the drawn rows
  double l2 = 4;
};

/// Deterministic: the same rows, options and seed give the same bits.
class BoostedTrees {
 public:
  /// Fit anew. Cost: about 3 × rounds × rows drawn × columns drawn, and K N log N for the bins.
  /// Memory while it runs: K N bytes. Checks: sizes agree, leaf_rows_min > 0. `data` is
  /// finite, its weights are >= 0.
  void fit(Loss loss, const FitRows& data, const TreeOptions& options, std::uint64_t seed);
  /// The score F(z). Cost: 3 comparisons a round. Threads: const.
  double score(const Eigen::Ref<const Eigen::VectorXd>& z) const;
  std::size_t rounds() const { return trees_.size(); }

  void save(StateWriter& writer) const;
  /// Fails the reader on damaged bytes. `columns`: K.
  void load(StateReader& reader, Eigen::Index columns);

  static constexpr std::size_t depth = 3;
  static constexpr std::size_t splits = (1u << depth) - 1;
  static constexpr std::size_t leaves = 1u << depth;
  /// Heap order: the children of split s are 2s + 1 (z <= cut) and 2s + 2.
  struct Tree {
    std::array<std::uint32_t, splits> column{};  // 0: no split here, everything goes left
    std::array<double, splits> cut{};
    std::array<double, leaves> value{};  // with the rate
  };
  const std::vector<Tree>& trees() const { return trees_; }

 private:
  double base_ = 0;
  std::vector<Tree> trees_;
};

}  // namespace accrete::models
