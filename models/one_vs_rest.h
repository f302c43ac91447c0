// Classes by logistic regressions in one pass, one for each class against the others.
#pragma once

#include <cstddef>
#include <memory>

#include "models/candidate.h"
#include "models/online_logistic.h"

namespace accrete::models {

/// Every class costs a regression: with more classes than this the candidate says nothing any more
/// (an output without classes), and those that share their work over classes speak.
inline constexpr std::size_t one_vs_rest_classes_max = 8;

/// Multiclass, growing. Two classes are one regression, of the second against the first; when the
/// third comes, the first gets the mirror image of it, which is what it would have learnt itself. A
/// new class begins with the intercept that n rows without it teach. Probabilities are normalised.
/// Cost: a learn or a predict is that of one regression (online_logistic.h) times the classes.
std::unique_ptr<Candidate> make_one_vs_rest(const OnlineLogisticOptions& options);

}  // namespace accrete::models
