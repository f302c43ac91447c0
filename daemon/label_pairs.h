// Pairs of entities that share a row, with their labels: what says whether neighbours are alike
// (models/label_signals.h).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "daemon/network_plan.h"
#include "daemon/network_rows.h"
#include "models/label_signals.h"
#include "proto/ids.h"
#include "proto/schema.h"
#include "store/graph.h"

namespace accrete::daemon {

/// A path leads from an entity to the row that it names, or that its newest child names, in the
/// order of the plan: its relations Up and Through whose target is the entity. Of those that reach
/// one row at an instant each is paired with the next in an order drawn anew for the instant (in
/// the order of their coming those next to each other would be as old as each other, too), so that
/// pairs are as many as labels; beside each pair stands somebody else of that instant. Where a path
/// leads to an entity and its label can be asked for, the two ends of the path are the pair.
///
/// Threads: the fold's. Deterministic.
class LabelPairs {
 public:
  /// All must outlive it.
  LabelPairs(const Schema& schema, const NetworkPlan& plan, store::Graph& graph, NetworkRows& rows);

  std::size_t paths() const { return paths_.size(); }
  /// Labels (NaN: not known) of these entities, each once, as of `at`. `named`: the same two at the
  /// same row are one pair however often they are told under one such time. Cost: a version and a
  /// list's newest edge a row and path.
  void add(std::span<const std::uint32_t> rows, std::span<const double> labels, TimeUs at,
           TimeUs named, models::LabelSignals& signals);

  /// Label of an entity that is known at a time; NaN: none.
  using LabelOf = std::function<double(std::uint32_t row, TimeUs at)>;
  void set_label_of(LabelOf label_of) { label_of_ = std::move(label_of); }

 private:
  struct Path {
    bool through = false;
    RelationId down;                // through: the children
    TableId child;                  // through: their table
    std::uint16_t foreign_key = 0;  // of the entity, or of the child
    bool to_entity = false;
  };
  struct End {
    std::uint32_t row = 0;
    std::uint64_t draw = 0;  // its place among those of the row
    std::uint32_t position = 0;

    auto operator<=>(const End&) const = default;
  };
  void pair_with_ends(std::size_t path, std::span<const std::uint32_t> rows,
                      std::span<const double> labels, TimeUs at, TimeUs named,
                      models::LabelSignals& signals);
  void pair_those_that_meet(std::size_t path, std::span<const std::uint32_t> rows,
                            std::span<const double> labels, TimeUs named,
                            models::LabelSignals& signals);
  std::uint32_t end_of(const Path& path, std::uint32_t row, TimeUs at);

  store::Graph& graph_;
  NetworkRows& rows_;
  TableId entity_;
  std::vector<Path> paths_;
  LabelOf label_of_;
  std::vector<End> ends_;
  std::vector<store::Edge> edges_;
};

}  // namespace accrete::daemon
