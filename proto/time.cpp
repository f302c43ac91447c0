// Civil time arithmetic on the proleptic Gregorian calendar, in integers only.
//
// Source of the day arithmetic: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
// (public domain), days_from_civil and civil_from_days.
#include "proto/time.h"

#include <array>
#include <charconv>
#include <limits>

namespace accrete {
namespace {

__extension__ using Wide = __int128;

constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();

struct Civil {
  std::int64_t year = 1970;
  unsigned month = 1;
  unsigned day = 1;
};

constexpr bool is_leap(std::int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

constexpr unsigned days_in_month(std::int64_t year, unsigned month) {
  constexpr std::array<unsigned, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

/// Days since 1970-01-01; the year starts in March so that the leap day is its last.
constexpr std::int64_t days_from_civil(const Civil& date) {
  const std::int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const std::int64_t era = floor_div(year, 400);
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t month = (date.month + 9) % 12;
  const std::int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

constexpr Civil civil_from_days(std::int64_t days) {
  const std::int64_t shifted = days + 719'468;
  const std::int64_t era = floor_div(shifted, 146'097);
  const std::int64_t day_of_era = shifted - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month = (5 * day_of_year + 2) / 153;
  Civil out;
  out.day = static_cast<unsigned>(day_of_year - (153 * month + 2) / 5 + 1);
  out.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  out.year = year_of_era + era * 400 + (out.month <= 2 ? 1 : 0);
  return out;
}

static_assert(days_from_civil({1970, 1, 1}) == 0);
static_assert(days_from_civil({2000, 3, 1}) == 11'017);

/// Reads fixed-width numbers and single characters off the front of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool digits(std::size_t count, unsigned& out) {
    if (text_.size() < count) return false;
    out = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_digit(text_[i])) return false;
      out = out * 10 + static_cast<unsigned>(text_[i] - '0');
    }
    text_.remove_prefix(count);
    return true;
  }

  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  /// One to nine digits after the point, as microseconds (further digits are cut off).
  bool fraction_us(std::int64_t& out) {
    std::size_t count = 0;
    out = 0;
    for (; count < text_.size() && is_digit(text_[count]); ++count) {
      if (count < 6) out = out * 10 + (text_[count] - '0');
    }
    if (count == 0 || count > 9) return false;
    for (std::size_t i = count; i < 6; ++i) {
      out *= 10;
    }
    text_.remove_prefix(count);
    return true;
  }

  bool done() const { return text_.empty(); }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

 private:
  std::string_view text_;
};

bool scan_date(Scanner& in, std::int64_t& days) {
  unsigned year = 0;
  unsigned month = 0;
  unsigned day = 0;
  if (!in.digits(4, year) || !in.take('-') || !in.digits(2, month) || !in.take('-') ||
      !in.digits(2, day)) {
    return false;
  }
  if (year == 0 || month == 0 || month > 12 || day == 0 || day > days_in_month(year, month)) {
    return false;
  }
  days = days_from_civil({year, month, day});
  return true;
}

bool scan_clock(Scanner& in, std::int64_t& us) {
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  std::int64_t fraction = 0;
  if (!in.digits(2, hour) || !in.take(':') || !in.digits(2, minute)) return false;
  if (in.take(':')) {
    if (!in.digits(2, second)) return false;
    if (in.take('.') && !in.fraction_us(fraction)) return false;
  }
  if (hour > 23 || minute > 59 || second > 59) return false;
  us = hour * kHourUs + minute * kMinuteUs + second * kSecondUs + fraction;
  return true;
}

bool scan_zone(Scanner& in, std::int64_t& offset_us) {
  offset_us = 0;
  if (in.done() || in.take('Z') || in.take('z')) return true;
  const bool west = in.take('-');
  if (!west && !in.take('+')) return false;
  unsigned hour = 0;
  unsigned minute = 0;
  if (!in.digits(2, hour)) return false;
  const bool colon = in.take(':');
  if ((colon || !in.done()) && !in.digits(2, minute)) return false;
  if (hour > 23 || minute > 59) return false;
  offset_us = hour * kHourUs + minute * kMinuteUs;
  if (west) offset_us = -offset_us;
  return true;
}

void append_padded(std::string& out, std::uint64_t value, std::size_t width) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const auto length = static_cast<std::size_t>(end - digits.data());
  if (length < width) out.append(width - length, '0');
  out.append(digits.data(), length);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equals_lower(std::string_view text, std::string_view lowered) {
  if (text.size() != lowered.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (lower(text[i]) != lowered[i]) return false;
  }
  return true;
}

struct Unit {
  std::string_view name;
  std::int64_t us;
};

/// No bare `m`: it is minutes to some and months to others.
constexpr std::array kShortUnits{
    Unit{"us", 1},          Unit{"microsecond", 1},     Unit{"microseconds", 1},
    Unit{"ms", 1'000},      Unit{"millisecond", 1'000}, Unit{"milliseconds", 1'000},
    Unit{"s", kSecondUs},   Unit{"sec", kSecondUs},     Unit{"secs", kSecondUs},
    Unit{"min", kMinuteUs}, Unit{"mins", kMinuteUs},    Unit{"h", kHourUs},
    Unit{"hr", kHourUs},    Unit{"hrs", kHourUs},       Unit{"d", kDayUs},
    Unit{"w", 7 * kDayUs},
};

constexpr std::array kQueryUnits{
    Unit{"second", kSecondUs},  Unit{"seconds", kSecondUs}, Unit{"minute", kMinuteUs},
    Unit{"minutes", kMinuteUs}, Unit{"hour", kHourUs},      Unit{"hours", kHourUs},
    Unit{"day", kDayUs},        Unit{"days", kDayUs},       Unit{"week", 7 * kDayUs},
    Unit{"weeks", 7 * kDayUs},
};

template <std::size_t N>
std::optional<std::int64_t> find_unit(const std::array<Unit, N>& units, std::string_view name) {
  for (const Unit& unit : units) {
    if (equals_lower(name, unit.name)) return unit.us;
  }
  return std::nullopt;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

/// Number at the front of `text`, as units of 10^-scale; false when there is none or it overflows.
bool take_decimal(std::string_view& text, std::int64_t& mantissa, std::int64_t& divisor) {
  mantissa = 0;
  divisor = 1;
  std::size_t digits = 0;
  bool point = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '.' && !point && digits > 0) {
      point = true;
      continue;
    }
    if (!Scanner::is_digit(text[i])) break;
    if (mantissa > (kInt64Max - 9) / 10 || divisor > kInt64Max / 10) return false;
    mantissa = mantissa * 10 + (text[i] - '0');
    if (point) divisor *= 10;
    ++digits;
  }
  if (digits == 0 || (i > 0 && text[i - 1] == '.')) return false;
  text.remove_prefix(i);
  return true;
}

}  // namespace

TimeUs shift(TimeUs time, std::int64_t duration_us) {
  std::int64_t out = 0;
  if (!__builtin_add_overflow(time.value, duration_us, &out)) return TimeUs(out);
  return duration_us < 0 ? kTimeMin : kTimeMax;
}

std::optional<TimeUs> try_parse_time(std::string_view text) {
  Scanner in(text);
  std::int64_t days = 0;
  if (!scan_date(in, days)) return std::nullopt;
  if (in.done()) return TimeUs(days * kDayUs);
  std::int64_t clock_us = 0;
  std::int64_t offset_us = 0;
  if (!in.take(' ') && !in.take('T') && !in.take('t')) return std::nullopt;
  if (!scan_clock(in, clock_us) || !scan_zone(in, offset_us) || !in.done()) return std::nullopt;
  return TimeUs(days * kDayUs + clock_us - offset_us);
}

Result<TimeUs> parse_time(std::string_view text) {
  if (const auto time = try_parse_time(text)) return *time;
  return Error{Errc::Malformed,
               "not a time: \"" + std::string(text.substr(0, 64)) +
                   "\"; expected 2010-01-01, 2010-01-01 12:30[:05[.25]] or "
                   "2010-01-01T12:30:05Z (also +02:00, +0200, +02), years 0001 to 9999"};
}

std::string format_time(TimeUs time) {
  const std::int64_t days = floor_div(time.value, kDayUs);
  // Not time - days * kDayUs: at kTimeMin that product is below int64.
  std::int64_t us = time.value % kDayUs;
  if (us < 0) us += kDayUs;
  const Civil date = civil_from_days(days);
  std::string out;
  out.reserve(32);
  if (date.year < 0) out += '-';
  append_padded(out, static_cast<std::uint64_t>(date.year < 0 ? -date.year : date.year), 4);
  out += '-';
  append_padded(out, date.month, 2);
  out += '-';
  append_padded(out, date.day, 2);
  out += 'T';
  append_padded(out, static_cast<std::uint64_t>(us / kHourUs), 2);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(us / kMinuteUs % 60), 2);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(us / kSecondUs % 60), 2);
  if (const std::int64_t fraction = us % kSecondUs; fraction != 0) {
    out += '.';
    append_padded(out, static_cast<std::uint64_t>(fraction), 6);
  }
  out += 'Z';
  return out;
}

Result<std::int64_t> parse_duration_us(std::string_view text) {
  const auto malformed = [&](const char* cause) {
    return Error{Errc::Malformed, "not a duration: \"" + std::string(text.substr(0, 64)) + "\" (" +
                                      cause +
                                      "); expected a number and one of us, ms, s, min, h, d, w, "
                                      "SECONDS, MINUTES, HOURS, DAYS, WEEKS"};
  };
  std::string_view rest = trim(text);
  std::int64_t mantissa = 0;
  std::int64_t divisor = 1;
  if (!take_decimal(rest, mantissa, divisor)) return malformed("no number, or too large a one");
  rest = trim(rest);
  if (rest.empty()) return malformed("no unit");
  auto unit = find_unit(kQueryUnits, rest);
  if (!unit) unit = find_unit(kShortUnits, rest);
  if (!unit) return malformed("unknown unit");
  const Wide us = static_cast<Wide>(mantissa) * *unit / divisor;
  if (us > kInt64Max) return malformed("longer than 292,000 years");
  return static_cast<std::int64_t>(us);
}

std::optional<std::int64_t> unit_us(std::string_view unit) {
  return find_unit(kQueryUnits, unit);
}

}  // namespace accrete
