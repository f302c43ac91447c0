// The head of the graph network: last vectors to scores, and the loss of scores.
//
//   o = LayerNorm(h) W + b + sum over sources s of t_s V_s       h (N, d), W (d, K), o (N, K)
//
// t_s are numbers that the head is told of each row without any layer between: what is linear in
// them need not be learnt through norms (Cheng et al. 2016, arXiv:1606.07792, wide and deep).
// K is 1 but for classes. W, V and b begin at zero: the first answer is 1/2, 0, or all classes
// alike, and a class that comes later takes nothing from the ratios of those before it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/layer_norm.h"
#include "models/parameter.h"
#include "proto/prediction.h"

namespace accrete::models {

/// A seed's target: 0/1 (binary), a number (regression, told in units in which deviations are about
/// 1), a class index (multiclass).
struct Target {
  double value = 0;
  double weight = 1;
  double start = 0;  ///< added to the score before the loss: what is known without the network
};

template <class Real>
class NetworkHead {
 public:
  struct Tape {
    typename LayerNorm<Real>::Tape norm;
  };

  /// One output; multiclass: none yet. `told`: columns of each source.
  NetworkHead(TaskKind kind, std::size_t width, std::span<const std::size_t> told);

  std::size_t outputs() const { return static_cast<std::size_t>(weights_.value.cols()); }
  /// New classes are zero columns. Never shrinks. Checks: the task is multiclass.
  void grow(std::size_t classes);

  std::size_t sources() const { return told_.size(); }
  std::size_t told(std::size_t source) const {
    return static_cast<std::size_t>(told_[source].value.rows());
  }
  /// New columns of a source have zero weights. Never shrinks. Checks: source < sources().
  void grow_told(std::size_t source, std::size_t columns);

  /// embedding = LayerNorm(hidden) (N, d) and scores (N, K) from it. `tape` null: nothing is kept.
  void forward(const RowMatrix<Real>& hidden, RowMatrix<Real>& embedding, RowMatrix<Real>& scores,
               Tape* tape) const;
  /// Adds to the gradients; d_hidden is set.
  void backward(const Tape& tape, const RowMatrix<Real>& embedding, const RowMatrix<Real>& d_scores,
                RowMatrix<Real>& d_hidden);

  /// Adds what is told of each row to its scores, or to the gradients what their gradients say of
  /// V. Checks: `told` is none, or as wide as told() of each source.
  void add_told(std::span<const RowMatrix<float>> told, RowMatrix<Real>& scores) const;
  void backward_told(std::span<const RowMatrix<float>> told, const RowMatrix<Real>& d_scores);

  void visit(const VisitParameter<Real>& visit);

 private:
  /// Whether this source of these says anything.
  bool tells(std::span<const RowMatrix<float>> told, std::size_t source) const;

  TaskKind kind_;
  LayerNorm<Real> norm_;
  std::vector<Parameter<Real>> told_;  // V
  Parameter<Real> weights_;
  Parameter<Real> bias_;
};

/// Weighted mean over the rows (0 when no weight is above zero) of log loss on the logit,
/// √(e² + .1²) − .1 with e = score − value, or cross entropy. `d_scores`, if asked for, becomes its
/// gradient. Checks: a target a row; weights >= 0; 0 or 1, or a class that has a column; classes
/// start from nothing.
template <class Real>
double task_loss(TaskKind kind, const RowMatrix<Real>& scores, std::span<const Target> targets,
                 RowMatrix<Real>* d_scores);

extern template class NetworkHead<float>;
extern template class NetworkHead<double>;
extern template double task_loss(TaskKind, const RowMatrix<float>&, std::span<const Target>,
                                 RowMatrix<float>*);
extern template double task_loss(TaskKind, const RowMatrix<double>&, std::span<const Target>,
                                 RowMatrix<double>*);

}  // namespace accrete::models
