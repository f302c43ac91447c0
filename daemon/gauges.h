// Numbers that one thread writes and others only show. Nothing is decided by them.
#pragma once

#include <atomic>
#include <cstdint>

namespace accrete::daemon {

struct Gauges {
  using Number = std::atomic<std::uint64_t>;
  // written by the ingest thread
  Number ingest_rows{0}, ingest_bytes{0}, ingest_transactions{0}, ingest_duplicates{0},
      ingest_rejected{0}, ingest_faults{0}, ingest_commits{0}, ingest_sessions{0};
  // written by the publish thread
  Number published{0}, replayed{0}, snapshots{0}, questions{0}, publish_faults{0};
  // written by the fold thread: rises while it is alive
  Number fold_turns{0};
};

}  // namespace accrete::daemon
