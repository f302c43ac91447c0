// Which candidates a task runs with, in the order their names appear in every prediction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "models/candidate.h"
#include "models/mixer.h"
#include "proto/prediction.h"

namespace accrete::daemon {

/// The first candidates of every task are baselines, kept for comparison.
inline constexpr std::size_t kBaselines = 3;

/// Global mean (majority), last label and running mean for comparison; then the exact heads of
/// models/panel.h, or for a multiclass task the recursive ridge.
/// `examples_bytes_max` bounds what they keep of examples.
std::unique_ptr<models::CandidateGroup> make_learners(TaskKind kind,
                                                      std::size_t examples_bytes_max);

/// What a learner of a row's own column sees: all features, or only those of the row itself.
enum class RowView : std::uint8_t { Everything, Own };

/// Learners in one pass, for tasks that learn row by row. Everything: global mean (majority), last
/// label and running mean of the stream, then one-pass logistic regressions with half-lives of 250,
/// 1,000 and 4,000 rows and without forgetting, under two priors (multiclass: one against the
/// rest), and the recursive ridge. Own: the regressions under the first prior only, named "row-…".
std::unique_ptr<models::CandidateGroup> make_row_learners(TaskKind kind, RowView view);

/// What the mixer of both views together is told: a quick rate, since it settles at every row.
models::MixerOptions row_mixer_options();

/// What their mixer has to know of them: families for binary tasks, whose plain mean is hard to
/// beat, and that many labels of a tick say more than few. Of numbers a family can be far off for
/// long (ridge where labels are skewed), and the mean with it; and a few large ones decide what a
/// tick says of them.
/// `network`: candidates behind the learners, the graph network's. They are no family: untrained
/// they are worth less than the mean they would enter.
models::MixerOptions mixer_options(TaskKind kind, const models::CandidateGroup& learners,
                                   std::size_t network);

/// From the next settle on the graph network, candidate k, has the share that labels suggest
/// (GraphNetwork::prior), while its losses do not say otherwise: of a prior something returns with
/// every settle, for ever.
void set_network_prior(double suggested, std::size_t k, models::Mixer& mixer);

}  // namespace accrete::daemon
