// One step of Adam over all parameters of a network, with one bound on the length of its gradient.
#pragma once

#include <span>

#include "models/parameter.h"

namespace accrete::models {

struct AdamOptions {
  double rate = 5e-3;
  /// Decoupled: values lose rate · decay of themselves. Rows of numbers (biases, gains, gate
  /// vectors) do not: their size says nothing about how bent the function is.
  double decay = 0;
  /// Length of the whole gradient at most; longer ones are scaled down to it. 1 is the usual bound
  /// of recurrent and attention networks (Pascanu et al. 2013, arXiv:1211.5063).
  double norm_max = 1;
};

/// Length of the gradient over parameters that may move (rate > 0), summed in double, in sixteen
/// sums in their order.
template <class Real>
double gradient_norm(std::span<Parameter<Real>* const> parameters);

/// Moments .9 and .999, ε 1e-8, corrected by each parameter's own count of steps; its rate is a
/// factor. Parameters of rate 0 or without a gradient keep their bits, moments, count and version,
/// and frozen rows their bits and moments: they count for nothing in the length either. Gradients
/// are gone afterwards. A gradient that is not finite moves nothing. Returns gradient_norm() before
/// the step. Source: Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019,
/// arXiv:1711.05101.
template <class Real>
double adam_step(std::span<Parameter<Real>* const> parameters, const AdamOptions& options);

extern template double gradient_norm(std::span<Parameter<float>* const>);
extern template double gradient_norm(std::span<Parameter<double>* const>);
extern template double adam_step(std::span<Parameter<float>* const>, const AdamOptions&);
extern template double adam_step(std::span<Parameter<double>* const>, const AdamOptions&);

}  // namespace accrete::models
