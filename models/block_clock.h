// When a data block ends and the next begins. A block gets an expert and a mixture of its own, so a
// block should be what is alike, large enough to learn from and small enough to fit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "proto/result.h"

namespace accrete::models {

enum class BlockRule : std::uint8_t {
  Drift = 0,    ///< rows came to look like no known block, or the loss changed
  Rows = 1,     ///< so many rows
  Time = 2,     ///< a period of event time is over: a quarter, a season
  Marker = 3,   ///< the source says so
  Classes = 4,  ///< so many new classes
};

struct BlockClockOptions {
  BlockRule rule = BlockRule::Drift;
  std::uint64_t rows_min = 1000;     ///< no block is smaller, but the last
  std::uint64_t rows_max = 100'000;  ///< no block is larger
  std::uint64_t rows = 10'000;       ///< of a block under Rows; within the two above
  std::int64_t period_us = 0;        ///< under Time; > 0. Periods begin at multiples of it
  std::uint32_t classes = 2;         ///< new classes of a block under Classes; > 0
  std::uint64_t chunk_rows = 128;    ///< rows judged together under Drift; > 0
  /// A chunk is drift where its novel share exceeds this: ten times what is novel by chance.
  double novel_share = 0.1;
  std::uint32_t chunks = 3;  ///< so many in a row end the block; > 0
};

/// What the clock wants to know of a row.
struct BlockRow {
  std::int64_t time_us = 0;       ///< event time, kTimeMin without one; rows may be late
  std::uint32_t new_classes = 0;  ///< labels that no row had before
};

/// The state machine: told of every row in the order of the log, it says which block the row is in.
///
///   const std::uint32_t block = clock.add(row);                // 0, 0, …, 1, 1, …
///   if (clock.chunk_full()) clock.judge_chunk(mixtures.novel_share(newest chunk_rows rows));
///
/// A reason to end the block stays until the block has rows_min rows; then the next row begins a
/// new one. With Time and Classes the row that gives the reason is itself the first of the new
/// block. A late row belongs to the block it arrives in, and so does one without a time, which
/// never ends a period; each period ends once. Drift is judged from rows_min rows on, against the
/// mixtures of all blocks and of the open one: what is novel before then is the change that opened
/// the block. Rows of several tables: row_novelty.h says the share.
///
/// Deterministic, O(1) a call, no memory but itself. Threads: none of its own.
class BlockClock {
 public:
  /// Checks: the bounds named at the options.
  explicit BlockClock(const BlockClockOptions& options);

  /// Account a row; its block, counted from 0.
  std::uint32_t add(const BlockRow& row);
  std::uint32_t block() const { return block_; }
  std::uint64_t rows() const { return rows_; }  ///< in the open block so far

  /// The source's marker: the next row begins a block. Ignored under other rules.
  void mark();
  /// Whether the open block just became judgeable: time for the mixture of its first rows.
  bool judgeable() const { return options_.rule == BlockRule::Drift && rows_ == options_.rows_min; }
  /// Whether the newest chunk_rows rows are to be judged now. Only under Drift.
  bool chunk_full() const;
  /// The novel share of that chunk. Checks: chunk_full(), once; the share is in [0, 1].
  void judge_chunk(double novel_share);
  /// A detector of changes of the loss raised an alarm. Ignored under other rules than Drift, and
  /// before rows_min: a loss also changes because a new block is being learnt.
  void alarm();

  void save(std::string& out) const;
  /// Options are not part of the state. Errors: Corruption; the clock is unchanged.
  Status load(std::string_view bytes);

 private:
  BlockClockOptions options_;
  std::uint32_t block_ = 0;
  std::uint64_t rows_ = 0;
  bool due_ = false;             // there is a reason to end the block
  std::int64_t period_ = 0;      // Time: the newest so far; kTimeMin's: none yet
  std::uint64_t classes_ = 0;    // Classes: new ones of the block
  std::uint32_t novel_run_ = 0;  // Drift: novel chunks in a row
};

}  // namespace accrete::models
