// One answer from several candidates by how well each explained a fixed set of examples.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/candidate.h"

namespace accrete::models {

/// Weights w >= 0, summing to 1, under which the linear pool Σ_k w_k p_k explains examples best:
/// they maximise Σ_i log Σ_k w_k said[i * candidates + k], said being the probability candidate k
/// gave to what turned out true, plus one example's worth of a uniform prior. Concave, so the pool
/// is on these examples as good as the best candidate; found by EM from uniform weights.
/// Cost: rounds × examples × candidates. Threads: pure. Source: Jacobs 1995, "Methods for combining
/// experts' probability assessments", for the linear pool; EM of mixture weights.
std::vector<double> pool_weights(std::span<const double> said, std::size_t candidates,
                                 int rounds = 100);

/// The probability an output gives to a label, within [1e-6, 1]; binary or multiclass.
double probability_of(TaskKind kind, const Output& output, double label);

/// The same opinion held more (exponent > 1) or less firmly: p ∝ p^exponent, over the classes or
/// both sides of a binary task. What said nothing still does. Cost: a logarithm and an exponential
/// a class. Source: Guo et al. 2017, arXiv:1706.04599 (temperature scaling).
Output sharpened(TaskKind kind, const Output& output, double exponent);

/// The pool's own output. Candidates that said nothing (no class, no finite number) are left out.
/// Checks: a weight for each output.
void pool_outputs(TaskKind kind, std::span<const Output> outputs, std::span<const double> weights,
                  Output& mixed);

}  // namespace accrete::models
