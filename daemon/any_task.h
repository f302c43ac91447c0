// What the fold, the answers and the backtest ask of a task, whatever its form: a window that is
// predicted at ticks (task.h), or a column of the row itself (row_task.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "daemon/drift_watch.h"
#include "daemon/expert_event.h"
#include "daemon/features.h"
#include "daemon/fold_sink.h"
#include "daemon/plan.h"
#include "daemon/row_reader.h"
#include "daemon/window.h"
#include "models/candidate.h"
#include "models/metrics.h"
#include "models/mixer.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

class GraphNetwork;
class NetworkWorld;
class Synthesis;

/// What a task reads; owned by the fold.
struct TaskWorld {
  const Schema* schema = nullptr;
  store::Graph* graph = nullptr;
  RowReader* rows = nullptr;
  WindowReader* windows = nullptr;
  Synthesis* synthesis = nullptr;
  NetworkWorld* network = nullptr;  ///< null where the configuration has none
};

/// Receives a prediction without its sequence number; views are good during the call.
using Emit = std::function<Status(Prediction&)>;

/// A row of the entity table that has just been put into the graph.
struct FoldedRow {
  std::uint32_t row = 0;
  std::span<const Value> cells;
  TimeUs at;             ///< when it is folded: its own time, or the fold's if that is later
  bool arrives = false;  ///< it was not there before
  TimeUs from;           ///< when it says that it became so: earlier where it comes late
};

class AnyTask {
 public:
  AnyTask() = default;
  AnyTask(const AnyTask&) = delete;
  AnyTask& operator=(const AnyTask&) = delete;
  virtual ~AnyTask() = default;

  virtual const TaskPlan& plan() const = 0;

  /// The first timed row of the stream.
  virtual void begin(TimeUs first) = 0;
  virtual Status row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                            FoldSink& sink) = 0;
  virtual void row_removed(std::uint32_t row) = 0;
  /// Rows touched this entity; it is republished at the end of the instant.
  virtual void touch(std::uint32_t row) = 0;

  /// No more rows of times up to `at` come in order: the place to learn from them together.
  virtual void end_instant(TimeUs) {}
  /// Rows of this table are read by the task besides those of its entity.
  virtual bool reads(TableId) const { return false; }

  /// Earliest instant at which mature() or tick() has something to do.
  virtual TimeUs next_event() const = 0;
  /// When the next outcome becomes known, in event time; kTimeMax where nothing says.
  virtual TimeUs next_label() const = 0;

  /// Republish what was touched, as of `at`.
  virtual Status republish(TimeUs at, const Emit& emit) = 0;
  /// Grade and learn what became known at `at`.
  virtual Status mature(TimeUs at, store::State& state, FoldSink& sink) = 0;
  /// Predict the population, if `at` is a tick; and what was held back by the debounce.
  virtual Status tick(TimeUs at, const Emit& emit) = 0;
  /// Predict these entities because somebody asked in the log; graded, not learnt.
  virtual Status request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                         const Emit& emit) = 0;
  /// Answer without leaving a trace. Entities that are no valid row at `at` are left out.
  virtual Status what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) = 0;
  /// Rows of the population at `at`, in row order.
  virtual std::vector<std::uint32_t> population(TimeUs at) = 0;

  /// No tick and no label after `time` (backtest --freeze).
  virtual void freeze(TimeUs time) = 0;

  virtual std::vector<std::string> candidate_names() const = 0;
  virtual std::span<const double> weights() const = 0;
  virtual const std::vector<models::Prequential>& metrics() const = 0;  ///< mixture last
  virtual models::Regret regret() const = 0;
  virtual DriftWatch& drift() = 0;
  virtual const DriftWatch& drift() const = 0;
  /// The task's graph network; null where the configuration or the form of task has none.
  virtual GraphNetwork* network() { return nullptr; }
  virtual const GraphNetwork* network() const { return nullptr; }
  /// Births of experts, oldest first; empty where the task has no graph network.
  virtual std::span<const ExpertEvent> expert_events() const { return {}; }
  virtual FeatureSource& features() = 0;
  virtual std::vector<double> feature_values(std::uint32_t row, TimeUs at) = 0;
  virtual std::uint64_t labels() const = 0;
  virtual std::uint64_t pending() const = 0;
  virtual std::uint64_t shed() const = 0;
  /// Outcomes that cannot be learnt: not numbers, infinite or beyond kLabelMax (window.h), or of
  /// more classes than models::classes_max.
  virtual std::uint64_t unusable() const = 0;
  virtual std::size_t memory_bytes() const = 0;
  /// The as-of time of the population's newest tick; kTimeMin before the first.
  virtual TimeUs last_tick() const = 0;

  /// Of what waits in memory until the next commit, where that can be much.
  virtual std::size_t dirty_bytes() const { return 0; }
  virtual void stage(store::State& state) = 0;
  virtual void committed(std::size_t pending_bytes_max) = 0;
  virtual Status load(store::State& state) = 0;
};

/// The part of a prediction that every form of task says in the same way. `outputs`: one per
/// candidate, the mixture last; `prediction` views into all arguments. Who asks is also told which
/// class each candidate would have said.
void tell(const TaskPlan& plan, Trigger trigger, std::span<const models::Output> outputs,
          const std::vector<std::string>& candidates, const std::vector<std::string>& classes,
          Prediction& prediction);

}  // namespace accrete::daemon
