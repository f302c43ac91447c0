// Which aggregates the features of every task need: a walk over the schema from the tasks' entity
// tables along foreign keys.
//
// An entity reads the aggregates of several keys: its own, those of its parents and their parents,
// those that its newest child row names beside it (driver -> last result -> constructor; through an
// event, one step further: -> race -> circuit), those of the entities that share an attribute with
// it, and the whole table's. For each key, aggregates of the tables that reach it by a foreign key,
// or by a foreign key of one, with the columns of the rows that these name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/plan.h"
#include "proto/ids.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// What a row names, looked up by row: its parent by a foreign key, or the group of its rows with
/// its value of a column. Connects a child of that row to its key.
struct HopPlan {
  TableId table;
  std::size_t slot = 0;           ///< a foreign key of the table, or after these an attribute
  std::optional<TableId> target;  ///< nullopt: an attribute
};

/// What an ordered aggregate remembers of its newest row: the row a foreign key of it names, or
/// the row that this one's foreign key names.
struct LinkPlan {
  std::uint16_t foreign_key = 0;
  std::optional<std::size_t> hop;
  TableId target;
};

/// A task's own expression on a row of its target, e.g. `statusId != 1`.
struct ExpressionPlan {
  std::string name;
  TaskPlan task;
};

/// The columns of the row that a foreign key names, as that row was at the time of the naming row.
struct JoinPlan {
  std::uint16_t foreign_key = 0;
  std::size_t source = 0;
};

/// A table whose rows are read: aggregated, joined, or on the way from rows to their key.
struct SourcePlan {
  TableId table;
  bool timed = false;
  std::vector<JoinPlan> joins;       ///< only if it has streams
  std::vector<ColumnId> attributes;  ///< by which its rows are grouped
  std::vector<ExpressionPlan> expressions;
  std::vector<LinkPlan> links;
  std::vector<std::size_t> streams;  ///< that its rows enter
  std::vector<std::size_t> hops;     ///< on its own foreign keys
  std::size_t everything = 0;        ///< its global stream; only if it has streams
};

/// Aggregates of one source's rows by one way to a key.
struct StreamPlan {
  std::size_t source = 0;
  bool global = false;  ///< one key, 0
  std::uint16_t foreign_key = 0;
  RelationId relation;             ///< of that foreign key
  std::optional<std::size_t> hop;  ///< from the foreign key's row on to the key
  TableId key_table;

  /// Rows come to a key by one foreign key, so that the graph knows its newest ones.
  bool ordered() const { return !global && !hop; }
};

/// How an entity comes to a key whose aggregates it reads.
struct KeyPlan {
  enum class Way : std::uint8_t { Self, Parent, Newest, Everything };
  Way way = Way::Self;
  std::vector<std::size_t> hops;  ///< Parent: one or two; also to the group of an attribute
  std::size_t stream = 0;         ///< Newest: whose newest row
  std::size_t link = 0;           ///< Newest: which of its links
  std::string name;               ///< for people; empty for Self
  std::vector<std::size_t> streams;
};

struct SynthesisPlan {
  std::vector<double> half_lives_us;  ///< ascending, powers of four days
  std::vector<SourcePlan> sources;
  std::vector<HopPlan> hops;
  std::vector<StreamPlan> streams;
  std::vector<TableId> entities;           ///< by task
  std::vector<std::vector<KeyPlan>> keys;  ///< by task; none for a column of the row itself

  std::optional<std::size_t> source_of(TableId table) const;
  /// Group the rows of an entity table by a column: one more key for its tasks, with new streams
  /// for the children of the entity. Returns the first new stream.
  std::size_t add_attribute(std::size_t source, ColumnId column, const Schema& schema);
  /// "driverId" or "raceId.circuitId": the columns that lead from a stream's rows to its key.
  std::string way_name(const StreamPlan& stream, const Schema& schema) const;
  /// The same for what the links of a source lead to.
  std::vector<std::string> link_names(std::size_t source, const Schema& schema) const;
};

/// A task's unit of time: the length of its window.
std::int64_t window_us(const TaskPlan& task);
/// Of `half_lives_us`, those nearest to 2, 8 and 32 windows, ascending and different.
std::vector<std::size_t> lives_of(const TaskPlan& task, const std::vector<double>& half_lives_us);

/// Deterministic: the order of streams depends on the order of tasks and tables only.
SynthesisPlan plan_synthesis(const std::vector<TaskPlan>& tasks, const Schema& schema);

}  // namespace accrete::daemon
