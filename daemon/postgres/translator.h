// pgoutput messages to records: whole transactions, in commit order, at their positions.
//
// A position is the end of the transaction's commit in the write-ahead log: these rise from one
// transaction to the next in the order in which they are sent, and the rows within one are numbered
// by the transaction itself. Never the position of a row: rows of a transaction that commits later
// may stand before those of an earlier one.
//
// Pure: no socket, no clock. Threads: one at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/postgres/catalogue.h"
#include "daemon/postgres/cell_value.h"
#include "daemon/postgres/pgoutput.h"
#include "daemon/row_source.h"
#include "proto/codec.h"
#include "proto/schema.h"

namespace accrete::daemon::postgres {

/// Which table of the schema a relation is: (schema, relation) -> its name in the configuration.
struct TableNames {
  struct Name {
    std::string schema;
    std::string relation;
    std::string table;
  };
  std::vector<Name> names;
};
TableNames table_names(const Catalogue& catalogue);

class Translator {
 public:
  Translator(const Schema& schema, TableNames names, DomainTypes domains);

  /// What a message completes. When it is Whole, transaction() stands until the next take().
  enum class Outcome : std::uint8_t { Open, Whole, Empty };

  /// Errors: Malformed for bytes that are no message, a row of a relation that was not described, a
  /// value that is none of its type, a key that cannot be told from what the server sends. After an
  /// error the stream must be begun anew.
  Result<Outcome> take(std::string_view message);

  /// Its position and records. Layouts come before first use and again whenever a relation is
  /// described.
  const SourceTransaction& transaction() const { return whole_; }
  /// End of the transaction that the last take() completed, whether Whole or Empty.
  Lsn end_lsn() const { return end_lsn_; }
  /// Between Begin and Commit.
  bool inside() const { return inside_; }

  /// Forget what the session said: relations are described anew after a reconnect, and a
  /// transaction that was cut off comes again whole.
  void begin_session();

  /// Records of snapshot rows: the layout of a table's columns, then lines of COPY … TO STDOUT in
  /// text format with these columns in this order. Errors: as take().
  Status describe(const CatalogueTable& table);
  Status append_copy_line(std::uint32_t relation, std::string_view line, SourceTransaction& out);

  /// What changed or is left out, for a human; since the last call.
  std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }

 private:
  struct Cell {
    std::size_t column = 0;  ///< of the relation; kAbsent: the relation lacks it, NULL
    std::uint32_t type = 0;
    CellRole role = CellRole::Plain;
  };
  struct Relation {
    std::string name;  ///< in the configuration
    TableId table;
    Layout layout;
    std::uint64_t hash = 0;
    std::string described;            ///< the message, to see whether it changed
    std::size_t columns = 0;          ///< of the relation
    std::vector<Cell> cells;          ///< in the layout's order
    std::vector<std::size_t> key;     ///< cells, in the order of the table's key
    std::optional<std::size_t> time;  ///< cell
    std::vector<bool> in_identity;    ///< by column of the relation
    char identity = 'd';
    bool followed = false;
    bool said = false;  ///< its layout, in the transaction that is open
  };

  Status on_relation(const RelationMessage& message, std::string_view bytes);
  Status plan_cells(const RelationMessage& message, Relation& out);
  Status on_row(const RowMessage& message);
  Status on_truncate(const TruncateMessage& message);
  Result<Outcome> on_logical(const LogicalMessage& message);
  Result<Outcome> on_commit(const CommitMessage& message);

  Result<Value> value_of(const Relation& relation, std::size_t cell, const Tuple& tuple) const;
  Status fill(const Relation& relation, const Tuple& tuple, std::vector<Value>& out) const;
  Status complete(const Relation& relation, const RowMessage& message);
  void set_time(const Relation& relation);
  void put(Relation& relation, SourceTransaction& out);
  static void close_record(SourceTransaction& out);
  Error wrong(const Relation& relation, const std::string& detail) const;
  void note_once(std::string text);

  const Schema& schema_;
  TableNames names_;
  DomainTypes domains_;
  std::unordered_map<std::uint32_t, Relation> relations_;
  std::unordered_map<std::string, std::string> last_described_;  ///< by table, over sessions
  bool inside_ = false;
  TimeUs now_ = kTimeMin;  ///< commit time of the open transaction; never goes back
  SourceTransaction open_;
  SourceTransaction whole_;
  Lsn end_lsn_ = 0;
  Change change_;
  std::vector<std::string> notes_;
  std::vector<std::string> noted_;
  std::string line_;  ///< a COPY line with its escapes undone
  Tuple line_cells_;
};

}  // namespace accrete::daemon::postgres
