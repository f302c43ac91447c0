// Tables, columns, keys and foreign keys: what the configuration says, grown by what rows show.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete {

enum class ColumnKind : std::uint8_t {
  Inferred,  ///< decided by the values seen (number, flag, time, category or text)
  Number,
  Category,
  Flag,
  Time,
  Text,
  Vector,
  Set,
  Key,
  ForeignKey,
  Ignored,
};

/// "number", "category", …; the names used in the configuration.
std::string_view column_kind_name(ColumnKind kind);
std::optional<ColumnKind> column_kind_of(std::string_view name);

/// How an integer in a time column is read.
enum class TimeUnit : std::uint8_t { Seconds, Milliseconds, Microseconds };

struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::Inferred;
};

struct ForeignKey {
  std::vector<ColumnId> columns;  ///< as many as the parent's key has
  TableId parent;
};

struct Table {
  std::string name;
  std::vector<Column> columns;  ///< grows at the end when a layout brings a new column
  std::vector<ColumnId> key;    ///< empty: append-only, every insert is a new row
  std::optional<ColumnId> time;
  TimeUnit time_unit = TimeUnit::Seconds;
  std::vector<ForeignKey> foreign_keys;

  std::optional<ColumnId> find(std::string_view column) const;
};

/// One foreign key of the whole schema: the edge type child -> parent (and back).
struct Relation {
  TableId child;
  TableId parent;
  std::uint16_t foreign_key = 0;  ///< index in the child's foreign_keys
};

/// What a producer says once per table before its rows: their columns, by name, in cell order.
struct Layout {
  std::string table;
  std::vector<std::string> columns;
  /// Content hash that rows carry instead of the names (XXH3-64 of names joined with NUL).
  std::uint64_t hash() const;
};

/// A layout whose names have been looked up in a schema.
struct BoundLayout {
  TableId table;
  std::vector<ColumnId> column_of_cell;  ///< cell position -> column of the table
};

class Schema {
 public:
  /// Add a table. Errors: Malformed if the name is taken, or a key/time/foreign column is missing
  /// from `table.columns`, or a foreign key's parent does not exist at `seal()`.
  Result<TableId> add(Table table);

  /// Build relations(); call once after the last add. Errors: Malformed as above.
  Status seal();

  const std::vector<Table>& tables() const { return tables_; }
  const Table& table(TableId id) const { return tables_[id.value]; }
  const std::vector<Relation>& relations() const { return relations_; }

  std::optional<TableId> find(std::string_view table) const;

  /// Append a column that is named (by a query, say) before any row has shown it; an existing one
  /// is returned as it is. Errors: Malformed over columns_max columns.
  Result<ColumnId> add_column(TableId table, std::string_view name);

  /// Bind a layout by name; columns not yet known are appended to the table.
  /// Errors:  Malformed for an unknown table (with the nearest name), a duplicate column, a
  ///          missing key, time or foreign-key column, or more than columns_max columns.
  Result<BoundLayout> bind(const Layout& layout);

  /// Hash of everything that decides how rows are folded (tables, keys, kinds, relations).
  /// Columns that bind() appended do not count: they come from the data.
  std::uint64_t fingerprint() const;

 private:
  std::vector<Table> tables_;
  std::vector<Relation> relations_;
  std::vector<std::size_t> configured_columns_;  ///< per table: columns it had when it was added
};

/// The candidate nearest to `name` (edit distance, case-insensitive), or "" if none is near.
/// For messages: `unknown column "drivrId"; did you mean "driverId"?`.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace accrete
