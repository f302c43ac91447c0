// What the head of a graph network reads of a seed beside its vector: what its newest rows show and
// what it came to so far, on average.
//
// Layers squash what a row shows before they average it, and are slow to learn how much a small
// difference of a mean says. So the plain means go to the head as well, newest first:
//
//   rows of a relation that name the seed, j = 0 the newest of at most kRows
//       sum of .8^j f_j / (1 + sum of .8^j)       f standardised, so few rows are drawn to their
//       mean
//   labels of the seed known at its time, y_0 the newest of at most kLabels, m the mean of all
//   entities' (NetworkMemory::typical)
//       m, and for d of .5, .75, .9 (m + sum of d^j y_j) / (1 + sum of d^j)
//       log(1 + labels) / 2, and log(1 + days since the newest became known) / 4
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/network_memory.h"
#include "daemon/network_plan.h"
#include "daemon/network_rows.h"
#include "daemon/subgraph_sampler.h"
#include "models/graph_batch.h"

namespace accrete::daemon {

class SeedSummary {
 public:
  static constexpr std::size_t kRows = 16;
  static constexpr std::size_t kLabels = 32;
  static constexpr std::size_t kLabelColumns = 6;
  static constexpr std::size_t kLabelMeans = 4;  ///< of them the first, in units of labels
  static constexpr std::string_view kLabelSource = "head.told0";  ///< the head's weights of them

  /// `labels`: there are outcomes of entities as numbers.
  SeedSummary(const NetworkPlan& plan, bool labels);

  /// Columns of each source: the labels first, then the relations whose rows name the entity.
  std::vector<std::size_t> columns(const NetworkPlan& plan, const NetworkRows& rows) const;

  /// Sets batch.told of these seeds, which `batch` was sampled of; ages in it are told as of
  /// `lag_us` later. `in_units`: of a label. Reads nothing that was not known at a seed's time.
  /// Cost: kRows rows a seed and relation. Threads: const.
  void write(const NetworkPlan& plan, std::span<const Seed> seeds, std::int64_t lag_us,
             const NetworkMemory& memory, const std::function<double(double)>& in_units,
             models::GraphBatch& batch) const;

 private:
  bool labels_;
  std::vector<std::size_t> relations_;  ///< of the plan
};

}  // namespace accrete::daemon
