// Recursive ridge regression: equal to the batch solution over all examples so far, example by
// example.
#pragma once

#include <memory>

#include "models/candidate.h"

namespace accrete::models {

struct RidgeOptions {
  double lambda = 1.0;  ///< prior precision of a standardised weight is lambda × columns
  double clip = 4.0;    ///< standardised features are clipped to ±clip
  std::size_t features_max = 4096;  ///< columns in all, indicators included; later ones are unseen
};

/// "ridge": one output (binary as 0/1 clipped into [0.001, 0.999], regression) or one per class
/// (negatives raised to 0.001, then normalised); variance = s²(1 + xᵀPx), regression only, with s²
/// the mean of the squared prequential errors, each over its own 1 + xᵀPx.
///
/// Columns: an intercept, the features standardised by frozen moments (missing or not finite -> 0),
/// an indicator for each feature that more than 2 % of the rows miss. The moments are refreshed at
/// a settle() when the rows grew by 10 % or the width by an eighth, and an eighth of a row a column
/// came (feature_scale.h; until then new features are unseen): what was learnt is re-expressed by
/// the affine map between the two scales, and solved again under the full prior. So the weights are
/// always those of batch ridge over all examples so far, in the scale of now; three approximations:
/// a row stays clipped as it was when learnt, an indicator that appears later than its feature
/// counts as 0 in the rows before, and so does a feature in rows before it is seen.
///
/// Learnt rows take effect at settle(), or earlier every 64 rows.
/// Cost, D columns: 2D² a learn, D a predict (D² in regression, for the variance), D³ a refresh;
/// memory 16 D² bytes, saved state half of it.
/// Source: Woodbury update as in Zhuang et al. 2022, arXiv:2205.14922; see recursive_ridge.h.
std::unique_ptr<Candidate> make_ridge(TaskKind kind, const RidgeOptions& options);

}  // namespace accrete::models
