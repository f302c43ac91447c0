// SQL types by their names, and their values in text.
#include "daemon/sql_value.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "daemon/exact_number.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::array<std::string_view, 15> kNumbers = {
    "bigint",  "bigserial", "decimal", "double",   "float",       "int",     "integer", "mediumint",
    "numeric", "real",      "serial",  "smallint", "smallserial", "tinyint", "year"};

/// Not a date but MySQL's way of saying that there is none.
bool is_zero_date(std::string_view text) {
  return text.starts_with("0000-00-00") &&
         text.find_first_not_of("0-: .") == std::string_view::npos;
}

}  // namespace

SqlType sql_type_of(std::string_view name) {
  std::string word;
  for (const char c : name) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0) break;
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (name.ends_with("[]")) return SqlType::Unknown;
  if (word == "date" || word == "datetime" || word == "timestamp" || word == "timestamptz") {
    return SqlType::Time;
  }
  const bool number = std::find(kNumbers.begin(), kNumbers.end(), word) != kNumbers.end();
  return number ? SqlType::Number : SqlType::Unknown;
}

Result<Value> sql_value(const Json& value, SqlType type, ColumnUse use,
                        std::deque<std::string>& texts) {
  const std::string_view text = value.text();
  if (value.is(Json::Kind::Text) && type == SqlType::Number) {
    if (text == "NaN" || text == "Infinity" || text == "-Infinity") return Value::null();
    return number_value(text, use == ColumnUse::Identity, texts);
  }
  if (value.is(Json::Kind::Text) && (type == SqlType::Time || use == ColumnUse::Time)) {
    if (is_zero_date(text)) return Value::null();
    const std::optional<TimeUs> time = try_parse_time(text);
    if (time) return Value::of_time(*time);
  }
  return column_value(value, use, texts);
}

}  // namespace accrete::daemon
