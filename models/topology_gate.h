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
  /// d_input (I, d) += ; adds to the gradients.
  void backward(const RowMatrix<Real>& input, const Tape& tape, const RowMatrix<Real>& d_score,
                RowMatrix<Real>& d_input);

  // The same some nodes at a time, while their rows are in a cache: the same scores, and gradients
  // summed in the order of the nodes told.
  void begin(std::size_t nodes, Tape& tape) const;
  void forward_part(const RowMatrix<Real>& input, Nodes nodes, Tape& tape) const;
  void backward_part(const RowMatrix<Real>& input, Nodes nodes, const Tape& tape,
                     const RowMatrix<Real>& d_score, RowMatrix<Real>& d_input);
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

/// `d_score` in place: gradients by b, or by log b, become gradients by the score. `heard`: b, or
/// log b, of the score.
template <class Real>
void hearing_gradient(const RowMatrix<Real>& score, const RowMatrix<Real>& heard, bool logarithm,
                      RowMatrix<Real>& d_score);

/// Mean over nodes and experts of the binary cross entropy of b_ut and [t >= block of u].
template <class Real>
double graph_block_loss(const RowMatrix<Real>& score, std::span<const std::uint32_t> blocks);
/// `d_score` += scale × its gradient. `heard` as in hearing_gradient().
template <class Real>
void add_graph_block_gradient(const RowMatrix<Real>& score, const RowMatrix<Real>& heard,
                              bool logarithm, std::span<const std::uint32_t> blocks, double scale,
                              RowMatrix<Real>& d_score);

extern template class TopologyGate<float>;
extern template class TopologyGate<double>;

}  // namespace accrete::models
