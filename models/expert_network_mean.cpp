// The mean of the weights that training went through: how it follows them, and how they come back
// to it.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "models/expert_network_parts.h"

namespace accrete::models {
namespace {

/// What the newest of t values counts in their mean.
double newest_share(std::uint64_t t, std::uint64_t steps_max) {
  const auto counted = static_cast<double>(std::min(t, steps_max));
  return std::min(1.0, (mean_decay + 1) / (counted + mean_decay));
}

/// Calls each(own, other's) for the parameters of two networks alike.
template <class Real, class Each>
void in_pairs(const std::vector<Parameter<Real>*>& own, const std::vector<Parameter<Real>*>& other,
              Each each) {
  ACCRETE_CHECK(own.size() == other.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    ACCRETE_CHECK(own[i]->value.rows() == other[i]->value.rows());
    ACCRETE_CHECK(own[i]->value.cols() == other[i]->value.cols());
    each(*own[i], *other[i]);
  }
}

}  // namespace

template <class Real>
ExpertNetwork<Real> ExpertNetwork<Real>::copy_values() const {
  ExpertNetwork out = copy();
  for (Parameter<Real>* parameter : out.parts_->parameters()) {
    parameter->gradient.resize(0, 0);
    parameter->first.resize(0, 0);
    parameter->second.resize(0, 0);
    parameter->steps = 0;
  }
  return out;
}

template <class Real>
void ExpertNetwork<Real>::follow(const ExpertNetwork& learner, std::uint64_t steps_max) {
  in_pairs<Real>(parts_->parameters(), learner.parts_->parameters(),
                 [&](Parameter<Real>& mean, const Parameter<Real>& newest) {
                   if (mean.version == newest.version) return;
                   const auto share = static_cast<Real>(newest_share(++mean.steps, steps_max));
                   mean.value.array() += share * (newest.value.array() - mean.value.array());
                   mean.version = newest.version;
                 });
}

template <class Real>
void ExpertNetwork<Real>::take_values(const ExpertNetwork& mean) {
  in_pairs<Real>(parts_->parameters(), mean.parts_->parameters(),
                 [](Parameter<Real>& own, const Parameter<Real>& settled) {
                   if (own.rate == 0) return;
                   own.value = settled.value;
                   ++own.version;
                 });
}

#define ACCRETE_INSTANTIATE(Real)                                                       \
  template ExpertNetwork<Real> ExpertNetwork<Real>::copy_values() const;                \
  template void ExpertNetwork<Real>::follow(const ExpertNetwork<Real>&, std::uint64_t); \
  template void ExpertNetwork<Real>::take_values(const ExpertNetwork<Real>&);
// The whole class is instantiated in expert_network.cpp; these are the members defined here.
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
