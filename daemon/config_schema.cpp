// The [[table]] sections of a configuration as a Schema.
#include "daemon/config_schema.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "proto/limits.h"

namespace accrete::daemon {
namespace {

/// One [[table]] as written; columns by name, parents not yet looked up.
struct Draft {
  struct Foreign {
    std::vector<std::string> columns;
    TomlSection::Pair written;
  };
  Table table;
  std::vector<Foreign> foreign_keys;
  Place at;
  std::string title;
};

constexpr std::array<std::pair<std::string_view, TimeUnit>, 3> kTimeUnits = {
    {{"s", TimeUnit::Seconds}, {"ms", TimeUnit::Milliseconds}, {"us", TimeUnit::Microseconds}}};

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const ColumnKind kind :
       {ColumnKind::Number, ColumnKind::Category, ColumnKind::Flag, ColumnKind::Time,
        ColumnKind::Text, ColumnKind::Vector, ColumnKind::Set, ColumnKind::Ignored}) {
    names.emplace_back(column_kind_name(kind));
  }
  return names;
}

/// "a, b" to its parts without blanks.
std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  while (true) {
    const std::size_t comma = text.find(',');
    std::string_view name = text.substr(0, comma);
    while (!name.empty() && name.front() == ' ')
      name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ')
      name.remove_suffix(1);
    names.emplace_back(name);
    if (comma == std::string_view::npos) return names;
    text.remove_prefix(comma + 1);
  }
}

/// The column's id, appended with `kind` if it is new.
ColumnId ensure_column(Table& table, const std::string& name, ColumnKind kind) {
  if (const auto known = table.find(name)) return *known;
  table.columns.push_back({name, kind});
  return ColumnId(static_cast<std::uint16_t>(table.columns.size() - 1));
}

bool plausible_name(std::string_view name) {
  return !name.empty() && name.size() <= limits::name_bytes_max;
}

class DraftReader {
 public:
  DraftReader(const toml::table& source, Complaints& complaints)
      : section_(source, "[[table]]", complaints), complaints_(complaints) {
    draft_.at = place_of(source.source());
  }

  Draft read() {
    read_name();
    read_key();
    read_time();
    read_foreign_keys();
    read_columns();
    read_ignored();
    section_.finish();
    draft_.title = section_.title();
    return std::move(draft_);
  }

 private:
  void read_name() {
    Table& table = draft_.table;
    if (section_.read("name", table.name)) {
      section_.rename("[[table]] \"" + table.name + "\"");
      if (!plausible_name(table.name)) {
        section_.complain(
            "name", "name must have 1 to " + std::to_string(limits::name_bytes_max) + " bytes");
      }
    } else if (!section_.has("name")) {
      section_.complain("name", "name is missing");
    }
  }

  void read_key() {
    std::vector<TomlSection::Text> names;
    section_.read_texts("key", names);
    if (names.size() > limits::key_columns_max) {
      section_.complain(
          "key", "a key has at most " + std::to_string(limits::key_columns_max) + " columns");
      return;
    }
    for (const auto& [name, at] : names) {
      if (!usable(name, at)) continue;
      if (draft_.table.find(name)) {
        complaints_.add(at, section_.title() + ": column \"" + name + "\" is in the key twice");
        continue;
      }
      draft_.table.key.push_back(ensure_column(draft_.table, name, ColumnKind::Key));
    }
  }

  void read_time() {
    Table& table = draft_.table;
    std::string name;
    if (section_.read("time", name) && usable(name, section_.place("time"))) {
      table.time = ensure_column(table, name, ColumnKind::Time);
    }
    std::string unit;
    if (!section_.read("time_unit", unit)) return;
    std::vector<std::string> names;
    for (const auto& [unit_name, value] : kTimeUnits) {
      names.emplace_back(unit_name);
      if (unit_name == unit) table.time_unit = value;
    }
    if (std::find(names.begin(), names.end(), unit) == names.end()) {
      section_.complain("time_unit", "unknown time_unit \"" + unit + "\"; give s, ms or us" +
                                         suggestion(unit, names));
    } else if (!section_.has("time")) {
      section_.complain("time_unit", "time_unit needs a time column");
    }
  }

  void read_foreign_keys() {
    std::vector<TomlSection::Pair> pairs;
    section_.read_pairs("foreign_keys", pairs);
    for (TomlSection::Pair& pair : pairs) {
      std::vector<std::string> columns = split_names(pair.name);
      bool good = true;
      for (auto name = columns.begin(); name != columns.end(); ++name) {
        good = usable(*name, pair.at) && good;
        if (std::find(columns.begin(), name, *name) != name) {
          complaints_.add(pair.at, section_.title() + ": foreign key \"" + pair.name +
                                       "\" names column \"" + *name + "\" twice");
          good = false;
        }
      }
      for (const Draft::Foreign& other : draft_.foreign_keys) {
        if (other.columns != columns) continue;
        complaints_.add(pair.at,
                        section_.title() + ": foreign key \"" + pair.name + "\" is given twice");
        good = false;
      }
      if (!good) continue;
      for (const std::string& name : columns) {
        ensure_column(draft_.table, name, ColumnKind::ForeignKey);
      }
      draft_.foreign_keys.push_back({std::move(columns), std::move(pair)});
    }
  }

  void read_columns() {
    std::vector<TomlSection::Pair> pairs;
    section_.read_pairs("columns", pairs);
    for (const auto& [name, value, at, value_at] : pairs) {
      if (!usable(name, at)) continue;
      const std::optional<ColumnKind> kind = column_kind_of(value);
      if (!kind || *kind == ColumnKind::Inferred) {
        complaints_.add(value_at, unknown_kind(name, value));
      } else if (*kind == ColumnKind::Key || *kind == ColumnKind::ForeignKey) {
        complaints_.add(value_at, section_.title() + ": column \"" + name +
                                      "\" becomes a key by key = …, a foreign key by " +
                                      "foreign_keys = { … }, not by columns");
      } else if (*kind == ColumnKind::Ignored) {
        ignored_.push_back({name, at});
      } else {
        set_kind(name, at, *kind);
      }
    }
  }

  std::string unknown_kind(const std::string& name, const std::string& kind) const {
    return section_.title() + ": unknown kind \"" + kind + "\" of column \"" + name + "\"" +
           suggestion(kind, kind_names());
  }

  void set_kind(const std::string& name, Place at, ColumnKind kind) {
    Table& table = draft_.table;
    const ColumnId id = ensure_column(table, name, kind);
    if (table.time == id && kind != ColumnKind::Time) {
      complaints_.add(at, section_.title() + ": column \"" + name +
                              "\" is the time column, its kind cannot be " +
                              std::string(column_kind_name(kind)));
      return;
    }
    table.columns[id.value].kind = kind;
  }

  void read_ignored() {
    std::vector<TomlSection::Text> names;
    section_.read_texts("ignore", names);
    names.insert(names.begin(), ignored_.begin(), ignored_.end());
    for (const auto& [name, at] : names) {
      if (!usable(name, at)) continue;
      if (const auto known = draft_.table.find(name)) {
        if (draft_.table.columns[known->value].kind == ColumnKind::Ignored) continue;
        complaints_.add(at, section_.title() + ": column \"" + name +
                                "\" is ignored and used; leave it out of one of them");
        continue;
      }
      ensure_column(draft_.table, name, ColumnKind::Ignored);
    }
  }

  bool usable(const std::string& name, Place at) {
    if (plausible_name(name)) return true;
    complaints_.add(at, section_.title() + ": a column name must have 1 to " +
                            std::to_string(limits::name_bytes_max) + " bytes");
    return false;
  }

  TomlSection section_;
  Complaints& complaints_;
  Draft draft_;
  std::vector<TomlSection::Text> ignored_;
};

/// Look up the parents of one table's foreign keys.
void link(Draft& draft, const std::vector<Draft>& drafts, Complaints& complaints) {
  for (const Draft::Foreign& foreign : draft.foreign_keys) {
    const std::vector<std::string>& columns = foreign.columns;
    const TomlSection::Pair& written = foreign.written;
    const auto parent = std::find_if(drafts.begin(), drafts.end(), [&](const Draft& other) {
      return other.table.name == written.value;
    });
    const std::string where =
        draft.title + ": foreign key \"" + written.name + "\" = \"" + written.value + "\"";
    if (parent == drafts.end()) {
      std::vector<std::string> names(drafts.size());
      std::transform(drafts.begin(), drafts.end(), names.begin(),
                     [](const Draft& other) { return other.table.name; });
      complaints.add(written.value_at,
                     where + ": there is no such table" + suggestion(written.value, names));
    } else if (parent->table.key.empty()) {
      complaints.add(written.value_at, where + ": that table has no key; give it key = [\"…\"]");
    } else if (parent->table.key.size() != columns.size()) {
      complaints.add(written.at, where + ": " + std::to_string(columns.size()) +
                                     " column(s), but the key of that table has " +
                                     std::to_string(parent->table.key.size()));
    } else {
      ForeignKey key;
      for (const std::string& name : columns)
        key.columns.push_back(*draft.table.find(name));
      key.parent = TableId(static_cast<std::uint16_t>(parent - drafts.begin()));
      draft.table.foreign_keys.push_back(std::move(key));
    }
  }
}

}  // namespace

Schema read_schema(const std::vector<const toml::table*>& tables, Complaints& complaints) {
  Schema schema;
  const std::size_t before = complaints.count();
  if (tables.empty()) {
    complaints.add({}, "there is no [[table]]; name at least one table to follow");
    return schema;
  }
  if (tables.size() > limits::tables_max) {
    complaints.add({}, "more than " + std::to_string(limits::tables_max) + " tables");
    return schema;
  }
  std::vector<Draft> drafts;
  for (const toml::table* table : tables) {
    drafts.push_back(DraftReader(*table, complaints).read());
    const Draft& draft = drafts.back();
    const bool taken = std::any_of(drafts.begin(), drafts.end() - 1, [&](const Draft& other) {
      return other.table.name == draft.table.name;
    });
    if (taken && !draft.table.name.empty()) {
      complaints.add(draft.at, draft.title + ": there is another table of this name");
    }
  }
  for (Draft& draft : drafts)
    link(draft, drafts, complaints);
  if (complaints.count() != before) return schema;

  for (Draft& draft : drafts) {
    if (Result<TableId> added = schema.add(std::move(draft.table)); !added) {
      complaints.add(draft.at, added.error().detail);
    }
  }
  if (Status sealed = schema.seal(); !sealed) complaints.add({}, sealed.error().detail);
  return schema;
}

}  // namespace accrete::daemon
