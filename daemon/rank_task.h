// A ranked list at work: which rows of another table each entity will link, likeliest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "daemon/graph_network.h"
#include "daemon/shortlist.h"
#include "daemon/tick_task.h"
#include "models/choice_logit.h"
#include "models/metrics.h"
#include "models/mixer.h"

namespace accrete::daemon {

/// Candidates: three baselines (what all link, what the entity links, what it linked last), the
/// conditional logit over numbers about each pair (models/choice_logit.h), and the graph network
/// where the configuration has one: a softmax over items that grow as classes do, each link of an
/// outcome an example. All say a probability for each item of the same short list (shortlist.h),
/// and the mixer weighs them by what they said of the items that came.
///
/// An entity that links nothing in the window has no label: it is neither graded nor learnt from.
/// Items that were not on the short list cost recall, and teach the network alone.
class RankTask final : public TickTask {
 public:
  /// The network knows the items that were linked first, up to so many: each costs it a column.
  static constexpr std::size_t kNetworkItems = 1024;

  RankTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits);
  ~RankTask() override;

  Status row_folded(const FoldedRow& row, store::State& state, const Emit& emit,
                    FoldSink& sink) override;
  Status mature(TimeUs at, store::State& state, FoldSink& sink) override;
  Status request(std::span<const std::uint32_t> rows, TimeUs at, store::State& state,
                 const Emit& emit) override;

  std::vector<std::string> candidate_names() const override { return names_; }
  std::span<const double> weights() const override { return mixer_->weights(); }
  const std::vector<models::Prequential>& metrics() const override { return metrics_; }
  models::Regret regret() const override { return mixer_->regret(); }
  DriftWatch& drift() override { return drift_; }
  const DriftWatch& drift() const override { return drift_; }
  std::span<const ExpertEvent> expert_events() const override;
  GraphNetwork* network() override { return network_.get(); }
  const GraphNetwork* network() const override { return network_.get(); }
  /// Of the item that is listed first.
  FeatureSource& features() override;
  std::vector<double> feature_values(std::uint32_t row, TimeUs at) override;
  std::uint64_t labels() const override { return labels_; }
  std::size_t memory_bytes() const override;

  void stage(store::State& state) override;
  Status load(store::State& state) override;

 private:
  class PairNumbers;
  struct Scored;
  struct Outcome;

  Status tell_of(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                 const Emit& emit) override;
  Status tick_population(TimeUs at, const Emit& emit) override;
  void score(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger, Scored& scored);
  void ask_heads(const Shortlist::Pool& pool, std::span<models::Output> outputs) const;
  void ask_network(TimeUs at, Trigger trigger, Scored& scored);
  Status publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit);
  std::size_t taught_max() const;
  Status in_pieces(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                   const Emit& emit,
                   const std::function<void(const Scored&, std::size_t first)>& scored);
  PendingBatch kept(const Scored& scored, TimeUs at, Trigger trigger,
                    std::vector<std::uint32_t> taught) const;
  bool fits(const PendingBatch& batch) const;
  Outcome outcome_of(const PendingBatch& batch, std::size_t i);
  void grade(const PendingBatch& batch, std::size_t i, const Outcome& outcome, FoldSink& sink);
  void learn(const PendingBatch& batch, std::span<const Outcome> outcomes);
  void settle(TimeUs known);
  void teach_network(const PendingBatch& batch, std::span<const Outcome> outcomes);
  void weigh_network();
  Status load_learners(std::string_view bytes);

  Shortlist shortlist_;
  models::ChoiceLogit choice_;
  std::unique_ptr<GraphNetwork> network_;  // null where the configuration has none
  std::unique_ptr<models::Mixer> mixer_;
  std::vector<models::Prequential> metrics_;
  DriftWatch drift_;
  std::vector<std::string> names_;  // of candidates
  std::unique_ptr<PairNumbers> numbers_;

  std::vector<std::uint32_t> classes_;      // of the network: the item of each
  std::vector<std::uint64_t> class_links_;  // and how many examples it was
  std::vector<std::uint32_t> class_of_;     // by item: its class + 1; 0: none
  std::uint64_t labels_ = 0;
  bool learners_dirty_ = true;
};

}  // namespace accrete::daemon
