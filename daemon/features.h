// The seam for feature sources, and the one that every task has: deep feature synthesis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/plan.h"
#include "daemon/row_reader.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

class Synthesis;

/// Numbers about an entity as of a time, for one task. Deterministic; reads nothing after `at`.
/// Positions never move: a vector of the past is a prefix of a vector of the future.
class FeatureSource {
 public:
  FeatureSource() = default;
  FeatureSource(const FeatureSource&) = delete;
  FeatureSource& operator=(const FeatureSource&) = delete;
  virtual ~FeatureSource() = default;

  /// A row of the entity table was folded.
  virtual void observe(std::span<const Value> cells) = 0;
  /// The labels of these entities (rows of the entity table), all of one tick, became known at
  /// `at`. They are features from then on.
  virtual void mature(std::span<const std::uint32_t> rows, std::span<const double> labels,
                      TimeUs at) = 0;
  virtual std::size_t width() = 0;
  /// Features of `entity` into `out` (resized to width(); NaN = missing), from the rows folded so
  /// far, told as of `at`: not before the newest of them.
  virtual void compute(NodeId entity, TimeUs at, std::vector<double>& out) = 0;
  virtual std::vector<std::string> names() = 0;
  virtual std::size_t memory_bytes() const = 0;

  virtual void stage(store::State& state) = 0;
  /// Errors: Corruption, Unavailable.
  virtual Status load(store::State& state) = 0;
};

/// For the task at position `task` of those that `synthesis` was made for:
///   the aggregates of the keys the entity reads (synthesis_plan.h), few rows drawn to the mean of
///   all; the matured labels, and their distance to the mean of their tick, on the same keys; how
///   many rows named the entity in the last window of the task and in the last four, as COUNT in a
///   query counts them; the season; the columns of the entity's own row (models::RowEncoder).
/// Cost: O(width), one row read, one key look-up per way of the plan, two counts in the graph
/// (Graph::count) per table whose rows name the entity.
std::unique_ptr<FeatureSource> make_features(const TaskPlan& plan, std::size_t task,
                                             const Schema& schema, Synthesis& synthesis,
                                             RowReader& rows, store::Graph& graph);

}  // namespace accrete::daemon
