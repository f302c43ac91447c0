// What a PostgreSQL database says of its tables, and the configuration that follows from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/postgres/connection.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::daemon::postgres {

struct CatalogueColumn {
  std::string name;
  std::uint32_t type = 0;  ///< a domain's base type
  bool not_null = false;
  bool defaults_to_now = false;
  bool is_enum = false;
};

struct CatalogueForeignKey {
  std::vector<std::size_t> columns;  ///< in the order of the parent's key
  std::size_t parent = 0;
};

struct CatalogueTable {
  std::uint32_t oid = 0;
  std::string schema;
  std::string relation;
  std::string name;  ///< in the configuration: the relation's, or schema_relation if two share it
  bool partitioned = false;
  char identity = 'd';  ///< replica identity: d default, n nothing, f full, i index
  std::vector<CatalogueColumn> columns;
  std::vector<std::size_t> key;  ///< primary key, or the index that is the replica identity
  bool has_primary_key = false;
  std::vector<CatalogueForeignKey> foreign_keys;
  std::optional<std::size_t> time;

  std::optional<std::size_t> find(std::string_view column) const;
  /// Whether the server can say which row an update or delete meant; else publishing them would
  /// make it refuse these statements.
  bool identifies_rows() const;
};

/// The comment by which a table of predictions that were written back is known.
inline constexpr std::string_view kPredictionsComment = "Predictions of Accrete";

using DomainTypes = std::unordered_map<std::uint32_t, std::uint32_t>;

struct Catalogue {
  std::vector<CatalogueTable> tables;
  DomainTypes domains;             ///< a domain's type -> its base type
  std::vector<std::string> notes;  ///< what could not be taken over, for a human
};

/// Read all tables of the user's schemas, or only `wanted` ("orders", "sales.orders"; case as in
/// the database), but never `without`. Generated columns, partitions, unlogged or temporary
/// tables and (unless wanted) predictions that were written back are left out. Errors: NotFound for
/// a wanted table that is not there, with the nearest name; Malformed if there is none at all;
/// those of Connection::query().
Result<Catalogue> read_catalogue(Connection& connection, const std::vector<std::string>& wanted,
                                 const std::string& without);

/// The column that most likely says when a row happened; nullopt if none does. Among date and
/// timestamp columns, without those whose name speaks of changes, ends, plans or birthdays: first
/// one that defaults to now(), then a name that speaks of creation, then NOT NULL, then a timestamp
/// before a date, then the order of columns.
std::optional<std::size_t> choose_time(const CatalogueTable& table);

/// Overrides choose_time(): "table.column", or "table." for none. Errors: NotFound.
Status set_time(Catalogue& catalogue, const std::string& choice);

/// The [[table]] sections as TOML. Deterministic.
std::string tables_toml(const Catalogue& catalogue);

}  // namespace accrete::daemon::postgres
