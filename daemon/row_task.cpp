// Predicting, grading and learning a column of the rows themselves.
#include "daemon/row_task.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "daemon/learners.h"
#include "daemon/task.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kMetricsWindow = 20'000;
constexpr std::size_t kAnsweredRows = 4096;  // at once: bounds what their answers take of memory
/// The earliest time a prediction can name: of rows without a time that come before any with one.
constexpr TimeUs kBeginning{0};

TimeUs told(TimeUs at) {
  return at == kTimeMin ? kBeginning : at;
}

/// Whether rows of blocks that are over may be read again to be learnt from.
bool learns_from_old_rows(const TaskWorld& world) {
  return world.network == nullptr || world.network->config().keeps_rows();
}

}  // namespace

RowTask::RowTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits)
    : plan_(std::move(plan)),
      world_(world),
      pending_max_(limits.pending_max),
      features_(plan_, *world.schema, *world.rows),
      learners_(make_row_learners(plan_.kind, RowView::Everything)),
      own_learners_(make_row_learners(plan_.kind, RowView::Own)),
      propagation_(Propagation::make(
          plan_, world, {limits.learners_bytes_max, limits.seed, learns_from_old_rows(world)})),
      network_(GraphNetwork::make(plan_, world, limits.seed, propagation_.get())),
      waiting_(plan_.name + "/waiting/") {
  for (const auto* group : {learners_.get(), own_learners_.get()}) {
    for (std::size_t k = 0; k < group->size(); ++k)
      names_.emplace_back(group->name(k));
  }
  if (propagation_) {
    for (std::string& name : propagation_->names())
      names_.push_back(std::move(name));
  }
  network_at_ = names_.size();
  if (network_) std::ranges::copy(network_->names(), std::back_inserter(names_));
  if (propagation_ && network_ && world.network->config().on_heads) {
    on_heads_ = std::make_unique<models::LogitResidual>(plan_.kind);
    names_.emplace_back(GraphNetwork::kOnHeads);
  }
  if (propagation_) {
    request_weights_ = std::make_unique<RequestWeights>(plan_.kind, names_.size(), limits.seed);
  }
  mixer_ = std::make_unique<models::Mixer>(plan_.kind, names_.size(), row_mixer_options());
  weigh_network();
  if (looks_around()) {
    shown_ = std::make_unique<ShownTimes>(plan_.name + "/shown/", limits.seed);
  }
  const auto shown_at = [this](std::uint32_t row, TimeUs now) { return shown_->of(row, now); };
  if (propagation_) propagation_->set_shown_at(shown_at);
  if (network_) {
    network_->set_shown_at(shown_at);
    network_->set_label_of([this](std::uint32_t row, TimeUs at) { return known_label(row, at); });
  }
  metrics_.assign(names_.size() + 1, models::Prequential(plan_.kind, kMetricsWindow));
}

/// Of classes the network says nothing before its first step, which is no doubt about it.
void RowTask::settle_mixer() {
  weigh_network();
  mixer_->settle();
  if (network_ && plan_.kind == TaskKind::Multiclass && network_->steps() == 0)
    mixer_->restart_excess();
}

bool RowTask::valid(std::uint32_t row, TimeUs at) const {
  const auto version = world_.graph->version(NodeId{plan_.entity, row}, at);
  return version && !version->deleted;
}

std::string RowTask::entity_key(std::uint32_t row, TimeUs at) {
  const RowContent* content = world_.rows->row(NodeId{plan_.entity, row}, at);
  std::string key;
  if (content == nullptr) return key;
  for (const ColumnId column : world_.schema->table(plan_.entity).key)
    append_key(key, content->at(column));
  return key;
}

/// Of a flag or a number.
double RowTask::number_of(const Value& value) const {
  return plan_.kind == TaskKind::Binary ? models::flag_value(value) : models::number_value(value);
}

std::optional<RowTask::Label> RowTask::label_of(const Value& value) {
  if (value.is_null() || value.kind == ValueKind::Unchanged) return std::nullopt;
  if (plan_.kind == TaskKind::Multiclass) {
    std::string text = value_text(value);
    const auto next = static_cast<std::uint32_t>(class_names_.size());
    auto found = class_index_.find(text);
    if (found == class_index_.end()) {
      if (next >= models::classes_max) {
        ++unusable_;
        return std::nullopt;
      }
      found = class_index_.emplace(text, next).first;
      class_names_.push_back(text);
    }
    return Label{static_cast<double>(found->second), std::move(text)};
  }
  const double number = number_of(value);
  if (!is_learnable(number)) {
    ++unusable_;
    return std::nullopt;
  }
  return Label{number, {}};
}

void RowTask::predict(std::span<const float> features, std::vector<models::Output>& outputs) const {
  const std::vector<double> all(features.begin(), features.end());
  std::vector<double> own;
  features_.own_part(all, own);
  const models::Input everything{all, &history_};
  const models::Input alone{own, &history_};
  outputs.resize(names_.size() + 1);
  const std::span<models::Output> space(outputs);
  learners_->predict({&everything, 1}, learners_->size(), space.first(learners_->size()));
  own_learners_->predict({&alone, 1}, own_learners_->size(),
                         space.subspan(learners_->size(), own_learners_->size()));
}

void RowTask::mix(Trigger trigger, std::vector<models::Output>& outputs) const {
  const std::span<const models::Output> candidates(outputs.data(), names_.size());
  if (trigger != Trigger::Arrival && request_weights_ && request_weights_->known()) {
    request_weights_->combine(candidates, outputs.back());
  } else {
    mixer_->combine(candidates, outputs.back());
  }
}

void RowTask::score(std::span<const Value> cells, TimeUs at, const Around& around, Scored& scored) {
  features_.compute_row(cells, at, buffer_);
  // Kept, learnt from and predicted with as floats, so that all three see the same number.
  scored.features.clear();
  for (const double value : buffer_)
    scored.features.push_back(static_cast<float>(value));
  predict(scored.features, scored.outputs);
  const std::size_t first = names_.size() - around.outputs.size();
  std::ranges::copy(around.outputs, scored.outputs.begin() + static_cast<std::ptrdiff_t>(first));
}

Status RowTask::publish(std::uint32_t row, const Scored& scored, TimeUs at, Trigger trigger,
                        const Emit& emit) {
  const std::string key = entity_key(row, at);
  Prediction prediction;
  tell(plan_, trigger, scored.outputs, names_, class_names_, prediction);
  prediction.entity_key = key;
  prediction.as_of = told(at);
  prediction.model = labels_ + settled_ + steps_of(network_.get());
  return emit(prediction);
}

WaitingPrediction RowTask::kept(const Scored& scored, TimeUs at, Trigger trigger) const {
  WaitingPrediction prediction;
  prediction.at = at;
  prediction.trigger = trigger;
  const bool multiclass = plan_.kind == TaskKind::Multiclass;
  prediction.classes = multiclass ? static_cast<std::uint32_t>(class_names_.size()) : 1;
  for (const models::Output& output : scored.outputs) {
    if (!multiclass) prediction.outputs.push_back(output.value);
    for (std::uint32_t k = 0; multiclass && k < prediction.classes; ++k) {
      prediction.outputs.push_back(k < output.classes.size() ? output.classes[k] : 0);
    }
  }
  return prediction;
}

Status RowTask::row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                           FoldSink& sink) {
  if (row.at > frozen_after_) return Ok{};
  if (row.arrives) return arrive(row, emit, sink);
  if (!waiting_.has(row.row)) return Ok{};
  features_.observe(row.cells);
  const auto label = label_of(row.cells[plan_.column->value]);
  if (!label) {
    touch(row.row);
    return Ok{};
  }
  // Copied: grading reads the row's key, and the cells belong to the reader.
  const std::vector<Value> cells(row.cells.begin(), row.cells.end());
  ACCRETE_TRY(const WaitingRow waiting, waiting_.take(row.row, state));
  republished_.erase(row.row);
  settle(row, waiting, *label, cells, sink);
  drift_.settle(told(row.at), labels_);
  return Ok{};
}

Status RowTask::arrive(const FoldedRow& row, const Emit& emit, FoldSink& sink) {
  const NodeId node{plan_.entity, row.row};
  std::span<const Value> cells = row.cells;
  if (plan_.where) {
    if (!world_.windows->belongs(*plan_.where, node, row.at)) return Ok{};
    const RowContent* again = world_.rows->row(node, row.at);  // the condition read other rows
    if (again == nullptr) return Ok{};
    cells = again->cells;
  }
  Around around;
  if (looks_around()) {
    look_around_arrival(row.row, row.at, around);
    const RowContent* again = world_.rows->row(node, row.at);  // that read other rows
    if (again == nullptr) return Ok{};
    cells = again->cells;
  }
  features_.observe(cells);
  Scored scored;
  score(cells, row.at, around, scored);
  mix(Trigger::Arrival, scored.outputs);
  features_.enter(cells, row.at);
  ACCRETE_DO(publish(row.row, scored, row.at, Trigger::Arrival, emit));
  WaitingRow waiting;
  waiting.predictions.push_back(kept(scored, row.at, Trigger::Arrival));
  waiting.features = std::move(scored.features);
  const std::size_t target = plan_.column->value;
  const auto label = target < cells.size() ? label_of(cells[target]) : std::nullopt;
  if (label) {
    settle(row, waiting, *label, cells, sink);
    drift_.settle(told(row.at), labels_);
  } else if (waiting_.predictions() >= pending_max_) {
    ++shed_;
  } else {
    waiting_.put(row.row, std::move(waiting));
  }
  return Ok{};
}

void RowTask::settle(const FoldedRow& row, const WaitingRow& waiting, const Label& label,
                     std::span<const Value> cells, FoldSink& sink) {
  for (const WaitingPrediction& prediction : waiting.predictions)
    grade(row, prediction, label, sink);
  learn(row, waiting, label, cells);
}

void RowTask::grade(const FoldedRow& row, const WaitingPrediction& prediction, const Label& label,
                    FoldSink& sink) {
  std::vector<models::Output> outputs(names_.size() + 1);
  const double* next = prediction.outputs.data();
  for (models::Output& output : outputs) {
    if (plan_.kind == TaskKind::Multiclass) {
      output.classes.assign(next, next + prediction.classes);
    } else {
      output.value = *next;
    }
    next += prediction.classes;
  }
  const std::span<const models::Output> candidates(outputs.data(), names_.size());
  const TimeUs at = told(prediction.at);
  if (prediction.trigger == Trigger::Arrival)
    sink.label({&plan_, at, entity_key(row.row, prediction.at), label.value, label.text});
  if (models::says_nothing(plan_.kind, outputs.back())) return;
  if (prediction.trigger == Trigger::Arrival) {
    mixer_->grade(candidates, label.value);
    drift_.grade(plan_.kind, outputs.back(), label.value);
    for (std::size_t c = 0; c < outputs.size(); ++c)
      metrics_[c].add(outputs[c], label.value);
  }
  sink.graded({&plan_,
               at,
               prediction.trigger,
               candidates,
               &outputs.back(),
               {},
               label.value,
               told(row.at),
               mixer_->weights()});
}

void RowTask::learn(const FoldedRow& row, const WaitingRow& waiting, const Label& label,
                    std::span<const Value> cells) {
  // The first prediction is that of the arrival.
  const TimeUs arrived = waiting.predictions.front().at;
  // Who waited until the value came late was never asked about with what else came late.
  if (shown_) shown_->settled(row.row, arrived, std::min(row.at, std::max(arrived, row.from)));
  ++labels_;
  unsettled_ = true;
  learners_dirty_ = true;
  if (request_weights_ && request_weights_->holds_out(row.row)) {
    request_weights_->add(row.row, label.value);
    settle_mixer();
    return;
  }
  if (propagation_) propagation_->learn(row.row, label.value);
  if (network_) network_->learn({&row.row, 1}, {&label.value, 1}, arrived);
  const std::vector<double> all(waiting.features.begin(), waiting.features.end());
  std::vector<double> own;
  features_.own_part(all, own);
  const models::Input everything{all, &history_};
  const models::Input alone{own, &history_};
  const double weight = 1;
  learners_->learn({&everything, 1}, {&label.value, 1}, {&weight, 1});
  own_learners_->learn({&alone, 1}, {&label.value, 1}, {&weight, 1});
  settle_mixer();
  history_.learn(plan_.kind, label.value);
  features_.learn(label.value, cells);
}

/// What the instant taught, together; then what the candidates are worth for rows that wait.
void RowTask::end_instant(TimeUs at) {
  if (at > frozen_after_) return;
  if (std::exchange(unsettled_, false)) ++settled_;
  const bool fitted = propagation_ && propagation_->fit_if_due(at);
  if (network_) {
    network_->train(at);
    network_->settle_ridge(at);
  }
  if (fitted) weigh_requests(at);
}

void RowTask::row_removed(std::uint32_t row) {
  waiting_.drop(row);
  republished_.erase(row);
  if (shown_) shown_->forget(row);
  if (!propagation_) return;
  propagation_->forget(row);
  if (request_weights_->forget(row)) learners_dirty_ = true;  // they are stored together
}

void RowTask::touch(std::uint32_t row) {
  if (plan_.on_change != OnChange::Nobody && waiting_.has(row)) touched_.insert(row);
}

std::span<const ExpertEvent> RowTask::expert_events() const {
  if (network_) return network_->events();
  return {};
}

TimeUs RowTask::next_event() const {
  return held_back_.empty() ? kTimeMax : held_back_.begin()->first;
}

/// Rows that wait, in pieces: what lies around those of a piece is read once.
Status RowTask::answer(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                       const Emit& emit, const AnswerCall& answered) {
  std::vector<Around> around;
  Scored scored;
  for (std::size_t first = 0; first < rows.size(); first += kAnsweredRows) {
    const auto piece = rows.subspan(first, std::min(kAnsweredRows, rows.size() - first));
    look_around(piece, at, trigger, around);
    for (std::size_t i = 0; i < piece.size(); ++i) {
      const RowContent* content = world_.rows->row(NodeId{plan_.entity, piece[i]}, at);
      if (content == nullptr) continue;
      score(content->cells, at, around[i], scored);
      mix(trigger, scored.outputs);
      ACCRETE_DO(publish(piece[i], scored, at, trigger, emit));
      if (answered) ACCRETE_DO(answered(piece[i], scored));
    }
  }
  return Ok{};
}

Status RowTask::republish(TimeUs at, const Emit& emit) {
  std::vector<std::uint32_t> rows;
  for (const std::uint32_t row : touched_) {
    if (at == kTimeMin || at > frozen_after_ || !waiting_.has(row) || !valid(row, at)) continue;
    if (plan_.debounce_us > 0) {
      const auto last = republished_.find(row);
      if (last != republished_.end() && at < shift(last->second, plan_.debounce_us)) {
        held_back_.insert({shift(last->second, plan_.debounce_us), row});
        continue;
      }
      republished_[row] = at;
    }
    rows.push_back(row);
  }
  touched_.clear();
  return answer(rows, at, Trigger::Change, emit);
}

Status RowTask::tick(TimeUs at, const Emit& emit) {
  std::vector<std::uint32_t> rows;
  while (!held_back_.empty() && held_back_.begin()->first <= at) {
    const std::uint32_t row = held_back_.begin()->second;
    held_back_.erase(held_back_.begin());
    if (at > frozen_after_ || !waiting_.has(row) || !valid(row, at)) continue;
    republished_[row] = at;
    rows.push_back(row);
  }
  return answer(rows, at, Trigger::Change, emit);
}

Status RowTask::request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                        const Emit& emit) {
  std::vector<std::uint32_t> waiting;
  for (const std::uint32_t row : rows) {
    if (waiting_.has(row)) waiting.push_back(row);
  }
  return answer(waiting, at, Trigger::Request, emit,
                [&](std::uint32_t row, const Scored& scored) -> Status {
                  if (waiting_.predictions() < pending_max_)
                    return waiting_.add(row, kept(scored, at, Trigger::Request), state);
                  ++shed_;
                  return Ok{};
                });
}

Status RowTask::what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) {
  std::vector<std::uint32_t> waiting;
  for (const std::uint32_t row : rows) {
    if (waiting_.has(row) && valid(row, at)) waiting.push_back(row);
  }
  return answer(waiting, at, Trigger::Query, emit);
}

std::vector<std::uint32_t> RowTask::population(TimeUs at) {
  std::vector<std::uint32_t> rows = waiting_.all();
  std::erase_if(rows, [&](std::uint32_t row) { return !valid(row, at); });
  return rows;
}

std::vector<double> RowTask::feature_values(std::uint32_t row, TimeUs at) {
  std::vector<double> values;
  features_.compute(NodeId{plan_.entity, row}, at, values);
  return values;
}

std::size_t RowTask::memory_bytes() const {
  return waiting_.memory_bytes() + features_.memory_bytes() + held_back_.size() * 64 +
         republished_.size() * 64 + (shown_ ? shown_->memory_bytes() : 0) +
         (propagation_ ? propagation_->memory_bytes() : 0) +
         (network_ ? network_->memory_bytes() : 0);
}

}  // namespace accrete::daemon
