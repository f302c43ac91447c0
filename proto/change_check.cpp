// What a decoded change must satisfy before it is logged, and what is read out of it afterwards.
#include <algorithm>
#include <array>

#include "proto/codec.h"
#include "proto/limits.h"
#include "proto/time.h"

namespace accrete {
namespace {

constexpr std::size_t kNoCell = static_cast<std::size_t>(-1);

std::size_t cell_of(const BoundLayout& layout, ColumnId column) {
  const auto& columns = layout.column_of_cell;
  const auto found = std::find(columns.begin(), columns.end(), column);
  return found == columns.end() ? kNoCell : static_cast<std::size_t>(found - columns.begin());
}

std::string quoted(const Value& value) {
  constexpr std::size_t shown_max = 64;  // a message, not a dump
  std::string text = value_text(value);
  if (text.size() > shown_max) {
    text.resize(shown_max);
    text += "...";
  }
  if (value.kind != ValueKind::Text) return text;
  text.insert(text.begin(), '"');
  text += '"';
  return text;
}

Error malformed(const Table& table, std::string detail) {
  return Error{Errc::Malformed, table.name + ": " + std::move(detail)};
}

Error malformed(const Table& table, ColumnId column, const Value& value, const char* cause) {
  std::string where = table.name;
  where += '.';
  where += table.columns[column.value].name;
  return Error{Errc::Malformed, where + " is " + quoted(value) + ": " + cause};
}

/// Upper bound of what append_key adds.
std::size_t key_bytes_of(const Value& value) {
  constexpr std::size_t length_bytes = 5;
  return value.kind == ValueKind::Text ? 1 + length_bytes + value.text.size() : 9;
}

Status check_key_value(const Table& table, std::size_t part, const Value& value,
                       std::size_t& key_bytes) {
  const ColumnId column = table.key[part];
  if (value.is_null()) return malformed(table, column, value, "a key column must not be null");
  if (value.kind == ValueKind::Unchanged) {
    return malformed(table, column, value, "a key column must have its value in every change");
  }
  key_bytes += key_bytes_of(value);
  if (key_bytes > limits::key_bytes_max) {
    return malformed(table, column, value, "the key is longer than 4096 bytes");
  }
  return Ok{};
}

Status check_key(const Change& change, const BoundLayout& layout, const Table& table) {
  std::size_t key_bytes = 0;
  for (std::size_t part = 0; part < table.key.size(); ++part) {
    const std::size_t cell = cell_of(layout, table.key[part]);
    ACCRETE_CHECK(cell != kNoCell);  // Schema::bind demands every key column
    ACCRETE_DO(check_key_value(table, part, change.cells[cell], key_bytes));
  }
  if (change.old_key.empty()) return Ok{};
  if (change.op != Op::Update) return malformed(table, "old_key is for updates only");
  if (change.old_key.size() != table.key.size()) {
    return malformed(table, "old_key has " + std::to_string(change.old_key.size()) +
                                " values, the key has " + std::to_string(table.key.size()));
  }
  key_bytes = 0;
  for (std::size_t part = 0; part < table.key.size(); ++part) {
    ACCRETE_DO(check_key_value(table, part, change.old_key[part], key_bytes));
  }
  return Ok{};
}

Status check_time(const Change& change, const BoundLayout& layout, const Table& table) {
  if (!table.time) return Ok{};
  const std::size_t cell = cell_of(layout, *table.time);
  ACCRETE_CHECK(cell != kNoCell);  // Schema::bind demands the time column
  const Value& value = change.cells[cell];
  if (value.is_null() || value.kind == ValueKind::Unchanged) return Ok{};
  if (value_time(value, table.time_unit)) return Ok{};
  return malformed(table, *table.time, value,
                   "not a time; expected a time, an integer in the table's unit, or text such as "
                   "2010-01-01T12:30:05Z");
}

}  // namespace

Status check_change(const Change& change, const BoundLayout& layout, const Schema& schema) {
  const Table& table = schema.table(layout.table);
  if (change.op == Op::Truncate) {
    if (change.cells.empty() && change.old_key.empty()) return Ok{};
    return malformed(table, "a truncate carries no cells");
  }
  if (change.cells.size() != layout.column_of_cell.size()) {
    return malformed(table, std::to_string(change.cells.size()) + " cells, the layout has " +
                                std::to_string(layout.column_of_cell.size()) + " columns");
  }
  if (change.op != Op::Insert && table.key.empty()) {
    return malformed(table, "update or delete in a table without a key; configure its key");
  }
  if (change.op == Op::Insert) {
    for (std::size_t i = 0; i < change.cells.size(); ++i) {
      if (change.cells[i].kind == ValueKind::Unchanged) {
        return malformed(table, layout.column_of_cell[i], change.cells[i],
                         "an insert must say every value");
      }
    }
  }
  ACCRETE_DO(check_key(change, layout, table));
  return check_time(change, layout, table);
}

void key_of(const Change& change, const BoundLayout& layout, const Table& table, std::string& out) {
  out.clear();
  for (const ColumnId column : table.key) {
    const std::size_t cell = cell_of(layout, column);
    ACCRETE_CHECK(cell < change.cells.size());
    append_key(out, change.cells[cell]);
  }
}

std::optional<TimeUs> event_time_of(const Change& change, const BoundLayout& layout,
                                    const Table& table) {
  if (!table.time) return std::nullopt;
  const std::size_t cell = cell_of(layout, *table.time);
  if (cell >= change.cells.size()) return std::nullopt;  // truncate
  return value_time(change.cells[cell], table.time_unit);
}

std::optional<TimeUs> value_time(const Value& value, TimeUnit unit) {
  if (value.kind == ValueKind::Time) return TimeUs(value.integer);
  if (value.kind == ValueKind::Text) return try_parse_time(value.text);
  if (value.kind != ValueKind::Integer) return std::nullopt;
  constexpr std::array<std::int64_t, 3> us_of_unit{kSecondUs, 1'000, 1};
  std::int64_t us = 0;
  if (__builtin_mul_overflow(value.integer, us_of_unit[static_cast<std::size_t>(unit)], &us)) {
    return std::nullopt;
  }
  return TimeUs(us);
}

}  // namespace accrete
