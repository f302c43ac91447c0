// The candidates every task runs.
#include "daemon/learners.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "models/baselines.h"
#include "models/label_signals.h"
#include "models/one_vs_rest.h"
#include "models/online_logistic.h"
#include "models/panel.h"
#include "models/ridge.h"

namespace accrete::daemon {
namespace {

// Columns D of the recursive ridge: 2D² an example, D³ when its scale moves. 4,096, which a
// category of 139 values fills, explain classes hardly better or worse, and what they cost stops
// the stream.
constexpr std::size_t kRidgeFeatures = 512;

// Prior of the one-pass heads, per column. A stream teaches thousands of rows and its features are
// redundant by design: under the prior that suits ticks (.5) their sums stay out of reach.
constexpr double kRowLambda = 0.05;

// Share by which the network may have lost more than the best of the others: then labels no longer
// speak for it.
constexpr double kExcessMax = 0.02;

/// Shares its work over classes, so it is there for any number of them.
std::unique_ptr<models::Candidate> make_bounded_ridge(TaskKind kind) {
  models::RidgeOptions ridge;
  ridge.features_max = kRidgeFeatures;
  return models::make_ridge(kind, ridge);
}

}  // namespace

std::unique_ptr<models::CandidateGroup> make_learners(TaskKind kind,
                                                      std::size_t examples_bytes_max) {
  models::Candidates plain;
  plain.push_back(models::make_global_mean(kind));
  plain.push_back(models::make_last_label(kind));
  plain.push_back(models::make_running_mean(kind));
  std::vector<std::unique_ptr<models::CandidateGroup>> groups;
  if (kind == TaskKind::Multiclass) {
    plain.push_back(make_bounded_ridge(kind));
    return models::make_group(std::move(plain));
  }
  groups.push_back(models::make_group(std::move(plain)));
  models::PanelOptions panel;
  panel.memory.bytes_max = examples_bytes_max;
  groups.push_back(models::make_panel(kind, panel));
  return models::join_groups(std::move(groups));
}

std::unique_ptr<models::CandidateGroup> make_row_learners(TaskKind kind, RowView view) {
  models::Candidates learners;
  const bool own = view == RowView::Own;
  if (!own) {
    learners.push_back(models::make_global_mean(kind));
    learners.push_back(models::make_last_label(kind));
    learners.push_back(models::make_running_mean(kind));
  }
  for (const bool loose : {false, true}) {
    if (kind == TaskKind::Regression || (own && loose)) break;
    for (const double half_life : {250.0, 1000.0, 4000.0, 0.0}) {
      models::OnlineLogisticOptions options;
      options.half_life = half_life;
      options.lambda = loose ? kRowLambda / 10 : kRowLambda;
      options.name = std::string(own ? "row-" : loose ? "loose-" : "") + "logistic";
      if (half_life > 0) options.name += "-" + std::to_string(static_cast<int>(half_life));
      if (kind == TaskKind::Multiclass) {
        learners.push_back(models::make_one_vs_rest(options));
      } else {
        learners.push_back(models::make_online_logistic(options));
      }
    }
  }
  if (!own) learners.push_back(make_bounded_ridge(kind));
  return models::make_group(std::move(learners));
}

models::MixerOptions row_mixer_options() {
  models::MixerOptions options;
  options.eta = 0.3;
  options.share = 0.002;
  return options;
}

models::MixerOptions mixer_options(TaskKind kind, const models::CandidateGroup& learners,
                                   std::size_t network) {
  models::MixerOptions options;
  if (kind != TaskKind::Binary) return options;
  for (std::size_t k = 0; k < learners.size(); ++k)
    options.families.push_back(learners.family(k));
  options.families.resize(options.families.size() + network, -1);
  options.labels = 20;
  return options;
}

void set_network_prior(double suggested, std::size_t k, models::Mixer& mixer) {
  const double doubt = std::min(mixer.excess(k) / kExcessMax, 1.0);
  mixer.set_prior(k, suggested + (models::NetworkPrior::low - suggested) * doubt);
}

}  // namespace accrete::daemon
