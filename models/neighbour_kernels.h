// The loops of neighbour_sum*.cpp, compiled once a vector width: whoever includes this names its
// instructions by ACCRETE_TARGET.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "models/neighbour_sum.h"
#include "models/unroll.h"
#include "models/vector_lanes.h"

namespace accrete::models {

template <class Real>
struct NeighbourKernels {
  void (*sum)(const NeighbourSum<Real>&);
  void (*back)(const NeighbourGradient<Real>&);
  void (*score)(const ScoreRows<Real>&);
  void (*score_back)(const ScoreGradient<Real>&);
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

/// Columns of one walk: for two listeners they fill half of the registers, or all where these are
/// few.
inline constexpr std::size_t kVectorsAWalk = ACCRETE_REGISTER_BYTES / 8;
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
        parts[j][p] = fused(weights[i * J + j], row, parts[j][p]);
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
  const Real* const weights = sum.weights.data();
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
        total = fused(weights[i * J + j], sum.input[sum.neighbours[i] * sum.width + c], total);
      sum.to[j][c] = total;
    }
  }
}

template <class Real>
ACCRETE_TARGET void fetch(const Real* row, std::size_t width) {
  for (std::size_t c = 0; c < width; c += kVectorLanes<Real>)
    __builtin_prefetch(row + c);
}

/// A node, what it is part of, and where it goes.
template <class Real>
struct GradientRow {
  std::span<const SumPart<Real>> parts;
  const Real* input;
  const Real* first;  ///< or null
  Real* to;
  Real* d_weights;
};

/// A whole row of so many vectors in registers. Products are summed by lane, the lanes folded.
template <class Real, bool Weights, std::size_t Vectors>
ACCRETE_TARGET void add_walk(const NeighbourGradient<Real>& back, const GradientRow<Real>& row) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  Vector<Real> sums[Vectors] = {};
  Vector<Real> input[Vectors];
  ACCRETE_UNROLL
  for (std::size_t v = 0; v < Vectors; ++v) {
    if (row.first != nullptr) sums[v] = vector_at(row.first + v * kLanes);
    if constexpr (Weights) input[v] = vector_at(row.input + v * kLanes);
  }
  for (std::size_t k = 0; k < row.parts.size(); ++k) {
    const Real* const d_sum = back.d_sums + row.parts[k].sum * back.width;
    if (k + kAhead < row.parts.size())
      fetch(back.d_sums + row.parts[k + kAhead].sum * back.width, back.width);
    Vector<Real> products = {};
    ACCRETE_UNROLL
    for (std::size_t v = 0; v < Vectors; ++v) {
      const Vector<Real> came = vector_at(d_sum + v * kLanes);
      sums[v] = fused(row.parts[k].weight, came, sums[v]);
      if constexpr (Weights) products = fused(input[v], came, products);
    }
    if constexpr (Weights) row.d_weights[k] = fold_lanes<Real>(products);
  }
  ACCRETE_UNROLL
  for (std::size_t v = 0; v < Vectors; ++v)
    vector_at(row.to + v * kLanes) = sums[v];
}

/// The same of any width, where it lies; behind the lanes comes what is left over.
template <class Real, bool Weights>
ACCRETE_TARGET void add_row(const NeighbourGradient<Real>& back, const GradientRow<Real>& row) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  if (row.first != nullptr) {
    std::copy_n(row.first, back.width, row.to);
  } else {
    std::fill_n(row.to, back.width, Real(0));
  }
  for (std::size_t k = 0; k < row.parts.size(); ++k) {
    const Real weight = row.parts[k].weight;
    const Real* const d_sum = back.d_sums + row.parts[k].sum * back.width;
    if (k + kAhead < row.parts.size())
      fetch(back.d_sums + row.parts[k + kAhead].sum * back.width, back.width);
    Vector<Real> products = {};
    std::size_t c = 0;
    for (; c + kLanes <= back.width; c += kLanes) {
      const Vector<Real> came = vector_at(d_sum + c);
      vector_at(row.to + c) = fused(weight, came, vector_at(row.to + c));
      if constexpr (Weights) products = fused(vector_at(row.input + c), came, products);
    }
    Real total = Weights ? fold_lanes<Real>(products) : Real(0);
    for (; c < back.width; ++c) {
      row.to[c] = fused(weight, d_sum[c], row.to[c]);
      if constexpr (Weights) total = fused(row.input[c], d_sum[c], total);
    }
    if constexpr (Weights) row.d_weights[k] = total;
  }
}

/// What adds rows of this width: those of common widths in registers, as far as there are.
template <class Real, bool Weights>
auto row_addition(std::size_t width) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  constexpr std::size_t kMost = ACCRETE_REGISTER_BYTES / 8 / kRegisters;  // with the input's: half
  if constexpr (kMost >= 8) {
    if (width == 8 * kLanes) return add_walk<Real, Weights, 8>;
    if (width == 4 * kLanes) return add_walk<Real, Weights, 4>;
  }
  if constexpr (kMost >= 2) {
    if (width == 2 * kLanes) return add_walk<Real, Weights, 2>;
  }
  return add_row<Real, Weights>;
}

template <class Real, bool Weights>
ACCRETE_TARGET void add_gradients(const NeighbourGradient<Real>& back) {
  const std::size_t width = back.width;
  const auto add = row_addition<Real, Weights>(width);
  Real* d_weights = back.d_weights;
  std::span<const SumPart<Real>> next;
  const auto parts_of = [&](std::size_t i) {
    const std::uint32_t u = back.nodes[i];
    return std::span(back.parts + back.begin[u], back.parts + back.begin[u + 1]);
  };
  if (!back.nodes.empty()) next = parts_of(0);
  for (std::size_t i = 0; i < back.nodes.size(); ++i) {
    const std::uint32_t u = back.nodes[i];
    const auto parts = std::exchange(next, {});
    if (i + 1 < back.nodes.size()) next = parts_of(i + 1);
    if (Weights && i + kAhead < back.nodes.size())
      fetch(back.input + back.nodes[i + kAhead] * width, width);
    for (std::size_t k = 0; k < std::min(kAhead, next.size()); ++k)
      fetch(back.d_sums + next[k].sum * width, width);
    const GradientRow<Real> row{parts, back.input + u * width,
                                back.begun[u] != 0 ? back.first + u * width : nullptr,
                                back.d_rows + i * width, d_weights};
    add(back, row);
    if constexpr (Weights) d_weights += parts.size();
  }
}

template <class Real>
ACCRETE_TARGET void score_all(const ScoreRows<Real>& rows) {
  constexpr std::size_t kLanes = kVectorLanes<Real>;
  for (std::size_t i = 0; i < rows.count; ++i) {
    const std::size_t u = rows.nodes != nullptr ? rows.nodes[i] : i;
    const Real* const row = rows.input + u * rows.width;
    for (std::size_t t = 0; t < rows.scores; ++t) {
      const Real* const query = rows.query + t * rows.width;
      Vector<Real> products = {};
      std::size_t c = 0;
      for (; c + kLanes <= rows.width; c += kLanes)
        products = fused(vector_at(row + c), vector_at(query + c), products);
      Real total = fold_lanes<Real>(products);
      for (; c < rows.width; ++c)
        total = fused(row[c], query[c], total);
      rows.out[u * rows.scores + t] = total;
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
    to[i] = back.d_rows + (first + i) * width;
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
        added[i] = fused(weights[i][t], query, added[i]);
        sum = fused(weights[i][t], rows[i], sum);
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
        Real& d_query = back.d_query[t * width + c];
        to[i][c] = fused(weights[i][t], back.query[t * width + c], to[i][c]);
        d_query = fused(weights[i][t], from[i][c], d_query);
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
      fetch(back.input + row, back.width);
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
  if (back.d_weights != nullptr) {
    add_gradients<Real, true>(back);
  } else {
    add_gradients<Real, false>(back);
  }
}

template <class Real>
constexpr NeighbourKernels<Real> make_neighbour_kernels() {
  return {sum_any<Real>, add_any_gradients<Real>, score_all<Real>, add_all_scores<Real>};
}

}  // namespace
#endif

}  // namespace accrete::models
