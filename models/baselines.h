// The three baselines kept for honesty: what a prediction is worth is what it adds to these.
#pragma once

#include <memory>

#include "models/candidate.h"

namespace accrete::models {

/// "global-mean" (regression: mean of all labels; binary: share of positives) or "majority"
/// (multiclass: class frequencies). Before any label: 0, 0.5, or no classes.
std::unique_ptr<Candidate> make_global_mean(TaskKind kind);

/// "last-label": the entity's last matured label; the global mean where there is none.
std::unique_ptr<Candidate> make_last_label(TaskKind kind);

/// "running-mean": exponentially weighted mean of the entity's matured labels
/// (LabelHistory::ewma); the global mean where there is none.
std::unique_ptr<Candidate> make_running_mean(TaskKind kind);

}  // namespace accrete::models
