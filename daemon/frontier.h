// Whose neighbourhoods hold what an instant changed: the steps of a graph network, walked back from
// the rows that changed to the entities that read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/network_plan.h"
#include "daemon/network_world.h"
#include "daemon/pair_numbering.h"
#include "proto/ids.h"
#include "proto/schema.h"
#include "store/graph.h"

namespace accrete::daemon {

/// All entities around whom a network with these steps reads something else, at the time of the
/// instant, than it would have before the instant's rows were folded; and some around whom it only
/// might: a child that came is taken to be read by its parent, however many newer ones there are.
/// Further away, a row is followed to its parents only where it is among the newest that they read.
///
/// So nobody else's answer changes, as far as it is the network's own. Ages change every answer as
/// time goes on: the two are compared as of the same time. Not followed is what became known of
/// outcomes, what heads read that a network on heads adds to, nor who else is answered (which
/// matters where `batch_experts` bounds the experts of all).
///
/// Threads: one owner, the fold. Deterministic: what is found, and its order, depend on the calls
/// and the graph alone.
class Frontier {
 public:
  /// Rows that changed, rows with other children, and links followed back from both, of one
  /// instant; beyond so many of each the rest is left out, and it is cut().
  static constexpr std::size_t kLinksMax = 1u << 17;

  /// Of the networks of tasks of this entity. Schema, world and graph must outlive it.
  Frontier(const Schema& schema, TableId entity, NetworkWorld& world, store::Graph& graph);

  /// The row got a version, or ended.
  void changed(NodeId row) { keep(changed_, row, 0); }
  /// A child of the row came, went or moved away.
  void relisted(NodeId parent) { keep(relisted_, parent, 1); }

  /// Rows of the entity's table, each once, nearest first; none before the first timed row. What
  /// was told is forgotten. Good until the next call. Cost: a read or two of the graph for each
  /// link.
  std::span<const std::uint32_t> take(TimeUs at);

  /// Instants of which more would have had to be followed.
  std::uint64_t cut() const { return cut_; }
  std::size_t memory_bytes() const;

 private:
  /// How rows of a table are read by others.
  struct Reader {
    Way way = Way::Up;
    RelationId near;
    RelationId far;
    std::uint16_t target = 0;
  };
  struct Reached {
    std::uint16_t table = 0;  // of the plan
    std::uint32_t row = 0;
  };

  void keep(std::vector<NodeId>& list, NodeId node, std::size_t steps);
  void walk();
  void reach(std::uint16_t table, std::uint32_t row);
  void reach(NodeId node);
  void follow(const Reached& from, const Reader& reader);
  void list_children(RelationId key, std::uint32_t parent);
  void reach_parent(NodeId child, RelationId key, std::uint16_t target);

  const Schema& schema_;
  NetworkPlan plan_;
  store::Graph& graph_;
  NetworkRows& rows_;
  std::size_t read_max_ = 0;                  // newest children that a row reads; 0: any
  std::vector<std::uint16_t> place_;          // of a TableId in the plan; kNowhere
  std::vector<std::size_t> distance_;         // of the plan's tables: steps from the entity
  std::vector<std::vector<Reader>> readers_;  // by table of the plan

  std::vector<NodeId> changed_;
  std::vector<NodeId> relisted_;
  PairNumbering kept_;     // in one of these: row, twice the table of the plan + which
  bool left_out_ = false;  // something of this instant

  // Of the call at hand.
  TimeUs at_;
  std::size_t step_ = 0;  // of those that are being reached
  std::size_t links_ = 0;
  PairNumbering seen_;  // row, table
  std::vector<Reached> reached_;
  std::vector<std::uint32_t> entities_;
  std::vector<store::Edge> children_;
  std::vector<store::Edge> read_;
  std::uint64_t cut_ = 0;
};

}  // namespace accrete::daemon
