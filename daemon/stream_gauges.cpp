// Copying them.
#include "daemon/stream_gauges.h"

namespace accrete::daemon {

void note(Gauges& gauges, const stream::IngestCounters& counters) {
  gauges.ingest_rows = counters.rows;
  gauges.ingest_bytes = counters.bytes;
  gauges.ingest_transactions = counters.transactions;
  gauges.ingest_duplicates = counters.duplicates;
  gauges.ingest_rejected = counters.rejected;
  gauges.ingest_faults = counters.faults;
  gauges.ingest_commits = counters.commits;
  gauges.ingest_sessions = counters.sessions;
}

void note(Gauges& gauges, const stream::PublishCounters& counters) {
  gauges.published = counters.published;
  gauges.replayed = counters.replayed;
  gauges.snapshots = counters.snapshots;
  gauges.questions = counters.questions;
  gauges.publish_faults = counters.faults;
  gauges.publish_dropped = counters.dropped;
}

}  // namespace accrete::daemon
