// Two experts become one: how alike they are, how much each is used, the mean of both.
//
// Dimensions, here and in expert_merge.cpp:
//   N rows of a sample   T block experts of a layer
//
// Source: Li et al. 2024 (M-SMoE), arXiv:2310.01334, section 3.1: experts whose router logits have
// the highest cosine are merged, weighted by how often each is used.
#pragma once

#include <cstddef>
#include <vector>

#include "models/parameter.h"

namespace accrete::models {

/// What a sample says of the experts of a network.
struct ExpertUse {
  struct Layer {
    std::vector<double> usage;   ///< (T) sum over the rows of g_t
    RowMatrix<double> products;  ///< (T, T) sum over the rows of z zᵀ, z the gate's logits
  };
  std::vector<Layer> layers;

  /// As if the other sample had been seen, too, each row of it `weight` times. Checks: of the same
  /// network, unless this has no layers yet.
  void add(const ExpertUse& other, double weight);
  /// Mean over the layers of the cosine of two experts' logits over the sample, within [-1, 1]; a
  /// layer in which those of one are all zero counts 0. Checks: a, b < T; a layer.
  double likeness(std::size_t a, std::size_t b) const;
};

/// How much either of two experts is used; >= 0, finite.
struct UsagePair {
  double first = 0;
  double second = 0;
};

/// usage_mean() of both values, without moments, as learnable as `first`. Its version is beyond
/// both: a sum of versions over all parameters grows although there is one less.
/// Checks: the same shape.
template <class Real>
Parameter<Real> merged_parameter(const Parameter<Real>& first, const Parameter<Real>& second,
                                 const UsagePair& usage);

/// Number `at` becomes one with the next, and those behind it move up.
/// Checks: at + 1 < parameters.size().
template <class Real>
void merge_neighbours(std::size_t at, const UsagePair& usage,
                      std::vector<Parameter<Real>>& parameters);

extern template Parameter<float> merged_parameter(const Parameter<float>&, const Parameter<float>&,
                                                  const UsagePair&);
extern template Parameter<double> merged_parameter(const Parameter<double>&,
                                                   const Parameter<double>&, const UsagePair&);
extern template void merge_neighbours(std::size_t, const UsagePair&,
                                      std::vector<Parameter<float>>&);
extern template void merge_neighbours(std::size_t, const UsagePair&,
                                      std::vector<Parameter<double>>&);

}  // namespace accrete::models
