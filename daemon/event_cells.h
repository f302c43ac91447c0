// Cells of change events: from JSON values to typed ones, by what the schema says of the column.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/json_tree.h"
#include "daemon/row_writer.h"
#include "proto/ids.h"
#include "proto/limits.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::daemon {

/// What a column is for, as far as reading its values goes.
enum class ColumnUse : std::uint8_t {
  Other,
  Number,    ///< configured as a number: text must be one
  Time,      ///< configured as a time
  Identity,  ///< part of a key or a foreign key: nothing of it may be lost
};

/// The use of every column of a schema. The schema outlives it.
class ColumnUses {
 public:
  explicit ColumnUses(const Schema& schema);
  ColumnUse of(TableId table, std::string_view column) const;

 private:
  const Schema& schema_;
  std::vector<std::vector<ColumnUse>> uses_;  // by table and configured column
};

/// The value as JSON has it. Numbers by number_value(); lists and objects become their JSON text.
/// Texts made here are kept in `texts`; other views point into the tree.
/// Errors: Malformed for a number beyond doubles.
Result<Value> plain_value(const Json& value, bool exact, std::deque<std::string>& texts);

/// The same where a format writes columns by their SQL values: in a number column, text must be a
/// number, and a key must be no list and no object.
/// Errors: Malformed, naming what the value is.
Result<Value> column_value(const Json& value, ColumnUse use, std::deque<std::string>& texts);

/// The member `name` where it is a text, a number or a flag, as text; else "". Senders write
/// numbers as numbers or as texts.
std::string_view text_in(const Json& parent, std::string_view name);

/// The member `name`, a count of `unit_us` microseconds since 1970, as a time.
std::optional<TimeUs> time_in(const Json& parent, std::string_view name, std::int64_t unit_us);

/// The members of `row` into `out`, by `value_of(member)`.
/// Errors: Malformed with table and column: no object, too many columns, what `value_of` says.
template <class ValueOf>
Status read_cells(const Json& row, const Table& table, std::vector<NamedValue>& out,
                  const ValueOf& value_of) {
  const auto wrong = [&](std::string_view column, const std::string& detail) {
    return Error{Errc::Malformed,
                 "table \"" + table.name + "\": column \"" + std::string(column) + "\" " + detail};
  };
  out.clear();
  if (!row.is(Json::Kind::Object)) {
    return Error{Errc::Malformed,
                 "table \"" + table.name + "\": a row must be an object of columns and values"};
  }
  for (const Json& cell : row) {
    if (out.size() == limits::columns_max) return wrong(cell.name(), "is one too many");
    Result<Value> value = value_of(cell);
    if (!value) return wrong(cell.name(), value.error().detail);
    out.push_back({cell.name(), value.value()});
  }
  return Ok{};
}

/// Text in a column that is configured as a number. Errors: Malformed, saying what to do.
Result<Value> number_in_text(std::string_view text, std::deque<std::string>& texts);

}  // namespace accrete::daemon
