// Predictions that wait for their outcome, in the order in which it becomes known.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"
#include "store/state.h"

namespace accrete::daemon {

/// All predictions of one tick (or one instant's requests) of one task; or rows that wait to teach
/// without having been predicted.
struct PendingBatch {
  std::uint64_t number = 0;  ///< 1, 2, 3, … within the task
  TimeUs at;                 ///< as-of time of the predictions
  TimeUs due;                ///< end of the label window
  Trigger trigger = Trigger::Tick;
  bool silent = false;        ///< nothing was published: rows only teach, there are no outputs
  std::uint32_t width = 0;    ///< features per entity
  std::uint32_t classes = 0;  ///< outputs per candidate: 1; classes or items known
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> taught;  ///< positions in rows that will be learnt from, ascending
  std::vector<float> features;        ///< taught × width
  std::vector<std::uint32_t> items;   ///< ranked lists: rows × classes, rows of the items' table
  std::vector<float> shares;          ///< ranked lists: what is `outputs` of other tasks
  std::uint32_t population = 0;       ///< ranked lists: rows of the tick, of which these are a part
  std::vector<double> uncertainty;    ///< regression: rows × (variance, low, high) of the mixture
  std::vector<double> outputs;        ///< rows × (candidates + 1) × classes; the mixture last

  std::size_t bytes() const {
    return (rows.capacity() + taught.capacity() + items.capacity()) * sizeof(std::uint32_t) +
           (features.capacity() + shares.capacity()) * sizeof(float) +
           (outputs.capacity() + uncertainty.capacity()) * sizeof(double);
  }
};

/// FIFO of batches: as-of times rise, so due times do. Contents of batches that are committed may
/// live in the store only, and come back when they are due.
class PendingQueue {
 public:
  explicit PendingQueue(std::string key_prefix) : prefix_(std::move(key_prefix)) {}

  bool empty() const { return queue_.empty(); }
  TimeUs next_due() const { return queue_.front().batch.due; }
  TimeUs next_at() const { return queue_.front().batch.at; }
  std::uint64_t predictions() const { return predictions_; }
  std::uint64_t rows() const { return rows_; }  ///< predictions, and rows that only teach
  std::size_t memory_bytes() const { return memory_bytes_; }
  /// Of batches that the next stage() writes.
  std::size_t dirty_bytes() const { return dirty_bytes_; }

  void push(PendingBatch batch);
  /// Take the batch that is due first. Errors: Corruption, Unavailable from the store.
  Result<PendingBatch> pop(store::State& state);

  /// Stage new batches and the removal of taken ones.
  void stage(store::State& state);
  /// After the commit: keep at most `bytes_max` in memory; what is due last goes first.
  void shrink(std::size_t bytes_max);
  /// Errors: Corruption.
  Status load(store::State& state);

 private:
  struct Entry {
    PendingBatch batch;  ///< header always; vectors empty when not resident
    std::uint32_t rows = 0;
    std::uint32_t predictions = 0;
    bool committed = false;
    bool resident = true;
  };
  std::string key_of(std::uint64_t number) const;

  std::string prefix_;
  std::deque<Entry> queue_;
  std::vector<std::uint64_t> taken_;  // committed batches popped since the last stage
  std::uint64_t next_number_ = 1;
  std::uint64_t predictions_ = 0;
  std::uint64_t rows_ = 0;
  std::size_t memory_bytes_ = 0;
  std::size_t dirty_bytes_ = 0;
};

}  // namespace accrete::daemon
