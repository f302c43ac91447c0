// Predictions into a table of the database, so that SQL users just join.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "proto/result.h"
#include "stream/client.h"

namespace accrete::daemon {

struct WriteBackOptions {
  std::string url;                       ///< of the database
  std::string table;                     ///< made where it is not there; "schema.table" or "table"
  stream::SubscriberOptions subscriber;  ///< with `snapshot`: of every entity
  std::function<void(const std::string&)> note;
};

/// Keep the newest prediction of each task and entity in the table, until `stop`:
///
///   task text, entity text (key parts joined by '|'), as_of timestamptz, kind text,
///   score float8 (probability, value, or the likeliest class's probability), label text (that
///   class), low and high float8 (90 % interval), seq bigint, epoch bigint; key (task, entity)
///
/// A batch is one transaction and is acknowledged to the daemon after its commit. It begins with a
/// snapshot, so what another store of the daemon's left there is overwritten; rows of entities and
/// tasks that are predicted no more stay. A server or daemon that is away is waited for.
/// Errors: Malformed for a table that the server refuses; those of Subscriber::open().
/// Threads: everything on the caller's.
Status write_back(const WriteBackOptions& options, const std::stop_token& stop);

}  // namespace accrete::daemon
