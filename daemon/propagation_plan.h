// What lies around a row: the foreign-key paths that a propagation head reads, found in the schema.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/ids.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// A table with two foreign keys to the entity: each of its rows is an edge between two entities.
struct BridgeHop {
  TableId table;
  RelationId first;
  RelationId second;
};

/// One step from a row to others: up to its parent, or down to its children.
struct PathStep {
  RelationId relation;
  bool up = false;
};

/// A way of one or two steps to the rows of another table, or of siblings.
struct RowPath {
  std::vector<PathStep> steps;
  TableId end;
};

struct PropagationPlan {
  TableId entity;
  ColumnId masked;                 ///< the predicted column, of all rows of the entity
  std::vector<BridgeHop> bridges;  ///< these and self keys together are one graph of entities
  std::vector<RelationId> self_keys;
  std::vector<RowPath> paths;

  bool graph() const { return !bridges.empty() || !self_keys.empty(); }
  bool any() const { return graph() || !paths.empty(); }
};

/// Paths in the order of the schema, at most 32: parents, their parents and other children;
/// children, their children and other parents. Never back along the step just taken, unless down
/// from a parent to the row's siblings. What bridges and self keys join is the graph's, not a path.
PropagationPlan plan_propagation(const Schema& schema, TableId entity, ColumnId masked);

}  // namespace accrete::daemon
