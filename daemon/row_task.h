// A task on a column of the row itself: predicted when the row arrives, with the column masked;
// graded and learnt when its value is there, in the same row or by a later update.
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
#include <vector>

#include "daemon/any_task.h"
#include "daemon/graph_network.h"
#include "daemon/propagation.h"
#include "daemon/request_weights.h"
#include "daemon/row_features.h"
#include "daemon/shown_times.h"
#include "daemon/waiting_rows.h"
#include "models/candidate.h"
#include "models/logit_residual.h"
#include "models/metrics.h"
#include "models/mixer.h"

namespace accrete::daemon {

struct TaskLimits;

/// Order for a row that brings its value: masked, predicted, published, entered into the stream's
/// features, graded, learnt. A value that comes later is graded against the prediction of the
/// arrival and learnt with its features; the first value counts, later changes of it do not. A
/// value that never comes is never learnt, and its row waits until it is deleted.
///
/// Requests and questions are answered for rows that wait: a row whose value is known has had its
/// prediction.
///
/// Where rows have others around them (propagation_plan.h), two more candidates learn from stored
/// rows at the end of an instant, and so does the graph network where there is one; answers about
/// rows that wait have weights of their own: the mixer's are earned by predicting the next row,
/// which says little about rows of long ago. All of these see a row that is learnt from as of a
/// time at which nobody would have known its value (ShownTimes).
///
/// Where there are both, candidate "network-on-heads" is the convex head of the two (the softmax,
/// or where no row is read again the ridge) with as much of the network added to its logits as
/// rows that neither has learnt from say it is worth, block by block (models/logit_residual.h). It
/// is fitted to the rows of the request weights, just before these are weighed.
class RowTask final : public AnyTask {
 public:
  RowTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits);

  const TaskPlan& plan() const override { return plan_; }
  void begin(TimeUs) override {}
  Status row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                    FoldSink& sink) override;
  void row_removed(std::uint32_t row) override;
  void touch(std::uint32_t row) override;
  void end_instant(TimeUs at) override;
  bool reads(TableId table) const override { return propagation_ && propagation_->reads(table); }

  TimeUs next_event() const override;
  TimeUs next_label() const override { return kTimeMax; }
  Status republish(TimeUs at, const Emit& emit) override;
  Status mature(TimeUs, store::State&, FoldSink&) override { return Ok{}; }
  Status tick(TimeUs at, const Emit& emit) override;
  Status request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                 const Emit& emit) override;
  Status what_if(std::span<const std::uint32_t> rows, TimeUs at, const Emit& emit) override;
  /// The rows that wait for their value.
  std::vector<std::uint32_t> population(TimeUs at) override;
  void freeze(TimeUs time) override { frozen_after_ = time; }

  std::vector<std::string> candidate_names() const override { return names_; }
  std::span<const ExpertEvent> expert_events() const override;
  GraphNetwork* network() override { return network_.get(); }
  const GraphNetwork* network() const override { return network_.get(); }
  std::span<const double> weights() const override { return mixer_->weights(); }
  const std::vector<models::Prequential>& metrics() const override { return metrics_; }
  models::Regret regret() const override { return mixer_->regret(); }
  DriftWatch& drift() override { return drift_; }
  const DriftWatch& drift() const override { return drift_; }
  FeatureSource& features() override { return features_; }
  std::vector<double> feature_values(std::uint32_t row, TimeUs at) override;
  std::uint64_t labels() const override { return labels_; }
  std::uint64_t pending() const override { return waiting_.predictions(); }
  std::uint64_t shed() const override { return shed_; }
  std::uint64_t unusable() const override { return unusable_; }
  std::size_t memory_bytes() const override;
  TimeUs last_tick() const override { return kTimeMin; }

  void stage(store::State& state) override;
  void committed(std::size_t bytes_max) override { waiting_.shrink(bytes_max); }
  Status load(store::State& state) override;

 private:
  struct Label {
    double value = 0;
    std::string text;
  };
  struct Scored {
    std::vector<float> features;
    std::vector<models::Output> outputs;  // of the candidates, the mixture last
  };
  double number_of(const Value& value) const;
  std::optional<Label> label_of(const Value& value);
  double known_label(std::uint32_t row, TimeUs at) const;
  /// What the candidates that read other rows say of one row; empty where there are none.
  struct Around {
    std::vector<models::Output> outputs;
    models::Output head;  // where there is on_heads_: what it adds the network to
  };
  bool looks_around() const { return propagation_ != nullptr || network_ != nullptr; }
  void look_around(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                   std::vector<Around>& out);
  /// The same of a row that has just arrived.
  void look_around_arrival(std::uint32_t row, TimeUs at, Around& out);
  /// Features and the candidates' outputs; the mixture is still to be made of them.
  void score(std::span<const Value> cells, TimeUs at, const Around& around, Scored& scored);
  void predict(std::span<const float> features, std::vector<models::Output>& outputs) const;
  void mix(Trigger trigger, std::vector<models::Output>& outputs) const;
  Status publish(std::uint32_t row, const Scored& scored, TimeUs at, Trigger trigger,
                 const Emit& emit);
  Status arrive(const FoldedRow& row, const Emit& emit, FoldSink& sink);
  void settle(const FoldedRow& row, const WaitingRow& waiting, const Label& label,
              std::span<const Value> cells, FoldSink& sink);
  void grade(const FoldedRow& row, const WaitingPrediction& prediction, const Label& label,
             FoldSink& sink);
  void learn(const FoldedRow& row, const WaitingRow& waiting, const Label& label,
             std::span<const Value> cells);
  void add_on_heads(const Propagation::Answers& near, Around& out) const;
  void fit_on_heads(std::span<const double> labels, std::span<Around> around);
  void weigh_requests(TimeUs now);
  void look_around_waiting(std::span<const RowAt> rows, std::vector<Around>& out);
  void weigh_network();
  void settle_mixer();
  WaitingPrediction kept(const Scored& scored, TimeUs at, Trigger trigger) const;
  using AnswerCall = std::function<Status(std::uint32_t row, const Scored& scored)>;
  Status answer(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger, const Emit& emit,
                const AnswerCall& answered = {});
  std::string entity_key(std::uint32_t row, TimeUs at);
  bool valid(std::uint32_t row, TimeUs at) const;
  Status load_learners(std::string_view bytes);
  Status load_position(std::string_view bytes);
  Error corrupt(const char* what) const;

  TaskPlan plan_;
  TaskWorld world_;
  std::size_t pending_max_;
  RowFeatures features_;
  std::unique_ptr<models::CandidateGroup> learners_;      // see all features
  std::unique_ptr<models::CandidateGroup> own_learners_;  // see the row alone
  std::unique_ptr<models::Mixer> mixer_;
  std::vector<models::Prequential> metrics_;
  DriftWatch drift_;
  std::vector<std::string> names_;  // of candidates
  std::size_t network_at_ = 0;      // the network's place among them, if there is one
  std::vector<std::string> class_names_;
  std::map<std::string, std::uint32_t, std::less<>> class_index_;
  models::LabelHistory history_;                     // of the whole stream
  std::unique_ptr<Propagation> propagation_;         // null: nothing lies around the rows
  std::unique_ptr<GraphNetwork> network_;            // null: the configuration has none
  std::unique_ptr<models::LogitResidual> on_heads_;  // null: not both of the two
  std::unique_ptr<RequestWeights> request_weights_;  // null: nothing lies around the rows

  std::unique_ptr<ShownTimes> shown_;  // null: nobody looks around
  WaitingRows waiting_;
  std::set<std::uint32_t> touched_;
  std::map<std::uint32_t, TimeUs> republished_;  // rows that wait, only with a debounce
  std::set<std::pair<TimeUs, std::uint32_t>> held_back_;

  TimeUs frozen_after_ = kTimeMax;
  std::uint64_t labels_ = 0;
  std::uint64_t settled_ = 0;  // instants that taught, whose learners of stored rows have seen it
  bool unsettled_ = false;     // labels came since
  std::uint64_t shed_ = 0;
  std::uint64_t unusable_ = 0;
  bool learners_dirty_ = true;
  std::vector<double> buffer_;
};

}  // namespace accrete::daemon
