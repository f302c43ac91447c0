// The graph expert network of one task: when it learns, on what, how it answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include "daemon/any_task.h"
#include "daemon/block_runs.h"
#include "daemon/expert_event.h"
#include "daemon/label_pairs.h"
#include "daemon/network_memory.h"
#include "daemon/network_metrics.h"
#include "daemon/network_mixtures.h"
#include "daemon/network_ridge.h"
#include "daemon/network_world.h"
#include "daemon/seed_parts.h"
#include "daemon/seed_summary.h"
#include "daemon/shown_times.h"
#include "daemon/subgraph_sampler.h"
#include "models/candidate.h"
#include "models/expert_network.h"
#include "models/label_signals.h"
#include "store/state.h"

namespace accrete::daemon {

struct BlockSample;  // graph_network_merge.cpp
class Propagation;

/// What an answer of the network came from.
struct NetworkEvidence {
  /// Rows of a table that were read around the one that is asked about, each once.
  struct Read {
    std::optional<TableId> table;  ///< nullopt: outcomes of the row itself
    std::size_t rows = 0;
    std::int64_t newest_us = models::kAgeless;  ///< before the time asked about; kAgeless: no time
    std::int64_t oldest_us = models::kAgeless;
  };
  /// On heads: what it adds to what all others say, a logit or in the label's own unit. Else NaN.
  double adds = 0;
  std::vector<Read> read;
  std::vector<models::RoutingStats> layers;  ///< the last one's only node is the row itself
  std::vector<std::uint32_t> experts;        ///< by the block each was born for
};

/// Candidate "network" of a task, whatever its kind, and where the configuration
/// asks for it "network-ridge" (network_ridge.h).
///
/// When it learns: each label that matures is an example and owes `passes` visits; owed visits are
/// paid in steps of `batch` seeds, at most kStepsMax at a time, drawn from all that is kept. So the
/// stream alone decides how many steps are taken, where, and on what. What lay around a seed is
/// sampled again from the graph as of the seed's time. Where a column of the row itself is asked
/// for, every second step shows the rows that are still there as they are now instead: such rows
/// are asked about when they arrive and while they wait. The column is hidden then, in all rows of
/// the table.
///
/// Seeds of a window are shown as of their times, some of them (LaggedView) as they were earlier:
/// it must also know whom nothing was heard of for long.
///
/// The head is told means of the seed's newest rows and labels besides (seed_summary.h).
///
/// Blocks: a row belongs to the block it was first mentioned in; the seed of a window belongs to
/// the block that was open at its time, for what it is asked is asked of that time. When a block
/// has given kBirthExamples examples, an expert is born for it in every layer; an expert stands for
/// its block and those after it that have none.
///
/// When there are `experts_max`, the two neighbours most alike, but not the newest, become one for
/// it: neighbours, since expert t listens to blocks up to its own, so they must keep their order.
/// It learns to say what the two said. If then examples of any block lose more than the bound, all
/// is as before, the block stays with the newest expert, and the pair is not tried again until
/// another birth, or until a block has found all pairs refused.
///
/// What learns jumps about the best weights as its steps are long; a mean of them answers
/// (NetworkConfig::mean_steps), and a network that is to have one expert more, or one less, begins
/// there. The mean begins anew then: it would be slow to show what is learnt of a new block.
///
/// A network that is about to take another's place, by a merge or a birth, is compared with it: on
/// the same examples of memory, how far its loss rises under small pushes of its weights. One that
/// is clearly sharper (NetworkConfig::flatness_rise) does not: all is as before, as above.
///
/// Replay: where mixtures stand for old blocks (NetworkConfig::replay), they are fitted to what the
/// gates and the head read of each of the newest expert's blocks just before the next is born; then
/// the blocks' examples go, or all but memory_per_class of them. Old experts, and what all share
/// before the gates, are frozen. From then on rows drawn from the mixtures join each step: for the
/// gates of all tasks, and for the head where labels are classes.
///
/// Before the first step it answers with the mean of the labels so far (one half for binary tasks,
/// nothing for classes), or what the other candidates say.
///
/// On heads: an example remembers what the others said of it before its label was known, so what is
/// learnt is what they do not know. Weights of the head begin at zero: at first the network agrees.
///
/// Seeds are handled in parts of which a pass takes a bounded room, whatever the fan-out: an array
/// of it activation_bytes_max, all of them about ten times that, which is kept for the next pass
/// and counted in memory_bytes(). An answer keeps few arrays, so its parts are kAnswerNodes times
/// as large: as a rule the up to 4,096 rows that a tick asks for at once are one batch, and what
/// neighbourhoods share is sampled and computed once. Of their room no more than one such array's
/// is kept.
///
/// Threads: one owner, the fold. Deterministic: same calls, same bits.
class GraphNetwork final : private LabelRows {
 public:
  static constexpr std::size_t kEventsKept = 1024;  ///< for those who ask later
  static constexpr std::size_t kBirthExamples = 256;
  static constexpr std::size_t kStepsMax = 256;           ///< of one call
  static constexpr std::size_t kScoredExamples = 256;     ///< of a block, at most
  static constexpr std::uint64_t kOwedMax = 1u << 20;     ///< visits; more are forgotten
  static constexpr std::size_t kAnswerNodes = 4;          ///< times as many as of a training pass
  static constexpr std::size_t kMixtureExamples = 1024;   ///< of a block, that one is fitted to
  static constexpr std::size_t kMixtureExamplesMin = 32;  ///< smaller blocks share one
  static constexpr std::size_t kBoundRows = 256;  ///< that share `batch_experts` experts, at most
  static constexpr std::string_view kName = "network";
  /// Of classes and of columns of rows: the task's own, made of a head and this network.
  static constexpr std::string_view kOnHeads = "network-on-heads";

  /// Null where the configuration says no network. `world.network` must outlive it, and so must
  /// `propagation`: the task's, if it has one.
  static std::unique_ptr<GraphNetwork> make(const TaskPlan& plan, const TaskWorld& world,
                                            std::uint64_t seed, Propagation* propagation = nullptr);

  /// What it learns: never a ranking, whose items are classes to it.
  TaskKind kind() const { return kind_; }
  /// Its candidates.
  std::vector<std::string> names() const;
  std::size_t size() const { return ridge_ == nullptr ? 1 : 2; }

  /// Whether it adds to what the other candidates say together: then learn() and predict() are told
  /// that, a probability or a number a row.
  bool on_heads() const { return on_heads_; }

  /// Of rows: as of when those with a label are shown, other than as they arrived; unless set, as
  /// they are now.
  void set_shown_at(ShownAt shown_at) { shown_at_ = std::move(shown_at); }
  /// Of rows: how to know the label of one that was not drawn. Called at steps.
  void set_label_of(LabelPairs::LabelOf label_of) { pairs_.set_label_of(std::move(label_of)); }

  /// Labels (0/1, a number, a class index; NaN: not known) of these entities as of `at` teach.
  /// `starts`: what the others said together; empty unless on_heads().
  void learn(std::span<const std::uint32_t> rows, std::span<const double> labels, TimeUs at,
             std::span<const double> starts = {});
  /// These labels of a tick became known at `known`: they are rows around the entity from then on.
  void know(std::span<const std::uint32_t> rows, std::span<const double> labels, TimeUs known);
  /// Of lists: those of an instant that taught since the last call are compared.
  void compare_lists();
  /// Take the steps that are owed. Cost: a forward and a backward pass of `batch` seeds each.
  void train(TimeUs now);

  /// Fit "network-ridge" to what has matured, if there is one; behind train().
  void settle_ridge(TimeUs now);

  /// Answers for rows as of `at` into out[i * stride + k], k the candidate; of "network-ridge" what
  /// add_base() completes. Cost: what lies around them, each row once.
  /// Of ticks and arrivals, which come in the order of their times, metrics() counts what routing
  /// did.
  void predict(std::span<const std::uint32_t> rows, TimeUs at, std::size_t stride,
               std::span<models::Output> out, Trigger trigger, std::span<const double> starts = {});

  /// Completes what "network-ridge" says of a row by Propagation::Answers::base. Nothing where the
  /// task has no propagation.
  void add_base(std::span<const float> base, models::Output& out) const;

  const NetworkMetrics& metrics() const { return metrics_; }
  /// What labels say of the task so far.
  const models::LabelSignals& signals() const { return signals_; }
  /// Their prior() at the last instant that taught, or of rows at one of the last steps: the
  /// network's weight before any loss is known.
  double prior() const { return prior_; }
  /// How well it knows the newest NetworkMetrics::kBlocksMax blocks before `end` of which enough
  /// examples are kept, as it stands. Leaves no trace. Cost: answers for kScoredExamples of each.
  BlockScores score_blocks(TimeUs at,
                           std::uint32_t end = std::numeric_limits<std::uint32_t>::max());

  /// Of each class (rows; two of a binary task), how its remembered examples are shared by experts,
  /// by their blocks: rows sum to 1, or to 0 for a class without any. Cost: linear in memory.
  /// Checks: labels are classes or binary.
  Eigen::MatrixXd block_shares() const;

  /// How it would answer about a row; nothing before its first step. Leaves no trace.
  std::optional<NetworkEvidence> evidence(std::uint32_t row, TimeUs at);

  /// Blocks that mixtures stand for.
  std::size_t mixtures() const { return mixtures_.blocks(); }

  std::uint64_t steps() const { return steps_; }
  /// What the process has used of CPU while it learnt here, since it began: not stored.
  double training_cpu_seconds() const { return training_cpu_seconds_; }
  /// Of each layer; 0 before the first step.
  std::size_t experts() const { return network_ == nullptr ? 0 : network_->experts(); }
  /// The newest, at most kEventsKept once they were told.
  const std::vector<ExpertEvent>& events() const { return events_; }
  /// Calls `told` for each event since the last call, oldest first, with its number from 1 on.
  Status tell(const std::function<Status(const ExpertEvent&, std::uint64_t count)>& told);
  std::size_t memory_bytes() const;

  /// Checks: every event was told.
  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  GraphNetwork(const TaskPlan& plan, const TaskWorld& world, std::uint64_t seed,
               Propagation* propagation);

  void newest(std::uint32_t row, TimeUs at, std::size_t k, std::vector<LabelRow>& out) override;

  models::NetworkOptions options() const;
  std::vector<std::size_t> columns() const;
  double in_units(double label) const;
  double score_of(double start) const;
  using Examples = std::span<const NetworkExample>;
  bool is_there(std::uint32_t row, TimeUs now) const;
  void show_waiting(NetworkExample& example, TimeUs now) const;
  bool sample(Examples seeds, std::size_t nodes_max, std::int64_t lag_us = 0);
  void grow_inputs(models::ExpertNetwork<float>& network) const;
  void grow_inputs();
  models::ExpertNetwork<float>& answering() {
    return averaged_ != nullptr ? *averaged_ : *network_;
  }
  models::ExpertNetwork<float> settled() const;
  void replace(models::ExpertNetwork<float> network);
  bool ready() const;
  void begin();
  void take_unit();
  void keep_unit();
  void say_in_unit(models::ExpertNetwork<float>& network, double old_unit, double old_centre) const;
  std::size_t nodes_max() const;
  void step(TimeUs now);
  void compare_labels(std::span<const std::uint32_t> rows, std::span<const double> labels,
                      TimeUs at);
  void compare_drawn(TimeUs now);
  void compare_with_earlier(std::span<const std::uint32_t> rows, std::span<const double> labels,
                            TimeUs known);
  std::uint32_t block_of(std::uint32_t row, TimeUs at);
  struct StepParts {
    std::uint64_t count = 0;
    std::uint64_t nodes = 0;  ///< of all of them
  };
  PartRead accumulate(Examples examples, std::int64_t lag_us, StepParts& parts);
  void hide_rows(std::uint64_t part);
  /// Of an answer's batch. Old rows are asked for by requests, as whoever asks likes: what routing
  /// did is told of what the stream answers by itself.
  enum class Counted : std::uint8_t { Nothing, Mixtures, All };
  void score(std::span<const NetworkExample> examples, std::size_t stride,
             std::span<models::Output> out, Counted counted);
  void score_batch(std::span<const NetworkExample> examples, std::size_t stride,
                   std::span<models::Output> out, Counted counted);
  void give_birth_if_due(TimeUs now);
  void give_birth(std::uint32_t block, TimeUs now);
  void fit_mixtures(std::uint32_t expert, TimeUs now);
  void fit_mixture(const BlockRun& run, TimeUs now);
  void leave_rows(std::uint32_t block);
  bool is_left(std::uint32_t block) const;
  double real_share() const;
  void add_pseudo_rows();
  void count_by_mixtures(std::span<const models::RowMatrix<float>> inputs);
  bool is_full();
  bool make_room(std::uint32_t block, TimeUs now);
  std::vector<BlockRun> runs_of_blocks(const BlockRunOptions& options) const;
  std::vector<std::uint32_t> blocks_of(std::uint32_t expert) const;
  std::vector<BlockSample> sample_blocks();
  void in_pieces(Examples examples, const std::function<void(Examples)>& each);
  double loss_sum(const models::ExpertNetwork<float>& network, Examples examples);
  void distil(models::ExpertNetwork<float>& merged, std::uint32_t first);
  bool judge(const models::ExpertNetwork<float>& merged, std::span<const BlockSample> samples,
             ExpertEvent& event);
  double rise_of(models::ExpertNetwork<float>& network, Examples examples);
  bool is_flat(models::ExpertNetwork<float>& candidate, ExpertEvent& event);
  std::uint32_t expert_of(std::uint32_t block) const;
  models::Target target_of(const NetworkExample& example) const;
  void answer(std::span<const float> scores, double start, models::Output& out) const;
  models::Output unknown(double start) const;
  double ridge_start(double start) const;
  void keep_present(TimeUs now, std::vector<NetworkExample>& examples) const;
  void learn_ridge(Examples examples);
  void add_to_ridge(Examples examples);
  models::RowMatrix<float> rest_vectors();
  void answer_ridge(Examples examples, std::size_t stride, std::span<models::Output> out);
  void stage_ridge(store::State& state);
  Status load_ridge(store::State& state);
  std::string key(std::string_view part) const { return name_ + "/network/" + std::string(part); }
  std::string part_key(std::string_view network, std::uint64_t id) const;
  void stage_network(store::State& state);
  Result<std::unique_ptr<models::ExpertNetwork<float>>> load_network(std::string_view name,
                                                                     std::string_view bytes,
                                                                     store::State& state) const;

  std::string name_;
  TaskKind kind_;
  TableId entity_;
  bool asks_rows_;  // for a column of the row itself
  bool ranks_;      // what is asked for is a list
  bool on_heads_;
  NetworkWorld& world_;
  store::Graph& graph_;
  std::uint64_t seed_;
  NetworkMemory memory_;
  NetworkPlan plan_;
  SubgraphSampler sampler_;
  SeedSummary summary_;
  LabelPairs pairs_;
  ShownAt shown_at_;
  models::LabelSignals signals_;
  double prior_ = models::NetworkPrior::low;
  SampleOptions sampling_;
  std::unique_ptr<models::ExpertNetwork<float>> network_;   // null before the first step
  std::unique_ptr<models::ExpertNetwork<float>> averaged_;  // null where network_ itself answers
  Propagation* propagation_;                                // null: the task has none
  std::unique_ptr<NetworkRidge> ridge_;                     // null: the configuration has none

  std::uint64_t owed_ = 0;   // visits
  double nodes_a_seed_ = 0;  // in the last step; 0: none yet
  std::uint64_t steps_ = 0;
  double training_cpu_seconds_ = 0;
  std::uint64_t classes_ = 0;
  std::uint64_t labels_ = 0;  // moments of the labels so far
  double mean_ = 0;
  double squares_ = 0;
  // Targets are (label - centre) / unit; on heads what they said is the centre.
  double centre_ = 0;
  double unit_ = 1;
  std::uint64_t unit_due_ = 0;               // labels with which the unit is looked at again
  std::vector<std::uint32_t> first_blocks_;  // of each expert: the block it was born for
  std::vector<std::uint32_t> refused_;       // first experts of pairs that are not to be merged
  std::uint32_t without_room_ = 0;           // newest block that has no expert for want of room
  std::vector<ExpertEvent> events_;
  std::uint64_t events_past_ = 0;  // that came before those
  NetworkMetrics metrics_;
  NetworkMixtures mixtures_;
  std::size_t told_ = 0;                                 // of events_
  std::map<std::uint64_t, std::uint64_t> stored_parts_;  // of the network: id -> version
  bool dirty_ = false;
  bool ridge_dirty_ = false;

  models::GraphBatch batch_;
  std::vector<std::uint32_t> data_blocks_;        // of its nodes; batch_.block numbers experts
  std::vector<models::RowMatrix<float>> inputs_;  // of the layers, for their room
  std::vector<NetworkExample> drawn_;
  std::vector<KnownLabel> outcomes_;
  std::vector<std::uint32_t> list_rows_;  // lists that wait to be compared: an item of each
  std::vector<double> list_items_;
  TimeUs lists_at_;
  std::vector<Seed> seeds_;
  std::vector<models::Target> targets_;
};

/// Of a network that may not be there.
inline std::uint64_t steps_of(const GraphNetwork* network) {
  return network == nullptr ? 0 : network->steps();
}

}  // namespace accrete::daemon
