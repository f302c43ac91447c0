// The hot loops of message passing: weighted sums over neighbours, for one or two listeners in one
// walk, and their gradients; scores of nodes, and theirs; and plain sums of rows.
//
// Dimensions: n neighbours, or nodes   d width   T scores of a node   J listeners, 1 or 2: the rows
// are what costs, so two share a walk
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace accrete::models {

inline constexpr std::size_t kListenersMax = 2;

template <class Real>
struct NeighbourSum {
  const Real* input;                          ///< rows of d numbers
  std::size_t width;                          ///< d
  std::span<const std::uint32_t> neighbours;  ///< n rows of input
  std::span<const Real> weights;              ///< (n, J)
  std::span<Real* const> to;                  ///< J rows that are set
  std::span<const std::uint32_t> next = {};   ///< rows that are asked for after these, if any
};

/// Row to[j] = sum over neighbours of weights[i, j] × their row, in their order. Cost: n d J. Every
/// number is one chain of products and sums, so no vector width changes a bit.
template <class Real>
void sum_neighbours(const NeighbourSum<Real>& sum);

/// A sum that a node is part of, and its weight there.
template <class Real>
struct SumPart {
  std::uint32_t sum;
  Real weight;
};

template <class Real>
struct NeighbourGradient {
  const Real* input;
  std::size_t width;
  std::span<const std::uint32_t> nodes;  ///< n rows of input
  const std::uint32_t* begin;            ///< by row of input: its first part; one more at the end
  const SumPart<Real>* parts;
  const Real* d_sums;         ///< rows of d numbers
  const std::uint8_t* begun;  ///< by row of input: 0 if it has none of `first`, whatever lies there
  const Real* first;          ///< rows of d numbers, as the input's
  Real* d_rows;               ///< (n, d), set
  Real* d_weights = nullptr;  ///< of the nodes' parts, one node's behind the other's, set; or null
};

/// The way back, node by node: a node's row of d_rows = its first one + sum over its parts of
/// weight × their row of d_sums, in the order of the parts, and d_weight = that row · the node's
/// row of input. Cost: twice the above.
template <class Real>
void add_neighbour_gradients(const NeighbourGradient<Real>& back);

template <class Real>
struct ScoreRows {
  const Real* input;                     ///< rows of d numbers
  std::size_t width;                     ///< d
  std::size_t count;                     ///< n
  const Real* query;                     ///< (T, d)
  std::size_t scores;                    ///< T
  Real* out;                             ///< rows of T numbers
  const std::uint32_t* nodes = nullptr;  ///< which rows of input and out; null: the first n
};

/// out[u, t] = query[t] · input[u]: sixteen sums of products, folded, then what is left over. Cost:
/// 2 n d T flop.
template <class Real>
void score_rows(const ScoreRows<Real>& rows);

template <class Real>
struct ScoreGradient {
  const Real* input;                     ///< rows of d numbers
  std::size_t width;                     ///< d
  std::span<const std::uint32_t> nodes;  ///< n rows of input and d_score, none twice
  const Real* query;                     ///< (T, d)
  std::size_t scores;                    ///< T
  const Real* d_score;                   ///< rows of T numbers
  Real* d_rows;                          ///< (n, d), added to
  Real* d_query;                         ///< (T, d), added to
};

/// The way back from score[u, t] = query[t] · input[u]: a node's row of d_rows += sum over t of
/// d_score[u, t] × query[t], and d_query[t] += sum over nodes of d_score[u, t] × input[u], in their
/// order. Cost: 4 n d T flop; each row is read once.
template <class Real>
void add_score_gradients(const ScoreGradient<Real>& back);

template <class Real>
struct RowAddition {
  std::size_t rows;                          ///< n
  std::size_t width;                         ///< d
  const Real* from;                          ///< rows of d numbers
  Real* to;                                  ///< rows of d numbers, not those of `from`
  const std::uint32_t* from_rows = nullptr;  ///< which row of `from` is added i-th; null: row i
  const std::uint32_t* to_rows = nullptr;    ///< to which row of `to`; null: to row i
};

/// Rows of `to` += rows of `from`, in their order; any may be there several times. Cost: n d.
template <class Real>
void add_rows(const RowAddition<Real>& added);

}  // namespace accrete::models
