// Checking a change against its table and encoding it.
#include "daemon/row_writer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "proto/limits.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

bool is_said(const Value& value) {
  return !value.is_null() && value.kind != ValueKind::Unchanged;
}

constexpr std::array<std::string_view, 3> kUnits = {"s", "ms", "us"};  // as TimeUnit

bool is_of_this_era(std::optional<TimeUs> time) {
  const static TimeUs first = parse_time("1900-01-01").value();
  const static TimeUs last = parse_time("2200-01-01").value();
  return time && first <= *time && *time < last;
}

/// An integer that is no time in the table's unit most often counts another one.
Error no_time(std::string_view name, const Table& table, const Value& cell) {
  const auto unit = static_cast<std::size_t>(table.time_unit);
  std::string detail =
      "table \"" + table.name + "\": column \"" + std::string(name) + "\": " + value_text(cell) +
      " is outside the years 0001 to 9999 with time_unit = \"" + std::string(kUnits[unit]) + "\"";
  for (std::size_t other = 0; other < kUnits.size(); ++other) {
    if (other == unit || !is_of_this_era(value_time(cell, static_cast<TimeUnit>(other)))) continue;
    detail += "; should it be \"" + std::string(kUnits[other]) + "\"?";
    break;
  }
  return wrong(std::move(detail));
}

Status read_time(std::string_view name, const Table& table, Value& cell) {
  if (cell.is_null()) return Ok{};
  const std::optional<TimeUs> time = value_time(cell, table.time_unit);
  if (cell.kind == ValueKind::Integer) {
    const static TimeUs first = parse_time("0001-01-01").value();
    const static TimeUs last = parse_time("9999-12-31T23:59:59.999999Z").value();
    if (!time || *time < first || *time > last) return no_time(name, table, cell);
  }
  if (!time) {
    return wrong("column \"" + std::string(name) + "\": \"" + value_text(cell) +
                 "\" is no time, expected text such as \"2026-01-31T12:00:00Z\"");
  }
  cell = Value::of_time(*time);
  return Ok{};
}

Status add_column(const Table& table, std::string_view name, std::vector<std::string>& columns) {
  if (name.empty() || name.size() > limits::name_bytes_max) {
    return wrong("table \"" + table.name + "\": a column's name has 1 to " +
                 std::to_string(limits::name_bytes_max) + " bytes");
  }
  if (columns.size() == limits::columns_max) {
    return wrong("table \"" + table.name + "\": column \"" + std::string(name) + "\" is one over " +
                 std::to_string(limits::columns_max));
  }
  columns.emplace_back(name);
  return Ok{};
}

Error misspelt(const std::string& table, std::string_view role, const std::string& wanted,
               std::string_view named) {
  return wrong("table \"" + table + "\": the row lacks " + std::string(role) + " column \"" +
               wanted + "\"; is it \"" + std::string(named) + "\"? (if not, say \"" + wanted +
               "\" with null)");
}

/// One letter is another, or there is one more, or two neighbours have changed places. Numbers are
/// meant as they are, and so are short names.
bool is_typo_of(std::string_view name, std::string_view wanted) {
  constexpr std::size_t kShort = 4;
  if (std::min(name.size(), wanted.size()) < kShort) return false;
  while (!name.empty() && !wanted.empty() && name.front() == wanted.front()) {
    name.remove_prefix(1);
    wanted.remove_prefix(1);
  }
  while (!name.empty() && !wanted.empty() && name.back() == wanted.back()) {
    name.remove_suffix(1);
    wanted.remove_suffix(1);
  }
  constexpr std::string_view kDigits = "0123456789";
  const std::string_view longer = name.size() > wanted.size() ? name : wanted;
  if (name.find_first_of(kDigits) != std::string_view::npos ||
      wanted.find_first_of(kDigits) != std::string_view::npos) {
    return false;
  }
  return longer.size() <= 1 ||
         (name.size() == 2 && wanted.size() == 2 && name[0] == wanted[1] && name[1] == wanted[0]);
}

}  // namespace

const NamedValue* find(const std::vector<NamedValue>& values, std::string_view name) {
  for (const NamedValue& value : values) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

RowWriter::RowWriter(const Schema& schema) : schema_(schema), tables_(schema.tables().size()) {
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const Table& table = schema.tables()[i];
    tables_[i].layout.table = table.name;
    for (const Column& column : table.columns) {
      if (column.kind != ColumnKind::Ignored) {
        tables_[i].layout.columns.push_back(column.name);
      }
    }
    if (table.time) tables_[i].awaited.push_back({*table.time, "time"});
    for (const ForeignKey& key : table.foreign_keys) {
      for (const ColumnId column : key.columns)
        tables_[i].awaited.push_back({column, "foreign-key"});
    }
  }
}

Result<TableId> RowWriter::find_table(std::string_view name) const {
  if (const std::optional<TableId> id = schema_.find(name)) return *id;
  std::vector<std::string> names;
  for (const Table& table : schema_.tables())
    names.push_back(table.name);
  const std::string near = nearest_name(name, names);
  return wrong("unknown table \"" + std::string(name) + "\"" +
               (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
}

Result<TableId> RowWriter::find_table(std::string_view space, std::string_view name) const {
  if (name.empty()) return wrong("the event names no table");
  std::string whole(space);
  whole.append(".").append(name);
  if (const std::optional<TableId> id = schema_.find(whole)) return *id;
  return find_table(name);
}

Status RowWriter::write(TableId table, const NamedChange& change, SourceTransaction& out) {
  TableState& state = tables_[table.value];
  const std::size_t columns = state.layout.columns.size();
  change_ = {};
  change_.op = change.op;
  change_.change_time = change.time;
  if (Status filled = fill_cells(table, change); !filled) {
    state.layout.columns.resize(columns);  // a bad row leaves no columns behind
    return filled;
  }
  if (state.layout.columns.size() != columns) state.declared = false;
  put(table, out);
  return Ok{};
}

void RowWriter::roll_back(const TransactionMark& mark, SourceTransaction& out) {
  out.bytes.resize(mark.bytes);
  out.ends.resize(mark.ends);
  out.rows = mark.rows;
  // Which layouts went with it is not kept: each is said again before its table's next row.
  for (TableState& table : tables_)
    table.declared = false;
}

Status RowWriter::fill_cells(TableId id, const NamedChange& change) {
  const Table& table = schema_.table(id);
  if (change_.op == Op::Truncate) {
    return change.row.empty() ? Status(Ok{}) : wrong("a truncate has no row");
  }
  if (change_.op != Op::Insert && table.key.empty()) {
    return wrong("table \"" + table.name + "\" has no key, so it takes inserts only");
  }
  std::vector<std::string>& columns = tables_[id.value].layout.columns;
  // What an update does not say stands; what an insert or a delete does not say is NULL.
  const Value absent = change_.op == Op::Update ? Value::unchanged() : Value::null();
  change_.cells.assign(columns.size(), absent);
  std::size_t place = 0;  // rows name their columns in the order of the layout, mostly
  for (const auto& [name, value] : change.row) {
    const std::optional<ColumnId> column = table.find(name);
    if (column && table.columns[column->value].kind == ColumnKind::Ignored) continue;
    if (place >= columns.size() || columns[place] != name) {
      place = static_cast<std::size_t>(std::find(columns.begin(), columns.end(), name) -
                                       columns.begin());
    }
    if (place == columns.size()) {
      ACCRETE_DO(add_column(table, name, columns));
      change_.cells.push_back(absent);
    }
    change_.cells[place] = value;
    if (column && table.time == *column) ACCRETE_DO(read_time(name, table, change_.cells[place]));
    ++place;
  }
  ACCRETE_DO(check_key(table, change));
  return check_awaited(id, change);
}

Status RowWriter::check_awaited(TableId id, const NamedChange& change) {
  TableState& state = tables_[id.value];
  if (state.awaited.empty() || change.op != Op::Insert) return Ok{};
  const Table& table = schema_.table(id);
  std::erase_if(state.awaited, [&](const Awaited& one) {
    return daemon::find(change.row, table.columns[one.column.value].name) != nullptr;
  });
  for (const auto& [column, role] : state.awaited) {
    const std::string& wanted = table.columns[column.value].name;
    for (const NamedValue& cell : change.row) {
      if (table.find(cell.name) || !is_typo_of(cell.name, wanted)) continue;
      return misspelt(table.name, role, wanted, cell.name);
    }
  }
  ++state.new_rows;
  return Ok{};
}

std::vector<std::string> RowWriter::never_named() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    const TableState& state = tables_[i];
    if (state.new_rows == 0) continue;
    const Table& table = schema_.tables()[i];
    std::vector<std::string> others;  // of which the configuration says nothing
    for (const std::string& name : state.layout.columns) {
      if (!table.find(name)) others.push_back(name);
    }
    for (const auto& [column, role] : state.awaited) {
      const std::string& wanted = table.columns[column.value].name;
      const std::string near = nearest_name(wanted, others);
      out.push_back("table \"" + table.name + "\": none of " + std::to_string(state.new_rows) +
                    " new rows has " + std::string(role) + " column \"" + wanted + "\"" +
                    (near.empty() ? "" : "; is it \"" + near + "\"?"));
    }
  }
  return out;
}

Status RowWriter::check_key(const Table& table, const NamedChange& change) {
  for (const ColumnId id : table.key) {
    const std::string& name = table.columns[id.value].name;
    const NamedValue* cell = daemon::find(change.row, name);
    if (cell == nullptr || !is_said(cell->value)) {
      return wrong("table \"" + table.name + "\": the row lacks its key column \"" + name + "\"");
    }
    if (change.old_key.empty()) continue;
    const NamedValue* old = daemon::find(change.old_key, name);
    if (old == nullptr || change_.op != Op::Update) {
      return wrong("\"old_key\" belongs to an update and names every key column of table \"" +
                   table.name + "\"");
    }
    change_.old_key.push_back(old->value);
  }
  return Ok{};
}

void RowWriter::put(TableId id, SourceTransaction& out) {
  TableState& table = tables_[id.value];
  if (!table.declared) {
    table.declared = true;
    table.hash = table.layout.hash();
    encode_layout(table.layout, out.bytes);
    close_record(out);
  }
  change_.layout = table.hash;
  encode_change(change_, out.bytes);
  close_record(out);
  ++out.rows;
}

void keep_old_key(const Table& table, const std::vector<NamedValue>& before, NamedChange& change) {
  change.old_key.clear();
  std::string former;
  std::string present;
  for (const ColumnId id : table.key) {
    const std::string& name = table.columns[id.value].name;
    const NamedValue* old = find(before, name);
    const NamedValue* now = find(change.row, name);
    if (old == nullptr || !is_said(old->value)) {
      change.old_key.clear();
      return;
    }
    change.old_key.push_back(*old);
    append_key(former, old->value);
    append_key(present, now == nullptr ? old->value : now->value);
  }
  if (former == present) change.old_key.clear();
}

void fill_old_key(const Table& table, const std::vector<NamedValue>& old, NamedChange& change) {
  std::vector<NamedValue> before;
  for (const ColumnId id : table.key) {
    const std::string& name = table.columns[id.value].name;
    const NamedValue* cell = find(old, name);
    if (cell == nullptr) cell = find(change.row, name);
    if (cell != nullptr) before.push_back(*cell);
  }
  keep_old_key(table, before, change);
}

Status write_block_mark(std::string_view content, std::optional<TimeUs> time,
                        SourceTransaction& out) {
  if (content != "block") {
    return wrong("message \"" + std::string(content.substr(0, 40)) +
                 "\" with prefix \"accrete\"; known is \"block\"");
  }
  if (!time) return wrong("a block mark needs the time of its message");
  encode_mark({MarkKind::Block, *time}, out.bytes);
  close_record(out);
  return Ok{};
}

void close_record(SourceTransaction& out) {
  ACCRETE_CHECK(out.bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  out.ends.push_back(static_cast<std::uint32_t>(out.bytes.size()));
}

}  // namespace accrete::daemon
