// Cells of change events whose columns say their SQL type, or leave numbers and times to the
// reader.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "daemon/event_cells.h"
#include "daemon/json_tree.h"
#include "proto/result.h"
#include "proto/value.h"

namespace accrete::daemon {

enum class SqlType : std::uint8_t { Unknown, Number, Time };

/// PostgreSQL's and MySQL's names of types: "numeric(5,3)", "int(11) unsigned", "timestamp without
/// time zone". Times of day and everything else are Unknown.
SqlType sql_type_of(std::string_view name);

/// Text in a number's column becomes the number, and NULL where it is NaN or infinite (wal2json
/// itself writes null there); text in a time's column becomes the time where it is one, and NULL
/// where it is MySQL's zero date. Everything else by column_value().
/// Errors: Malformed for text that is no number, and what column_value() says.
Result<Value> sql_value(const Json& value, SqlType type, ColumnUse use,
                        std::deque<std::string>& texts);

}  // namespace accrete::daemon
