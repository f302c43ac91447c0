// The candidates every task runs.
#include "daemon/learners.h"

#include <utility>
#include <vector>

#include "models/baselines.h"
#include "models/panel.h"
#include "models/ridge.h"

namespace accrete::daemon {

std::unique_ptr<models::CandidateGroup> make_learners(TaskKind kind,
                                                      std::size_t examples_bytes_max) {
  models::Candidates plain;
  plain.push_back(models::make_global_mean(kind));
  plain.push_back(models::make_last_label(kind));
  plain.push_back(models::make_running_mean(kind));
  std::vector<std::unique_ptr<models::CandidateGroup>> groups;
  if (kind == TaskKind::Multiclass) {
    plain.push_back(models::make_ridge(kind, models::RidgeOptions{}));
    return models::make_group(std::move(plain));
  }
  groups.push_back(models::make_group(std::move(plain)));
  models::PanelOptions panel;
  panel.memory.bytes_max = examples_bytes_max;
  groups.push_back(models::make_panel(kind, panel));
  return models::join_groups(std::move(groups));
}

models::MixerOptions mixer_options(TaskKind kind, const models::CandidateGroup& learners) {
  models::MixerOptions options;
  if (kind != TaskKind::Binary) return options;
  for (std::size_t k = 0; k < learners.size(); ++k)
    options.families.push_back(learners.family(k));
  return options;
}

}  // namespace accrete::daemon
