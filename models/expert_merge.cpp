// Sums over samples, their cosines, and means of parameters.
#include "models/expert_merge.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/hidden_alignment.h"
#include "proto/result.h"

namespace accrete::models {

void ExpertUse::add(const ExpertUse& other, double weight) {
  if (layers.empty()) {
    for (const Layer& layer : other.layers) {
      layers.push_back({std::vector<double>(layer.usage.size(), 0.0),
                        RowMatrix<double>::Zero(layer.products.rows(), layer.products.cols())});
    }
  }
  ACCRETE_CHECK(layers.size() == other.layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    Layer& own = layers[l];
    const Layer& told = other.layers[l];
    ACCRETE_CHECK(own.usage.size() == told.usage.size() &&
                  own.products.size() == told.products.size());
    for (std::size_t t = 0; t < own.usage.size(); ++t)
      own.usage[t] += weight * told.usage[t];
    own.products += weight * told.products;
  }
}

double ExpertUse::likeness(std::size_t a, std::size_t b) const {
  ACCRETE_CHECK(!layers.empty());
  const auto i = static_cast<Eigen::Index>(a);
  const auto j = static_cast<Eigen::Index>(b);
  double sum = 0;
  for (const Layer& layer : layers) {
    ACCRETE_CHECK(std::max(i, j) < layer.products.rows());
    const double lengths = std::sqrt(layer.products(i, i)) * std::sqrt(layer.products(j, j));
    if (lengths > 0) sum += std::clamp(layer.products(i, j) / lengths, -1.0, 1.0);
  }
  return sum / static_cast<double>(layers.size());
}

template <class Real>
Parameter<Real> merged_parameter(const Parameter<Real>& first, const Parameter<Real>& second,
                                 const UsagePair& usage) {
  Parameter<Real> one;
  one.value = usage_mean(first.value, second.value, usage.first, usage.second);
  one.rate = first.rate;
  one.version = first.version + second.version + 1;
  return one;
}

template <class Real>
void merge_neighbours(std::size_t at, const UsagePair& usage,
                      std::vector<Parameter<Real>>& parameters) {
  ACCRETE_CHECK(at + 1 < parameters.size());
  parameters[at] = merged_parameter(parameters[at], parameters[at + 1], usage);
  parameters.erase(parameters.begin() + static_cast<std::ptrdiff_t>(at) + 1);
}

template Parameter<float> merged_parameter(const Parameter<float>&, const Parameter<float>&,
                                           const UsagePair&);
template Parameter<double> merged_parameter(const Parameter<double>&, const Parameter<double>&,
                                            const UsagePair&);
template void merge_neighbours(std::size_t, const UsagePair&, std::vector<Parameter<float>>&);
template void merge_neighbours(std::size_t, const UsagePair&, std::vector<Parameter<double>>&);

}  // namespace accrete::models
