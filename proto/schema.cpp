// Looking names up, checking that keys and foreign keys make sense, and suggesting near misses.
#include "proto/schema.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "proto/hash.h"
#include "proto/limits.h"

namespace accrete {
namespace {

constexpr std::size_t kRelationsMax = 0xFFFF;  // RelationId is 16 bits

constexpr std::array<std::string_view, 11> kKindNames{
    "inferred", "number", "category", "flag",        "time",    "text",
    "vector",   "set",    "key",      "foreign_key", "ignored",
};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text.substr(0, limits::name_bytes_max));
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

/// Levenshtein distance, one row of the table at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string nearest = nearest_name(name, candidates);
  return nearest.empty() ? std::string() : "; did you mean \"" + nearest + "\"?";
}

bool valid_name(std::string_view name) {
  // NUL separates names where they are hashed.
  return !name.empty() && name.size() <= limits::name_bytes_max &&
         name.find('\0') == std::string_view::npos;
}

Error malformed(std::string_view table, std::string detail) {
  return Error{Errc::Malformed, "table \"" + std::string(table) + "\": " + std::move(detail)};
}

Status check_column_id(const Table& table, ColumnId column, const char* role) {
  if (column.value < table.columns.size()) return Ok{};
  return malformed(table.name, std::string("its ") + role + " column is not among its columns");
}

Status check_columns(const Table& table) {
  if (table.columns.size() > limits::columns_max) {
    return malformed(table.name, "more than " + std::to_string(limits::columns_max) + " columns");
  }
  std::vector<std::string_view> names;
  for (const Column& column : table.columns) {
    if (!valid_name(column.name)) {
      return malformed(table.name, "a column name is empty, holds NUL or is longer than 256 bytes");
    }
    names.push_back(column.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return Ok{};
  return malformed(table.name, "column \"" + std::string(*twice) + "\" is declared twice");
}

Status check_key(const Table& table) {
  if (table.key.size() > limits::key_columns_max) {
    return malformed(table.name,
                     "more than " + std::to_string(limits::key_columns_max) + " key columns");
  }
  for (std::size_t i = 0; i < table.key.size(); ++i) {
    ACCRETE_DO(check_column_id(table, table.key[i], "key"));
    if (std::find(table.key.begin(), table.key.begin() + static_cast<std::ptrdiff_t>(i),
                  table.key[i]) != table.key.begin() + static_cast<std::ptrdiff_t>(i)) {
      return malformed(table.name, "key column \"" + table.columns[table.key[i].value].name +
                                       "\" is named twice");
    }
  }
  return Ok{};
}

/// Numbers as fixed-width little-endian, texts with their length: no two schemas read the same.
class Digest {
 public:
  void number(std::uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) {
      bytes_ += static_cast<char>(value >> shift & 0xFF);
    }
  }
  void text(std::string_view value) {
    number(value.size());
    bytes_ += value;
  }
  std::uint64_t finish() const { return hash64(bytes_); }

 private:
  std::string bytes_;
};

void digest_columns(Digest& digest, const std::vector<ColumnId>& columns) {
  digest.number(columns.size());
  for (const ColumnId column : columns) {
    digest.number(column.value);
  }
}

std::vector<std::string> table_names(const std::vector<Table>& tables) {
  std::vector<std::string> names;
  names.reserve(tables.size());
  for (const Table& table : tables) {
    names.push_back(table.name);
  }
  return names;
}

}  // namespace

std::string_view column_kind_name(ColumnKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

std::optional<ColumnKind> column_kind_of(std::string_view name) {
  const auto found = std::find(kKindNames.begin(), kKindNames.end(), name);
  if (found == kKindNames.end()) return std::nullopt;
  return static_cast<ColumnKind>(found - kKindNames.begin());
}

std::optional<ColumnId> Table::find(std::string_view column) const {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column) return ColumnId(static_cast<std::uint16_t>(i));
  }
  return std::nullopt;
}

std::uint64_t Layout::hash() const {
  std::string names = table;
  for (const std::string& column : columns) {
    names += '\0';
    names += column;
  }
  return hash64(names);
}

Result<TableId> Schema::add(Table table) {
  if (!valid_name(table.name)) {
    return Error{Errc::Malformed, "a table name is empty, holds NUL or is longer than 256 bytes"};
  }
  if (find(table.name)) return malformed(table.name, "declared twice");
  if (tables_.size() == limits::tables_max) {
    return Error{Errc::Malformed, "more than " + std::to_string(limits::tables_max) + " tables"};
  }
  ACCRETE_DO(check_columns(table));
  ACCRETE_DO(check_key(table));
  if (table.time) ACCRETE_DO(check_column_id(table, *table.time, "time"));
  for (const ForeignKey& foreign : table.foreign_keys) {
    for (const ColumnId column : foreign.columns) {
      ACCRETE_DO(check_column_id(table, column, "foreign-key"));
    }
  }
  const TableId id(static_cast<std::uint16_t>(tables_.size()));
  configured_columns_.push_back(table.columns.size());
  tables_.push_back(std::move(table));
  return id;
}

Status Schema::seal() {
  std::vector<Relation> relations;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const Table& child = tables_[t];
    for (std::size_t f = 0; f < child.foreign_keys.size(); ++f) {
      const ForeignKey& foreign = child.foreign_keys[f];
      if (foreign.parent.value >= tables_.size()) {
        return malformed(child.name, "the parent table of a foreign key does not exist");
      }
      const Table& parent = tables_[foreign.parent.value];
      if (parent.key.empty()) {
        return malformed(child.name,
                         "a foreign key refers to \"" + parent.name + "\", which has no key");
      }
      if (foreign.columns.size() != parent.key.size()) {
        return malformed(child.name, "a foreign key has " + std::to_string(foreign.columns.size()) +
                                         " columns, the key of \"" + parent.name + "\" has " +
                                         std::to_string(parent.key.size()));
      }
      if (relations.size() == kRelationsMax) {
        return Error{Errc::Malformed, "more foreign keys than a 16-bit number can name"};
      }
      relations.push_back(Relation{TableId(static_cast<std::uint16_t>(t)), foreign.parent,
                                   static_cast<std::uint16_t>(f)});
    }
  }
  relations_ = std::move(relations);
  return Ok{};
}

Result<ColumnId> Schema::add_column(TableId table, std::string_view name) {
  Table& grown = tables_[table.value];
  if (const auto id = grown.find(name)) return *id;
  if (!valid_name(name)) {
    return malformed(grown.name, "a column name is empty, holds NUL or is longer than 256 bytes");
  }
  if (grown.columns.size() >= limits::columns_max) {
    return malformed(grown.name, "more than " + std::to_string(limits::columns_max) + " columns");
  }
  grown.columns.push_back(Column{std::string(name), ColumnKind::Inferred});
  return ColumnId(static_cast<std::uint16_t>(grown.columns.size() - 1));
}

std::optional<TableId> Schema::find(std::string_view table) const {
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (tables_[i].name == table) return TableId(static_cast<std::uint16_t>(i));
  }
  return std::nullopt;
}

Result<BoundLayout> Schema::bind(const Layout& layout) {
  const auto id = find(layout.table);
  if (!id) {
    return Error{Errc::Malformed, "unknown table \"" + layout.table + "\"" +
                                      did_you_mean(layout.table, table_names(tables_))};
  }
  Table& table = tables_[id->value];
  // Everything is checked on a copy: a refused layout must not leave columns behind.
  Table grown = table;
  BoundLayout bound{*id, {}};
  std::vector<bool> seen(table.columns.size(), false);
  for (const std::string& name : layout.columns) {
    auto column = grown.find(name);
    if (!column) {
      if (!valid_name(name)) {
        return malformed(table.name, "a column name is empty, holds NUL or is too long");
      }
      if (grown.columns.size() == limits::columns_max) {
        return malformed(table.name,
                         "more than " + std::to_string(limits::columns_max) + " columns");
      }
      column = ColumnId(static_cast<std::uint16_t>(grown.columns.size()));
      grown.columns.push_back(Column{name, ColumnKind::Inferred});
      seen.push_back(false);
    }
    if (seen[column->value]) {
      return malformed(table.name, "column \"" + name + "\" is named twice in the layout");
    }
    seen[column->value] = true;
    bound.column_of_cell.push_back(*column);
  }
  const auto require = [&](ColumnId column, const char* role) -> Status {
    if (seen[column.value]) return Ok{};
    const std::string& name = grown.columns[column.value].name;
    return malformed(table.name, "the layout lacks the " + std::string(role) + " column \"" + name +
                                     "\"" + did_you_mean(name, layout.columns));
  };
  for (const ColumnId column : table.key) {
    ACCRETE_DO(require(column, "key"));
  }
  if (table.time) ACCRETE_DO(require(*table.time, "time"));
  for (const ForeignKey& foreign : table.foreign_keys) {
    for (const ColumnId column : foreign.columns) {
      ACCRETE_DO(require(column, "foreign-key"));
    }
  }
  table.columns = std::move(grown.columns);
  return bound;
}

std::uint64_t Schema::fingerprint() const {
  Digest digest;
  digest.number(tables_.size());
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const Table& table = tables_[t];
    digest.text(table.name);
    // Only the columns of the configuration: the others come from the data, which the log has.
    digest.number(configured_columns_[t]);
    for (std::size_t c = 0; c < configured_columns_[t]; ++c) {
      digest.text(table.columns[c].name);
      digest.number(static_cast<std::uint64_t>(table.columns[c].kind));
    }
    digest_columns(digest, table.key);
    digest.number(table.time ? std::uint64_t{1} + table.time->value : 0);
    digest.number(static_cast<std::uint64_t>(table.time_unit));
    digest.number(table.foreign_keys.size());
    for (const ForeignKey& foreign : table.foreign_keys) {
      digest_columns(digest, foreign.columns);
      digest.number(foreign.parent.value);
    }
  }
  return digest.finish();
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string wanted = lowered(name);
  const std::size_t distance_max = std::max<std::size_t>(2, wanted.size() / 3);
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const std::string other = lowered(candidate);
    const std::size_t distance = edit_distance(wanted, other);
    // A name with every letter replaced is another name, however short.
    const bool near = distance <= distance_max && distance < std::max(wanted.size(), other.size());
    const std::size_t common = std::min(wanted.size(), other.size());
    const bool prefix = common >= 2 && wanted.compare(0, common, other, 0, common) == 0;
    if ((near || prefix) && (best == nullptr || distance < best_distance)) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best == nullptr ? std::string() : *best;
}

}  // namespace accrete
