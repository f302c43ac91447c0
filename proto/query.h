// The predictive query language: syntax tree, parser and printer. Grammar: proto/README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "proto/result.h"

namespace accrete::query {

/// Where a token stands, for messages: 1-based line and column, byte length.
struct Span {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
  std::uint32_t length = 0;
};

/// `table.column`, or `table.*`.
struct ColumnRef {
  std::string table;
  std::string column;  ///< "*" for the row itself
  Span at;
};

enum class Compare : std::uint8_t { Eq, Ne, Lt, Le, Gt, Ge };

/// A constant: number, 'text', TRUE, FALSE or NULL.
using Literal = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

enum class Aggregate : std::uint8_t {
  Count,
  Sum,
  Avg,
  Min,
  Max,
  First,
  Last,
  CountDistinct,
  Exists,
  ListDistinct,
};
std::string_view aggregate_name(Aggregate aggregate);

struct Condition;
using ConditionPtr = std::unique_ptr<Condition>;

/// AGG(argument [compare literal] [WHERE condition], start, end, UNIT) [VIA foreign_key].
/// The window is (t + start, t + end].
struct Window {
  Aggregate aggregate = Aggregate::Count;
  ColumnRef argument;
  std::optional<Compare> row_compare;  ///< `MAX(results.statusId != 1, …)`: the row's 0/1 value
  Literal row_literal;
  ConditionPtr where;         ///< inner WHERE: a condition on the row
  std::int64_t start_us = 0;  ///< kTimeMin.value for -INF
  std::int64_t end_us = 0;
  std::string via;  ///< the foreign-key column to follow, where several exist
  Span at;
};

/// Left side of a comparison: a window, or a column of the row at hand.
using Operand = std::variant<Window, ColumnRef>;

/// A Boolean tree. Exactly the members that `kind` names are set.
struct Condition {
  enum class Kind : std::uint8_t { And, Or, Not, Comparison, IsNull, IsNotNull };
  Kind kind = Kind::Comparison;
  std::vector<ConditionPtr> children;  ///< And, Or: two or more; Not: one
  Operand operand;                     ///< Comparison, IsNull, IsNotNull
  Compare compare = Compare::Eq;
  Literal literal;
  Span at;
};

/// What is predicted: a window (optionally compared with a constant) or a column of the row.
struct Target {
  Operand operand;
  std::optional<Compare> compare;
  Literal literal;
  std::vector<std::int64_t> more_horizons_us;  ///< `…, 0, 7, DAYS), 14, 28`: further ends
  std::optional<std::uint32_t> rank_top;       ///< RANK TOP k
};

struct Query {
  Target target;
  ColumnRef entity;                      ///< FOR EACH table.key
  ConditionPtr where;                    ///< outer WHERE: who is in the population
  std::optional<std::int64_t> every_us;  ///< EVERY n UNIT
  std::string text;                      ///< as the user wrote it
};

/// Parse one query.
/// Errors:  Malformed; the detail shows the line, a caret under the offending token, what was
///          expected and what was found (with the nearest keyword), e.g.
///            PREDICT CONT(orders.*, 0, 7, DAYS) FOR EACH customers.id
///                    ^~~~
///            expected an aggregate (COUNT, SUM, …) or table.column, found CONT; did you mean
///            COUNT?
/// Limits:  query_bytes_max, query_depth_max. Never throws, never reads outside `text`.
/// Cost:    linear in the text.   Threads: pure.
Result<Query> parse(std::string_view text);

/// Canonical text on one line (unless a constant holds a line break): keywords in capitals, bounds
/// in the largest unit that keeps them whole. parse(print(parse(x))) == parse(x), places aside.
/// Checks:  the tree is one that parse() can return.
std::string print(const Query& query);

/// Malformed: the query's line, a caret at `at`, then `detail`; for errors found after parsing.
/// Tabs are shown as blanks; a line wider than 100 characters is cut around the caret.
Error error_at(std::string_view text, Span at, std::string_view detail);

}  // namespace accrete::query
