// The fold: one loop that alone owns graph, labels and learners. For every record of the log, in
// order: admit it to the timeline; for every row that is ripe, in event-time order: fire the
// instants before it (mature, tick, answer requests), apply it, republish what it touched.
//
// Output = f(log, configuration, seed, binary): the same records give the same predictions with
// the same numbers, however they are cut into slices and whenever the fold commits or crashes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/any_task.h"
#include "daemon/config.h"
#include "daemon/fold_sink.h"
#include "daemon/frontier.h"
#include "daemon/lookahead.h"
#include "daemon/network_world.h"
#include "daemon/row_reader.h"
#include "daemon/synthesis.h"
#include "daemon/timeline.h"
#include "daemon/window.h"
#include "proto/codec.h"
#include "proto/result.h"
#include "store/graph.h"
#include "store/log.h"
#include "store/prediction_log.h"
#include "store/state.h"

namespace accrete::daemon {

struct FoldOptions {
  std::uint64_t fingerprint = 0;  ///< fold_fingerprint() of the configuration
  std::size_t graph_bytes_max = 512u << 20;
  std::size_t pending_bytes_max = 256u << 20;  ///< per task, resident
  std::size_t pending_labels_max = 50'000'000;
  std::size_t row_cache_rows = 65'536;
  std::size_t features_bytes_max = 512u << 20;  ///< aggregates, all tasks together
  std::size_t learners_bytes_max = 256u << 20;  ///< the same for learners
  std::size_t taught_rows_max = 4096;           ///< of one task, from one tick to the next
  std::uint64_t seed = 1;
  std::uint64_t checkpoint_records_min = 200'000;
  std::size_t dirty_bytes_max = 128u << 20;  ///< commit when so much is to be written
  /// Below this the graph lives in the caches of any server: nothing to warm.
  std::size_t lookahead_graph_bytes_min = 32u << 20;
  std::int64_t lateness_us = 0;
  std::int64_t ahead_max_us = kAheadMaxUs;  ///< see Timeline
  NetworkConfig network;
  BlocksConfig blocks;
  /// Called in a long admit(), or open(), where all up to an instant is folded: who wants to read
  /// the fold may, once it is open, but not fold on or commit.
  std::function<void()> between_instants;
  TimeUs freeze_after = kTimeMax;  ///< backtest --freeze: rows and labels after are dropped
};

struct FoldCounters {
  std::uint64_t records = 0;
  std::uint64_t rows = 0;
  std::uint64_t late_rows = 0;
  std::uint64_t unknown_deletes = 0;  ///< deletes and key changes of rows never seen
  std::uint64_t ticks = 0;
  std::uint64_t predictions = 0;
  std::uint64_t late_requests = 0;     ///< asked about a time that had passed: not answered
  std::uint64_t unknown_requests = 0;  ///< unknown task or entity
  std::uint64_t checkpoints = 0;
};

class Fold {
 public:
  /// Bind the tasks, load what was committed (or begin a new epoch when the configuration changed
  /// what is folded), and continue where the last commit was. The caller then admits the log from
  /// folded() + 1 on. `predictions` may be null: then they only go to the sink.
  /// Errors: Malformed (a task does not bind), Corruption, Unavailable.
  static Result<std::unique_ptr<Fold>> open(const Config& config, const FoldOptions& options,
                                            store::Log& log, store::State& state,
                                            store::PredictionLog* predictions, FoldSink& sink);
  ~Fold();

  /// Fold the next records of the log; `slice.first` must be admitted() + 1. A slice may end inside
  /// a transaction: it is folded when its end comes. Errors: Corruption, Unavailable: the fold must
  /// stop.
  Status admit(const LogSlice& slice);
  /// Commit everything derived so far in one batch (nothing inside an unfinished transaction).
  Status checkpoint();

  Ordinal admitted() const { return admitted_; }
  Ordinal folded() const { return folded_; }
  std::uint64_t epoch() const { return epoch_; }
  PredictionSeq predicted() const { return predicted_; }
  const Timeline& timeline() const { return timeline_; }
  /// Event time of the newest row folded in order; kTimeMin before the first.
  TimeUs now() const { return now_; }
  const FoldCounters& counters() const { return counters_; }
  /// Row changes applied since this process began, by table and Op.
  using OpCounts = std::array<std::uint64_t, 4>;
  const std::vector<OpCounts>& table_changes() const { return table_changes_; }
  /// The last record of the newest commit.
  Ordinal checkpointed() const { return checkpointed_; }
  /// Rises with every record admitted and every row folded, also inside a long admit().
  /// Threads: any.
  std::uint64_t steps() const { return steps_.load(std::memory_order_relaxed); }
  const Schema& schema() const { return schema_; }
  std::vector<std::unique_ptr<AnyTask>>& tasks() { return tasks_; }
  AnyTask* find_task(std::string_view name);
  store::Graph& graph() { return *graph_; }
  RowReader& rows() { return *rows_; }
  WindowReader& windows() { return *windows_; }
  std::size_t memory_bytes() const;
  /// Of all tasks, since this process began (Frontier::cut).
  std::uint64_t frontiers_cut() const;
  /// A layout's names stay known to whoever checks incoming rows.
  const std::vector<Layout>& layouts() const { return layout_list_; }

 private:
  Fold(const Config& config, const FoldOptions& options, store::Log& log, store::State& state,
       store::PredictionLog* predictions, FoldSink& sink);

  Status load(const std::vector<TaskConfig>& task_configs);
  Status rescan(Ordinal from);
  Status admit_record(Ordinal ordinal, std::string_view entry, bool replayed);
  Status admit_change(Ordinal ordinal, std::string_view entry);
  Status wait_again(Ordinal ordinal);
  void admit_block_end(Ordinal ordinal);
  Result<const BoundLayout*> layout_of(Ordinal ordinal, const Change& change) const;
  void admit_request(Ordinal ordinal, bool replayed);
  std::optional<TimeUs> effective_time(const Change& change, const BoundLayout& layout) const;

  Status drain();
  /// Fire every instant before `limit` that has something to do.
  Status fire_before(TimeUs limit);
  Status fire(TimeUs at);
  Status answer_requests(TimeUs at);
  Status republish();
  Status flush();
  Status commit_if_due();
  Emit emitter();
  Status tell_alarms(AnyTask& task);
  Status tell_experts(AnyTask& task);

  void make_tasks(std::vector<TaskPlan> plans);
  Status apply_entry(const TimelineEntry& entry);
  Status apply(Ordinal ordinal, std::string_view entry, TimeUs time);
  Status take_effect(Ordinal ordinal, std::string_view entry, const BoundLayout& layout,
                     TimeUs time);
  Status apply_again(NodeId node, Ordinal ordinal, TimeUs time);
  void put_version(NodeId node, const store::Version& version);
  Status upsert(NodeId node, bool is_new, Ordinal ordinal, std::string_view entry, TimeUs time);
  void remove(NodeId node, Ordinal ordinal, TimeUs time);
  Status truncate(TableId table, Ordinal ordinal, TimeUs time);
  std::optional<NodeId> parent_of(const Relation& relation, std::span<const Value> cells);
  void touch_parent(NodeId parent);
  void changed(NodeId node, TimeUs time);
  TimeUs changed_at() const;
  void touch_frontiers(TimeUs at);
  struct Place {
    std::vector<std::optional<NodeId>> parents;  // by foreign key
    std::optional<TimeUs> time;                  // of its own
  };
  Place place_of(TableId table, std::span<const Value> cells);
  Place place_of(NodeId node, const store::Version& version);
  void link_parents(NodeId node, const store::Version& version);
  void relink(NodeId node, const store::Version& previous, const store::Version& version);

  struct PendingRequest {
    Ordinal ordinal;
    std::size_t task = 0;
    std::string key;
  };

  FoldOptions options_;
  store::Log& log_;
  store::State& state_;
  store::PredictionLog* prediction_log_;
  FoldSink& sink_;
  std::uint64_t epoch_ = 1;
  Schema schema_;
  Layouts layouts_;
  std::vector<Layout> layout_list_;

  std::unique_ptr<store::Graph> graph_;
  std::unique_ptr<Lookahead> lookahead_;
  std::unique_ptr<RowReader> rows_;
  std::unique_ptr<WindowReader> windows_;
  std::unique_ptr<Synthesis> synthesis_;
  std::unique_ptr<NetworkWorld> network_;  // null where the configuration has none
  std::vector<std::unique_ptr<AnyTask>> tasks_;
  std::vector<std::unique_ptr<Frontier>> frontiers_;       // by task; null: none is asked for
  std::vector<std::vector<std::size_t>> tasks_of_entity_;  // TableId -> tasks on that entity table
  std::vector<std::vector<RelationId>> relations_of_child_;  // TableId -> its foreign keys
  std::vector<bool> content_matters_;                        // TableId -> some task reads its rows

  Timeline timeline_;
  TimeUs now_ = kTimeMin;
  TimeUs newest_change_ = kTimeMin;  // when what was folded since the last republish took effect
  std::multimap<TimeUs, PendingRequest> requests_;
  TimeUs fired_before_ = kTimeMin;  // every instant before this one is done
  // The last end of an instant, and up to where the log was folded then.
  std::pair<TimeUs, Ordinal> ended_{kTimeMin, {}};
  Ordinal admitted_;  // last record admitted
  Ordinal folded_;    // the same, at the end of a transaction
  Ordinal applied_;   // last record applied
  Ordinal highest_;   // no applied record came later
  PredictionSeq predicted_;
  std::vector<store::StoredPrediction> outbox_;
  FoldCounters counters_;
  std::vector<OpCounts> table_changes_;
  std::atomic<std::uint64_t> steps_ = 0;
  Ordinal checkpointed_;
  std::uint64_t since_checkpoint_ = 0;  // records admitted and rows applied

  const LogSlice* slice_ = nullptr;  // being admitted: its entries need no reading back
  Record record_;                    // of the entry at hand
  Record applying_;
  std::vector<Value> cells_;
  std::string key_;
  std::string read_back_;
};

}  // namespace accrete::daemon
