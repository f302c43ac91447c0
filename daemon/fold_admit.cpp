// A record enters the fold: now, or when its time has come.
#include <algorithm>
#include <optional>
#include <string>

#include "daemon/fold.h"

namespace accrete::daemon {

/// Find again what waited in the timeline at the last commit: admitted, but not folded.
Status Fold::rescan(Ordinal from) {
  while (from <= folded_) {
    const std::size_t left = folded_.value - from.value + 1;
    ACCRETE_TRY(const LogSlice slice,
                log_.read(from, std::min<std::size_t>(left, 65'536), 8u << 20));
    if (slice.size() == 0) return Error{Errc::Corruption, "the log ends before its own cursor"};
    for (std::size_t i = 0; i < slice.size(); ++i) {
      ACCRETE_DO(admit_record(Ordinal{from.value + i}, slice.entry(i), true));
    }
    from.value += slice.size();
  }
  return Ok{};
}

Status Fold::admit_record(Ordinal ordinal, std::string_view entry, bool replayed) {
  LogHeader header;
  ACCRETE_TRY(const auto bytes, decode_entry(entry, header));
  ACCRETE_DO(decode_record(bytes, record_));
  if (!replayed) {
    ++counters_.records;
    ++since_checkpoint_;
  }
  switch (record_.kind) {
    case RecordKind::Layout:
      if (replayed || layouts_.known(record_.layout.hash())) return Ok{};
      ACCRETE_DO(layouts_.declare(record_.layout, schema_));
      layout_list_.push_back(record_.layout);
      return Ok{};
    case RecordKind::Change:
      return replayed ? wait_again(ordinal) : admit_change(ordinal, entry);
    case RecordKind::Request:
      admit_request(ordinal, replayed);
      return Ok{};
    case RecordKind::Mark:
      break;
  }
  if (replayed) return Ok{};
  if (record_.mark.kind == MarkKind::SnapshotBegin) timeline_.begin_snapshot();
  if (record_.mark.kind == MarkKind::SnapshotEnd) timeline_.end_snapshot();
  if (record_.mark.kind == MarkKind::Clock) timeline_.clock(record_.mark.time);
  if (record_.mark.kind == MarkKind::Block && network_ != nullptr) admit_block_end(ordinal);
  return Ok{};
}

/// Behind all rows that were admitted before it and still wait.
void Fold::admit_block_end(Ordinal ordinal) {
  if (timeline_.waiting() == timeline_.ahead()) {
    network_->marked();
  } else {
    timeline_.push({std::min(timeline_.high(), options_.freeze_after), ordinal}, true);
  }
}

/// When a change takes effect. A row's own event time, or when its source says it changed it; an
/// insert without either always. nullopt: a change without either takes effect at the watermark.
std::optional<TimeUs> Fold::effective_time(const Change& change, const BoundLayout& layout) const {
  if (change.op != Op::Insert && change.change_time) return change.change_time;
  if (change.op == Op::Insert || change.op == Op::Update) {
    const auto own = event_time_of(change, layout, schema_.table(layout.table));
    if (own) return own;
    if (change.op == Op::Insert) return kTimeMin;
  }
  return std::nullopt;
}

Result<const BoundLayout*> Fold::layout_of(Ordinal ordinal, const Change& change) const {
  const BoundLayout* layout = layouts_.find(change.layout);
  if (layout != nullptr) return layout;
  return Error{Errc::Corruption, "log record " + std::to_string(ordinal.value) +
                                     " names a layout that was never declared"};
}

Status Fold::admit_change(Ordinal ordinal, std::string_view entry) {
  ACCRETE_TRY(const BoundLayout* const layout, layout_of(ordinal, record_.change));
  const std::optional<TimeUs> said = effective_time(record_.change, *layout);
  const TimeUs time = said.value_or(timeline_.watermark());
  if (time > options_.freeze_after) return Ok{};
  if (time != kTimeMin && timeline_.in_time(time)) {
    timeline_.saw(time);
    timeline_.push({time, ordinal}, !said);
    return Ok{};
  }
  if (time != kTimeMin) ++counters_.late_rows;
  return apply(ordinal, entry, time);
}

/// A change that had been admitted at the last commit. Rows without a time were folded when they
/// were admitted; so were late ones. What waits aside, or for a time that is not its own, came with
/// the timeline.
Status Fold::wait_again(Ordinal ordinal) {
  ACCRETE_TRY(const BoundLayout* const layout, layout_of(ordinal, record_.change));
  const std::optional<TimeUs> time = effective_time(record_.change, *layout);
  const bool waits = time && *time != kTimeMin && *time <= options_.freeze_after &&
                     TimelineEntry{*time, ordinal} > timeline_.last() && !timeline_.is_ahead(*time);
  if (waits) timeline_.push({*time, ordinal});
  return Ok{};
}

void Fold::admit_request(Ordinal ordinal, bool replayed) {
  const Request& request = record_.request;
  if (request.as_of < fired_before_ || !(replayed || timeline_.in_time(request.as_of))) {
    if (!replayed) ++counters_.late_requests;
    return;
  }
  if (!replayed) timeline_.saw(request.as_of);
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i]->plan().name != request.task) continue;
    key_.clear();
    for (const Value& value : request.key)
      append_key(key_, value);
    requests_.emplace(request.as_of, PendingRequest{ordinal, i, key_});
    return;
  }
  if (!replayed) ++counters_.unknown_requests;
}

}  // namespace accrete::daemon
