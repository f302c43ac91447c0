// What the graph network sees around the rows of a table: the tables that a few steps reach, and
// the relations along which nodes read others, found in the schema.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "models/graph_batch.h"
#include "proto/ids.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// How the nodes of a relation's target find those of its source.
enum class Way : std::uint8_t {
  Up,       ///< a row reads the one that its foreign key names
  Down,     ///< a row reads those that name it
  Through,  ///< a row reads those that its children name with another foreign key, in one step
  Labels,   ///< an entity reads its own outcomes that are known
};

struct NetworkRelation {
  models::RelationShape shape;
  Way way = Way::Up;
  RelationId near;  ///< the foreign key of the step; Through: of the first half, downwards
  RelationId far;   ///< Through: of the second half, upwards
};

/// Tables of a batch are positions in `tables`; the outcomes are a table of their own behind them.
/// The order is that of the schema, so plans of one entity table agree but for the outcomes.
struct NetworkPlan {
  static constexpr std::size_t kRelationsMax = 64;  ///< each has weights of its own in every expert

  std::size_t hops = 0;
  std::uint16_t entity = 0;
  std::vector<TableId> tables;
  std::vector<NetworkRelation> relations;  ///< Up and Down, then Through, Labels last

  std::uint16_t labels() const { return static_cast<std::uint16_t>(tables.size()); }
  std::size_t table_count() const { return tables.size() + 1; }
  std::vector<models::RelationShape> shapes() const;
};

/// The tables within `hops` steps of the entity and all relations whose target is within hops - 1,
/// at most kRelationsMax: of more, the last Through and then the last foreign keys are left out.
/// A Through never goes back along the foreign key that it came by, and its first half is a Down of
/// the plan. Checks: hops >= 1. Cost: hops × foreign keys, and their pairs within a table.
NetworkPlan plan_network(const Schema& schema, TableId entity, std::size_t hops);

}  // namespace accrete::daemon
