// Decimal numbers as change events write them: exact where they say which row is meant.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include "proto/result.h"
#include "proto/value.h"

namespace accrete::daemon {

inline constexpr std::size_t decimal_bytes_max = 256;  // 600 digits; MySQL has 65, Oracle 40
inline constexpr int decimal_scale_max = 1000;         // PostgreSQL's own bound of a declared scale

/// The value of a decimal number, `-?digits[.digits][(e|E)[+|-]digits]`: an integer where int64
/// holds it and it has neither point nor exponent; a longer integer is a text, for it is an
/// identity. Everything else is the nearest double, except that an `exact` one which no double
/// says digit for digit is its plain decimal text (no exponent, no zeros at the end), kept in
/// `texts`. So two decimals are one value only if they are one number.
/// Errors: Malformed for other text, and for a number beyond doubles.
Result<Value> number_value(std::string_view text, bool exact, std::deque<std::string>& texts);

/// The same for a big-endian two's-complement integer divided by 10^scale, with whole numbers as
/// integers. Checks: 1 to decimal_bytes_max bytes, |scale| <= decimal_scale_max.
/// Cost: quadratic in the number of bytes.
Value decimal_value(std::string_view unscaled, int scale, bool exact,
                    std::deque<std::string>& texts);

/// Its plain decimal text, without zeros at the end behind the point. Checks and cost: as above.
std::string decimal_text(std::string_view unscaled, int scale);

/// The bytes that base64 text means (RFC 4648, with padding). Errors: Malformed.
Result<std::string> decode_base64(std::string_view text);

}  // namespace accrete::daemon
