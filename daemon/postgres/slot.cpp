// The server's side of a connection.
#include "daemon/postgres/slot.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "daemon/postgres/spool.h"

namespace accrete::daemon::postgres {
namespace {

constexpr std::size_t kRowsPerTransaction = 1000;
constexpr std::size_t kBytesPerTransaction = 4u << 20;

std::string full_name(const CatalogueTable& table) {
  return Connection::name(table.schema) + "." + Connection::name(table.relation);
}

/// One publication and the tables it is to hold.
Status ensure_publication(Connection& connection, const std::string& name,
                          const std::vector<const CatalogueTable*>& tables, bool inserts_only) {
  ACCRETE_TRY(const Rows found, connection.query("SELECT 1 FROM pg_publication WHERE pubname = " +
                                                 connection.literal(name)));
  if (found.empty()) {
    std::string sql = "CREATE PUBLICATION " + Connection::name(name) + " FOR TABLE ";
    for (const CatalogueTable* table : tables)
      sql += (table == tables.front() ? "" : ", ") + full_name(*table);
    const bool via_root = connection.server_version() >= 130'000;
    const std::string what = inserts_only ? "insert, truncate"
                             : connection.server_version() >= 110'000
                                 ? "insert, update, delete, truncate"
                                 : "insert, update, delete";
    sql += " WITH (publish = '" + what + "'" +
           (via_root ? ", publish_via_partition_root = true)" : ")");
    const Result<Rows> made = connection.query(sql);
    if (made) return Ok{};
    Error error = made.error();
    if (error.code == Errc::Malformed) {
      error.detail += "; connect as one who may, or let them say: " + sql;
    }
    return error;
  }
  ACCRETE_TRY(const Rows held,
              connection.query("SELECT schemaname, tablename FROM pg_publication_tables WHERE "
                               "pubname = " +
                               connection.literal(name)));
  std::set<std::pair<std::string, std::string>> names;
  for (const auto& row : held)
    names.emplace(*row[0], *row[1]);
  for (const CatalogueTable* table : tables) {
    if (names.contains({table->schema, table->relation})) continue;
    return Error{Errc::Malformed, "publication \"" + name + "\" exists and does not hold " +
                                      full_name(*table) + "; add it (ALTER PUBLICATION " +
                                      Connection::name(name) + " ADD TABLE " + full_name(*table) +
                                      "), or give --publication another name"};
  }
  return Ok{};
}

struct SlotState {
  bool exists = false;
  bool lost = false;
  std::string restart;
};

Result<SlotState> slot_state(Connection& connection, const std::string& name) {
  const bool has_status = connection.server_version() >= 130'000;
  ACCRETE_TRY(const Rows rows,
              connection.query(std::string("SELECT plugin, database = current_database(), ") +
                               (has_status ? "wal_status = 'lost'" : "false") +
                               ", restart_lsn FROM pg_replication_slots WHERE slot_name = " +
                               connection.literal(name)));
  SlotState state;
  if (rows.empty()) return state;
  if (rows[0][0] != "pgoutput" || rows[0][1] != "t") {
    return Error{Errc::Malformed, "replication slot \"" + name +
                                      "\" is of another plugin or database; give --slot a name "
                                      "of your own"};
  }
  state.exists = true;
  state.lost = rows[0][2] == "t" || !rows[0][3];
  return state;
}

Status drop_slot(Connection& connection, const std::string& name) {
  ACCRETE_TRY(
      [[maybe_unused]] const Rows none,
      connection.query("SELECT pg_drop_replication_slot(" + connection.literal(name) + ")"));
  return Ok{};
}

SourceTransaction mark_transaction(MarkKind kind) {
  SourceTransaction out;
  Mark mark;
  mark.kind = kind;
  encode_mark(mark, out.bytes);
  out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
  return out;
}

/// All tables that the role may not read, before there is a slot that holds the server's log.
Status check_readable(Connection& connection, const Catalogue& catalogue) {
  std::string oids;
  for (const CatalogueTable& table : catalogue.tables)
    oids += (oids.empty() ? "" : ", ") + std::to_string(table.oid);
  ACCRETE_TRY(
      const Rows closed,
      connection.query("SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname), "
                       "quote_ident(current_user) FROM pg_class c WHERE c.oid IN (" +
                       oids +
                       ") AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND "
                       "a.attnum > 0 AND NOT a.attisdropped AND NOT "
                       "has_column_privilege(c.oid, a.attnum, 'SELECT'))"));
  if (closed.empty() || !closed[0][0]) return Ok{};
  return Error{Errc::Malformed,
               "PostgreSQL: the role may not read all that is to be copied; let "
               "them say: GRANT SELECT ON " +
                   *closed[0][0] + " TO " + closed[0][1].value_or("")};
}

/// All rows of one table, as transactions.
Status copy_table(Connection& connection, const CatalogueTable& table, Translator& translator,
                  SpoolWriter& spool, std::uint64_t& transactions,
                  const std::function<bool()>& stopped) {
  ACCRETE_DO(translator.describe(table));
  std::string columns;
  for (const CatalogueColumn& column : table.columns)
    columns += (columns.empty() ? "" : ", ") + Connection::name(column.name);
  // Children that merely inherit are tables of their own; partitions are not.
  const std::string sql = "COPY (SELECT " + columns + " FROM " +
                          (table.partitioned ? "" : "ONLY ") + full_name(table) + ") TO STDOUT";
  SourceTransaction out;
  const auto put = [&]() -> Status {
    if (out.ends.empty()) return Ok{};
    ++transactions;
    ACCRETE_DO(spool.add(out));
    out = SourceTransaction();
    if (stopped()) return Error{Errc::Unavailable, "stopped while the snapshot was copied"};
    return Ok{};
  };
  ACCRETE_DO(connection.copy_out(sql, [&](std::string_view line) -> Status {
    ACCRETE_DO(translator.append_copy_line(table.oid, line, out));
    const bool full = out.rows >= kRowsPerTransaction || out.bytes.size() >= kBytesPerTransaction;
    return full ? put() : Status(Ok{});
  }));
  return put();
}

/// Create the slot and copy all tables as of its beginning.
Status begin_slot(Connection& connection, const SlotOptions& options, const Catalogue& catalogue,
                  Translator& translator, const std::string& part,
                  const std::function<bool()>& stopped) {
  ACCRETE_TRY(Connection replication, Connection::open(options.url, ConnectionKind::Replication));
  const Result<Rows> made =
      replication.query("CREATE_REPLICATION_SLOT " + Connection::name(options.slot) +
                        " LOGICAL pgoutput EXPORT_SNAPSHOT");
  if (!made) {
    // Refused, there is no slot that would be ours; a lost connection leaves that open.
    std::error_code fault;
    if (made.error().code != Errc::Unavailable) std::filesystem::remove(part, fault);
    return made.error();
  }
  const Rows& created = made.value();
  if (created.empty() || created[0].size() < 3 || !created[0][1] || !created[0][2]) {
    return Error{Errc::Malformed, "CREATE_REPLICATION_SLOT gave no snapshot"};
  }
  const std::optional<Lsn> point = parse_lsn(*created[0][1]);
  if (!point || *point < kStreamPositionMin) {
    return Error{Errc::Malformed, "the slot begins at \"" + *created[0][1] + "\""};
  }
  ACCRETE_TRY(SpoolWriter spool, SpoolWriter::create(part, *point));
  for (const std::string& sql :
       {std::string("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        "SET TRANSACTION SNAPSHOT " + connection.literal(*created[0][2])}) {
    ACCRETE_TRY([[maybe_unused]] const Rows none, connection.query(sql));
  }
  ACCRETE_DO(spool.add(mark_transaction(MarkKind::SnapshotBegin)));
  std::uint64_t transactions = 1;
  for (const CatalogueTable& table : catalogue.tables)
    ACCRETE_DO(copy_table(connection, table, translator, spool, transactions, stopped));
  if (transactions >= kStreamPositionMin) {
    return Error{Errc::Exhausted, "the snapshot has more than 16 thousand million rows"};
  }
  ACCRETE_DO(spool.add(mark_transaction(MarkKind::SnapshotEnd)));
  ACCRETE_TRY([[maybe_unused]] const Rows done, connection.query("COMMIT"));
  translator.begin_session();
  return spool.finish(snapshot_path(options));
}

}  // namespace

std::string begin_anew(const SlotOptions& options) {
  if (options.own_daemon) {
    return "begin anew: remove the daemon's store " + options.store +
           ", and run this with --new-snapshot";
  }
  return "begin anew: stop accreted, give it an empty store (it has " + options.store +
         "), start it, and run this with --new-snapshot";
}

Status check_server(const std::string& url) {
  ACCRETE_TRY(Connection sql, Connection::open(url, ConnectionKind::Sql));
  ACCRETE_TRY(const Rows level, sql.query("SHOW wal_level"));
  if (level.empty() || level[0][0] != "logical") {
    return Error{Errc::Malformed,
                 "PostgreSQL: the server has wal_level = " +
                     (level.empty() ? std::string() : level[0][0].value_or("")) +
                     "; set wal_level = logical in postgresql.conf and restart the server"};
  }
  const Result<Connection> follower = Connection::open(url, ConnectionKind::Replication);
  if (follower) return Ok{};
  ACCRETE_TRY(const Rows role, sql.query("SELECT current_user"));
  return Error{follower.error().code,
               follower.error().detail +
                   "; to follow changes the role needs REPLICATION (ALTER ROLE " +
                   Connection::name(role.at(0).at(0).value_or("")) +
                   " REPLICATION), and pg_hba.conf must let it in"};
}

std::string snapshot_path(const SlotOptions& options) {
  return (std::filesystem::path(options.folder) / (options.slot + ".snapshot")).string();
}

Result<std::string> ensure_publications(Connection& connection, const Catalogue& catalogue,
                                        const std::string& publication) {
  std::vector<const CatalogueTable*> whole;
  std::vector<const CatalogueTable*> inserts;
  for (const CatalogueTable& table : catalogue.tables)
    (table.identifies_rows() ? whole : inserts).push_back(&table);
  std::string names;
  for (const bool inserts_only : {false, true}) {
    const auto& tables = inserts_only ? inserts : whole;
    if (tables.empty()) continue;
    const std::string name = inserts_only ? publication + "_inserts" : publication;
    ACCRETE_DO(ensure_publication(connection, name, tables, inserts_only));
    names += (names.empty() ? "" : ",") + Connection::name(name);
  }
  return names;
}

Status ensure_slot(Connection& connection, const SlotOptions& options, const Catalogue& catalogue,
                   Translator& translator, std::uint64_t durable,
                   const std::function<bool()>& stopped) {
  namespace fs = std::filesystem;
  std::error_code fault;
  const std::string path = snapshot_path(options);
  const std::string part = path + ".part";
  ACCRETE_TRY(SlotState slot, slot_state(connection, options.slot));
  const std::string again = begin_anew(options);
  if (slot.exists && slot.lost && durable > 0) {
    return Error{Errc::NotFound, "replication slot \"" + options.slot +
                                     "\" is lost: the server has removed log that was not yet read "
                                     "(max_slot_wal_keep_size), from " +
                                     lsn_text(durable) + " on; " + again};
  }
  if (!slot.exists && durable > 0) {
    return Error{Errc::NotFound, "replication slot \"" + options.slot +
                                     "\" is gone, so changes after " + lsn_text(durable) +
                                     " may be missing; " + again};
  }
  if (durable >= kStreamPositionMin) {
    fs::remove(path, fault);
    return Ok{};
  }
  if (slot.exists && !slot.lost && fs::exists(path, fault)) return Ok{};
  if (durable > 0) {
    return Error{Errc::NotFound, "the daemon has a part of a snapshot, whose rest was kept in " +
                                     path + " and is gone; " + again};
  }
  if (slot.exists && (slot.lost || fs::exists(part, fault) || options.new_snapshot)) {
    ACCRETE_DO(drop_slot(connection, options.slot));
    slot.exists = false;
  }
  if (slot.exists) {
    return Error{Errc::Duplicate,
                 "replication slot \"" + options.slot +
                     "\" exists, and this daemon has nothing of what came before it. Another "
                     "daemon's? Give --slot a name of its own. Nobody's? Add --new-snapshot"};
  }
  ACCRETE_DO(check_readable(connection, catalogue));
  fs::create_directories(options.folder, fault);
  fs::remove(path, fault);
  // From here on the slot is ours, whatever happens before its snapshot is complete.
  ACCRETE_TRY([[maybe_unused]] const SpoolWriter begun, SpoolWriter::create(part, 0));
  return begin_slot(connection, options, catalogue, translator, part, stopped);
}

}  // namespace accrete::daemon::postgres
