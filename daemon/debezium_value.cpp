// Logical types of Debezium and Kafka Connect.
#include "daemon/debezium_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "daemon/exact_number.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

constexpr std::string_view kUnavailable = "__debezium_unavailable_value";
constexpr std::string_view kUnavailableBytes =
    "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";  // base64

/// Types that are integers since 1970, and how many microseconds a step has.
struct Step {
  std::string_view name;
  std::int64_t us;  ///< 0: a step is a nanosecond
};
constexpr std::array<Step, 6> kSteps = {{{"io.debezium.time.Date", kDayUs},
                                         {"io.debezium.time.Timestamp", 1000},
                                         {"io.debezium.time.MicroTimestamp", 1},
                                         {"io.debezium.time.NanoTimestamp", 0},
                                         {"org.apache.kafka.connect.data.Date", kDayUs},
                                         {"org.apache.kafka.connect.data.Timestamp", 1000}}};
constexpr std::array<std::string_view, 3> kTexts = {
    "io.debezium.time.ZonedTimestamp", "io.debezium.time.IsoTimestamp", "io.debezium.time.IsoDate"};
constexpr std::string_view kDecimal = "org.apache.kafka.connect.data.Decimal";
constexpr std::string_view kVariableDecimal = "io.debezium.data.VariableScaleDecimal";

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

Error no_value_of(const Json& value, std::string_view type) {
  return wrong(json_of(value).substr(0, 80) + " is no value of type " + std::string(type));
}

template <class T>
std::optional<T> integer_in(const Json& value) {
  T out = 0;
  const std::string_view text = value.text();
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (!value.is(Json::Kind::Number) || read.ec != std::errc() ||
      read.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return out;
}

Result<Value> stepped_time(const Json& value, const Step& step) {
  const std::optional<std::int64_t> count = integer_in<std::int64_t>(value);
  if (!count) return no_value_of(value, step.name);
  std::int64_t us = 0;
  bool beyond = false;
  if (step.us == 0) {
    us = *count / 1000 - (*count % 1000 < 0 ? 1 : 0);  // floor: before 1970 too
  } else {
    beyond = __builtin_mul_overflow(*count, step.us, &us);
  }
  const static std::int64_t first = parse_time("0001-01-01").value().value;
  const static std::int64_t last = parse_time("9999-12-31T23:59:59.999999Z").value().value;
  if (beyond || us < first || us > last) {
    return wrong(std::string(value.text()) + " of type " + std::string(step.name) +
                 " is outside the years 0001 to 9999 (infinity?); write NULL at the source");
  }
  return Value::of_time(TimeUs{us});
}

Result<Value> decimal_of(std::string_view base64, int scale, ColumnUse use,
                         std::deque<std::string>& texts) {
  if (scale < -decimal_scale_max || scale > decimal_scale_max) {
    return wrong("a decimal's scale is -1000 to 1000, not " + std::to_string(scale));
  }
  if (base64 == kUnavailableBytes) return Value::unchanged();
  ACCRETE_TRY(const std::string bytes, decode_base64(base64));
  if (bytes.empty() || bytes.size() > decimal_bytes_max) {
    return wrong("a decimal has 1 to " + std::to_string(decimal_bytes_max) + " bytes, not " +
                 std::to_string(bytes.size()));
  }
  return decimal_value(bytes, scale, use == ColumnUse::Identity, texts);
}

Result<Value> fixed_decimal(const Json& value, std::string_view scale_text, ColumnUse use,
                            std::deque<std::string>& texts) {
  if (!value.is(Json::Kind::Text)) return no_value_of(value, kDecimal);
  int scale = 0;
  const char* end = scale_text.data() + scale_text.size();
  const auto read = std::from_chars(scale_text.data(), end, scale);
  if (scale_text.empty() || read.ec != std::errc() || read.ptr != end) {
    return wrong("a decimal without \"scale\" in its schema; or set decimal.handling.mode=string");
  }
  return decimal_of(value.text(), scale, use, texts);
}

Result<Value> variable_decimal(const Json& value, ColumnUse use, std::deque<std::string>& texts) {
  const Json* scale = value.find("scale");
  const Json* bytes = value.find("value");
  const std::optional<int> count = scale == nullptr ? std::nullopt : integer_in<int>(*scale);
  if (!count || bytes == nullptr || !bytes->is(Json::Kind::Text)) {
    return no_value_of(value, kVariableDecimal);
  }
  return decimal_of(bytes->text(), *count, use, texts);
}

}  // namespace

Result<Value> debezium_value(const Json& value, const DebeziumField& field, ColumnUse use,
                             std::deque<std::string>& texts) {
  if (value.is(Json::Kind::Null)) return Value::null();
  const bool is_text = value.is(Json::Kind::Text);
  if (is_text && (value.text() == kUnavailable || value.text() == kUnavailableBytes)) {
    return Value::unchanged();
  }
  if (field.logical.empty()) return column_value(value, use, texts);
  for (const Step& step : kSteps) {
    if (field.logical == step.name) return stepped_time(value, step);
  }
  if (std::find(kTexts.begin(), kTexts.end(), field.logical) != kTexts.end()) {
    const std::optional<TimeUs> time = is_text ? try_parse_time(value.text()) : std::nullopt;
    if (!time) return no_value_of(value, field.logical);
    return Value::of_time(*time);
  }
  if (field.logical == kDecimal) return fixed_decimal(value, field.scale, use, texts);
  if (field.logical == kVariableDecimal) return variable_decimal(value, use, texts);
  return column_value(value, use, texts);
}

}  // namespace accrete::daemon
