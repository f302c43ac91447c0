// The timeline: committed rows, put into event-time order up to the watermark.
//
// The watermark is the largest event time seen minus the allowed lateness; while a source sends a
// snapshot it stands still. A row older than the watermark is late: it is folded at once. What
// waits is kept as (time, log position), 16 bytes a row; contents are read back from the log.
//
// One row that is dated 9999 by mistake, or by custom, must not make all others late. A row that
// lies further ahead of all others than `ahead_max` waits aside and moves nothing, until a clock
// mark or other rows come near it, or rows of so many different times lie ahead that they are the
// stream and what came before is not (a source that was silent for years).
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/time.h"

namespace accrete::daemon {

/// A row's place in the fold: event time, then order of arrival.
struct TimelineEntry {
  TimeUs time;
  Ordinal ordinal;
  friend auto operator<=>(const TimelineEntry&, const TimelineEntry&) = default;
};

class Timeline {
 public:
  /// Different times ahead that move the watermark.
  static constexpr std::size_t kAheadTimes = 32;

  /// `ahead_max_us`: 0 = no bound, every row is believed.
  Timeline(std::int64_t lateness_us, std::int64_t ahead_max_us)
      : lateness_us_(lateness_us), ahead_max_us_(ahead_max_us) {}

  /// True if a row of this time may still take its place in order.
  bool in_time(TimeUs time) const { return time >= watermark_; }
  /// True if a row of this time would wait aside.
  bool is_ahead(TimeUs time) const {
    return ahead_max_us_ > 0 && high_ != kTimeMin && time > shift(high_, ahead_max_us_);
  }
  /// `given`: the time is not the row's own, so only the timeline knows it. Such rows do not wait
  /// aside.
  void push(TimelineEntry entry, bool given = false);

  /// The event time of a row or a request was seen; the watermark moves at advance().
  void saw(TimeUs time) {
    if (!is_ahead(time)) raise(time);
  }
  /// A source says how late it is: that is believed.
  void clock(TimeUs time) { raise(time); }
  void begin_snapshot() { ++snapshots_; }
  void end_snapshot() {
    if (snapshots_ > 0) --snapshots_;
  }
  /// End of a source transaction: move the watermark unless a snapshot holds it.
  void advance();

  TimeUs watermark() const { return watermark_; }
  TimeUs high() const { return high_; }
  bool held() const { return snapshots_ > 0; }
  std::size_t waiting() const { return waiting_.size() + ahead_rows_; }
  std::size_t ahead() const { return ahead_rows_; }  ///< of them: aside
  /// The earliest of those, kTimeMax: there is none.
  TimeUs earliest_ahead() const { return ahead_.empty() ? kTimeMax : ahead_.begin()->first; }
  std::size_t memory_bytes() const {
    return (waiting() + 4 * given_.size()) * sizeof(TimelineEntry);
  }

  /// The next row that may be folded: the oldest one not after the watermark.
  const TimelineEntry* next() const {
    return waiting_.empty() || waiting_.top().time > watermark_ ? nullptr : &waiting_.top();
  }
  void pop() {
    last_ = waiting_.top();
    waiting_.pop();
    if (!given_.empty()) given_.erase(last_.ordinal);
  }
  /// Nothing ripe is left of what was admitted up to `folded`.
  void drained(Ordinal folded) { last_ = std::max(last_, TimelineEntry{watermark_, folded}); }
  /// Where order has come to: admitted entries up to here are folded, those after it wait.
  const TimelineEntry& last() const { return last_; }

  /// Everything but the rows that wait in order for their own time, and the log position from which
  /// those are found again; those aside are written, since they may wait for ever.
  void save(std::string& out) const;
  /// Returns the position to rescan from (0: nothing waits). Errors: Corruption.
  Result<Ordinal> load(std::string_view bytes);

 private:
  struct Rows : std::priority_queue<TimelineEntry, std::vector<TimelineEntry>,
                                    std::greater<TimelineEntry>> {
    const std::vector<TimelineEntry>& entries() const { return c; }
  };
  void raise(TimeUs time);

  std::int64_t lateness_us_;
  std::int64_t ahead_max_us_;
  TimeUs high_ = kTimeMin;
  TimeUs watermark_ = kTimeMin;
  std::uint32_t snapshots_ = 0;
  Rows waiting_;
  std::map<TimeUs, std::vector<Ordinal>> ahead_;  // all is_ahead()
  std::size_t ahead_rows_ = 0;
  std::map<Ordinal, TimeUs> given_;  // times of those that wait and have none of their own
  TimelineEntry last_{kTimeMin, Ordinal{}};
};

}  // namespace accrete::daemon
