// Column values of Debezium events: Kafka Connect's schema types and what Debezium names on top.
//
// Source: debezium/debezium documentation, connectors/postgresql.adoc, "Data type mappings";
// org.apache.kafka.connect.data.{Decimal,Date,Time,Timestamp}.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "daemon/event_cells.h"
#include "daemon/json_tree.h"
#include "proto/result.h"
#include "proto/value.h"

namespace accrete::daemon {

/// What the schema block says about one column; empty where an event has no schema block.
struct DebeziumField {
  std::string_view logical;  ///< "name": io.debezium.time.Timestamp, …
  std::string_view scale;    ///< "parameters": {"scale": …}
};

/// One column's value. Points in time become times (before 1970 rounded down to a microsecond); a
/// decimal becomes a number by decimal_value(). Times of day and durations stay numbers in the unit
/// of their type. The marker of a value that was not logged becomes Unchanged. All else by
/// column_value().
/// Errors: Malformed: a time outside the years 0001 to 9999, a value of another JSON type than its
///         field's, a decimal that is no base64, has no scale, or is longer than
///         decimal_bytes_max; what column_value() says.
Result<Value> debezium_value(const Json& value, const DebeziumField& field, ColumnUse use,
                             std::deque<std::string>& texts);

}  // namespace accrete::daemon
