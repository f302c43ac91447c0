// Cells of change events: from JSON values to typed ones, by what the schema says of the column.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/json_tree.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "proto/value.h"

namespace accrete::daemon {

/// What a column is for, as far as reading its values goes.
enum class ColumnUse : std::uint8_t {
  Other,
  Number,    ///< configured as a number: text must be one
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

/// Text in a column that is configured as a number. Errors: Malformed, saying what to do.
Result<Value> number_in_text(std::string_view text, std::deque<std::string>& texts);

}  // namespace accrete::daemon
