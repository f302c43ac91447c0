// Labels and populations: aggregates over an entity's children as of a time, straight from the
// graph.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "daemon/plan.h"
#include "daemon/row_reader.h"
#include "proto/ids.h"
#include "store/graph.h"

namespace accrete::daemon {

/// What an aggregate came to: a number, or the text of a picked value (FIRST, LAST of a category).
struct WindowValue {
  double number = 0;
  std::string text;
};

/// Larger numbers are no labels: squares of them, and sums of those, would leave the doubles.
inline constexpr double kLabelMax = 1e100;
/// False of what is no number or beyond kLabelMax.
inline bool is_learnable(double label) {
  return std::abs(label) <= kLabelMax;
}

class WindowReader {
 public:
  WindowReader(store::Graph& graph, RowReader& rows, const Schema& schema)
      : graph_(graph), rows_(rows), schema_(schema) {}

  /// The aggregate over children with time in (at + start, at + end] as they were at at + end.
  /// nullopt where it has no value: an empty window, except for COUNT, SUM, EXISTS.
  /// `want_text`: FIRST and LAST give the value's text.
  std::optional<WindowValue> value(const WindowPlan& plan, NodeId entity, TimeUs at,
                                   bool want_text = false);

  /// The label of a task for an entity predicted at `at`. Binary: 0 or 1. A number may be one that
  /// cannot be learnt (is_learnable()): sums of doubles can be infinite.
  std::optional<WindowValue> label(const TaskPlan& plan, NodeId entity, TimeUs at);

  /// What one row of the target's table says to the target: its value as the aggregate takes it,
  /// compared as the query compares extremes and picks; nullopt where it has none to learn from.
  std::optional<double> row_value(const TaskPlan& plan, const RowContent& row);

  /// Does the entity (a row valid at `at`) belong to the population? A comparison with a missing
  /// value is false.
  bool belongs(const EntityCondition& condition, NodeId entity, TimeUs at);

  /// The child rows inside the window that meet its WHERE, as they were at its end, oldest first.
  void rows(const WindowPlan& plan, NodeId entity, TimeUs at, std::vector<store::Edge>& out);

 private:
  std::optional<WindowValue> over_rows(const WindowPlan& plan, NodeId entity, TimeUs at,
                                       bool want_text);
  bool holds(const RowCondition& condition, const RowContent& row);

  store::Graph& graph_;
  RowReader& rows_;
  const Schema& schema_;
  std::vector<store::Edge> edges_;
};

/// Compare a cell with a constant: numbers as numbers, text as text, times with text that reads as
/// one. False when either side is null or the kinds do not compare.
bool compare_cell(const Value& cell, query::Compare compare, const query::Literal& literal);
/// Compare a number with a numeric constant.
bool compare_number(double number, query::Compare compare, const query::Literal& literal);

}  // namespace accrete::daemon
