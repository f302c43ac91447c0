// Which candidates a task runs with, in the order their names appear in every prediction.
#pragma once

#include <cstdint>
#include <memory>

#include "models/candidate.h"
#include "models/mixer.h"
#include "proto/prediction.h"

namespace accrete::daemon {

/// Global mean (majority), last label and running mean for comparison; then the exact heads of
/// models/panel.h, or for a multiclass task the recursive ridge.
std::unique_ptr<models::CandidateGroup> make_learners(TaskKind kind);

/// What a learner of a row's own column sees: all features, or only those of the row itself.
enum class RowView : std::uint8_t { Everything, Own };

/// Learners in one pass, for tasks that learn row by row. Everything: global mean (majority), last
/// label and running mean of the stream, then one-pass logistic regressions with half-lives of 250,
/// 1,000 and 4,000 rows and without forgetting, under two priors (multiclass: one against the
/// rest), and the recursive ridge. Own: the regressions under the first prior only, named "row-…".
std::unique_ptr<models::CandidateGroup> make_row_learners(TaskKind kind, RowView view);

/// What the mixer of both views together is told: a quick rate, since it settles at every row.
models::MixerOptions row_mixer_options();

/// What their mixer has to know of them.
models::MixerOptions mixer_options(const models::CandidateGroup& learners);

}  // namespace accrete::daemon
