// A cell's text as PostgreSQL prints it, as a typed value.
#include "daemon/postgres/cell_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "proto/time.h"

namespace accrete::daemon::postgres {
namespace {

/// Decimal digits that every double gives back unchanged.
constexpr std::size_t kDoubleDigits = 15;
constexpr std::int64_t kYearMax = 300'000;  // beyond what int64 microseconds reach

Error wrong(std::string_view text, const char* type) {
  constexpr std::size_t shown_max = 64;
  return Error{Errc::Malformed, "\"" + std::string(text.substr(0, shown_max)) + "\" is no " + type};
}

template <class T>
std::optional<T> whole_number(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, fault] = std::from_chars(text.data(), end, value);
  if (fault != std::errc() || stop != end) return std::nullopt;
  return value;
}

Result<Value> float_value(std::string_view text) {
  if (text == "NaN" || text == "Infinity" || text == "-Infinity") return Value::of_text(text);
  const auto value = whole_number<double>(text);
  if (!value || !std::isfinite(*value)) return wrong(text, "floating-point number");
  return Value::of_real(*value);
}

Result<Value> numeric_value(std::string_view text, CellRole role) {
  if (text == "NaN" || text == "Infinity" || text == "-Infinity") return Value::of_text(text);
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  const bool plain = !digits.empty() && digits.find_first_not_of("0123456789.") == digits.npos &&
                     std::count(digits.begin(), digits.end(), '.') <= 1 && digits.front() != '.' &&
                     digits.back() != '.';
  if (!plain) return wrong(text, "numeric");
  std::string_view kept = text;
  if (kept.find('.') != std::string_view::npos) {
    kept = kept.substr(0, kept.find_last_not_of('0') + 1);
    if (kept.back() == '.') kept.remove_suffix(1);
  }
  const bool whole = kept.find('.') == std::string_view::npos;
  if (whole) {
    if (const auto integer = whole_number<std::int64_t>(kept)) return Value::of_integer(*integer);
  }
  const std::size_t first = kept.find_first_of("123456789");
  const std::size_t significant =
      first == std::string_view::npos
          ? 0
          : kept.size() - first - (kept.find('.', first) != std::string_view::npos ? 1 : 0);
  const auto real = whole_number<double>(kept);
  const bool exact = significant <= kDoubleDigits;
  if (!real || !std::isfinite(*real)) return Value::of_text(kept);
  if (exact || role == CellRole::Plain) return Value::of_real(*real);
  return Value::of_text(kept);
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar; year 0 is 1 BC.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
std::int64_t days_from_civil(std::int64_t year, std::int64_t month, std::int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

/// Eats a text from its front.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : left_(text) {}

  std::optional<std::int64_t> number(std::size_t digits_min, std::size_t digits_max) {
    std::size_t count = 0;
    std::int64_t value = 0;
    while (count < left_.size() && count < digits_max && left_[count] >= '0' &&
           left_[count] <= '9') {
      value = value * 10 + (left_[count] - '0');
      ++count;
    }
    if (count < digits_min) return std::nullopt;
    left_.remove_prefix(count);
    digits_ = count;
    return value;
  }
  bool eat(char c) {
    if (!left_.starts_with(c)) return false;
    left_.remove_prefix(1);
    return true;
  }
  bool done() const { return left_.empty(); }
  std::size_t digits() const { return digits_; }

 private:
  std::string_view left_;
  std::size_t digits_ = 0;
};

/// `HH:MM:SS[.ffffff]`, microseconds.
std::optional<std::int64_t> scan_time_of_day(Scanner& scanner) {
  const auto hour = scanner.number(2, 2);
  if (!hour || !scanner.eat(':')) return std::nullopt;
  const auto minute = scanner.number(2, 2);
  if (!minute || !scanner.eat(':')) return std::nullopt;
  const auto second = scanner.number(2, 2);
  if (!second || *hour > 24 || *minute > 59 || *second > 60) return std::nullopt;
  std::int64_t us = *hour * kHourUs + *minute * kMinuteUs + *second * kSecondUs;
  if (scanner.eat('.')) {
    auto fraction = scanner.number(1, 6);
    if (!fraction) return std::nullopt;
    for (std::size_t i = scanner.digits(); i < 6; ++i)
      *fraction *= 10;
    us += *fraction;
  }
  return us;
}

/// `+HH[:MM[:SS]]`, microseconds east of UTC; 0 where there is none.
std::optional<std::int64_t> scan_zone(Scanner& scanner) {
  const bool west = scanner.eat('-');
  if (!west && !scanner.eat('+')) return 0;
  std::int64_t offset = 0;
  for (const std::int64_t unit : {kHourUs, kMinuteUs, kSecondUs}) {
    const auto part = scanner.number(2, 2);
    if (!part) return std::nullopt;
    offset += *part * unit;
    if (!scanner.eat(':')) break;
  }
  return west ? -offset : offset;
}

}  // namespace

Result<std::optional<TimeUs>> parse_postgres_time(std::string_view text) {
  using Time = std::optional<TimeUs>;
  if (text == "infinity" || text == "-infinity") return Time();
  std::string_view civil = text;
  const bool before_christ = civil.ends_with(" BC");
  if (before_christ) civil.remove_suffix(3);
  Scanner scanner(civil);
  const Error fault = wrong(text, "date or timestamp in ISO style");
  auto year = scanner.number(4, 7);
  if (!year || !scanner.eat('-')) return fault;
  const auto month = scanner.number(2, 2);
  if (!month || !scanner.eat('-')) return fault;
  const auto day = scanner.number(2, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return fault;
  std::int64_t us = 0;
  if (scanner.eat(' ')) {
    const auto of_day = scan_time_of_day(scanner);
    const auto zone = of_day ? scan_zone(scanner) : std::nullopt;
    if (!zone) return fault;
    us = *of_day - *zone;
  }
  if (!scanner.done()) return fault;
  if (before_christ) year = 1 - *year;
  if (*year > kYearMax) return Time();
  std::int64_t out = 0;
  if (__builtin_mul_overflow(days_from_civil(*year, *month, *day), kDayUs, &out) ||
      __builtin_add_overflow(out, us, &out)) {
    return Time();
  }
  return Time(TimeUs(out));
}

Result<Value> cell_value(std::string_view text, std::uint32_t type, CellRole role) {
  switch (static_cast<TypeOid>(type)) {
    case TypeOid::Bool:
      if (text == "t" || text == "f") return Value::flag(text == "t");
      return wrong(text, "boolean");
    case TypeOid::Int8:
    case TypeOid::Int2:
    case TypeOid::Int4:
    case TypeOid::Oid:
      if (const auto integer = whole_number<std::int64_t>(text)) {
        return Value::of_integer(*integer);
      }
      return wrong(text, "integer");
    case TypeOid::Float4:
    case TypeOid::Float8:
      return float_value(text);
    case TypeOid::Numeric:
      return numeric_value(text, role);
    case TypeOid::Date:
    case TypeOid::Timestamp:
    case TypeOid::TimestampTz: {
      ACCRETE_TRY(const std::optional<TimeUs> time, parse_postgres_time(text));
      return time ? Value::of_time(*time) : Value::null();
    }
  }
  return Value::of_text(text);
}

}  // namespace accrete::daemon::postgres
