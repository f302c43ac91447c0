// What the sockets have counted, as gauges.
#pragma once

#include "daemon/gauges.h"
#include "stream/ingest_server.h"
#include "stream/publish_server.h"

namespace accrete::daemon {

/// Threads: the one that owns the counters.
void note(Gauges& gauges, const stream::IngestCounters& counters);
void note(Gauges& gauges, const stream::PublishCounters& counters);

}  // namespace accrete::daemon
