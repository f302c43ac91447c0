// Layer normalisation of rows and the SiLU that follows it, forward and backward.
//
//   n = (x − mean(x)) / √(variance(x) + 1e-5)      y = n · gain + shift      silu(y) = y σ(y)
//
// Sums run over one row, ascending: a row's bits do not depend on the rows beside it.
// Source: Ba et al. 2016, arXiv:1607.06450; Elfwing et al. 2018, arXiv:1702.03118.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "models/parameter.h"

namespace accrete::models {

template <class Real>
struct LayerNorm {
  struct Tape {
    RowMatrix<Real> normal;   ///< n (N, d)
    std::vector<Real> scale;  ///< of each row: 1 / √(variance + 1e-5)
  };

  Parameter<Real> gain;   ///< (1, d), begins at 1
  Parameter<Real> shift;  ///< (1, d), begins at 0

  explicit LayerNorm(std::size_t width);
  /// y (N, d) from x (N, d); they may be the same matrix. `tape` null: nothing is kept.
  void forward(const RowMatrix<Real>& x, RowMatrix<Real>& y, Tape* tape) const;
  /// Adds to the gradients; d_x is set, and may be d_y itself.
  void backward(const Tape& tape, const RowMatrix<Real>& d_y, RowMatrix<Real>& d_x);
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);
};

/// y becomes silu(y).
template <class Real>
void apply_silu(RowMatrix<Real>& y);
/// gradient, by silu(y), becomes the gradient by y.
template <class Real>
void silu_backward(const RowMatrix<Real>& y, RowMatrix<Real>& gradient);

extern template struct LayerNorm<float>;
extern template struct LayerNorm<double>;

}  // namespace accrete::models
