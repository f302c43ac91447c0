// What the graph networks of all tasks share: what rows show, and the data blocks of the stream.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "daemon/network_config.h"
#include "daemon/network_rows.h"
#include "models/block_clock.h"
#include "models/candidate.h"
#include "models/row_novelty.h"
#include "proto/ids.h"
#include "proto/schema.h"
#include "proto/value.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

/// Scales of what rows show are taken anew when a block begins, and while the stream is young, when
/// its rows have doubled: a network has learnt little by then. Where other things than rows stand
/// for old blocks (NetworkConfig::replay), for the last time when the second block begins, or
/// several at once.
///
/// Threads: the fold's.
class NetworkWorld {
 public:
  NetworkWorld(const NetworkConfig& config, const BlocksConfig& blocks, const Schema& schema,
               store::Graph& graph, RowReader& rows);

  const NetworkConfig& config() const { return config_; }
  NetworkRows& rows() { return rows_; }
  /// The block that is open.
  std::uint32_t block() const { return rows_.blocks() - 1; }

  /// A row was put into the graph; `is_new`: no row has named it before. `cells` are complete,
  /// `from` is when the version begins, `now` the fold's time. A new row that begins a block is of
  /// it.
  void folded(NodeId node, bool is_new, std::span<const Value> cells, TimeUs from, TimeUs now);
  /// Labels of classes that no row had before: the row after them may begin a block.
  void classes_came(std::uint64_t count) {
    new_classes_ += static_cast<std::uint32_t>(std::min<std::uint64_t>(count, models::classes_max));
  }
  /// A task's loss has risen, or the stream says that a block ends here.
  void drifted() { clock_.alarm(); }
  void marked() { clock_.mark(); }
  /// No more rows of the fold's time come in order: the place to take scales anew, unless no
  /// network learns at that time any more. What they have learnt holds in the scales they know.
  void end_instant(TimeUs now);

  std::size_t memory_bytes() const {
    return rows_.memory_bytes() + (novelty_ == nullptr ? 0 : novelty_->memory_bytes());
  }
  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  void watch_novelty(TableId table);
  Status load_novelty(store::State& state);

  NetworkConfig config_;
  NetworkRows rows_;
  models::BlockClock clock_;
  std::unique_ptr<models::RowNovelty> novelty_;  // only where blocks end by drift
  std::uint32_t new_classes_ = 0;                // since the last row
  std::uint64_t seen_ = 0;                       // rows
  std::uint64_t frozen_ = 0;                     // of them, when scales were last taken
  bool begun_ = false;                           // a block began since then
  bool kept_ = false;                            // scales were taken when some block was over
};

}  // namespace accrete::daemon
