// Watermark and waiting rows.
#include "daemon/timeline.h"

#include <algorithm>

#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {

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
}

Result<Ordinal> Timeline::load(std::string_view bytes) {
  ByteReader reader(bytes);
  high_.value = reader.get<std::int64_t>();
  watermark_.value = reader.get<std::int64_t>();
  snapshots_ = reader.get<std::uint32_t>();
  last_.time.value = reader.get<std::int64_t>();
  last_.ordinal.value = reader.get<std::uint64_t>();
  const Ordinal first{reader.get<std::uint64_t>()};
  if (!reader.done()) return Error{Errc::Corruption, "the stored timeline does not decode"};
  return first;
}

}  // namespace accrete::daemon
