// Recursive ridge regression: equal to the batch solution over all examples so far, example by
// example.
#pragma once

#include <memory>

#include "models/candidate.h"

namespace accrete::models {

struct RidgeOptions {
  double lambda = 1.0;  ///< prior precision per standardised feature
  double clip = 4.0;    ///< standardised features are clipped to ±clip
  std::size_t features_max = 4096;
};

/// "ridge": features standardised online (frozen moments at each settle(), so learning and
/// predicting in between see one scale), missing -> 0 plus an indicator where more than 2 % miss,
/// intercept; one output (binary as 0/1 clipped into [0.001, 0.999], regression) or one per class.
/// variance = s²(1 + xᵀPx). Growing width or classes needs no refit.
/// Cost: D² per learn, D per predict, in double.
/// Source: Woodbury update as in ACIL (ALGORITHMS: analytic class-incremental learning).
std::unique_ptr<Candidate> make_ridge(TaskKind kind, const RidgeOptions& options);

}  // namespace accrete::models
