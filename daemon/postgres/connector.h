// Between a PostgreSQL server and the daemon: snapshot, then every transaction once, whole and in
// the order of commits, over crashes of either side.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/slot.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/client.h"

namespace accrete::daemon::postgres {

struct ConnectorOptions {
  SlotOptions slot;
  stream::ProducerOptions producer;  ///< its source is set by run()
};

/// What the world around a connector does. Called on the connector's thread.
struct ConnectorHooks {
  std::function<bool()> stopped;                     ///< asked several times a second
  std::function<void(const std::string&)> note;      ///< for a human
  std::function<void(std::uint64_t rows)> snapshot;  ///< the daemon has the whole snapshot
  std::function<void()> streaming;                   ///< changes stream (again)
};

/// Follow until `hooks.stopped()`. Where to resume is the daemon's knowledge alone. A server or a
/// daemon that is away is waited for, with back-off; the server meanwhile hears what is durable.
/// Errors: NotFound, Duplicate (ensure_slot), Malformed: what waiting does not cure.
Status follow(const ConnectorOptions& options, const Catalogue& catalogue, const Schema& schema,
              const ConnectorHooks& hooks);

/// Name under which the daemon keeps the position: server, database and slot. Errors: Unavailable.
Result<std::string> source_name(const SlotOptions& options);

}  // namespace accrete::daemon::postgres
