// One task at work: its population predicted at ticks, on change and on request; its predictions
// graded and learnt when their outcome is known.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/features.h"
#include "daemon/fold_sink.h"
#include "daemon/pending.h"
#include "daemon/plan.h"
#include "daemon/window.h"
#include "models/candidate.h"
#include "models/metrics.h"
#include "models/mixer.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

/// What a task reads; owned by the fold.
struct TaskWorld {
  const Schema* schema = nullptr;
  store::Graph* graph = nullptr;
  RowReader* rows = nullptr;
  WindowReader* windows = nullptr;
  Synthesis* synthesis = nullptr;
};

/// Receives a prediction without its sequence number; views are good during the call.
using Emit = std::function<Status(Prediction&)>;

class Task {
 public:
  /// `number`: its position among the tasks that the synthesis was made for.
  Task(TaskPlan plan, std::size_t number, const TaskWorld& world, std::size_t pending_max);

  const TaskPlan& plan() const { return plan_; }

  /// The first timed row of the stream: the grid of ticks begins here.
  void begin(TimeUs first);
  /// A row of the entity table was folded.
  void observe(std::span<const Value> cells) { features_->observe(cells); }
  /// Rows touched this entity; it is republished at the end of the instant.
  void touch(std::uint32_t row);

  /// Earliest instant at which mature() or tick() has something to do.
  TimeUs next_event() const;
  /// When the next outcome becomes known, in event time; kTimeMax before the first timed row.
  TimeUs next_label() const;

  /// Republish what was touched, as of `at`.
  Status republish(TimeUs at, const Emit& emit);
  /// Grade and learn what became known at `at`.
  Status mature(TimeUs at, store::State& state, FoldSink& sink);
  /// Predict the population, if `at` is a tick; and what was held back by the debounce.
  Status tick(TimeUs at, const Emit& emit);
  /// Predict these entities because somebody asked in the log; graded, not learnt.
  Status request(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit);
  /// Answer without leaving a trace. Entities that are no valid row at `at` are left out.
  Status what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit);
  /// Rows of the population at `at`, in row order.
  std::vector<std::uint32_t> population(TimeUs at);

  /// No tick and no label after `time` (backtest --freeze).
  void freeze(TimeUs time) { frozen_after_ = time; }

  std::vector<std::string> candidate_names() const;
  std::span<const double> weights() const { return mixer_->weights(); }
  const std::vector<models::Prequential>& metrics() const { return metrics_; }  // mixture last
  FeatureSource& features() { return *features_; }
  std::uint64_t labels() const { return labels_; }
  std::uint64_t pending() const { return pending_.predictions(); }
  std::uint64_t shed() const { return shed_; }
  std::size_t memory_bytes() const;
  std::vector<double> feature_values(std::uint32_t row, TimeUs at);
  /// The as-of time of the population's newest tick; kTimeMin before the first.
  TimeUs last_tick() const { return last_tick_; }

  void stage(store::State& state);
  void committed(std::size_t pending_bytes_max) { pending_.shrink(pending_bytes_max); }
  Status load(store::State& state);

 private:
  struct Scored;
  class Inputs;
  enum class Asked : std::uint8_t { Tick, Rows };  ///< the whole population, or some rows
  void score(std::span<const std::uint32_t> rows, TimeUs at, Asked asked, Scored& scored);
  Status publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit);
  void keep(const Scored& scored, TimeUs at, Trigger trigger);
  bool eligible(std::uint32_t row, TimeUs at);
  void grade(const PendingBatch& batch, std::size_t i, const WindowValue& label, FoldSink& sink);
  /// Labels by row of the batch, NaN where there is none.
  void learn(const PendingBatch& batch, std::span<const double> labels);
  double label_value(const WindowValue& label);
  models::LabelHistory& history(std::uint32_t row);
  const models::LabelHistory& known_history(std::uint32_t row) const;
  std::string entity_key(std::uint32_t row, TimeUs at);
  bool debounced(std::uint32_t row, TimeUs at);
  void save_learners(std::string& out) const;
  Status load_learners(std::string_view bytes);

  TaskPlan plan_;
  TaskWorld world_;
  std::size_t pending_max_;
  std::unique_ptr<FeatureSource> features_;
  std::unique_ptr<models::CandidateGroup> learners_;
  std::unique_ptr<models::Mixer> mixer_;
  std::vector<models::Prequential> metrics_;
  std::vector<std::string> names_;        // of candidates
  std::vector<std::string> class_names_;  // multiclass, by index
  std::map<std::string, std::uint32_t, std::less<>> class_index_;

  PendingQueue pending_;
  std::vector<models::LabelHistory> histories_;  // by entity row
  std::set<std::uint32_t> dirty_histories_;      // pages of history_page_rows
  std::vector<std::uint32_t> touched_;           // in order of first touch
  std::vector<bool> is_touched_;
  std::vector<TimeUs> republished_;                       // by row, only with a debounce
  std::set<std::pair<TimeUs, std::uint32_t>> held_back_;  // due republications

  TimeUs next_tick_ = kTimeMax;
  TimeUs last_tick_ = kTimeMin;
  TimeUs frozen_after_ = kTimeMax;
  std::uint64_t labels_ = 0;
  std::uint64_t shed_ = 0;
  bool learners_dirty_ = true;
};

}  // namespace accrete::daemon
