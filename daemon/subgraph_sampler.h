// The neighbourhoods of many (row, time) pairs as one batch for the graph network.
//
// Every read is as of the seed's time, at every step: an edge counts if it is valid then, a row if
// it has a version then. A node is a row at a time, and what it reads depends on the row, the time
// and the options alone, never on the batch around it: so a seed has the same neighbourhood alone
// and among others. Where the fan-out is the same at every step, a node that is met at different
// distances is one node; where it is not, it is one node for each distance but the last: there
// nothing is read of it, so one that there is already will do.
//
// Source: Robinson et al. 2024, arXiv:2407.20060 (sampling); Chen et al. 2025, RelGNN (Through).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "daemon/network_plan.h"
#include "daemon/network_rows.h"
#include "daemon/pair_numbering.h"
#include "models/graph_batch.h"
#include "proto/ids.h"
#include "store/graph.h"

namespace accrete::daemon {

struct Seed {
  std::uint32_t row = 0;  ///< of the entity table
  TimeUs at;
};

/// An outcome of an entity.
struct LabelRow {
  static constexpr std::size_t kColumns = 2;  ///< of its features: the value, and that it is there

  float value = 0;                ///< in units in which deviations are about 1; of a class 0
  TimeUs known;                   ///< when it became known
  std::uint32_t label_class = 0;  ///< where outcomes are classes
};

/// Where the outcomes are, for the pseudo-table of a plan.
class LabelRows {
 public:
  virtual ~LabelRows() = default;
  /// The newest `k` outcomes of an entity that were known at `at` (known <= at), newest first,
  /// appended to `out`.
  virtual void newest(std::uint32_t row, TimeUs at, std::size_t k, std::vector<LabelRow>& out) = 0;
};

enum class Choice : std::uint8_t { Newest, Uniform };

struct SampleOptions {
  std::vector<std::size_t> fan_out{128, 64};  ///< children a node reads through a relation, by hop
  Choice choice = Choice::Newest;
  std::uint64_t seed = 1;            ///< of uniform choices
  std::size_t labels_max = 16;       ///< outcomes an entity reads
  LabelRows* labels = nullptr;       ///< null: no outcomes
  bool label_classes = false;        ///< outcomes are classes, each an item of its own
  std::vector<MaskedColumn> masked;  ///< show nothing, keys lead nowhere; ages stay
  std::size_t nodes_max = std::numeric_limits<std::size_t>::max();  ///< of a batch
};

class SubgraphSampler {
 public:
  /// Schema, graph and rows must outlive the sampler.
  SubgraphSampler(const Schema& schema, NetworkPlan plan, store::Graph& graph, NetworkRows& rows);

  /// Seeds are nodes 0 … n - 1, each its own even if it repeats another or is no valid row at its
  /// time (it shows zeros then). Neighbours of a node:
  ///   Up       the row named by its version as of the time, if that is valid
  ///   Down     of the newest or drawn children those that are valid, in the graph's order
  ///   Through  of the same children in the same order whom they name, one for each child
  ///   Labels   the newest outcomes, which show their value and 1, or list their class and show 1
  /// Over a masked foreign key nothing is read, neither way.
  ///
  /// False when there are more nodes than options.nodes_max: it ends soon after, and `out` is none.
  /// share_read() tells how far it got.
  ///
  /// Checks: 1 <= fan_out.size() <= plan.hops; outcomes were known at the time.
  /// Cost: a few reads of RAM an edge while rows are kept; O(seeds × fan-outs) memory.
  bool sample(std::span<const Seed> seeds, const SampleOptions& options, models::GraphBatch& out);

  /// Of the last call: the share of those that read in its last step who had read. That share of
  /// the seeds would have fitted, or more, if they come in the order of their times.
  double share_read() const { return share_read_; }

  const NetworkPlan& plan() const { return plan_; }
  std::size_t memory_bytes() const;

 private:
  /// What a search for a node says instead of nullopt: an optional number is written in two pieces
  /// and read as one, for which the processor waits, and every edge asks.
  static constexpr std::uint32_t kNoNode = 0xFFFF'FFFF;

  /// A half step or a whole one up to a parent.
  struct UpStep {
    std::size_t relation = 0;  // of the plan
    RelationId key;
    std::uint16_t foreign_key = 0;
    std::uint16_t source = 0;
  };
  struct DownStep {
    std::size_t relation = 0;
    RelationId key;
    std::uint16_t source = 0;
    std::vector<UpStep> through;
  };
  /// What the nodes of a table read.
  struct Steps {
    std::vector<UpStep> up;
    std::vector<DownStep> down;
    bool labels = false;
  };
  /// Of each node: where it is in the graph, and where its parents are in parents_.
  struct Place {
    std::uint32_t row = 0;
    std::uint32_t moment = 0;
    std::uint32_t parents = 0;
    std::uint32_t hop = 0;
    Ordinal ordinal;  ///< of its version; 0: none
    TimeUs from;      ///< of its version, too: a change may take effect twice
    TimeUs time;      ///< its own
  };

  /// A list of children that is read soon: its edges are there already, and what they lead to is
  /// on its way to the processor.
  struct Ahead {
    std::uint32_t reader = 0;
    std::size_t down = 0;  ///< which of its table's steps
    bool there = false;
    std::vector<store::Edge> edges;
  };

  void make_steps();
  void begin(std::span<const Seed> seeds);
  void hide(std::span<const MaskedColumn> masked);
  std::uint32_t moment_of(TimeUs at) const;
  void add_seed(const Seed& seed);
  std::uint32_t node(std::uint16_t table, std::uint32_t row, std::uint32_t moment);
  std::uint32_t add_node(std::uint16_t table, std::uint32_t row, std::uint32_t moment,
                         const std::optional<store::Version>& version);
  bool lists_items(std::uint16_t table) const;
  std::uint32_t show(std::uint16_t table, std::uint64_t what, std::span<const float> features,
                     std::span<const models::SparseEntry> items);
  /// Where nodes are numbered by row: the row's newest, at whatever time and distance. Here, and so
  /// compiled into those who ask, because every edge does.
  std::uint32_t newest_of(std::uint16_t table, std::uint32_t row) const {
    const std::vector<std::uint32_t>& numbers = numbers_[table];
    if (!by_row_ || row >= numbers.size() || numbers[row] < base_) return kNoNode;
    return numbers[row] - base_;
  }
  std::uint32_t show_other(std::uint16_t table, const store::Version& version,
                           const NetworkRows::View& view, std::uint32_t other);
  std::uint32_t show_new(std::uint16_t table, std::span<const float> features,
                         std::span<const models::SparseEntry> items);
  std::uint32_t find_node(std::uint16_t table, std::uint32_t row, std::uint32_t moment) const;
  void number_node(std::uint16_t table, std::uint32_t row, std::uint32_t moment,
                   std::uint32_t number);
  /// Whether the nodes that are being made read nothing.
  bool reads_last() const { return hop_ == options_->fan_out.size(); }
  void start_early();
  void renew_early();
  void expand(std::uint32_t reader);
  void prefetch(std::uint16_t table, std::span<const store::Edge> edges) const;
  void prefetch_lists(std::size_t reader) const;
  void list_children(std::uint32_t reader, const DownStep& step, std::vector<store::Edge>& out);
  void take_children(std::uint32_t reader, std::size_t down);
  void look_ahead(std::uint32_t reader, std::size_t down);
  void read_up(std::uint32_t reader, const UpStep& step);
  void read_down(std::uint32_t reader, const DownStep& step);
  void read_labels(std::uint32_t reader);
  std::vector<std::uint32_t>& sources_of(std::size_t relation, std::uint32_t node);
  void finish();

  const Schema& schema_;
  NetworkPlan plan_;
  store::Graph& graph_;
  NetworkRows& rows_;
  std::vector<Steps> steps_;  // by table of the plan

  // Of the call at hand.
  const SampleOptions* options_ = nullptr;
  models::GraphBatch* out_ = nullptr;
  double share_read_ = 0;
  bool by_hop_ = false;
  std::uint32_t hop_ = 0;                   // of the nodes that are being made
  std::uint32_t readers_ = 0;               // nodes below read in this hop, or have read
  std::uint32_t reading_ = 0;               // moment of those who read
  std::uint32_t group_ = 0;                 // first node made since that or the hop changed
  std::vector<TimeUs> moments_;             // the seeds' times, ascending
  std::vector<std::uint64_t> moment_keys_;  // of uniform choices
  PairNumbering nodes_;                     // (row, moment), (table, hop) -> node
  PairNumbering shown_;                     // version, table -> row of the features
  bool by_row_ = false;                     // nodes are found by arrays over rows, not in nodes_
  std::vector<std::vector<std::uint32_t>> numbers_;  // then: by table and row, base_ + newest node
  std::uint32_t base_ = 1;                           // what is below is of an earlier batch
  std::vector<Place> places_;
  std::vector<std::uint32_t> early_;  // by step before the last: its next node to be renewed
  std::vector<std::uint32_t> parents_;
  std::vector<std::uint32_t> feature_rows_;         // by table; its features may have room for more
  std::vector<std::vector<std::uint32_t>> hidden_;  // by table: columns of features
  std::vector<bool> closed_;                        // by RelationId
  std::vector<store::Edge> edges_;
  Ahead ahead_;
  std::vector<LabelRow> outcomes_;
};

}  // namespace accrete::daemon
