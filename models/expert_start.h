// How parameters of experts begin: at random by their size, or near those of a parent.
#pragma once

#include <cmath>
#include <cstddef>

#include "models/parameter.h"
#include "proto/rng.h"

namespace accrete::models {

/// Normal noise on a child's numbers: enough to part it from its parent, small beside weights of
/// about 1/√d.
inline constexpr double kChildNoise = 0.01;

/// Twelve uniform numbers less six: mean 0, deviation 1, and no library function whose last bit
/// another machine might round otherwise.
inline double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

/// (rows, cols), uniform in ±√(6 / (rows + cols)). Source: Glorot and Bengio 2010.
template <class Real>
void start_xavier(std::size_t rows, std::size_t cols, Rng& rng, Parameter<Real>& parameter) {
  parameter.value.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  const double bound = std::sqrt(6.0 / static_cast<double>(rows + cols));
  for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
    parameter.value.data()[i] = static_cast<Real>(bound * (2 * rng.uniform() - 1));
}

/// Moves every number by noise and forgets what training remembers of it.
template <class Real>
void start_child(Rng& rng, Parameter<Real>& copy) {
  Parameter<Real> child;
  child.value = std::move(copy.value);
  for (Eigen::Index i = 0; i < child.value.size(); ++i)
    child.value.data()[i] += static_cast<Real>(kChildNoise * normal(rng));
  copy = std::move(child);
}

}  // namespace accrete::models
