// What tasks that are predicted at ticks have in common: who is asked about and when, and what
// waits for its outcome.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "daemon/any_task.h"
#include "daemon/pending.h"
#include "proto/bytes.h"

namespace accrete::daemon {

struct TaskLimits {
  std::size_t pending_max = 50'000'000;         ///< predictions waiting for their outcome
  std::size_t learners_bytes_max = 128u << 20;  ///< examples, and a tick's while it is predicted
  /// From one tick to the next at most so many rows teach: more say little more, and they wait in
  /// memory until their outcome is known.
  std::size_t taught_rows_max = 4096;
  std::uint64_t seed = 1;  ///< of their draw
};

/// Predicts the population on a grid of ticks, entities that rows touched when their instant ends
/// (or once the debounce lets them), and whomever a request names. How is for the task to say.
class TickTask : public AnyTask {
 public:
  const TaskPlan& plan() const final { return plan_; }

  /// The grid of ticks begins at the first timed row.
  void begin(TimeUs first) final;
  void row_removed(std::uint32_t) final {}
  void touch(std::uint32_t row) final;

  TimeUs next_event() const override;
  TimeUs next_label() const final;

  Status republish(TimeUs at, const Emit& emit) final;
  Status tick(TimeUs at, const Emit& emit) final;
  Status what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) final;
  std::vector<std::uint32_t> population(TimeUs at) final;

  void freeze(TimeUs time) final { frozen_after_ = time; }

  std::uint64_t pending() const final { return pending_.predictions(); }
  std::uint64_t shed() const final { return shed_; }
  std::uint64_t unusable() const final { return unusable_; }
  TimeUs last_tick() const final { return last_tick_; }
  std::size_t dirty_bytes() const final { return pending_.dirty_bytes(); }
  void committed(std::size_t pending_bytes_max) final { pending_.shrink(pending_bytes_max); }

 protected:
  /// The window of the sliding metrics, in graded predictions. Of a large population every n-th row
  /// enters, so that it spans several ticks: a piece of one, in row order, would say little.
  static constexpr std::size_t kMetricsWindow = 8000;
  /// Rows are predicted and published in pieces of so many, which bounds what a large population
  /// takes of memory, and all who hear of one row.
  static constexpr std::size_t kScoredRows = 4096;

  TickTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits);

  /// Predict these entities and publish what is said of them; nothing waits for an outcome.
  virtual Status tell_of(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                         const Emit& emit) = 0;
  /// The same for any number of them.
  Status tell_in_pieces(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                        const Emit& emit);
  /// Predict the population of a tick.
  virtual Status tick_population(TimeUs at, const Emit& emit) = 0;
  /// Before the tick at `at`, if there is one.
  virtual void before_tick(TimeUs) {}

  bool eligible(std::uint32_t row, TimeUs at);
  std::string entity_key(std::uint32_t row, TimeUs at);
  /// True if so many more predictions may not wait for their outcome; they are counted.
  bool sheds(std::size_t rows);
  /// `usable`, after counting an outcome that is not: it is as if there were none.
  bool counts_as_label(bool usable);
  /// An empty batch of predictions as of `at`.
  PendingBatch begin_batch(TimeUs at, Trigger trigger) const;
  /// Every so many rows of a batch one enters the sliding metrics.
  static std::size_t metrics_step(std::size_t rows);
  /// `count` of `rows` positions, ascending, drawn by the seed and the batch's time.
  std::vector<std::uint32_t> draw(std::size_t rows, std::size_t count, TimeUs at) const;

  std::size_t queues_bytes() const;
  void save_queues(ByteWriter& writer) const;
  void load_queues(ByteReader& reader);

  TaskPlan plan_;
  TaskWorld world_;
  TaskLimits limits_;
  PendingQueue pending_;
  TimeUs next_tick_ = kTimeMax;
  TimeUs frozen_after_ = kTimeMax;

 private:
  bool debounced(std::uint32_t row, TimeUs at);

  TimeUs last_tick_ = kTimeMin;
  std::uint64_t shed_ = 0;
  std::uint64_t unusable_ = 0;
  std::vector<std::uint32_t> touched_;  // in order of first touch
  std::vector<bool> is_touched_;
  std::vector<TimeUs> republished_;                       // by row, only with a debounce
  std::set<std::pair<TimeUs, std::uint32_t>> held_back_;  // due republications
};

}  // namespace accrete::daemon
