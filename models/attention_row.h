// The hot loops of attention: one row over all that it hears, all heads in one walk.
//
// Dimensions, here and in attention_row*.cpp, attention_kernels.h:
//   E nodes that the row hears   d width   H heads
//
// What a row asks of a key of a node, it asks of the node itself: q · (h W) = (W q) · h. So nothing
// is computed once a node and expert, and the mean of values is the value of the mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace accrete::models {

template <class Real>
struct AttentionRow {
  const Real* input;  ///< rows of d numbers
  std::size_t width;
  std::size_t heads;
  std::span<const std::uint32_t> nodes;  ///< E rows of input, at least one
  const Real* asks;                      ///< (H, d)
  Real* share;  ///< (H, E) what is added to the scores; becomes their softmax over E
  Real* mean;   ///< (H, d) set: sum over nodes of share × their row
};

/// Scores asks · h, their softmax and the means by it. Cost: 2 E d H products and sums, E H
/// exponentials. Sums of a row are folded in a fixed order, so no vector width changes a bit.
template <class Real>
void attend_row(const AttentionRow<Real>& row);

template <class Real>
struct AttentionGradient {
  const Real* input;
  std::size_t width;
  std::size_t heads;
  std::span<const std::uint32_t> nodes;
  const Real* asks;
  const Real* share;   ///< (H, E) as they became
  const Real* d_mean;  ///< (H, d)
  Real* d_score;       ///< (H, E) set
  Real* d_asks;        ///< (H, d) set; may be d_mean
  Real* d_input;       ///< rows of d numbers, added to
};

/// The way back. Cost: twice the above.
template <class Real>
void attend_row_gradient(const AttentionGradient<Real>& back);

}  // namespace accrete::models
