// The head of the graph network: last vectors to scores, and the loss of scores.
//
//   o = LayerNorm(h) W + b       h (N, d), W (d, K), o (N, K)
//
// K is 1 but for classes. W and b begin at zero: the first answer is 1/2, 0, or all classes alike,
// and a class that comes later takes nothing from the ratios of those before it.
#pragma once

#include <cstddef>
#include <span>

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

  /// One output; multiclass: none yet.
  NetworkHead(TaskKind kind, std::size_t width);

  std::size_t outputs() const { return static_cast<std::size_t>(weights_.value.cols()); }
  /// New classes are zero columns. Never shrinks. Checks: the task is multiclass.
  void grow(std::size_t classes);

  /// embedding = LayerNorm(hidden) (N, d) and scores (N, K) from it. `tape` null: nothing is kept.
  void forward(const RowMatrix<Real>& hidden, RowMatrix<Real>& embedding, RowMatrix<Real>& scores,
               Tape* tape) const;
  /// Adds to the gradients; d_hidden is set.
  void backward(const Tape& tape, const RowMatrix<Real>& embedding, const RowMatrix<Real>& d_scores,
                RowMatrix<Real>& d_hidden);

  void visit(const VisitParameter<Real>& visit);

 private:
  TaskKind kind_;
  LayerNorm<Real> norm_;
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
