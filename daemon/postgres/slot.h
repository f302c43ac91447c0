// The server's side of a connection: publications, the replication slot, the snapshot of its birth.
#pragma once

#include <string>

#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/connection.h"
#include "daemon/postgres/translator.h"
#include "proto/result.h"

namespace accrete::daemon::postgres {

struct SlotOptions {
  std::string url;
  std::string slot = "accrete";
  std::string publication = "accrete";
  std::string folder;         ///< where the snapshot is kept while it is sent
  bool new_snapshot = false;  ///< drop a slot whose beginning the daemon does not have
  std::string store;          ///< the daemon's, for words on how to begin anew
  bool own_daemon = false;    ///< it is started and stopped with us
};

/// Positions of snapshot transactions end below this; those of the log begin above: PostgreSQL's
/// first usable position is 0/1000000.
inline constexpr std::uint64_t kStreamPositionMin = 0x100'0000;

/// Whether the server at `url` can be followed at all, before anything is made in it.
/// Errors: Malformed with what to set for a wal_level other than logical; as Connection::open(),
/// with what the role needs, where it does not let us in to follow.
Status check_server(const std::string& url);

/// "begin anew: …": what to do where changes are lost.
std::string begin_anew(const SlotOptions& options);

/// Make sure that the publications exist and hold the tables: `publication` for tables whose rows
/// the server can identify, `publication`_inserts for the others (were they in the first one, the
/// server would refuse their updates). Returns their names, quoted, for START_REPLICATION.
/// Errors: Malformed for one that exists and lacks a table.
Result<std::string> ensure_publications(Connection& connection, const Catalogue& catalogue,
                                        const std::string& publication);

/// Make sure that there is a slot from which the daemon, which has everything up to `durable`, can
/// go on. If it has nothing: create the slot, and copy all tables as of its beginning to
/// snapshot_path().
/// Errors: NotFound when changes are lost (the slot is gone or starved), Duplicate when there is a
/// slot whose beginning nobody has, Malformed for tables that may not be read; all say what to do.
/// Unavailable: try again, also when
/// `stopped` (asked every thousand rows) ended the copy.
Status ensure_slot(Connection& connection, const SlotOptions& options, const Catalogue& catalogue,
                   Translator& translator, std::uint64_t durable,
                   const std::function<bool()>& stopped);

/// File of the snapshot that is to be sent, for one source of positions.
std::string snapshot_path(const SlotOptions& options);

}  // namespace accrete::daemon::postgres
