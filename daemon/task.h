// One task at work: its population predicted at ticks, on change and on request; its predictions
// graded and learnt when their outcome is known.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/any_task.h"
#include "daemon/graph_network.h"
#include "daemon/pending.h"
#include "models/candidate.h"
#include "models/conformal.h"
#include "models/metrics.h"
#include "models/mixer.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

struct TaskLimits {
  std::size_t pending_max = 50'000'000;         ///< predictions waiting for their outcome
  std::size_t learners_bytes_max = 128u << 20;  ///< examples, and a tick's while it is predicted
  /// From one tick to the next at most so many rows teach: more say little more, and they wait in
  /// memory until their outcome is known.
  std::size_t taught_rows_max = 4096;
  std::uint64_t seed = 1;  ///< of their draw
};

class Task final : public AnyTask {
 public:
  /// `number`: its position among the tasks that the synthesis was made for.
  Task(TaskPlan plan, std::size_t number, const TaskWorld& world, const TaskLimits& limits);

  const TaskPlan& plan() const override { return plan_; }

  /// The grid of ticks begins at the first timed row.
  void begin(TimeUs first) override;
  Status row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                    FoldSink& sink) override;
  void row_removed(std::uint32_t) override {}
  void touch(std::uint32_t row) override;

  TimeUs next_event() const override;
  TimeUs next_label() const override;

  Status republish(TimeUs at, const Emit& emit) override;
  Status mature(TimeUs at, store::State& state, FoldSink& sink) override;
  Status tick(TimeUs at, const Emit& emit) override;
  Status request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                 const Emit& emit) override;
  Status what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) override;
  std::vector<std::uint32_t> population(TimeUs at) override;

  void freeze(TimeUs time) override { frozen_after_ = time; }

  std::vector<std::string> candidate_names() const override;
  std::span<const double> weights() const override { return mixer_->weights(); }
  const std::vector<models::Prequential>& metrics() const override { return metrics_; }
  models::Regret regret() const override { return mixer_->regret(); }
  DriftWatch& drift() override { return drift_; }
  const DriftWatch& drift() const override { return drift_; }
  std::span<const ExpertEvent> expert_events() const override {
    return network_ == nullptr ? std::span<const ExpertEvent>() : network_->events();
  }
  FeatureSource& features() override { return *features_; }
  std::vector<double> feature_values(std::uint32_t row, TimeUs at) override;
  std::uint64_t labels() const override { return labels_; }
  /// Rows learnt at instants between ticks, which were never predicted.
  std::uint64_t taught_between() const { return taught_between_; }
  GraphNetwork* network() override { return network_.get(); }
  const GraphNetwork* network() const override { return network_.get(); }
  std::uint64_t pending() const override { return pending_.predictions(); }
  std::uint64_t shed() const override { return shed_; }
  std::size_t memory_bytes() const override;
  TimeUs last_tick() const override { return last_tick_; }

  void stage(store::State& state) override;
  void committed(std::size_t pending_bytes_max) override { pending_.shrink(pending_bytes_max); }
  Status load(store::State& state) override;

 private:
  struct Scored;
  class Inputs;
  void compute(std::span<const std::uint32_t> rows, TimeUs at, std::vector<float>& features);
  void predict(TimeUs at, Scored& scored);
  double start_of(std::span<models::Output> candidates) const;
  void teach_network(const PendingBatch& batch, std::span<const std::uint32_t> rows,
                     std::span<const double> labels);
  void score(std::span<const std::uint32_t> rows, TimeUs at, Scored& scored);
  std::size_t taught_max() const;
  std::uint32_t parts_of(std::size_t rows) const;
  void weigh_network();
  void draw_taught(std::size_t rows, PendingBatch& batch) const;
  void plan_training(TimeUs after);
  void train_between(TimeUs at);
  Status tick_population(TimeUs at, const Emit& emit);
  Status publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit);
  bool sheds(std::size_t rows);
  PendingBatch begin_batch(TimeUs at, Trigger trigger) const;
  void keep(const Scored& scored, PendingBatch& batch) const;
  bool eligible(std::uint32_t row, TimeUs at);
  void grade(const PendingBatch& batch, std::size_t i, const WindowValue& label, FoldSink& sink);
  /// Labels by row of the batch, NaN where there is none.
  void learn(const PendingBatch& batch, std::span<const double> labels);
  void teach(const PendingBatch& batch, std::span<const double> labels);
  double label_value(const WindowValue& label);
  models::LabelHistory& history(std::uint32_t row);
  const models::LabelHistory& known_history(std::uint32_t row) const;
  std::string entity_key(std::uint32_t row, TimeUs at);
  bool debounced(std::uint32_t row, TimeUs at);
  void save_learners(std::string& out) const;
  void stage_parts(store::State& state);
  Status load_learners(std::string_view bytes, store::State& state);

  TaskPlan plan_;
  TaskWorld world_;
  TaskLimits limits_;
  std::unique_ptr<FeatureSource> features_;
  std::unique_ptr<models::CandidateGroup> learners_;
  std::unique_ptr<GraphNetwork> network_;  // null where the configuration has none
  std::unique_ptr<models::Mixer> mixer_;
  models::AdaptiveConformal conformal_;                  // around the mixture, regression
  std::map<std::uint64_t, std::uint64_t> stored_parts_;  // of the learners: id -> version
  std::vector<models::Prequential> metrics_;
  DriftWatch drift_;
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
  TimeUs next_training_ = kTimeMax;  // between the last tick and the next
  std::uint32_t parts_ = 1;          // instants that teach since the last tick, itself among them
  TimeUs last_tick_ = kTimeMin;
  TimeUs frozen_after_ = kTimeMax;
  std::uint64_t labels_ = 0;
  std::uint64_t taught_between_ = 0;  // rows of instants between ticks
  std::uint64_t shed_ = 0;
  bool learners_dirty_ = true;
};

}  // namespace accrete::daemon
