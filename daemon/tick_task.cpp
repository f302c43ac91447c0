// Ticks, touches and debounces.
#include "daemon/tick_task.h"

#include <algorithm>

#include "proto/hash.h"
#include "proto/rng.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::size_t kMetricsTicks = 4;

}  // namespace

TickTask::TickTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits)
    : plan_(std::move(plan)), world_(world), limits_(limits), pending_(plan_.name + "/pending/") {}

void TickTask::begin(TimeUs first) {
  next_tick_ = plan_.tick_at_or_after(first);
}

void TickTask::touch(std::uint32_t row) {
  if (plan_.on_change == OnChange::Nobody) return;
  if (row >= is_touched_.size()) is_touched_.resize(row + 1, false);
  if (is_touched_[row]) return;
  is_touched_[row] = true;
  touched_.push_back(row);
}

TimeUs TickTask::next_event() const {
  TimeUs next = next_tick_;
  if (!pending_.empty()) next = std::min(next, pending_.next_due());
  if (!held_back_.empty()) next = std::min(next, held_back_.begin()->first);
  return next;
}

TimeUs TickTask::next_label() const {
  if (!pending_.empty()) return pending_.next_due();
  return next_tick_ == kTimeMax ? kTimeMax : shift(next_tick_, plan_.target.end_us);
}

bool TickTask::eligible(std::uint32_t row, TimeUs at) {
  const NodeId node{plan_.entity, row};
  const auto version = world_.graph->version(node, at);
  if (!version || version->deleted) return false;
  return !plan_.where || world_.windows->belongs(*plan_.where, node, at);
}

std::vector<std::uint32_t> TickTask::population(TimeUs at) {
  std::vector<std::uint32_t> rows;
  const std::uint32_t count = world_.graph->node_count(plan_.entity);
  for (std::uint32_t row = 0; row < count; ++row) {
    if (eligible(row, at)) rows.push_back(row);
  }
  return rows;
}

std::string TickTask::entity_key(std::uint32_t row, TimeUs at) {
  const RowContent* content = world_.rows->row(NodeId{plan_.entity, row}, at);
  std::string key;
  if (content == nullptr) return key;
  for (const ColumnId column : world_.schema->table(plan_.entity).key) {
    append_key(key, content->at(column));
  }
  return key;
}

bool TickTask::counts_as_label(bool usable) {
  unusable_ += usable ? 0 : 1;
  return usable;
}

bool TickTask::sheds(std::size_t rows) {
  if (pending_.rows() + rows <= limits_.pending_max) return false;
  shed_ += rows;
  return true;
}

PendingBatch TickTask::begin_batch(TimeUs at, Trigger trigger) const {
  PendingBatch batch;
  batch.at = at;
  batch.due = shift(at, plan_.target.end_us);
  batch.trigger = trigger;
  batch.classes = 1;
  return batch;
}

std::size_t TickTask::metrics_step(std::size_t rows) {
  return rows * kMetricsTicks / kMetricsWindow + 1;
}

std::vector<std::uint32_t> TickTask::draw(std::size_t rows, std::size_t count, TimeUs at) const {
  std::vector<std::uint32_t> drawn;
  std::size_t wanted = std::min(rows, count);
  drawn.reserve(wanted);
  Rng rng(limits_.seed ^ hash64(plan_.name), static_cast<std::uint64_t>(at.value),
          Purpose::Training);
  for (std::size_t i = 0; i < rows && wanted > 0; ++i) {
    if (rng.below(rows - i) >= wanted) continue;  // selection sampling: wanted of the rows left
    drawn.push_back(static_cast<std::uint32_t>(i));
    --wanted;
  }
  return drawn;
}

Status TickTask::tell_in_pieces(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                                const Emit& emit) {
  for (std::size_t first = 0; first < rows.size(); first += kScoredRows) {
    const std::size_t count = std::min(kScoredRows, rows.size() - first);
    ACCRETE_DO(tell_of(rows.subspan(first, count), at, trigger, emit));
  }
  return Ok{};
}

bool TickTask::debounced(std::uint32_t row, TimeUs at) {
  if (plan_.debounce_us <= 0) return false;
  if (row >= republished_.size()) republished_.resize(row + 1, kTimeMin);
  const TimeUs free = shift(republished_[row], plan_.debounce_us);
  if (republished_[row] != kTimeMin && at < free) {
    held_back_.insert({free, row});
    return true;
  }
  republished_[row] = at;
  return false;
}

Status TickTask::republish(TimeUs at, const Emit& emit) {
  if (touched_.empty()) return Ok{};
  std::vector<std::uint32_t> rows;
  for (const std::uint32_t row : touched_) {
    is_touched_[row] = false;
    if (at != kTimeMin && at <= frozen_after_ && eligible(row, at) && !debounced(row, at)) {
      rows.push_back(row);
    }
  }
  touched_.clear();
  return tell_in_pieces(rows, at, Trigger::Change, emit);
}

Status TickTask::tick(TimeUs at, const Emit& emit) {
  std::vector<std::uint32_t> late;
  while (!held_back_.empty() && held_back_.begin()->first <= at) {
    const std::uint32_t row = held_back_.begin()->second;
    held_back_.erase(held_back_.begin());
    if (at > frozen_after_ || !eligible(row, at)) continue;
    republished_[row] = at;
    late.push_back(row);
  }
  ACCRETE_DO(tell_in_pieces(late, at, Trigger::Change, emit));
  before_tick(at);
  if (next_tick_ != at) return Ok{};
  next_tick_ = plan_.tick_at_or_after(TimeUs{at.value + 1});
  if (at > frozen_after_) return Ok{};
  last_tick_ = at;
  return tick_population(at, emit);
}

Status TickTask::what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) {
  std::vector<std::uint32_t> valid;
  for (const std::uint32_t row : rows) {
    const auto version = world_.graph->version(NodeId{plan_.entity, row}, at);
    if (version && !version->deleted) valid.push_back(row);
  }
  return tell_in_pieces(valid, at, Trigger::Query, emit);
}

std::size_t TickTask::queues_bytes() const {
  return pending_.memory_bytes() + is_touched_.capacity() / 8 +
         republished_.capacity() * sizeof(TimeUs) + held_back_.size() * 64;
}

void TickTask::save_queues(ByteWriter& writer) const {
  writer.put(next_tick_.value);
  writer.put(last_tick_.value);
  writer.put(shed_);
  writer.put(unusable_);
  std::vector<std::int64_t> times;
  for (const TimeUs time : republished_)
    times.push_back(time.value);
  writer.put_all(std::span(std::as_const(times)));
  writer.put(static_cast<std::uint64_t>(held_back_.size()));
  for (const auto& [time, row] : held_back_) {
    writer.put(time.value);
    writer.put(row);
  }
}

void TickTask::load_queues(ByteReader& reader) {
  next_tick_.value = reader.get<std::int64_t>();
  last_tick_.value = reader.get<std::int64_t>();
  shed_ = reader.get<std::uint64_t>();
  unusable_ = reader.get<std::uint64_t>();
  for (const std::int64_t time : reader.get_all<std::int64_t>())
    republished_.push_back(TimeUs{time});
  const auto held = reader.get<std::uint64_t>();
  for (std::uint64_t i = 0; i < held && reader.ok(); ++i) {
    const TimeUs time{reader.get<std::int64_t>()};
    held_back_.insert({time, reader.get<std::uint32_t>()});
  }
}

}  // namespace accrete::daemon
