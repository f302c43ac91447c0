// Numbers that one thread writes and others only show. Nothing is decided by them.
#pragma once

#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace accrete::daemon {

/// How long something takes, in buckets from 0.1 ms to 52 s, each twice the one before.
struct Histogram {
  static constexpr std::size_t kBounds = 20;

  std::array<std::atomic<std::uint64_t>, kBounds + 1> counts{};
  std::atomic<std::uint64_t> sum_us{0};

  /// Upper bound of a bucket, in seconds.
  static double bound(std::size_t bucket) { return std::ldexp(1e-4, static_cast<int>(bucket)); }

  void add(double seconds) {
    std::size_t bucket = 0;
    while (bucket < kBounds && seconds > bound(bucket))
      ++bucket;
    ++counts[bucket];
    sum_us += static_cast<std::uint64_t>(std::llround(seconds * 1e6));
  }

  /// So many were added.
  std::uint64_t count() const {
    std::uint64_t all = 0;
    for (const auto& bucket : counts)
      all += bucket;
    return all;
  }

  /// The bound of the bucket that holds the `part`-th of all, 0 < part <= 1: no more than twice
  /// what it was. Infinity beyond the last bound, NaN while nothing was added.
  double quantile(double part) const {
    const std::uint64_t all = count();
    if (all == 0) return std::numeric_limits<double>::quiet_NaN();
    const double wanted = part * static_cast<double>(all);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kBounds; ++i) {
      below += counts[i];
      if (static_cast<double>(below) >= wanted) return bound(i);
    }
    return std::numeric_limits<double>::infinity();
  }
};

struct Gauges {
  using Number = std::atomic<std::uint64_t>;
  // written by the ingest thread
  Number ingest_rows{0}, ingest_bytes{0}, ingest_transactions{0}, ingest_duplicates{0},
      ingest_rejected{0}, ingest_faults{0}, ingest_commits{0}, ingest_sessions{0};
  Number durable_bytes{0};   // of records, as they stand in the log
  Histogram commit_seconds;  // a group of transactions becomes durable
  // written by the HTTP thread and the ingest thread
  Number posts_taken{0}, posts_refused{0}, posts_delayed{0};
  // written by the events thread
  Number events_taken{0}, events_refused{0}, events_delayed{0};
  // written by the publish thread
  Number published{0}, replayed{0}, snapshots{0}, questions{0}, publish_faults{0},
      publish_dropped{0};
  // written by the fold thread
  Number fold_turns{0};        // rises while it is alive
  Number folded{0};            // records
  Number folded_bytes{0};      // of durable_bytes
  Histogram fold_seconds;      // of a group of records
  Histogram question_seconds;  // of an answer on the control socket
  // While the log is caught up at the start: by the thread that starts.
  Number recovered{0}, recover_until{0};
  // Steady clock in milliseconds when the fold last had nothing waiting; 0: never.
  Number caught_up_ms{0};
  // The same when the fold last committed, by this process or, before that, when it began.
  Number committed_ms{0};
};

}  // namespace accrete::daemon
