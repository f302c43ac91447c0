// The loops of attention_row*.cpp, compiled once a vector width: whoever includes this names its
// instructions by ACCRETE_TARGET.
#pragma once

#include <algorithm>
#include <cstddef>

#include "models/attention_row.h"
#include "models/exponential_lanes.h"
#include "models/unroll.h"
#include "models/vector_lanes.h"

namespace accrete::models {

template <class Real>
struct AttentionKernels {
  void (*forward)(const AttentionRow<Real>&);
  void (*back)(const AttentionGradient<Real>&);
};

/// The wide ones need a processor that has them.
template <class Real>
AttentionKernels<Real> plain_attention_kernels();
template <class Real>
AttentionKernels<Real> avx2_attention_kernels();
template <class Real>
AttentionKernels<Real> avx512_attention_kernels();

#if defined(ACCRETE_TARGET)
namespace {

/// Nodes of one row, and where a group of heads begins in what it asks and in its shares.
template <class Real>
struct HeadGroup {
  const Real* input;
  std::size_t width;
  std::span<const std::uint32_t> nodes;
  const Real* vectors;  ///< (G, d)

  const Real* node(std::size_t e) const { return input + nodes[e] * width; }
};

/// to (G, E) = the products of the group's vectors with each node, whose places in `d_input` are
/// about to be written; or, without it, +=.
template <class Real, std::size_t G, bool Forward>
ACCRETE_TARGET void dot_heads(const HeadGroup<Real>& group, const Real* d_input, Real* to) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  constexpr std::size_t kAhead = 4;  // rows lie anywhere: no processor guesses where
  const std::size_t E = group.nodes.size();
  for (std::size_t e = 0; e < E; ++e) {
    const Real* const row = group.node(e);
    const std::size_t ahead = group.nodes[std::min(e + kAhead, E - 1)] * group.width;
    Vector<Real> sums[G] = {};
    std::size_t c = 0;
    for (; c + kLanes <= group.width; c += kLanes) {
      __builtin_prefetch(group.input + ahead + c);
      if constexpr (!Forward) __builtin_prefetch(d_input + ahead + c, 1);
      const Vector<Real> part = vector_at(row + c);
      ACCRETE_UNROLL
      for (std::size_t g = 0; g < G; ++g)
        sums[g] = fused(part, vector_at(group.vectors + g * group.width + c), sums[g]);
    }
    ACCRETE_UNROLL
    for (std::size_t g = 0; g < G; ++g) {
      Real total = fold_lanes<Real>(sums[g]);
      for (std::size_t k = c; k < group.width; ++k)
        total = fused(row[k], group.vectors[g * group.width + k], total);
      to[g * E + e] = Forward ? to[g * E + e] + total : total;
    }
  }
}

/// Columns of the means of a group of heads.
template <class Real, std::size_t G, std::size_t Vectors>
ACCRETE_TARGET void mean_columns(const HeadGroup<Real>& group, const Real* share, std::size_t c,
                                 Real* mean) {
  const std::size_t E = group.nodes.size();
  Vector<Real> sums[G][Vectors] = {};
  for (std::size_t e = 0; e < E; ++e) {
    const Real* const from = group.node(e) + c;
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p) {
      const Vector<Real> part = vector_at(from + p * kVectorLanes<Real>);
      ACCRETE_UNROLL
      for (std::size_t g = 0; g < G; ++g)
        sums[g][p] = fused(share[g * E + e], part, sums[g][p]);
    }
  }
  ACCRETE_UNROLL
  for (std::size_t g = 0; g < G; ++g) {
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p)
      vector_at(mean + g * group.width + c + p * kVectorLanes<Real>) = sums[g][p];
  }
}

template <class Real, std::size_t G>
ACCRETE_TARGET void mean_heads(const HeadGroup<Real>& group, const Real* share, Real* mean) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  constexpr std::size_t kVectors = 4;  // for four heads half of the widest registers
  const std::size_t E = group.nodes.size();
  std::size_t c = 0;
  for (; c + kVectors * kLanes <= group.width; c += kVectors * kLanes)
    mean_columns<Real, G, kVectors>(group, share, c, mean);
  for (; c + kLanes <= group.width; c += kLanes)
    mean_columns<Real, G, 1>(group, share, c, mean);
  for (; c < group.width; ++c) {
    for (std::size_t g = 0; g < G; ++g) {
      Real total = 0;
      for (std::size_t e = 0; e < E; ++e)
        total = fused(share[g * E + e], group.node(e)[c], total);
      mean[g * group.width + c] = total;
    }
  }
}

/// `scores` (E) of one head in place.
template <class Real>
ACCRETE_TARGET void softmax(std::size_t E, Real* scores) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  Real top = scores[0];
  for (std::size_t e = 1; e < E; ++e)
    top = std::max(top, scores[e]);
  Vector<Real> sums = {};
  std::size_t e = 0;
  for (; e + kLanes <= E; e += kLanes) {
    const Vector<Real> power = exponential_lanes(vector_at(scores + e) - top);
    vector_at(scores + e) = power;
    sums += power;
  }
  Vector<Real> rest = {};
  for (std::size_t i = 0; e + i < E; ++i)
    lane(rest, i) = scores[e + i] - top;
  if (e < E) rest = exponential_lanes(rest);
  Real total = fold_lanes<Real>(sums);
  for (std::size_t i = 0; e + i < E; ++i) {
    scores[e + i] = lane(rest, i);
    total += scores[e + i];
  }
  const Real share = Real(1) / total;
  for (e = 0; e + kLanes <= E; e += kLanes)
    vector_at(scores + e) = vector_at(scores + e) * share;
  for (; e < E; ++e)
    scores[e] *= share;
}

/// Gradients by a head's shares become those by its scores.
template <class Real>
ACCRETE_TARGET void softmax_gradient(std::size_t E, const Real* share, Real* d) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  Vector<Real> sums = {};
  std::size_t e = 0;
  for (; e + kLanes <= E; e += kLanes)
    sums = fused(vector_at(share + e), vector_at(d + e), sums);
  Real mean = fold_lanes<Real>(sums);
  for (; e < E; ++e)
    mean = fused(share[e], d[e], mean);
  for (e = 0; e + kLanes <= E; e += kLanes)
    vector_at(d + e) = vector_at(share + e) * (vector_at(d + e) - mean);
  for (; e < E; ++e)
    d[e] = share[e] * (d[e] - mean);
}

/// Columns of d_asks of a group of heads, and what its nodes are sent back.
template <class Real, std::size_t G, std::size_t Vectors>
ACCRETE_TARGET void back_columns(const AttentionGradient<Real>& back, std::size_t head,
                                 std::size_t c) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const std::size_t E = back.nodes.size();
  const std::size_t d = back.width;
  Vector<Real> asks[G][Vectors];
  Vector<Real> d_mean[G][Vectors];
  Vector<Real> d_asks[G][Vectors] = {};
  ACCRETE_UNROLL
  for (std::size_t g = 0; g < G; ++g) {
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p) {
      asks[g][p] = vector_at(back.asks + (head + g) * d + c + p * kLanes);
      d_mean[g][p] = vector_at(back.d_mean + (head + g) * d + c + p * kLanes);
    }
  }
  const Real* const share = back.share + head * E;
  const Real* const d_score = back.d_score + head * E;
  for (std::size_t e = 0; e < E; ++e) {
    const std::size_t at = back.nodes[e] * d + c;
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p) {
      const Vector<Real> part = vector_at(back.input + at + p * kLanes);
      Vector<Real> sent = {};
      Vector<Real> asked = {};
      ACCRETE_UNROLL
      for (std::size_t g = 0; g < G; ++g) {
        sent = fused(share[g * E + e], d_mean[g][p], sent);
        asked = fused(d_score[g * E + e], asks[g][p], asked);
        d_asks[g][p] = fused(d_score[g * E + e], part, d_asks[g][p]);
      }
      vector_at(back.d_input + at + p * kLanes) += sent + asked;
    }
  }
  ACCRETE_UNROLL
  for (std::size_t g = 0; g < G; ++g) {
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p)
      vector_at(back.d_asks + (head + g) * d + c + p * kLanes) = d_asks[g][p];
  }
}

template <class Real>
ACCRETE_TARGET void back_column(const AttentionGradient<Real>& back, std::size_t head,
                                std::size_t c) {
  const std::size_t at = head * back.width + c;
  const std::size_t E = back.nodes.size();
  Real d_asks = 0;
  for (std::size_t e = 0; e < E; ++e) {
    const std::size_t u = back.nodes[e] * back.width + c;
    const Real d_score = back.d_score[head * E + e];
    d_asks = fused(d_score, back.input[u], d_asks);
    back.d_input[u] += back.share[head * E + e] * back.d_mean[at] + d_score * back.asks[at];
  }
  back.d_asks[at] = d_asks;
}

template <class Real, std::size_t G>
ACCRETE_TARGET void back_heads(const AttentionGradient<Real>& back, std::size_t head) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  constexpr std::size_t kVectors = 2;  // for four heads nearly all of the widest registers
  const std::size_t E = back.nodes.size();
  dot_heads<Real, G, false>({back.input, back.width, back.nodes, back.d_mean + head * back.width},
                            back.d_input, back.d_score + head * E);
  for (std::size_t h = head; h < head + G; ++h)
    softmax_gradient(E, back.share + h * E, back.d_score + h * E);
  std::size_t c = 0;
  for (; c + kVectors * kLanes <= back.width; c += kVectors * kLanes)
    back_columns<Real, G, kVectors>(back, head, c);
  for (; c + kLanes <= back.width; c += kLanes)
    back_columns<Real, G, 1>(back, head, c);
  for (; c < back.width; ++c) {
    for (std::size_t h = head; h < head + G; ++h)
      back_column(back, h, c);
  }
}

template <class Real, std::size_t G>
ACCRETE_TARGET void attend_heads(const AttentionRow<Real>& row, std::size_t head) {
  const std::size_t E = row.nodes.size();
  const HeadGroup<Real> group{row.input, row.width, row.nodes, row.asks + head * row.width};
  Real* const share = row.share + head * E;
  dot_heads<Real, G, true>(group, nullptr, share);
  for (std::size_t g = 0; g < G; ++g)
    softmax(E, share + g * E);
  mean_heads<Real, G>(group, share, row.mean + head * row.width);
}

template <class Real>
ACCRETE_TARGET void attend_loop(const AttentionRow<Real>& row) {
  std::size_t head = 0;
  for (; head + 4 <= row.heads; head += 4)
    attend_heads<Real, 4>(row, head);
  for (; head < row.heads; ++head)
    attend_heads<Real, 1>(row, head);
}

template <class Real>
ACCRETE_TARGET void attend_gradient_loop(const AttentionGradient<Real>& back) {
  std::size_t head = 0;
  for (; head + 4 <= back.heads; head += 4)
    back_heads<Real, 4>(back, head);
  for (; head < back.heads; ++head)
    back_heads<Real, 1>(back, head);
}

}  // namespace
#endif

}  // namespace accrete::models
