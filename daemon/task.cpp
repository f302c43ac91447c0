// Predicting, grading and learning of one task.
#include "daemon/task.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "daemon/learners.h"
#include "daemon/task_inputs.h"
#include "proto/time.h"

namespace accrete::daemon {
/// Features and outputs of several entities at one instant.
struct Task::Scored {
  std::vector<std::uint32_t> rows;
  std::vector<float> features;          // rows × width
  std::vector<models::Output> outputs;  // rows × (candidates + 1), the mixture last
  Trigger trigger = Trigger::Query;

  const models::Output& mixture(std::size_t i) const {
    const std::size_t per_row = outputs.size() / rows.size();
    return outputs[(i + 1) * per_row - 1];
  }
};

Task::Task(TaskPlan plan, std::size_t number, const TaskWorld& world, const TaskLimits& limits)
    : TickTask(std::move(plan), world, limits),
      features_(
          make_features(plan_, number, *world.schema, *world.synthesis, *world.rows, *world.graph)),
      learners_(make_learners(plan_.kind, limits.learners_bytes_max / 2)),
      network_(GraphNetwork::make(plan_, world, limits.seed)),
      conformal_(models::ConformalOptions{}) {
  for (std::size_t k = 0; k < learners_->size(); ++k)
    names_.emplace_back(learners_->name(k));
  if (network_ != nullptr) std::ranges::copy(network_->names(), std::back_inserter(names_));
  if (network_ != nullptr && plan_.kind == TaskKind::Multiclass &&
      world.network->config().on_heads) {
    on_heads_ = std::make_unique<NewestOnHeads>();
    names_.emplace_back(GraphNetwork::kOnHeads);
  }
  mixer_ = std::make_unique<models::Mixer>(
      plan_.kind, names_.size(),
      mixer_options(plan_.kind, *learners_, names_.size() - learners_->size()));
  weigh_network();
  metrics_.assign(names_.size() + 1, models::Prequential(plan_.kind, kMetricsWindow));
}

/// The network is first behind the learners.
void Task::weigh_network() {
  if (network_ != nullptr) set_network_prior(network_->prior(), learners_->size(), *mixer_);
}

Status Task::row_folded(const FoldedRow& row, store::State&, const Emit&, FoldSink&) {
  features_->observe(row.cells);
  touch(row.row);
  return Ok{};
}

TimeUs Task::next_event() const {
  return std::min(TickTask::next_event(), next_training_);
}

std::vector<std::string> Task::candidate_names() const {
  return names_;
}

models::LabelHistory& Task::history(std::uint32_t row) {
  if (row >= histories_.size()) histories_.resize(row + 1);
  return histories_[row];
}

const models::LabelHistory& Task::known_history(std::uint32_t row) const {
  static const models::LabelHistory kNone;
  return row < histories_.size() ? histories_[row] : kNone;
}

std::vector<double> Task::feature_values(std::uint32_t row, TimeUs at) {
  std::vector<double> values;
  features_->compute(NodeId{plan_.entity, row}, at, values);
  return values;
}

void Task::compute(std::span<const std::uint32_t> rows, TimeUs at, std::vector<float>& features) {
  features.clear();
  features.reserve(rows.size() * features_->width());
  std::vector<double> values;
  for (const std::uint32_t row : rows) {
    features_->compute(NodeId{plan_.entity, row}, at, values);
    // Kept, learnt from and predicted with as floats, so that all three see the same number.
    for (const double value : values)
      features.push_back(static_cast<float>(value));
  }
}

void Task::predict(TimeUs at, Scored& scored) {
  const Inputs inputs(*this, scored.rows, scored.features, features_->width());
  const std::size_t candidates = names_.size();
  const std::size_t per_row = candidates + 1;
  const auto mix = [&](std::span<models::Output> outputs) {
    mixer_->combine(outputs.first(candidates), outputs.back());
  };
  scored.outputs.resize(scored.rows.size() * per_row);
  // Any cut into chunks gives the same bits: a row's outputs do not depend on its neighbours.
  constexpr std::size_t kChunk = 64;
  const auto chunks = static_cast<std::ptrdiff_t>((scored.rows.size() + kChunk - 1) / kChunk);
#pragma omp parallel for schedule(static) if (chunks >= 4)
  for (std::ptrdiff_t c = 0; c < chunks; ++c) {
    const std::size_t first = static_cast<std::size_t>(c) * kChunk;
    const std::size_t count = std::min(kChunk, scored.rows.size() - first);
    const auto outputs = std::span(scored.outputs).subspan(first * per_row, count * per_row);
    learners_->predict(inputs.all().subspan(first, count), per_row, outputs);
    for (std::size_t i = 0; network_ == nullptr && i < count; ++i)
      mix(outputs.subspan(i * per_row, per_row));
  }
  if (network_ == nullptr) return;
  add_network(at, scored);
  for (std::size_t i = 0; i < scored.rows.size(); ++i)
    mix(std::span(scored.outputs).subspan(i * per_row, per_row));
}

/// What the network says, and what of it is added to the last of the heads.
void Task::add_network(TimeUs at, Scored& scored) {
  const std::size_t candidates = names_.size();
  const std::size_t per_row = candidates + 1;
  const std::size_t network = learners_->size();
  std::vector<double> starts;
  for (std::size_t i = 0; network_->on_heads() && i < scored.rows.size(); ++i)
    starts.push_back(start_of(std::span(scored.outputs).subspan(i * per_row, candidates)));
  network_->predict(scored.rows, at, per_row, std::span(scored.outputs).subspan(network),
                    scored.trigger, starts);
  for (std::size_t i = 0; on_heads_ != nullptr && i < scored.rows.size(); ++i) {
    const auto outputs = std::span(scored.outputs).subspan(i * per_row, candidates);
    on_heads_->combine(outputs[network - 1], outputs[network], outputs.back());
  }
}

/// What the candidates say together without the network, by the weights of now.
double Task::start_of(std::span<models::Output> candidates) const {
  for (models::Output& output : candidates.subspan(learners_->size()))
    output.value = std::numeric_limits<double>::quiet_NaN();  // says nothing
  models::Output mixed;
  mixer_->combine(candidates, mixed);
  return mixed.value;
}

void Task::score(std::span<const std::uint32_t> rows, TimeUs at, Scored& scored) {
  scored.rows.assign(rows.begin(), rows.end());
  compute(rows, at, scored.features);
  predict(at, scored);
}

Status Task::publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit) {
  const std::size_t per_row = names_.size() + 1;
  Prediction prediction;
  for (std::size_t i = 0; i < scored.rows.size(); ++i) {
    const std::string key = entity_key(scored.rows[i], at);
    prediction = Prediction{};
    tell(plan_, trigger, std::span(scored.outputs).subspan(i * per_row, per_row), names_,
         class_names_, prediction);
    prediction.entity_key = key;
    prediction.as_of = at;
    prediction.model = labels_ + taught_between_ + steps_of(network_.get());
    if (plan_.kind == TaskKind::Regression) {
      const models::Interval interval = conformal_.interval(scored.mixture(i));
      const bool known = std::isfinite(interval.low) && std::isfinite(interval.high);
      prediction.low = known ? std::optional(interval.low) : std::nullopt;
      prediction.high = known ? std::optional(interval.high) : std::nullopt;
    }
    ACCRETE_DO(emit(prediction));
  }
  return Ok{};
}

/// Numbers that a candidate says of a row.
std::uint32_t Task::outputs_each() const {
  const bool multiclass = plan_.kind == TaskKind::Multiclass;
  return multiclass ? static_cast<std::uint32_t>(class_names_.size()) : 1;
}

/// Add rows and what was said of them.
void Task::keep(const Scored& scored, PendingBatch& batch) const {
  batch.rows.insert(batch.rows.end(), scored.rows.begin(), scored.rows.end());
  for (std::size_t i = 0; plan_.kind == TaskKind::Regression && i < scored.rows.size(); ++i) {
    const models::Output& mixed = scored.mixture(i);
    const models::Interval interval = conformal_.interval(mixed);
    batch.uncertainty.insert(batch.uncertainty.end(),
                             {mixed.variance, interval.low, interval.high});
  }
  const bool multiclass = plan_.kind == TaskKind::Multiclass;
  for (const models::Output& output : scored.outputs) {
    if (!multiclass) batch.outputs.push_back(output.value);
    for (std::uint32_t k = 0; multiclass && k < batch.classes; ++k) {
      batch.outputs.push_back(k < output.classes.size() ? output.classes[k] : 0);
    }
  }
}

Status Task::tell_of(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                     const Emit& emit) {
  Scored scored;
  score(rows, at, scored);
  return publish(scored, at, trigger, emit);
}

void Task::before_tick(TimeUs at) {
  if (next_training_ == at) train_between(at);
}

Status Task::tick_population(TimeUs at, const Emit& emit) {
  const std::vector<std::uint32_t> rows = population(at);
  PendingBatch batch = begin_batch(at, Trigger::Tick);
  batch.classes = outputs_each();
  parts_ = parts_of(rows.size());
  plan_training(at);
  batch.taught = draw(rows.size(), taught_max() / parts_, at);
  std::vector<std::uint32_t> taught_rows;
  for (const std::uint32_t i : batch.taught)
    taught_rows.push_back(rows[i]);
  compute(taught_rows, at, batch.features);
  batch.width = static_cast<std::uint32_t>(features_->width());
  {
    const Inputs inputs(*this, taught_rows, batch.features, batch.width);
    learners_->open_tick(inputs.all());
    learners_dirty_ = true;
  }
  const bool all_at_hand = taught_rows.size() == rows.size();
  const bool kept = !rows.empty() && !sheds(rows.size());
  Scored scored;
  scored.trigger = Trigger::Tick;
  for (std::size_t first = 0; first < rows.size(); first += kScoredRows) {
    const std::size_t count = std::min(kScoredRows, rows.size() - first);
    const auto chunk = std::span(rows).subspan(first, count);
    if (all_at_hand) {
      const auto features = std::span(std::as_const(batch.features));
      const auto part = features.subspan(first * batch.width, count * batch.width);
      scored.rows.assign(chunk.begin(), chunk.end());
      scored.features.assign(part.begin(), part.end());
      predict(at, scored);
    } else {
      score(chunk, at, scored);
    }
    if (kept) keep(scored, batch);
    ACCRETE_DO(publish(scored, at, Trigger::Tick, emit));
  }
  if (kept) pending_.push(std::move(batch));
  return Ok{};
}

Status Task::request(std::span<const std::uint32_t> rows, TimeUs at, store::State&,
                     const Emit& emit) {
  const bool kept = !rows.empty() && !sheds(rows.size());
  PendingBatch batch = begin_batch(at, Trigger::Request);
  batch.classes = outputs_each();
  Scored scored;
  scored.trigger = Trigger::Request;
  for (std::size_t first = 0; first < rows.size(); first += kScoredRows) {
    score(rows.subspan(first, std::min(kScoredRows, rows.size() - first)), at, scored);
    if (kept) keep(scored, batch);
    ACCRETE_DO(publish(scored, at, Trigger::Request, emit));
  }
  if (kept) pending_.push(std::move(batch));
  return Ok{};
}

bool Task::is_usable(const WindowValue& label) const {
  if (plan_.kind != TaskKind::Multiclass) return is_learnable(label.number);
  return class_names_.size() < models::classes_max || class_index_.contains(label.text);
}

double Task::label_value(const WindowValue& label) {
  if (plan_.kind != TaskKind::Multiclass) return label.number;
  const auto next = static_cast<std::uint32_t>(class_names_.size());
  const auto [found, is_new] = class_index_.emplace(label.text, next);
  if (is_new) {  // also by an outcome that only grades, of a request
    class_names_.push_back(label.text);
    learners_dirty_ = true;
  }
  return found->second;
}

Status Task::mature(TimeUs at, store::State& state, FoldSink& sink) {
  while (!pending_.empty() && pending_.next_due() <= at) {
    ACCRETE_TRY(const PendingBatch batch, pending_.pop(state));
    if (batch.due > frozen_after_) continue;
    const std::size_t said = batch.silent ? 0 : batch.rows.size();
    const std::size_t uncertain = plan_.kind == TaskKind::Regression ? 3 * said : 0;
    if (batch.outputs.size() != said * (names_.size() + 1) * batch.classes ||
        batch.uncertainty.size() != uncertain) {
      return Error{Errc::Corruption,
                   "task \"" + plan_.name + "\": waiting predictions are not of its candidates"};
    }
    const bool teaches = batch.trigger == Trigger::Tick;
    std::vector<double> labels(batch.rows.size(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t i = 0; i < batch.rows.size(); ++i) {
      const auto label =
          world_.windows->label(plan_, NodeId{plan_.entity, batch.rows[i]}, batch.at);
      if (!label || !counts_as_label(is_usable(*label))) continue;
      if (!batch.silent) grade(batch, i, *label, sink);
      if (teaches) labels[i] = label_value(*label);
    }
    if (teaches) teach(batch, labels);
    if (teaches && !batch.silent) learn(batch, labels);
  }
  if (network_ != nullptr) {
    network_->train(at);
    network_->settle_ridge(at);
  }
  return Ok{};
}

/// Of classes the network says nothing before its first step, which is no doubt about it.
bool Task::is_before_network(const PendingBatch& batch) const {
  if (plan_.kind != TaskKind::Multiclass) return false;
  const auto said = std::span(batch.outputs).subspan(learners_->size() * batch.classes);
  return std::ranges::all_of(said.first(batch.classes), [](double share) { return share == 0; });
}

void Task::learn(const PendingBatch& batch, std::span<const double> labels) {
  std::vector<std::uint32_t> rows;
  std::vector<double> known;
  for (std::size_t i = 0; i < batch.rows.size(); ++i) {
    if (std::isnan(labels[i])) continue;
    rows.push_back(batch.rows[i]);
    known.push_back(labels[i]);
  }
  if (rows.empty()) return;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    history(rows[i]).learn(plan_.kind, known[i]);
    dirty_histories_.insert(rows[i]);
  }
  labels_ += rows.size();
  features_->mature(rows, known, batch.due);
  if (network_ != nullptr) network_->know(rows, known, batch.due);
  if (on_heads_ != nullptr && on_heads_->is_due()) on_heads_->settle(network_->block_shares());
  weigh_network();
  mixer_->settle();
  if (network_ != nullptr && is_before_network(batch)) mixer_->restart_excess();
  drift_.settle(batch.due, labels_);
  conformal_.settle();
  learners_dirty_ = true;
}

void Task::grade(const PendingBatch& batch, std::size_t i, const WindowValue& label,
                 FoldSink& sink) {
  const std::size_t per_row = names_.size() + 1;
  std::vector<models::Output> outputs(per_row);
  const double* kept = batch.outputs.data() + i * per_row * batch.classes;
  for (std::size_t c = 0; c < per_row; ++c) {
    if (plan_.kind == TaskKind::Multiclass) {
      outputs[c].classes.assign(kept + c * batch.classes, kept + (c + 1) * batch.classes);
    } else {
      outputs[c].value = kept[c];
    }
  }
  models::Interval published;
  if (plan_.kind == TaskKind::Regression) {
    const double* uncertainty = batch.uncertainty.data() + 3 * i;
    outputs.back().variance = uncertainty[0];
    published = {uncertainty[1], uncertainty[2]};
  }
  const double value = label_value(label);
  const std::string key = entity_key(batch.rows[i], batch.at);
  if (batch.trigger == Trigger::Tick) sink.label({&plan_, batch.at, key, value, label.text});
  if (models::says_nothing(plan_.kind, outputs.back())) return;
  if (batch.trigger == Trigger::Tick) {
    mixer_->grade({outputs.data(), names_.size()}, value);
    drift_.grade(plan_.kind, outputs.back(), value);
    const std::size_t every = metrics_step(batch.rows.size());
    for (std::size_t c = 0; c < per_row && i % every == 0; ++c) {
      metrics_[c].add(outputs[c], value, c + 1 == per_row ? published : models::Interval{});
    }
    if (plan_.kind == TaskKind::Regression) conformal_.grade(outputs.back(), published, value);
    const std::size_t kept_of = (batch.rows.size() - 1) / NewestOnHeads::kOfTick + 1;
    if (on_heads_ != nullptr && i % kept_of == 0 && !is_before_network(batch)) {
      const std::size_t network = learners_->size();
      on_heads_->grade(outputs[network - 1], outputs[network], value);
    }
  }
  sink.graded({&plan_,
               batch.at,
               batch.trigger,
               {outputs.data(), names_.size()},
               &outputs[names_.size()],
               published,
               value,
               batch.due,
               mixer_->weights()});
}

std::size_t Task::memory_bytes() const {
  return queues_bytes() + features_->memory_bytes() +
         (network_ == nullptr ? 0 : network_->memory_bytes()) +
         (on_heads_ == nullptr ? 0 : on_heads_->memory_bytes()) +
         histories_.capacity() * sizeof(models::LabelHistory);
}

}  // namespace accrete::daemon
