// EM for the weights of a linear pool.
#include "models/opinion_pool.h"

#include <algorithm>
#include <cmath>

#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr double kProbabilityMin = 1e-6;

}  // namespace

std::vector<double> pool_weights(std::span<const double> said, std::size_t candidates, int rounds) {
  ACCRETE_CHECK(candidates > 0 && said.size() % candidates == 0);
  const std::size_t examples = said.size() / candidates;
  const double even = 1 / static_cast<double>(candidates);
  std::vector<double> weights(candidates, even);
  std::vector<double> shares(candidates);
  for (int round = 0; round < rounds && examples > 0; ++round) {
    std::fill(shares.begin(), shares.end(), even);  // the prior's one example
    for (std::size_t i = 0; i < examples; ++i) {
      const auto row = said.subspan(i * candidates, candidates);
      double total = 0;
      for (std::size_t k = 0; k < candidates; ++k)
        total += weights[k] * std::max(row[k], kProbabilityMin);
      for (std::size_t k = 0; k < candidates; ++k)
        shares[k] += weights[k] * std::max(row[k], kProbabilityMin) / total;
    }
    for (std::size_t k = 0; k < candidates; ++k)
      weights[k] = shares[k] / static_cast<double>(examples + 1);
  }
  return weights;
}

double probability_of(TaskKind kind, const Output& output, double label) {
  double said = 0;
  if (kind == TaskKind::Binary) {
    said = label > 0.5 ? output.value : 1 - output.value;
  } else if (label >= 0 && label < static_cast<double>(output.classes.size())) {
    said = output.classes[static_cast<std::size_t>(label)];
  }
  return std::isfinite(said) ? std::clamp(said, kProbabilityMin, 1.0) : kProbabilityMin;
}

Output sharpened(TaskKind kind, const Output& output, double exponent) {
  if (exponent == 1) return output;
  Output out = output;
  if (kind == TaskKind::Binary) {
    const double p = std::clamp(output.value, kProbabilityMin, 1 - kProbabilityMin);
    if (!std::isfinite(p)) return out;
    out.value = 1 / (1 + std::exp(-exponent * std::log(p / (1 - p))));
    return out;
  }
  double total = 0;
  for (double& p : out.classes) {
    p = p > 0 ? std::exp(exponent * std::log(p)) : 0;
    total += p;
  }
  if (!(total > 0)) return output;
  for (double& p : out.classes)
    p /= total;
  return out;
}

void pool_outputs(TaskKind kind, std::span<const Output> outputs, std::span<const double> weights,
                  Output& mixed) {
  ACCRETE_CHECK(weights.size() == outputs.size());
  mixed = Output{};
  double total = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Output& output = outputs[k];
    if (kind == TaskKind::Binary) {
      if (!std::isfinite(output.value)) continue;
      mixed.value += weights[k] * output.value;
      total += weights[k];
      continue;
    }
    if (output.classes.size() > mixed.classes.size())
      mixed.classes.resize(output.classes.size(), 0.0);
    for (std::size_t c = 0; c < output.classes.size(); ++c) {
      mixed.classes[c] += weights[k] * output.classes[c];
      total += weights[k] * output.classes[c];
    }
  }
  if (total <= 0) return;
  mixed.value /= total;
  for (double& probability : mixed.classes)
    probability /= total;
}

}  // namespace accrete::models
