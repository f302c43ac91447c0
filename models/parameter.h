// What a gradient changes: a matrix, its gradient and the two moments of Adam.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "models/sparse_rows.h"

namespace accrete::models {

/// Vectors are matrices of one row. `gradient` has the size of `value`, or none while it is zero.
template <class Real>
struct Parameter {
  RowMatrix<Real> value;
  RowMatrix<Real> gradient;
  RowMatrix<Real> first;  ///< moments; empty before the first step
  RowMatrix<Real> second;
  std::uint64_t steps = 0;        ///< taken with it, for Adam's bias correction; of a mean: in it
  double rate = 1;                ///< factor on the learning rate; 0 = frozen
  std::uint64_t frozen_rows = 0;  ///< so many first rows of `value` are at rest
  std::uint64_t version = 0;      ///< grows with each change of `value`

  /// Room for a gradient to be added to. Cost: none when there is one.
  RowMatrix<Real>& grad() {
    if (gradient.rows() != value.rows() || gradient.cols() != value.cols()) {
      gradient.setZero(value.rows(), value.cols());
    }
    return gradient;
  }
};

/// Called for each parameter in a fixed order; names are stable ("layer0.expert3.relation2").
template <class Real>
using VisitParameter = std::function<void(std::string_view name, Parameter<Real>& parameter)>;

}  // namespace accrete::models
