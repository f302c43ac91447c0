// What a task learns from: the rows of its ticks, and rows of instants between them that are never
// predicted.
//
// What may be learnt from one tick to the next is bounded. A population beyond the bound is taught
// in two to four parts, each drawn at an instant of its own, a third of a window apart where ticks
// are not rarer than windows: rows of more instants say more than as many rows of one. A smaller
// one is taught at the tick, whole: there the instants between overlap with the ticks and say
// nothing new (bench/RESULTS.md).
#include <algorithm>
#include <cmath>
#include <utility>

#include "daemon/synthesis_plan.h"
#include "daemon/task_inputs.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

// Instants per window. More of them overlap more and cost as much again.
constexpr std::int64_t kPartsPerWindow = 3;
// Instants from one tick to the next, where ticks are rare.
constexpr std::int64_t kPartsMax = 4;

}  // namespace

/// Rows that may be learnt from between two ticks.
std::size_t Task::taught_max() const {
  // A row is there as floats, as doubles and once more in the learners' memory.
  const std::size_t row_bytes = 16 * std::max<std::size_t>(features_->width(), 1);
  const std::size_t fitting = std::max<std::size_t>(limits_.learners_bytes_max / 2 / row_bytes, 64);
  return std::min(limits_.taught_rows_max, fitting);
}

/// In how many instants a population of `rows` is taught from one tick to the next, the tick among
/// them.
std::uint32_t Task::parts_of(std::size_t rows) const {
  if (rows <= taught_max()) return 1;
  const std::int64_t step = std::max<std::int64_t>(window_us(plan_) / kPartsPerWindow, 1);
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>((plan_.every_us + step - 1) / step, 1, kPartsMax));
}

/// The next of them after `after`, which is the last tick or one of its followers.
void Task::plan_training(TimeUs after) {
  next_training_ = kTimeMax;
  const std::int64_t step = plan_.every_us / parts_;
  const TimeUs next = shift(after, step);
  // The last step ends at the tick, up to the rounding of a division; anchors cut a grid short.
  if (step > 0 && parts_ > 1 && shift(next, step / 2) < next_tick_) next_training_ = next;
}

/// Keep the features of an instant between two ticks until its outcome is known.
void Task::train_between(TimeUs at) {
  plan_training(at);
  if (at > frozen_after_) return;
  const std::vector<std::uint32_t> rows = population(at);
  PendingBatch batch = begin_batch(at, Trigger::Tick);
  batch.silent = true;
  batch.taught = draw(rows.size(), taught_max() / parts_, at);
  batch.classes = outputs_each();
  if (batch.taught.empty() || sheds(batch.taught.size())) return;
  for (std::uint32_t& i : batch.taught) {
    batch.rows.push_back(rows[i]);
    i = static_cast<std::uint32_t>(batch.rows.size() - 1);
  }
  compute(batch.rows, at, batch.features);
  batch.width = static_cast<std::uint32_t>(features_->width());
  pending_.push(std::move(batch));
}

/// Rows that nothing was said of cannot teach what to add to it.
void Task::teach_network(const PendingBatch& batch, std::span<const std::uint32_t> rows,
                         std::span<const double> labels) {
  std::vector<double> starts;
  if (network_->on_heads()) {
    if (batch.silent) return;
    std::vector<models::Output> outputs(names_.size());
    for (const std::uint32_t i : batch.taught) {
      for (std::size_t c = 0; c < outputs.size(); ++c)
        outputs[c].value = batch.outputs[i * (outputs.size() + 1) + c];
      starts.push_back(start_of(outputs));
    }
  }
  network_->learn(rows, labels, batch.at, starts);
}

/// Labels by row of the batch, NaN where there is none.
void Task::teach(const PendingBatch& batch, std::span<const double> labels) {
  std::vector<std::uint32_t> rows;
  std::vector<double> known;
  bool any = false;
  for (const std::uint32_t i : batch.taught) {
    rows.push_back(batch.rows[i]);
    known.push_back(labels[i]);
    any = any || !std::isnan(labels[i]);
  }
  if (!any) return;
  // By the time an instant between ticks is learnt, labels of the tick before it are known that
  // overlap with its own: histories would give them away.
  const Inputs inputs(*this, rows, batch.features, batch.width, !batch.silent);
  const std::vector<double> weights(rows.size(), 1.0);
  learners_->learn(inputs.all(), known, weights);
  if (network_ != nullptr) teach_network(batch, rows, known);
  if (batch.silent) taught_between_ += rows.size();
  learners_dirty_ = true;
}

}  // namespace accrete::daemon
