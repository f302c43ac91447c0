// Typed cells of JSON values.
#include "daemon/event_cells.h"

#include <charconv>
#include <optional>
#include <utility>

#include "daemon/exact_number.h"

namespace accrete::daemon {

ColumnUses::ColumnUses(const Schema& schema) : schema_(schema) {
  for (const Table& table : schema.tables()) {
    std::vector<ColumnUse>& uses = uses_.emplace_back(table.columns.size(), ColumnUse::Other);
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const ColumnKind kind = table.columns[i].kind;
      if (kind == ColumnKind::Time) uses[i] = ColumnUse::Time;
      if (kind == ColumnKind::Number) uses[i] = ColumnUse::Number;
      if (kind == ColumnKind::Key || kind == ColumnKind::ForeignKey) uses[i] = ColumnUse::Identity;
    }
    if (table.time) uses[table.time->value] = ColumnUse::Time;
    for (const ColumnId column : table.key)
      uses[column.value] = ColumnUse::Identity;
    for (const ForeignKey& foreign : table.foreign_keys) {
      for (const ColumnId column : foreign.columns)
        uses[column.value] = ColumnUse::Identity;
    }
  }
}

ColumnUse ColumnUses::of(TableId table, std::string_view column) const {
  const std::optional<ColumnId> id = schema_.table(table).find(column);
  const std::vector<ColumnUse>& uses = uses_[table.value];
  return id && id->value < uses.size() ? uses[id->value] : ColumnUse::Other;
}

Result<Value> plain_value(const Json& value, bool exact, std::deque<std::string>& texts) {
  switch (value.kind()) {
    case Json::Kind::Null:
      return Value::null();
    case Json::Kind::Flag:
      return Value::flag(value.is_true());
    case Json::Kind::Number:
      return number_value(value.text(), exact, texts);
    case Json::Kind::Text:
      return Value::of_text(value.text());
    case Json::Kind::List:
    case Json::Kind::Object:
      break;
  }
  return Value::of_text(texts.emplace_back(json_of(value)));
}

std::string_view text_in(const Json& parent, std::string_view name) {
  const Json* value = parent.find(name);
  const bool scalar =
      value != nullptr && !value->is(Json::Kind::List) && !value->is(Json::Kind::Object);
  return scalar ? value->text() : std::string_view();
}

std::optional<TimeUs> time_in(const Json& parent, std::string_view name, std::int64_t unit_us) {
  const std::string_view text = text_in(parent, name);
  std::int64_t count = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
  std::int64_t us = 0;
  if (text.empty() || read.ec != std::errc() || read.ptr != text.data() + text.size() ||
      __builtin_mul_overflow(count, unit_us, &us)) {
    return std::nullopt;
  }
  return TimeUs{us};
}

Result<Value> number_in_text(std::string_view text, std::deque<std::string>& texts) {
  Result<Value> number = number_value(text, false, texts);
  if (number) return number;
  return Error{Errc::Malformed,
               "is configured as a number, but " + number.error().detail +
                   " (a Debezium decimal without its schema block has no scale: send schemas, or "
                   "set decimal.handling.mode=string)"};
}

Result<Value> column_value(const Json& value, ColumnUse use, std::deque<std::string>& texts) {
  if (use == ColumnUse::Number && value.is(Json::Kind::Text)) {
    return number_in_text(value.text(), texts);
  }
  const bool identity = use == ColumnUse::Identity;
  if (identity && (value.is(Json::Kind::List) || value.is(Json::Kind::Object))) {
    return Error{Errc::Malformed, "identifies a row and is " + json_of(value).substr(0, 80) +
                                      "; a key is a number or a text"};
  }
  return plain_value(value, identity, texts);
}

}  // namespace accrete::daemon
