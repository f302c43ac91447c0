// The seam for feature sources, and the simplest honest one: the entity's own row, a few counts,
// and its matured labels.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/plan.h"
#include "daemon/row_reader.h"
#include "models/candidate.h"
#include "models/encoder.h"
#include "proto/ids.h"
#include "proto/result.h"
#include "store/graph.h"

namespace accrete::daemon {

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
  virtual std::size_t width() const = 0;
  /// Features of `entity` at `at` into `out` (resized to width(); NaN = missing).
  virtual void compute(NodeId entity, TimeUs at, const models::LabelHistory& history,
                       std::vector<double>& out) = 0;
  virtual std::vector<std::string> names() const = 0;
  virtual void save(std::string& out) const = 0;
  virtual Status load(std::string_view bytes) = 0;
};

/// Per foreign key to the entity: log counts of children in one and four target windows and in
/// all, and log days since the newest; label history; then the row encoder's columns.
/// Cost: about four graph reads per foreign key and one row.
std::unique_ptr<FeatureSource> make_row_features(const TaskPlan& plan, const Schema& schema,
                                                 store::Graph& graph, RowReader& rows);

}  // namespace accrete::daemon
