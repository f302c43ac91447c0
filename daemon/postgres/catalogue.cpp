// What a PostgreSQL database says of its tables.
#include "daemon/postgres/catalogue.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string_view>

#include "daemon/postgres/cell_value.h"
#include "daemon/toml_reader.h"
#include "proto/limits.h"

namespace accrete::daemon::postgres {
namespace {

constexpr const char* kTables = R"(
SELECT c.oid, n.nspname, c.relname, c.relreplident, c.relkind = 'p',
       obj_description(c.oid, 'pg_class')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname <> 'public', n.nspname, c.relname)";

/// Generated columns are left out by one more condition, from PostgreSQL 12 on.
constexpr const char* kColumns = R"(
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attnotnull, t.typtype = 'e',
       coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped)";

constexpr const char* kIndexes = R"(
SELECT indrelid, indisprimary, indisreplident, indkey::text FROM pg_index
WHERE indisprimary OR indisreplident ORDER BY indrelid, indexrelid)";

constexpr const char* kForeignKeys = R"(
SELECT conrelid, confrelid, array_to_string(conkey, ' '), array_to_string(confkey, ' ')
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 ORDER BY conrelid, conname)";

template <class T>
T number(const std::optional<std::string>& text) {
  T value{};
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

bool truth(const std::optional<std::string>& text) {
  return text == "t";
}

/// "1 3" as column numbers.
std::vector<std::int32_t> numbers(const std::optional<std::string>& text) {
  std::vector<std::int32_t> out;
  const char* at = text ? text->data() : nullptr;
  const char* const end = text ? at + text->size() : nullptr;
  while (at != end) {
    std::int32_t value = 0;
    const auto [stop, fault] = std::from_chars(at, end, value);
    if (fault != std::errc()) break;
    out.push_back(value);
    at = stop == end ? end : stop + 1;
  }
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <std::size_t N>
bool speaks_of(const std::string& name, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return name.find(word) != name.npos; });
}

bool is_time(std::uint32_t type) {
  const auto oid = static_cast<TypeOid>(type);
  return oid == TypeOid::Date || oid == TypeOid::Timestamp || oid == TypeOid::TimestampTz;
}

/// Reads the catalogue tables one after another into one Catalogue.
class CatalogueReader {
 public:
  CatalogueReader(Connection& connection, const std::vector<std::string>& wanted,
                  const std::string& without)
      : connection_(connection), wanted_(wanted), without_(without) {}

  Result<Catalogue> read() {
    ACCRETE_DO(read_domains());
    ACCRETE_DO(read_tables());
    ACCRETE_DO(read_columns());
    ACCRETE_DO(read_keys());
    ACCRETE_DO(read_foreign_keys());
    for (CatalogueTable& table : out_.tables) {
      table.time = choose_time(table);
      if (table.key.empty()) {
        out_.notes.push_back("table " + table.name +
                             " has no primary key: its inserts are followed, updates and deletes "
                             "are not");
      }
    }
    return std::move(out_);
  }

 private:
  Status read_domains() {
    ACCRETE_TRY(const Rows rows, connection_.query("SELECT oid, typbasetype FROM pg_type "
                                                   "WHERE typtype = 'd'"));
    for (const auto& row : rows)
      out_.domains[number<std::uint32_t>(row[0])] = number<std::uint32_t>(row[1]);
    for (auto& [domain, base] : out_.domains) {
      // A domain over a domain.
      for (auto next = out_.domains.find(base); next != out_.domains.end();
           next = out_.domains.find(base)) {
        base = next->second;
      }
    }
    return Ok{};
  }

  Status read_tables() {
    ACCRETE_TRY(const Rows rows, connection_.query(kTables));
    std::vector<std::string> names;
    std::vector<bool> found(wanted_.size(), false);
    for (const auto& row : rows) {
      CatalogueTable table;
      table.oid = number<std::uint32_t>(row[0]);
      table.schema = *row[1];
      table.relation = *row[2];
      table.identity = row[3]->front();
      table.partitioned = truth(row[4]);
      const std::string whole_name = table.schema + "." + table.relation;
      if (without_ == whole_name || (without_ == table.relation && table.schema == "public")) {
        continue;
      }
      names.push_back(table.schema == "public" ? table.relation : whole_name);
      // Predictions are no rows to learn from, unless asked for by name.
      bool take = wanted_.empty() && row[5] != kPredictionsComment;
      for (std::size_t i = 0; i < wanted_.size(); ++i) {
        const bool bare = wanted_[i] == table.relation && !found[i];
        if (!bare && wanted_[i] != whole_name) continue;
        take = found[i] = true;
      }
      if (take) add(std::move(table));
    }
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (found[i]) continue;
      const std::string near = nearest_name(wanted_[i], names);
      return Error{Errc::NotFound, "there is no table \"" + wanted_[i] + "\"" +
                                       (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
    }
    if (!out_.tables.empty()) return Ok{};
    return Error{Errc::Malformed,
                 "database \"" + connection_.database() + "\" has no tables to follow"};
  }

  void add(CatalogueTable table) {
    const auto taken = [&](const std::string& name) {
      return std::any_of(out_.tables.begin(), out_.tables.end(),
                         [&](const CatalogueTable& other) { return other.name == name; });
    };
    table.name = table.relation;
    if (taken(table.name)) table.name = table.schema + "_" + table.relation;
    if (taken(table.name)) {
      out_.notes.push_back("table " + table.schema + "." + table.relation +
                           " is left out: its name is taken");
      return;
    }
    index_[table.oid] = out_.tables.size();
    out_.tables.push_back(std::move(table));
  }

  Status read_columns() {
    std::string sql = kColumns;
    if (connection_.server_version() >= 120'000) sql += " AND a.attgenerated = ''";
    ACCRETE_TRY(const Rows rows, connection_.query(sql + " ORDER BY a.attrelid, a.attnum"));
    for (const auto& row : rows) {
      const auto at = index_.find(number<std::uint32_t>(row[0]));
      if (at == index_.end()) continue;
      CatalogueColumn column;
      column.name = *row[2];
      column.type = number<std::uint32_t>(row[3]);
      if (const auto domain = out_.domains.find(column.type); domain != out_.domains.end()) {
        column.type = domain->second;
      }
      column.not_null = truth(row[4]);
      column.is_enum = truth(row[5]);
      const std::string fallback = lower(*row[6]);
      column.defaults_to_now = is_time(column.type) &&
                               speaks_of(fallback, std::array<std::string_view, 5>{
                                                       "now()", "current_timestamp", "current_date",
                                                       "clock_timestamp", "localtimestamp"});
      auto& columns = out_.tables[at->second].columns;
      place_[{at->second, number<std::int32_t>(row[1])}] = columns.size();
      columns.push_back(std::move(column));
    }
    return Ok{};
  }

  /// Places of numbered columns; empty if one of them is not followed.
  std::vector<std::size_t> places(std::size_t table, const std::vector<std::int32_t>& columns) {
    std::vector<std::size_t> out;
    for (const std::int32_t column : columns) {
      const auto found = place_.find({table, column});
      if (found == place_.end()) return {};
      out.push_back(found->second);
    }
    return out;
  }

  Status read_keys() {
    ACCRETE_TRY(const Rows rows, connection_.query(kIndexes));
    for (const auto& row : rows) {
      const auto at = index_.find(number<std::uint32_t>(row[0]));
      if (at == index_.end()) continue;
      CatalogueTable& table = out_.tables[at->second];
      const bool primary = truth(row[1]);
      table.has_primary_key = table.has_primary_key || primary;
      // With an index as replica identity the old row of a delete has that index's columns only.
      const bool chosen = table.identity == 'i' ? truth(row[2]) : primary;
      if (!chosen) continue;
      table.key = places(at->second, numbers(row[3]));
      if (table.key.size() > limits::key_columns_max) table.key.clear();
    }
    return Ok{};
  }

  Status read_foreign_keys() {
    std::string sql = kForeignKeys;
    if (connection_.server_version() < 110'000) {
      sql.replace(sql.find(" AND conparentid = 0"), 20, "");
    }
    ACCRETE_TRY(const Rows rows, connection_.query(sql));
    for (const auto& row : rows) {
      const auto child = index_.find(number<std::uint32_t>(row[0]));
      const auto parent = index_.find(number<std::uint32_t>(row[1]));
      if (child == index_.end() || parent == index_.end()) continue;
      CatalogueTable& table = out_.tables[child->second];
      const CatalogueTable& target = out_.tables[parent->second];
      const auto from = places(child->second, numbers(row[2]));
      const auto to = places(parent->second, numbers(row[3]));
      CatalogueForeignKey key;
      key.parent = parent->second;
      for (const std::size_t part : target.key) {
        const auto at = std::find(to.begin(), to.end(), part);
        if (at != to.end()) key.columns.push_back(from[static_cast<std::size_t>(at - to.begin())]);
      }
      const bool whole = !from.empty() && from.size() == to.size() &&
                         key.columns.size() == to.size() && to.size() == target.key.size();
      if (!whole) {
        out_.notes.push_back("a foreign key of " + table.name + " to " + target.name +
                             " is left out: it does not name that table's key");
        continue;
      }
      const bool known = std::any_of(
          table.foreign_keys.begin(), table.foreign_keys.end(),
          [&](const CatalogueForeignKey& other) { return other.columns == key.columns; });
      if (!known) table.foreign_keys.push_back(std::move(key));
    }
    return Ok{};
  }

  Connection& connection_;
  const std::vector<std::string>& wanted_;
  const std::string& without_;
  Catalogue out_;
  std::unordered_map<std::uint32_t, std::size_t> index_;               // oid -> table
  std::map<std::pair<std::size_t, std::int32_t>, std::size_t> place_;  // table, attnum -> column
};

/// The kind to write down for a column; nullptr where the values decide.
const char* kind_of(const CatalogueColumn& column) {
  constexpr std::uint32_t bytea = 17;
  constexpr std::uint32_t tsvector = 3614;
  if (column.type == bytea || column.type == tsvector) return "ignored";
  if (column.is_enum) return "category";
  switch (static_cast<TypeOid>(column.type)) {
    case TypeOid::Bool:
      return "flag";
    case TypeOid::Float4:
    case TypeOid::Float8:
    case TypeOid::Numeric:
      return "number";
    case TypeOid::Date:
    case TypeOid::Timestamp:
    case TypeOid::TimestampTz:
      return "time";
    case TypeOid::Int8:
    case TypeOid::Int2:
    case TypeOid::Int4:
    case TypeOid::Oid:
      break;
  }
  return nullptr;
}

std::string joined(const CatalogueTable& table, const std::vector<std::size_t>& columns) {
  std::string out;
  for (const std::size_t column : columns)
    out += (out.empty() ? "" : ",") + table.columns[column].name;
  return out;
}

std::string pair_list(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out;
  for (const auto& [name, value] : pairs)
    out += (out.empty() ? "{ " : ", ") + toml_key(name) + " = " + toml_quoted(value);
  return out + " }";
}

void print_table(const Catalogue& catalogue, const CatalogueTable& table, std::string& out) {
  out += "\n# " + table.schema + "." + table.relation + "\n[[table]]\nname = ";
  out += toml_quoted(table.name) + "\n";
  std::vector<bool> has_role(table.columns.size(), false);
  std::string key;
  for (const std::size_t column : table.key) {
    has_role[column] = true;
    key += (key.empty() ? "" : ", ") + toml_quoted(table.columns[column].name);
  }
  if (!key.empty()) out += "key = [" + key + "]\n";
  if (table.time) {
    has_role[*table.time] = true;
    out += "time = " + toml_quoted(table.columns[*table.time].name) + "\n";
  }
  std::vector<std::pair<std::string, std::string>> parents;
  for (const CatalogueForeignKey& foreign : table.foreign_keys) {
    for (const std::size_t column : foreign.columns)
      has_role[column] = true;
    parents.emplace_back(joined(table, foreign.columns), catalogue.tables[foreign.parent].name);
  }
  if (!parents.empty()) out += "foreign_keys = " + pair_list(parents) + "\n";
  std::vector<std::pair<std::string, std::string>> kinds;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const char* kind = kind_of(table.columns[i]);
    if (kind != nullptr && !has_role[i]) kinds.emplace_back(table.columns[i].name, kind);
  }
  if (!kinds.empty()) out += "columns = " + pair_list(kinds) + "\n";
}

}  // namespace

std::optional<std::size_t> CatalogueTable::find(std::string_view column) const {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column) return i;
  }
  return std::nullopt;
}

bool CatalogueTable::identifies_rows() const {
  return identity == 'f' || identity == 'i' || (identity == 'd' && has_primary_key);
}

Result<Catalogue> read_catalogue(Connection& connection, const std::vector<std::string>& wanted,
                                 const std::string& without) {
  return CatalogueReader(connection, wanted, without).read();
}

std::optional<std::size_t> choose_time(const CatalogueTable& table) {
  static constexpr std::array<std::string_view, 15> not_the_event = {
      "updat", "modif", "chang", "delet", "expir", "due",  "birth",  "valid",
      "until", "ended", "last",  "next",  "plan",  "sync", "refresh"};
  static constexpr std::array<std::string_view, 8> creation = {
      "creat", "insert", "occur", "event", "happen", "order", "placed", "regist"};
  std::optional<std::size_t> best;
  int best_score = -1;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const CatalogueColumn& column = table.columns[i];
    const std::string name = lower(column.name);
    if (!is_time(column.type) || speaks_of(name, not_the_event)) continue;
    const bool is_date = static_cast<TypeOid>(column.type) == TypeOid::Date;
    const int score = (column.defaults_to_now ? 8 : 0) + (speaks_of(name, creation) ? 4 : 0) +
                      (column.not_null ? 2 : 0) + (is_date ? 0 : 1);
    if (score <= best_score) continue;
    best = i;
    best_score = score;
  }
  return best;
}

Status set_time(Catalogue& catalogue, const std::string& choice) {
  const std::size_t dot = choice.rfind('.');
  const std::string wanted = choice.substr(0, dot);
  std::vector<std::string> names;
  for (CatalogueTable& table : catalogue.tables) {
    names.push_back(table.name);
    if (dot == choice.npos || table.name != wanted) continue;
    const std::string column = choice.substr(dot + 1);
    table.time = table.find(column);
    if (column.empty() || (table.time && is_time(table.columns[*table.time].type))) return Ok{};
    return Error{Errc::NotFound,
                 "table " + table.name + " has no date or timestamp column \"" + column + "\""};
  }
  const std::string near = nearest_name(wanted, names);
  return Error{Errc::NotFound, "\"" + choice +
                                   "\": expected TABLE.COLUMN of a table that is there" +
                                   (near.empty() ? "" : "; did you mean \"" + near + "\"?")};
}

std::string tables_toml(const Catalogue& catalogue) {
  std::string out;
  for (const CatalogueTable& table : catalogue.tables)
    print_table(catalogue, table, out);
  return out;
}

}  // namespace accrete::daemon::postgres
