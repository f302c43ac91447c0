// The candidates every task runs.
#include "daemon/learners.h"

#include "models/baselines.h"
#include "models/ridge.h"

namespace accrete::daemon {

models::Candidates make_candidates(TaskKind kind) {
  models::Candidates candidates;
  candidates.push_back(models::make_global_mean(kind));
  candidates.push_back(models::make_last_label(kind));
  candidates.push_back(models::make_running_mean(kind));
  candidates.push_back(models::make_ridge(kind, models::RidgeOptions{}));
  return candidates;
}

}  // namespace accrete::daemon
