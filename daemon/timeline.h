// The timeline: committed rows, put into event-time order up to the watermark.
//
// The watermark is the largest event time seen minus the allowed lateness; while a source sends a
// snapshot it stands still. A row older than the watermark is late: it is folded at once. What
// waits is kept as (time, log position), 16 bytes a row; contents are read back from the log.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon {

/// A row's place in the fold: event time, then order of arrival.
struct TimelineEntry {
  TimeUs time;
  Ordinal ordinal;
  friend auto operator<=>(const TimelineEntry&, const TimelineEntry&) = default;
};

class Timeline {
 public:
  explicit Timeline(std::int64_t lateness_us) : lateness_us_(lateness_us) {}

  /// True if a row of this time may still take its place in order.
  bool in_time(TimeUs time) const { return time >= watermark_; }
  void push(TimelineEntry entry) { waiting_.push(entry); }

  /// An event time was seen (a row's or a clock mark's); the watermark moves at advance().
  void saw(TimeUs time) { high_ = std::max(high_, time); }
  void begin_snapshot() { ++snapshots_; }
  void end_snapshot() {
    if (snapshots_ > 0) --snapshots_;
  }
  /// End of a source transaction: move the watermark unless a snapshot holds it.
  void advance();

  TimeUs watermark() const { return watermark_; }
  TimeUs high() const { return high_; }
  bool held() const { return snapshots_ > 0; }
  std::size_t waiting() const { return waiting_.size(); }
  std::size_t memory_bytes() const { return waiting_.size() * sizeof(TimelineEntry); }

  /// The next row that may be folded: the oldest one not after the watermark.
  const TimelineEntry* next() const {
    return waiting_.empty() || waiting_.top().time > watermark_ ? nullptr : &waiting_.top();
  }
  void pop() {
    last_ = waiting_.top();
    waiting_.pop();
  }
  /// Nothing ripe is left of what was admitted up to `folded`.
  void drained(Ordinal folded) { last_ = std::max(last_, TimelineEntry{watermark_, folded}); }
  /// Where order has come to: admitted entries up to here are folded, those after it wait.
  const TimelineEntry& last() const { return last_; }

  /// Everything but the waiting rows, and the log position from which they are found again.
  void save(std::string& out) const;
  /// Returns the position to rescan from (0: nothing waits). Errors: Corruption.
  Result<Ordinal> load(std::string_view bytes);

 private:
  struct Rows : std::priority_queue<TimelineEntry, std::vector<TimelineEntry>,
                                    std::greater<TimelineEntry>> {
    const std::vector<TimelineEntry>& entries() const { return c; }
  };
  std::int64_t lateness_us_;
  TimeUs high_ = kTimeMin;
  TimeUs watermark_ = kTimeMin;
  std::uint32_t snapshots_ = 0;
  Rows waiting_;
  TimelineEntry last_{kTimeMin, Ordinal{}};
};

}  // namespace accrete::daemon
