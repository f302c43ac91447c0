// Writes a predictive query in its canonical form.
#include <array>
#include <charconv>
#include <cstdlib>

#include "proto/ids.h"
#include "proto/query.h"
#include "proto/query_lexer.h"
#include "proto/time.h"

namespace accrete::query {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t us;
};
constexpr std::array<Unit, 4> units = {
    {{"DAYS", kDayUs}, {"HOURS", kHourUs}, {"MINUTES", kMinuteUs}, {"SECONDS", kSecondUs}}};

/// The largest unit of which every duration is a whole number; SECONDS with a fraction if none.
/// Weeks are written as days: `0, 28, DAYS` is what people compare.
Unit common_unit(const std::vector<std::int64_t>& durations_us) {
  for (const Unit& unit : units) {
    bool whole = true;
    for (const std::int64_t us : durations_us)
      whole = whole && us % unit.us == 0;
    if (whole) return unit;
  }
  return units.back();
}

/// Decimal text of us / unit.us, exact: the unit divides, or is the second (six digits).
std::string duration_text(std::int64_t us, Unit unit) {
  if (us == kTimeMin.value) return "-INF";
  std::string out = us < 0 ? "-" : "";
  out += std::to_string(std::abs(us / unit.us));
  const std::int64_t rest = std::abs(us % unit.us);
  if (rest != 0) {
    std::string digits = std::to_string(kSecondUs + rest).substr(1);
    while (digits.back() == '0')
      digits.pop_back();
    out += "." + digits;
  }
  return out;
}

std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) out.push_back(quote);
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

std::string name_text(std::string_view name) {
  return is_bare_name(name) ? std::string(name) : quoted(name, '"');
}

std::string column_text(const ColumnRef& ref) {
  return name_text(ref.table) + "." + (ref.column == "*" ? "*" : name_text(ref.column));
}

std::string real_text(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string out(buffer.data(), end);
  // 1.0 must not come back as the integer 1.
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

std::string literal_text(const Literal& literal) {
  if (const auto* flag = std::get_if<bool>(&literal)) return *flag ? "TRUE" : "FALSE";
  if (const auto* integer = std::get_if<std::int64_t>(&literal)) return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&literal)) return real_text(*real);
  if (const auto* text = std::get_if<std::string>(&literal)) return quoted(*text, '\'');
  return "NULL";
}

std::string comparison_text(Compare compare, const Literal& literal) {
  static constexpr std::array<std::string_view, 6> symbols = {"=", "!=", "<", "<=", ">", ">="};
  return " " + std::string(symbols[static_cast<std::size_t>(compare)]) + " " +
         literal_text(literal);
}

std::string condition_text(const Condition& condition);

/// `more_us`: further ends, which share the window's unit.
std::string window_text(const Window& window, const std::vector<std::int64_t>& more_us,
                        Unit& unit) {
  std::vector<std::int64_t> durations = more_us;
  durations.push_back(window.end_us);
  if (window.start_us != kTimeMin.value) durations.push_back(window.start_us);
  unit = common_unit(durations);

  std::string out(aggregate_name(window.aggregate));
  out += "(" + column_text(window.argument);
  if (window.row_compare) out += comparison_text(*window.row_compare, window.row_literal);
  if (window.where) out += " WHERE " + condition_text(*window.where);
  out += ", " + duration_text(window.start_us, unit) + ", " + duration_text(window.end_us, unit) +
         ", " + std::string(unit.name) + ")";
  if (!window.via.empty()) out += " VIA " + name_text(window.via);
  return out;
}

std::string operand_text(const Operand& operand) {
  if (const auto* ref = std::get_if<ColumnRef>(&operand)) return column_text(*ref);
  Unit unit{};
  return window_text(std::get<Window>(operand), {}, unit);
}

/// A child in parentheses where it binds less tightly, or would melt into its parent.
std::string child_text(const Condition& parent, const Condition& child) {
  const bool is_or = child.kind == Condition::Kind::Or;
  const bool is_and = child.kind == Condition::Kind::And;
  const bool enclose = is_or || (is_and && parent.kind != Condition::Kind::Or);
  const std::string text = condition_text(child);
  return enclose ? "(" + text + ")" : text;
}

std::string condition_text(const Condition& condition) {
  switch (condition.kind) {
    case Condition::Kind::And:
    case Condition::Kind::Or: {
      std::string out;
      for (const ConditionPtr& child : condition.children) {
        if (!out.empty()) out += condition.kind == Condition::Kind::And ? " AND " : " OR ";
        out += child_text(condition, *child);
      }
      return out;
    }
    case Condition::Kind::Not:
      return "NOT " + child_text(condition, *condition.children.front());
    case Condition::Kind::IsNull:
      return operand_text(condition.operand) + " IS NULL";
    case Condition::Kind::IsNotNull:
      return operand_text(condition.operand) + " IS NOT NULL";
    case Condition::Kind::Comparison:
      break;
  }
  return operand_text(condition.operand) + comparison_text(condition.compare, condition.literal);
}

std::string target_text(const Target& target) {
  Unit unit{};
  std::string out;
  if (const auto* window = std::get_if<Window>(&target.operand)) {
    out = window_text(*window, target.more_horizons_us, unit);
  } else {
    out = operand_text(target.operand);
  }
  if (target.compare) out += comparison_text(*target.compare, target.literal);
  for (const std::int64_t end_us : target.more_horizons_us) {
    out += ", " + duration_text(end_us, unit);
  }
  if (target.rank_top) out += " RANK TOP " + std::to_string(*target.rank_top);
  return out;
}

}  // namespace

std::string_view aggregate_name(Aggregate aggregate) {
  static constexpr std::array<std::string_view, 10> names = {
      "COUNT",          "SUM",    "AVG",          "MIN", "MAX", "FIRST", "LAST",
      "COUNT_DISTINCT", "EXISTS", "LIST_DISTINCT"};
  return names[static_cast<std::size_t>(aggregate)];
}

std::string print(const Query& query) {
  std::string out = "PREDICT " + target_text(query.target);
  out += " FOR EACH " + column_text(query.entity);
  if (query.where) out += " WHERE " + condition_text(*query.where);
  if (query.every_us) {
    const Unit unit = common_unit({*query.every_us});
    out += " EVERY " + duration_text(*query.every_us, unit) + " " + std::string(unit.name);
  }
  return out;
}

}  // namespace accrete::query
