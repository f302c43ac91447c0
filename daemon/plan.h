// A predictive query bound to a schema: names looked up, kinds decided, unsupported forms refused.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/query.h"
#include "proto/result.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// A condition on the cells of one row.
struct RowCondition {
  query::Condition::Kind kind = query::Condition::Kind::Comparison;
  std::vector<RowCondition> children;
  ColumnId column;
  query::Compare compare = query::Compare::Eq;
  query::Literal literal;
};

/// One aggregate over an entity's children through one foreign key, window (t + start, t + end].
struct WindowPlan {
  query::Aggregate aggregate = query::Aggregate::Count;
  RelationId relation;
  std::optional<ColumnId> column;             ///< nullopt: the row itself (`table.*`)
  std::optional<query::Compare> row_compare;  ///< the row's value becomes 0 or 1
  query::Literal row_literal;
  std::optional<RowCondition> where;
  std::int64_t start_us = 0;
  std::int64_t end_us = 0;

  /// Only edges are needed, no row contents.
  bool counts_edges() const { return !column && !where; }
};

/// A condition on an entity: comparisons of windows or of its own columns.
struct EntityCondition {
  query::Condition::Kind kind = query::Condition::Kind::Comparison;
  std::vector<EntityCondition> children;
  std::optional<WindowPlan> window;  ///< else `column`
  ColumnId column;
  query::Compare compare = query::Compare::Eq;
  query::Literal literal;
};

/// RANK TOP lists at most so many.
inline constexpr std::uint32_t kPlacesMax = 100;

struct TaskPlan {
  std::string name;
  TaskKind kind = TaskKind::Binary;
  TableId entity;
  std::optional<ColumnId> column;         ///< of the entity's own row; then there is no window
  WindowPlan target;                      ///< of window tasks
  std::optional<RelationId> items;        ///< ranked lists: the foreign key whose rows are listed
  std::uint32_t places = 0;               ///< and how many
  std::optional<query::Compare> compare;  ///< target compared with a constant: binary
  query::Literal literal;
  std::optional<EntityCondition> where;
  std::int64_t every_us = 0;
  std::vector<TimeUs> anchors;  ///< ascending, at least one
  OnChange on_change = OnChange::Touched;
  std::int64_t debounce_us = 0;

  /// A number or class told of a window: neither a column of the row itself nor a list.
  bool is_window() const { return !column && !items; }

  /// First tick at or after `time`. Ticks count back from the first anchor and forward from each
  /// anchor to the next, starting anew there.
  TimeUs tick_at_or_after(TimeUs time) const;
};

/// Bind one task. Columns that no row has shown yet are accepted and added to the schema.
/// Errors:  Malformed with the query's line and a caret: unknown or ambiguous names (nearest name,
///          or "say VIA column"), an entity that is not a table's single key column, a window that
///          does not follow a foreign key to the entity, and what is parsed but not executed
///          (several horizons); a LIST_DISTINCT without RANK TOP, or of what is no foreign key to
///          other rows. A column of the row itself: one of the
///          key, a foreign key or the time, one whose kind is not known, EVERY, a WHERE that reads
///          it.
Result<TaskPlan> bind_task(const TaskConfig& config, Schema& schema);
/// Bind every task to a copy of the schema, for its errors, which name the file.
Status check_tasks(const Config& config);

}  // namespace accrete::daemon
