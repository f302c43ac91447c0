// Event time in text: what people and databases write, to and from int64 microseconds (UTC).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete {

inline constexpr std::int64_t kSecondUs = 1'000'000;
inline constexpr std::int64_t kMinuteUs = 60 * kSecondUs;
inline constexpr std::int64_t kHourUs = 60 * kMinuteUs;
inline constexpr std::int64_t kDayUs = 24 * kHourUs;

/// Shift by a signed duration; saturates at kTimeMin and kTimeMax instead of overflowing.
TimeUs shift(TimeUs time, std::int64_t duration_us);

/// Parse a point in time: `2010-01-01`, `2010-01-01 12:30`, `2010-01-01T12:30:05.25Z`,
/// `2010-01-01 12:30:05+02:00` (also `+0200`, `+02`). No zone means UTC. Years 0001 to 9999.
/// Errors:  Malformed, naming the text and the accepted forms.
/// Cost:    no allocation on success.
Result<TimeUs> parse_time(std::string_view text);

/// The same, without a message, for guessing whether a text is a time at all.
std::optional<TimeUs> try_parse_time(std::string_view text);

/// RFC 3339 in UTC: `2010-01-01T12:30:05Z`, with `.ffffff` only where microseconds are not zero.
std::string format_time(TimeUs time);

/// Parse a duration: a number and a unit, `500 ms`, `30 s`, `5 min`, `1 HOUR`, `14 days`, `2
/// weeks`. Units are those of the query language plus short forms; case does not matter. Errors:
/// Malformed, naming the accepted units.
Result<std::int64_t> parse_duration_us(std::string_view text);

/// Microseconds of one query-language unit (SECONDS, MINUTES, HOURS, DAYS, WEEKS; also singular),
/// case-insensitive. Calendar units (months, years) have no fixed length and are not units.
std::optional<std::int64_t> unit_us(std::string_view unit);

}  // namespace accrete
