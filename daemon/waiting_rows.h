// Rows that were predicted and wait for their value, by row: it may come at any time, or never.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"
#include "store/state.h"

namespace accrete::daemon {

/// One prediction of a row, as it will be graded.
struct WaitingPrediction {
  TimeUs at;
  Trigger trigger = Trigger::Arrival;
  std::uint32_t classes = 0;    ///< outputs per candidate: 1, or the classes known then
  std::vector<double> outputs;  ///< (candidates + 1) × classes; the mixture last
};

struct WaitingRow {
  std::vector<WaitingPrediction> predictions;  ///< of the arrival first, then of requests
  std::vector<float> features;                 ///< of the arrival

  std::size_t bytes() const;
};

/// Contents of rows that are committed may live in the store only. What is kept for a row in any
/// case is its number: about 100 bytes.
class WaitingRows {
 public:
  explicit WaitingRows(std::string key_prefix) : prefix_(std::move(key_prefix)) {}

  std::uint64_t predictions() const { return predictions_; }
  std::size_t memory_bytes() const { return memory_bytes_ + rows_.size() * 100; }
  bool has(std::uint32_t row) const { return rows_.count(row) > 0; }
  /// In row order.
  std::vector<std::uint32_t> all() const;

  /// Checks: the row does not wait yet.
  void put(std::uint32_t row, WaitingRow waiting);
  /// One more prediction of a row that waits. Errors: Corruption, Unavailable from the store.
  Status add(std::uint32_t row, WaitingPrediction prediction, store::State& state);
  /// The row waits no longer. Checks: it did. Errors: Corruption, Unavailable from the store.
  Result<WaitingRow> take(std::uint32_t row, store::State& state);
  /// The same for a row that is gone, unread.
  void drop(std::uint32_t row);

  void stage(store::State& state);
  /// After the commit: keep at most `bytes_max` in memory; the newest rows go last.
  void shrink(std::size_t bytes_max);
  /// Errors: Corruption.
  Status load(store::State& state);

 private:
  struct Entry {
    WaitingRow row;
    std::uint32_t count = 0;  // predictions
    bool stored = false;      // some version of it is in the store
    bool changed = false;     // since then
    bool resident = true;
  };
  std::string key_of(std::uint32_t row) const;
  Result<WaitingRow> read(std::uint32_t row, store::State& state) const;
  void forget(std::map<std::uint32_t, Entry>::iterator entry);

  std::string prefix_;
  std::map<std::uint32_t, Entry> rows_;
  std::set<std::uint32_t> taken_;  // stored rows that wait no longer, since the last stage
  std::uint64_t predictions_ = 0;
  std::size_t memory_bytes_ = 0;
};

}  // namespace accrete::daemon
