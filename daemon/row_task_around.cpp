// What a task on a column of the row asks of candidates that read other rows, and what it makes of
// their answers.
#include <iterator>
#include <limits>
#include <map>
#include <utility>

#include "daemon/learners.h"
#include "daemon/row_task.h"

namespace accrete::daemon {
namespace {

/// Appends what the candidates that there are say of a row.
void add_answers(const Propagation& from, const Propagation::Answers& answers,
                 std::vector<models::Output>& out) {
  const auto told = std::span(answers).last(from.size());
  out.insert(out.end(), told.begin(), told.end());
}

/// The same of the network; `base`: what propagation says for its second candidate.
void add_answers(const GraphNetwork& from, std::span<models::Output> answers,
                 std::span<const float> base, std::vector<models::Output>& out) {
  if (answers.size() > 1) from.add_base(base, answers[1]);
  std::ranges::move(answers, std::back_inserter(out));
}

}  // namespace

/// What a row of the population says of itself now, unless it is held out; NaN: nothing.
double RowTask::known_label(std::uint32_t row, TimeUs at) const {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (request_weights_ && request_weights_->holds_out(row)) return kNone;
  const NodeId node{plan_.entity, row};
  if (plan_.where && (!valid(row, at) || !world_.windows->belongs(*plan_.where, node, at)))
    return kNone;
  const RowContent* content = world_.rows->row(node, at);
  if (content == nullptr) return kNone;
  const Value& value = content->at(*plan_.column);
  if (value.is_null() || value.kind == ValueKind::Unchanged) return kNone;
  if (plan_.kind == TaskKind::Multiclass) {
    const auto found = class_index_.find(value_text(value));
    return found == class_index_.end() ? kNone : static_cast<double>(found->second);
  }
  const double number = number_of(value);
  return is_learnable(number) ? number : kNone;
}

void RowTask::weigh_network() {
  if (network_) set_network_prior(network_->prior(), network_at_, *mixer_);
}

void RowTask::look_around(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                          std::vector<Around>& out) {
  out.assign(rows.size(), {});
  std::vector<Propagation::Answers> near(rows.size());
  if (propagation_ && !rows.empty()) {
    propagation_->predict(rows, at, near);
    for (std::size_t i = 0; i < rows.size(); ++i)
      add_answers(*propagation_, near[i], out[i].outputs);
  }
  if (!network_) return;
  const std::size_t each = network_->size();
  std::vector<models::Output> answers(rows.size() * each);
  network_->predict(rows, at, each, answers, trigger);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    add_answers(*network_, std::span(answers).subspan(i * each, each), near[i].base,
                out[i].outputs);
    add_on_heads(near[i], out[i]);
  }
}

/// Behind what the two of them say.
void RowTask::add_on_heads(const Propagation::Answers& near, Around& out) const {
  if (!on_heads_) return;
  out.head = std::span(near).last(propagation_->size()).front();
  models::Output both;
  on_heads_->combine(out.head, out.outputs.at(propagation_->size()), both);
  out.outputs.push_back(std::move(both));
}

void RowTask::look_around_arrival(std::uint32_t row, TimeUs at, Around& out) {
  out.outputs.clear();
  Propagation::Answers near;
  if (propagation_) {
    propagation_->predict_arrival(row, at, near);
    add_answers(*propagation_, near, out.outputs);
  }
  if (!network_) return;
  std::vector<models::Output> answers(network_->size());
  network_->predict({&row, 1}, at, answers.size(), answers, Trigger::Arrival);
  add_answers(*network_, answers, near.base, out.outputs);
  add_on_heads(near, out);
}

/// To these held-out rows; each is answered anew by what was fitted without it.
void RowTask::fit_on_heads(std::span<const double> labels, std::span<Around> around) {
  if (!on_heads_) return;
  const std::size_t network = propagation_->size();
  on_heads_->begin(network_->block_shares());
  for (std::size_t i = 0; i < around.size(); ++i)
    on_heads_->say(around[i].head, around[i].outputs[network], labels[i]);
  on_heads_->fit();
  for (std::size_t i = 0; i < around.size(); ++i) {
    const models::Output by_network = around[i].outputs[network];
    on_heads_->combine_held_out(i, around[i].head, by_network, around[i].outputs.back());
  }
}

/// Each held-out row as it looked while it waited.
void RowTask::weigh_requests(TimeUs now) {
  std::vector<RowAt> rows;
  std::vector<double> labels;
  for (const RequestWeights::Example& example : request_weights_->examples()) {
    if (!valid(example.row, now)) continue;
    rows.push_back({example.row, shown_->of(example.row, now)});
    labels.push_back(example.label);
  }
  std::vector<Around> around;
  look_around_waiting(rows, around);
  fit_on_heads(labels, around);
  Scored scored;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [row, at] = rows[i];
    const RowContent* content = world_.rows->row(NodeId{plan_.entity, row}, at);
    if (content == nullptr) continue;
    score(content->cells, at, around[i], scored);
    request_weights_->say(std::span(scored.outputs).first(names_.size()), labels[i]);
  }
  request_weights_->weigh();
  learners_dirty_ = true;
}

/// Rows of one time are asked about together.
void RowTask::look_around_waiting(std::span<const RowAt> rows, std::vector<Around>& out) {
  out.assign(rows.size(), {});
  std::map<TimeUs, std::vector<std::size_t>> places;
  for (std::size_t i = 0; i < rows.size(); ++i)
    places[rows[i].at].push_back(i);
  std::vector<std::uint32_t> some;
  std::vector<Around> around;
  for (const auto& [at, of_time] : places) {
    some.clear();
    for (const std::size_t place : of_time)
      some.push_back(rows[place].row);
    look_around(some, at, Trigger::Query, around);
    for (std::size_t i = 0; i < of_time.size(); ++i)
      out[of_time[i]] = std::move(around[i]);
  }
}

}  // namespace accrete::daemon
