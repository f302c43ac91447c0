// Which candidates a task runs with, in the order their names appear in every prediction.
#pragma once

#include <memory>

#include "models/candidate.h"
#include "models/mixer.h"
#include "proto/prediction.h"

namespace accrete::daemon {

/// Global mean (majority), last label and running mean for comparison; then the exact heads of
/// models/panel.h, or for a multiclass task the recursive ridge.
std::unique_ptr<models::CandidateGroup> make_learners(TaskKind kind);

/// What their mixer has to know of them.
models::MixerOptions mixer_options(const models::CandidateGroup& learners);

}  // namespace accrete::daemon
