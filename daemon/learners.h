// Which candidates a task runs with, in the order their names appear in every prediction.
#pragma once

#include "models/candidate.h"
#include "proto/prediction.h"

namespace accrete::daemon {

/// global mean (majority), last label, running mean, ridge.
models::Candidates make_candidates(TaskKind kind);

}  // namespace accrete::daemon
