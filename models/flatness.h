// How sharply a network's loss rises around it: a guard before a new version takes over. A fit that
// any small push ruins is seldom right on the next rows.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "models/expert_network.h"
#include "proto/rng.h"

namespace accrete::models {

struct FlatnessOptions {
  std::size_t directions = 8;
  double radius = 0.05;  ///< length of a row's push, as a share of the row's own length
};

/// The largest rise of `loss` under that many random directions, 0 if none rises, NaN if any of
/// them is: each row of each parameter moves by a nearly normal direction scaled to radius times
/// the row's length, so that neither the scale of a unit nor its width matters. Afterwards every
/// value has its bits back.
/// `visit_all` calls its argument for each parameter, always in the same order.
/// Source: Li et al. 2018, arXiv:1712.09913, section 4, for the filter-normalised directions.
template <class Real>
double flatness_rise(const std::function<void(const VisitParameter<Real>&)>& visit_all,
                     const std::function<double()>& loss, const FlatnessOptions& options, Rng rng);

/// The same of a network's task loss on a batch. Checks: a target a seed. Cost: directions + 1
/// predictions of the batch and a copy of the values.
double flatness_rise(ExpertNetwork<float>& network, const GraphBatch& batch,
                     std::span<const Target> targets, std::size_t directions, double radius,
                     Rng rng);

extern template double flatness_rise(const std::function<void(const VisitParameter<double>&)>&,
                                     const std::function<double()>&, const FlatnessOptions&, Rng);
extern template double flatness_rise(const std::function<void(const VisitParameter<float>&)>&,
                                     const std::function<double()>&, const FlatnessOptions&, Rng);

}  // namespace accrete::models
