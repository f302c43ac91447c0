// Aggregates over time windows of an entity's children.
#include "daemon/window.h"

#include <algorithm>
#include <set>
#include <utility>

#include "proto/time.h"

namespace accrete::daemon {
namespace {

using query::Aggregate;
using query::Compare;

template <class T>
bool compare_with(const T& a, Compare compare, const T& b) {
  switch (compare) {
    case Compare::Eq:
      return a == b;
    case Compare::Ne:
      return a != b;
    case Compare::Lt:
      return a < b;
    case Compare::Le:
      return a <= b;
    case Compare::Gt:
      return a > b;
    case Compare::Ge:
      return a >= b;
  }
  return false;
}

std::optional<double> number_of(const query::Literal& literal) {
  if (const auto* flag = std::get_if<bool>(&literal)) return *flag ? 1.0 : 0.0;
  if (const auto* integer = std::get_if<std::int64_t>(&literal)) {
    return static_cast<double>(*integer);
  }
  if (const auto* real = std::get_if<double>(&literal)) return *real;
  return std::nullopt;
}

/// Folds the values of a window into its aggregate, in time order.
class Accumulator {
 public:
  explicit Accumulator(Aggregate aggregate) : aggregate_(aggregate) {}

  void add(const Value& cell) {
    if (aggregate_ == Aggregate::CountDistinct) {
      std::string key;
      append_key(key, cell);
      distinct_.insert(std::move(key));
      return;
    }
    if (aggregate_ == Aggregate::First || aggregate_ == Aggregate::Last) {
      if (count_++ > 0 && aggregate_ == Aggregate::First) return;
      picked_text_ = value_text(cell);
      number_ = cell.is_number() ? cell.as_number() : 0;
      return;
    }
    if (!cell.is_number() && cell.kind != ValueKind::Time && !counts()) return;
    add_number(counts() ? 1 : cell.as_number());
  }

  std::optional<WindowValue> result(bool want_text) const {
    switch (aggregate_) {
      case Aggregate::Count:
        return WindowValue{static_cast<double>(count_), {}};
      case Aggregate::Exists:
        return WindowValue{count_ > 0 ? 1.0 : 0.0, {}};
      case Aggregate::CountDistinct:
        return WindowValue{static_cast<double>(distinct_.size()), {}};
      case Aggregate::Sum:
        return WindowValue{number_, {}};
      default:
        break;
    }
    if (count_ == 0) return std::nullopt;
    if (aggregate_ == Aggregate::Avg) {
      return WindowValue{number_ / static_cast<double>(count_), {}};
    }
    return WindowValue{number_, want_text ? picked_text_ : std::string()};
  }

 private:
  bool counts() const { return aggregate_ == Aggregate::Count || aggregate_ == Aggregate::Exists; }
  void add_number(double number) {
    if (aggregate_ == Aggregate::Min) {
      number_ = count_ == 0 ? number : std::min(number_, number);
    } else if (aggregate_ == Aggregate::Max) {
      number_ = count_ == 0 ? number : std::max(number_, number);
    } else {
      number_ += number;
    }
    ++count_;
  }

  Aggregate aggregate_;
  std::uint64_t count_ = 0;
  double number_ = 0;
  std::string picked_text_;
  std::set<std::string> distinct_;
};

}  // namespace

bool compare_number(double number, Compare compare, const query::Literal& literal) {
  const auto constant = number_of(literal);
  return constant && compare_with(number, compare, *constant);
}

bool compare_cell(const Value& cell, Compare compare, const query::Literal& literal) {
  if (cell.is_number()) return compare_number(cell.as_number(), compare, literal);
  const auto* text = std::get_if<std::string>(&literal);
  if (cell.kind == ValueKind::Text) {
    if (text != nullptr) return compare_with(cell.text, compare, std::string_view(*text));
    const Value guessed = guess_value(cell.text);
    return guessed.is_number() && compare_number(guessed.as_number(), compare, literal);
  }
  if (cell.kind == ValueKind::Time && text != nullptr) {
    const auto time = try_parse_time(*text);
    return time && compare_with(cell.integer, compare, time->value);
  }
  return false;
}

std::optional<WindowValue> WindowReader::value(const WindowPlan& plan, NodeId entity, TimeUs at,
                                               bool want_text) {
  if (!plan.counts_edges()) return over_rows(plan, entity, at, want_text);
  const TimeUs upto = shift(at, plan.end_us);
  const std::uint64_t count =
      graph_.count(plan.relation, entity, shift(at, plan.start_us), upto, upto);
  const bool exists = plan.aggregate == Aggregate::Exists;
  return WindowValue{exists ? (count > 0 ? 1.0 : 0.0) : static_cast<double>(count), {}};
}

std::optional<WindowValue> WindowReader::over_rows(const WindowPlan& plan, NodeId entity, TimeUs at,
                                                   bool want_text) {
  const TimeUs upto = shift(at, plan.end_us);
  const TableId child = schema_.relations()[plan.relation.value].child;
  edges_.clear();
  graph_.edges(plan.relation, entity, shift(at, plan.start_us), upto, upto, edges_);
  Accumulator accumulator(plan.aggregate);
  for (const store::Edge& edge : edges_) {
    const RowContent* row = rows_.row(NodeId{child, edge.child}, upto);
    if (row == nullptr || (plan.where && !holds(*plan.where, *row))) continue;
    Value cell = plan.column ? row->at(*plan.column) : Value::flag(true);
    if (cell.is_null()) continue;
    if (plan.row_compare) {
      cell = Value::flag(compare_cell(cell, *plan.row_compare, plan.row_literal));
    }
    accumulator.add(cell);
  }
  return accumulator.result(want_text);
}

std::optional<WindowValue> WindowReader::label(const TaskPlan& plan, NodeId entity, TimeUs at) {
  auto result = value(plan.target, entity, at, plan.kind == TaskKind::Multiclass);
  if (result && plan.compare) {
    result->number = compare_number(result->number, *plan.compare, plan.literal) ? 1.0 : 0.0;
  }
  return result;
}

std::optional<double> WindowReader::row_value(const TaskPlan& plan, const RowContent& row) {
  const WindowPlan& target = plan.target;
  const bool counts = target.aggregate == Aggregate::Count || target.aggregate == Aggregate::Exists;
  const std::optional<double> absent = counts ? std::optional(0.0) : std::nullopt;
  if (target.where && !holds(*target.where, row)) return absent;
  if (!target.column) return 1.0;
  const Value& cell = row.at(*target.column);
  if (cell.is_null()) return absent;
  if (target.row_compare) {
    return compare_cell(cell, *target.row_compare, target.row_literal) ? 1.0 : 0.0;
  }
  if (counts) return 1.0;
  if (plan.compare) return compare_cell(cell, *plan.compare, plan.literal) ? 1.0 : 0.0;
  if (!cell.is_number() || !is_learnable(cell.as_number())) return std::nullopt;
  return cell.as_number();
}

bool WindowReader::belongs(const EntityCondition& condition, NodeId entity, TimeUs at) {
  using Kind = query::Condition::Kind;
  const auto inside = [&](const EntityCondition& child) { return belongs(child, entity, at); };
  switch (condition.kind) {
    case Kind::And:
      return std::all_of(condition.children.begin(), condition.children.end(), inside);
    case Kind::Or:
      return std::any_of(condition.children.begin(), condition.children.end(), inside);
    case Kind::Not:
      return !inside(condition.children.front());
    case Kind::Comparison:
    case Kind::IsNull:
    case Kind::IsNotNull:
      break;
  }
  bool present = false;
  bool compared = false;
  if (condition.window) {
    const auto number = value(*condition.window, entity, at);
    present = number.has_value();
    compared = present && compare_number(number->number, condition.compare, condition.literal);
  } else {
    const RowContent* row = rows_.row(entity, at);
    present = row != nullptr && !row->at(condition.column).is_null();
    compared =
        present && compare_cell(row->at(condition.column), condition.compare, condition.literal);
  }
  if (condition.kind == Kind::IsNull) return !present;
  return condition.kind == Kind::IsNotNull ? present : compared;
}

bool WindowReader::holds(const RowCondition& condition, const RowContent& row) {
  using Kind = query::Condition::Kind;
  const auto inside = [&](const RowCondition& child) { return holds(child, row); };
  switch (condition.kind) {
    case Kind::And:
      return std::all_of(condition.children.begin(), condition.children.end(), inside);
    case Kind::Or:
      return std::any_of(condition.children.begin(), condition.children.end(), inside);
    case Kind::Not:
      return !inside(condition.children.front());
    case Kind::IsNull:
      return row.at(condition.column).is_null();
    case Kind::IsNotNull:
      return !row.at(condition.column).is_null();
    case Kind::Comparison:
      break;
  }
  return compare_cell(row.at(condition.column), condition.compare, condition.literal);
}

void WindowReader::rows(const WindowPlan& plan, NodeId entity, TimeUs at,
                        std::vector<store::Edge>& out) {
  const TimeUs upto = shift(at, plan.end_us);
  const TableId child = schema_.relations()[plan.relation.value].child;
  edges_.clear();
  graph_.edges(plan.relation, entity, shift(at, plan.start_us), upto, upto, edges_);
  for (const store::Edge& edge : edges_) {
    const RowContent* row = rows_.row(NodeId{child, edge.child}, upto);
    if (row != nullptr && (!plan.where || holds(*plan.where, *row))) out.push_back(edge);
  }
}

}  // namespace accrete::daemon
