// How much each expert listens to each node: b_ut = sigmoid(s_ut), s_ut = p_t · (W_P h_u).
//
// Dimensions, here and in topology_gate.cpp:
//   I nodes   d width   T experts
//
// Since s = H (W_Pᵀ p_t), the product with W_P is done once an expert and not once a node:
// Q = P W_P (T, d), S = H Qᵀ (I, T).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/expert_merge.h"
#include "models/parameter.h"
#include "proto/rng.h"

namespace accrete::models {

template <class Real>
class TopologyGate {
 public:
  struct Tape {
    RowMatrix<Real> query;  ///< Q
    RowMatrix<Real> score;  ///< S
  };
  /// Nodes, each named once.
  using Nodes = std::span<const std::uint32_t>;

  /// W_P by Xavier.
  TopologyGate(std::size_t width, Rng& rng);

  /// p of a new expert: that of the last one. The first is zero: it hears everybody alike.
  void add();
  /// p of `first` becomes one with the next: their mean by usage.
  void merge(std::size_t first, const UsagePair& usage) {
    merge_neighbours(first, usage, listeners_);
  }
  void forward(const RowMatrix<Real>& input, Tape& tape) const;
  /// The same some nodes at a time, while their rows are in a cache.
  void begin(std::size_t nodes, Tape& tape) const;
  void forward_part(const RowMatrix<Real>& input, Nodes nodes, Tape& tape) const;

  /// Row i of d_rows (n, d) += what comes back to nodes[i]; `d_score` (I, T). Gradients are summed
  /// in the order of the nodes told.
  void backward_part(const RowMatrix<Real>& input, Nodes nodes, const Tape& tape,
                     const RowMatrix<Real>& d_score, RowMatrix<Real>& d_rows);
  /// Behind the last part: what came back goes to the parameters.
  void end_backward();
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);

 private:
  RowMatrix<Real> listeners() const;  ///< P (T, d)

  Parameter<Real> projection_;              ///< W_P (d, d)
  std::vector<Parameter<Real>> listeners_;  ///< p (1, d) each

  RowMatrix<Real> d_query_;  ///< of the backward pass under way: (T, d), or nothing yet
};

/// out (I, T) = sigmoid(score), or its logarithm as −softplus(−score), which stays finite.
template <class Real>
void hearing(const RowMatrix<Real>& score, bool logarithm, RowMatrix<Real>& out);

/// What all nodes are heard by.
template <class Real>
struct HeardNodes {
  const RowMatrix<Real>& score;
  const RowMatrix<Real>& heard;  ///< b of the scores, or its logarithm
  bool logarithm;
};

/// Rows of `d_score` in place: gradients by what is heard become gradients by the score.
template <class Real>
void hearing_gradient(const HeardNodes<Real>& all, std::span<const std::uint32_t> nodes,
                      RowMatrix<Real>& d_score);

/// Mean over nodes and experts of the binary cross entropy of b_ut and [t >= block of u].
template <class Real>
double graph_block_loss(const RowMatrix<Real>& score, std::span<const std::uint32_t> blocks);
/// Rows of `d_score` += scale × its gradient.
template <class Real>
void add_graph_block_gradient(const HeardNodes<Real>& all, std::span<const std::uint32_t> nodes,
                              std::span<const std::uint32_t> blocks, double scale,
                              RowMatrix<Real>& d_score);

extern template class TopologyGate<float>;
extern template class TopologyGate<double>;

}  // namespace accrete::models
