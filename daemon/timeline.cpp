// Watermark and waiting rows.
#include "daemon/timeline.h"

#include <algorithm>

#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {

void Timeline::push(TimelineEntry entry, bool given) {
  if (given) given_[entry.ordinal] = entry.time;
  if (!is_ahead(entry.time)) {
    waiting_.push(entry);
    return;
  }
  ahead_[entry.time].push_back(entry.ordinal);
  ++ahead_rows_;
  if (ahead_.size() >= kAheadTimes) raise(ahead_.begin()->first);
}

/// Rows aside that are near now take their places; each may bring the next near.
void Timeline::raise(TimeUs time) {
  high_ = std::max(high_, time);
  while (!ahead_.empty() && !is_ahead(ahead_.begin()->first)) {
    const auto nearest = ahead_.extract(ahead_.begin());
    high_ = std::max(high_, nearest.key());
    ahead_rows_ -= nearest.mapped().size();
    for (const Ordinal ordinal : nearest.mapped())
      waiting_.push({nearest.key(), ordinal});
  }
}

void Timeline::advance() {
  if (snapshots_ > 0 || high_ == kTimeMin) return;
  watermark_ = std::max(watermark_, shift(high_, -lateness_us_));
}

void Timeline::save(std::string& out) const {
  Ordinal first;
  for (const TimelineEntry& entry : waiting_.entries()) {
    if (first == Ordinal{} || entry.ordinal < first) first = entry.ordinal;
  }
  ByteWriter writer(out);
  writer.put(high_.value);
  writer.put(watermark_.value);
  writer.put(snapshots_);
  writer.put(last_.time.value);
  writer.put(last_.ordinal.value);
  writer.put(first.value);
  writer.put(static_cast<std::uint64_t>(ahead_rows_));
  for (const auto& [time, ordinals] : ahead_) {
    for (const Ordinal ordinal : ordinals) {
      writer.put(time.value);
      writer.put(ordinal.value);
    }
  }
  writer.put(static_cast<std::uint64_t>(given_.size()));
  for (const auto& [ordinal, time] : given_) {
    writer.put(time.value);
    writer.put(ordinal.value);
  }
}

Result<Ordinal> Timeline::load(std::string_view bytes) {
  ByteReader reader(bytes);
  high_.value = reader.get<std::int64_t>();
  watermark_.value = reader.get<std::int64_t>();
  snapshots_ = reader.get<std::uint32_t>();
  last_.time.value = reader.get<std::int64_t>();
  last_.ordinal.value = reader.get<std::uint64_t>();
  const Ordinal first{reader.get<std::uint64_t>()};
  for (auto left = reader.get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const TimeUs time{reader.get<std::int64_t>()};
    ahead_[time].push_back(Ordinal{reader.get<std::uint64_t>()});
    ++ahead_rows_;
  }
  for (auto left = reader.get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const TimeUs time{reader.get<std::int64_t>()};
    const Ordinal ordinal{reader.get<std::uint64_t>()};
    given_[ordinal] = time;
    waiting_.push({time, ordinal});
  }
  if (!reader.done()) return Error{Errc::Corruption, "the stored timeline does not decode"};
  return first;
}

}  // namespace accrete::daemon
