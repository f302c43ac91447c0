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

#include "daemon/graph_network.h"
#include "daemon/newest_on_heads.h"
#include "daemon/tick_task.h"
#include "models/candidate.h"
#include "models/conformal.h"
#include "models/metrics.h"
#include "models/mixer.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

class Task final : public TickTask {
 public:
  /// `number`: its position among the tasks that the synthesis was made for.
  Task(TaskPlan plan, std::size_t number, const TaskWorld& world, const TaskLimits& limits);

  Status row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                    FoldSink& sink) override;

  TimeUs next_event() const override;
  Status mature(TimeUs at, store::State& state, FoldSink& sink) override;
  Status request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                 const Emit& emit) override;

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
  std::size_t memory_bytes() const override;

  void stage(store::State& state) override;
  Status load(store::State& state) override;

 private:
  Status tell_of(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                 const Emit& emit) override;
  Status tick_population(TimeUs at, const Emit& emit) override;
  void before_tick(TimeUs at) override;

  struct Scored;
  class Inputs;
  void compute(std::span<const std::uint32_t> rows, TimeUs at, std::vector<float>& features);
  void predict(TimeUs at, Scored& scored);
  double start_of(std::span<models::Output> candidates) const;
  void add_network(TimeUs at, Scored& scored);
  void teach_network(const PendingBatch& batch, std::span<const std::uint32_t> rows,
                     std::span<const double> labels);
  void score(std::span<const std::uint32_t> rows, TimeUs at, Scored& scored);
  std::size_t taught_max() const;
  std::uint32_t parts_of(std::size_t rows) const;
  void weigh_network();
  bool is_before_network(const PendingBatch& batch) const;
  void plan_training(TimeUs after);
  void train_between(TimeUs at);
  Status publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit);
  std::uint32_t outputs_each() const;
  void keep(const Scored& scored, PendingBatch& batch) const;
  void grade(const PendingBatch& batch, std::size_t i, const WindowValue& label, FoldSink& sink);
  /// Labels by row of the batch, NaN where there is none.
  void learn(const PendingBatch& batch, std::span<const double> labels);
  void teach(const PendingBatch& batch, std::span<const double> labels);
  /// Whether it can be learnt: a number that is_learnable(), or of at most models::classes_max
  /// classes.
  bool is_usable(const WindowValue& label) const;
  double label_value(const WindowValue& label);
  models::LabelHistory& history(std::uint32_t row);
  const models::LabelHistory& known_history(std::uint32_t row) const;
  void save_learners(std::string& out) const;
  void stage_parts(store::State& state);
  Status load_learners(std::string_view bytes, store::State& state);

  std::unique_ptr<FeatureSource> features_;
  std::unique_ptr<models::CandidateGroup> learners_;
  std::unique_ptr<GraphNetwork> network_;    // null where the configuration has none
  std::unique_ptr<NewestOnHeads> on_heads_;  // null: no network, or it is on heads by itself
  std::unique_ptr<models::Mixer> mixer_;
  models::AdaptiveConformal conformal_;                  // around the mixture, regression
  std::map<std::uint64_t, std::uint64_t> stored_parts_;  // of the learners: id -> version
  std::vector<models::Prequential> metrics_;
  DriftWatch drift_;
  std::vector<std::string> names_;        // of candidates
  std::vector<std::string> class_names_;  // multiclass, by index
  std::map<std::string, std::uint32_t, std::less<>> class_index_;

  std::vector<models::LabelHistory> histories_;  // by entity row
  std::set<std::uint32_t> dirty_histories_;      // pages of history_page_rows

  TimeUs next_training_ = kTimeMax;  // between the last tick and the next
  std::uint32_t parts_ = 1;          // instants that teach since the last tick, itself among them
  std::uint64_t labels_ = 0;
  std::uint64_t taught_between_ = 0;  // rows of instants between ticks
  bool learners_dirty_ = true;
};

}  // namespace accrete::daemon
