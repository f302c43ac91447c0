// A cell's text as PostgreSQL prints it, as a typed value.
//
// The session that prints must say: DateStyle ISO, TimeZone UTC, extra_float_digits ≥ 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/value.h"

namespace accrete::daemon::postgres {

/// Types of pg_type that are more than text. A domain's own number is mapped to its base type by
/// who knows the catalogue.
enum class TypeOid : std::uint32_t {
  Bool = 16,
  Int8 = 20,
  Int2 = 21,
  Int4 = 23,
  Oid = 26,
  Float4 = 700,
  Float8 = 701,
  Date = 1082,
  Timestamp = 1114,
  TimestampTz = 1184,
  Numeric = 1700,
};

/// Whether the value names a row.
enum class CellRole : std::uint8_t { Plain, Key };

/// The value of one cell; text that stays text is a view into `text`.
///
/// - bool: Flag
/// - smallint, integer, bigint, oid: Integer
/// - real, double: Real; NaN and infinities stay text
/// - numeric: Integer where it is whole; Real where a double holds all its digits; else Real for a
///   plain cell and the exact text for a key
/// - date, timestamp, timestamptz: Time, years BC too; infinities and years beyond int64
///   microseconds: Null
/// - all others: Text as printed: uuid, bytea, json, arrays ({…}), enums, intervals
///
/// Errors: Malformed for text that is no value of the type.
Result<Value> cell_value(std::string_view text, std::uint32_t type, CellRole role);

/// `2026-01-31`, `2026-01-31 12:00:05.25+00`, `0044-03-15 BC`, `infinity` (no time).
/// Errors: Malformed.
Result<std::optional<TimeUs>> parse_postgres_time(std::string_view text);

}  // namespace accrete::daemon::postgres
