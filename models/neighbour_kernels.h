// The loops of neighbour_sum*.cpp, compiled once a vector width: whoever includes this names its
// instructions by ACCRETE_TARGET.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "models/neighbour_sum.h"
#include "models/unroll.h"
#include "models/vector_lanes.h"

namespace accrete::models {

template <class Real>
struct NeighbourKernels {
  void (*sum)(const NeighbourSum<Real>&);
  void (*back)(const NeighbourGradient<Real>&);
  void (*scores)(const ScoreGradient<Real>&);
};

/// The wide ones need a processor that has them.
template <class Real>
NeighbourKernels<Real> plain_neighbour_kernels();
template <class Real>
NeighbourKernels<Real> avx2_neighbour_kernels();
template <class Real>
NeighbourKernels<Real> avx512_neighbour_kernels();

#if defined(ACCRETE_TARGET)
namespace {

/// Columns of one walk: for two listeners they fill half of the registers.
#if defined(ACCRETE_32_REGISTERS)
inline constexpr std::size_t kVectorsAWalk = 8;
#else
inline constexpr std::size_t kVectorsAWalk = 4;
#endif
/// Neighbours lie anywhere in the input, and no processor guesses where: so many ahead are fetched.
inline constexpr std::size_t kAhead = 4;

/// Whom to fetch while neighbour i is worked on: who comes a few steps later, here or next.
inline std::size_t fetched_at(std::span<const std::uint32_t> neighbours,
                              std::span<const std::uint32_t> next, std::size_t i) {
  const std::size_t at = i + kAhead;
  if (at < neighbours.size()) return neighbours[at];
  const std::size_t beyond = at - neighbours.size();
  return beyond < next.size() ? next[beyond] : neighbours.back();
}

template <class Real, std::size_t J, std::size_t Vectors>
ACCRETE_TARGET void sum_columns(const NeighbourSum<Real>& sum, std::size_t column) {
  Vector<Real> parts[J][Vectors] = {};
  const Real* const weights = sum.weights.data();
  for (std::size_t i = 0; i < sum.neighbours.size(); ++i) {
    const Real* const from = sum.input + sum.neighbours[i] * sum.width + column;
    if (column == 0) {
      const std::size_t ahead = fetched_at(sum.neighbours, sum.next, i);
      for (std::size_t c = 0; c < sum.width; c += kVectorLanes<Real>)
        __builtin_prefetch(sum.input + ahead * sum.width + c);
    }
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p) {
      const Vector<Real> row = vector_at(from + p * kVectorLanes<Real>);
      ACCRETE_UNROLL
      for (std::size_t j = 0; j < J; ++j)
        parts[j][p] += weights[i * J + j] * row;
    }
  }
  ACCRETE_UNROLL
  for (std::size_t j = 0; j < J; ++j) {
    ACCRETE_UNROLL
    for (std::size_t p = 0; p < Vectors; ++p)
      vector_at(sum.to[j] + column + p * kVectorLanes<Real>) = parts[j][p];
  }
}

template <class Real, std::size_t J>
ACCRETE_TARGET void sum_rows(const NeighbourSum<Real>& sum) {
  constexpr std::size_t kWalk = kVectorsAWalk * kVectorLanes<Real>;
  std::size_t c = 0;
  for (; c + kWalk <= sum.width; c += kWalk)
    sum_columns<Real, J, kVectorsAWalk>(sum, c);
  for (; c + kWalk / 2 <= sum.width; c += kWalk / 2)
    sum_columns<Real, J, kVectorsAWalk / 2>(sum, c);
  for (; c + kVectorLanes<Real> <= sum.width; c += kVectorLanes<Real>)
    sum_columns<Real, J, 1>(sum, c);
  for (; c < sum.width; ++c) {
    for (std::size_t j = 0; j < J; ++j) {
      Real total = 0;
      for (std::size_t i = 0; i < sum.neighbours.size(); ++i)
        total += sum.weights[i * J + j] * sum.input[sum.neighbours[i] * sum.width + c];
      sum.to[j][c] = total;
    }
  }
}

/// One walk over a neighbour's row and its gradient. Products are summed by lane, the lanes folded,
/// then comes what is left over.
template <class Real, std::size_t J, bool Weights, bool Fresh>
ACCRETE_TARGET void add_to_row(const NeighbourGradient<Real>& back, std::size_t i) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const Real* const weights = back.weights.data();
  const Real* const row = back.input + back.neighbours[i] * back.width;
  Real* const d_row = back.d_input + back.neighbours[i] * back.width;
  const std::size_t next = fetched_at(back.neighbours, back.next, i) * back.width;
  Vector<Real> sums[J] = {};
  std::size_t c = 0;
  for (; c + kLanes <= back.width; c += kLanes) {
    __builtin_prefetch(back.d_input + next + c, 1);
    if (Weights) __builtin_prefetch(back.input + next + c);
    Vector<Real> added = {};
    if constexpr (!Fresh) added = vector_at(d_row + c);
    ACCRETE_UNROLL
    for (std::size_t j = 0; j < J; ++j) {
      const Vector<Real> d_sum = vector_at(back.d_sum[j] + c);
      added += weights[i * J + j] * d_sum;
      if (Weights) sums[j] += vector_at(row + c) * d_sum;
    }
    vector_at(d_row + c) = added;
  }
  for (std::size_t k = c; Fresh && k < back.width; ++k)
    d_row[k] = 0;
  ACCRETE_UNROLL
  for (std::size_t j = 0; j < J; ++j) {
    Real total = 0;
    if (Weights) total = fold_lanes<Real>(sums[j]);
    for (std::size_t k = c; k < back.width; ++k) {
      d_row[k] += weights[i * J + j] * back.d_sum[j][k];
      if (Weights) total += row[k] * back.d_sum[j][k];
    }
    if (Weights) back.d_weights[i * J + j] = total;
  }
}

template <class Real, std::size_t J, bool Weights>
ACCRETE_TARGET void add_gradients(const NeighbourGradient<Real>& back) {
  for (std::size_t i = 0; i < back.neighbours.size(); ++i) {
    if (back.begun != nullptr && back.begun[back.neighbours[i]] == 0) {
      back.begun[back.neighbours[i]] = 1;
      add_to_row<Real, J, Weights, true>(back, i);
    } else {
      add_to_row<Real, J, Weights, false>(back, i);
    }
  }
}

/// Nodes whose numbers of one column wait in registers while all queries go by.
inline constexpr std::size_t kNodesAWalk = 4;

/// So many nodes from `first` on.
template <class Real, std::size_t Nodes>
ACCRETE_TARGET void add_scores(const ScoreGradient<Real>& back, std::size_t first) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  const std::size_t width = back.width;
  const Real* from[Nodes];
  Real* to[Nodes];
  const Real* weights[Nodes];
  for (std::size_t i = 0; i < Nodes; ++i) {
    const std::size_t u = back.nodes[first + i];
    from[i] = back.input + u * width;
    to[i] = back.d_input + u * width;
    weights[i] = back.d_score + u * back.scores;
  }
  std::size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    Vector<Real> rows[Nodes];
    Vector<Real> added[Nodes];
    ACCRETE_UNROLL
    for (std::size_t i = 0; i < Nodes; ++i) {
      rows[i] = vector_at(from[i] + c);
      added[i] = vector_at(to[i] + c);
    }
    for (std::size_t t = 0; t < back.scores; ++t) {
      const Vector<Real> query = vector_at(back.query + t * width + c);
      Vector<Real> sum = vector_at(back.d_query + t * width + c);
      ACCRETE_UNROLL
      for (std::size_t i = 0; i < Nodes; ++i) {
        added[i] += weights[i][t] * query;
        sum += weights[i][t] * rows[i];
      }
      vector_at(back.d_query + t * width + c) = sum;
    }
    ACCRETE_UNROLL
    for (std::size_t i = 0; i < Nodes; ++i)
      vector_at(to[i] + c) = added[i];
  }
  for (; c < width; ++c) {
    for (std::size_t i = 0; i < Nodes; ++i) {
      for (std::size_t t = 0; t < back.scores; ++t) {
        to[i][c] += weights[i][t] * back.query[t * width + c];
        back.d_query[t * width + c] += weights[i][t] * from[i][c];
      }
    }
  }
}

template <class Real>
ACCRETE_TARGET void add_all_scores(const ScoreGradient<Real>& back) {
  std::size_t i = 0;
  for (; i + kNodesAWalk <= back.nodes.size(); i += kNodesAWalk) {
    const std::size_t end = std::min(i + 2 * kNodesAWalk, back.nodes.size());
    for (std::size_t next = i + kNodesAWalk; next < end; ++next) {
      const std::size_t row = back.nodes[next] * back.width;
      for (std::size_t c = 0; c < back.width; c += kVectorLanes<Real>) {
        __builtin_prefetch(back.input + row + c);
        __builtin_prefetch(back.d_input + row + c, 1);
      }
    }
    add_scores<Real, kNodesAWalk>(back, i);
  }
  for (; i < back.nodes.size(); ++i)
    add_scores<Real, 1>(back, i);
}

template <class Real>
ACCRETE_TARGET void sum_any(const NeighbourSum<Real>& sum) {
  if (sum.to.size() == 1) sum_rows<Real, 1>(sum);
  if (sum.to.size() == 2) sum_rows<Real, 2>(sum);
}

template <class Real>
ACCRETE_TARGET void add_any_gradients(const NeighbourGradient<Real>& back) {
  const bool weights = !back.d_weights.empty();
  if (back.d_sum.size() == 1 && weights) add_gradients<Real, 1, true>(back);
  if (back.d_sum.size() == 1 && !weights) add_gradients<Real, 1, false>(back);
  if (back.d_sum.size() == 2 && weights) add_gradients<Real, 2, true>(back);
  if (back.d_sum.size() == 2 && !weights) add_gradients<Real, 2, false>(back);
}

template <class Real>
constexpr NeighbourKernels<Real> make_neighbour_kernels() {
  return {sum_any<Real>, add_any_gradients<Real>, add_all_scores<Real>};
}

}  // namespace
#endif

}  // namespace accrete::models
