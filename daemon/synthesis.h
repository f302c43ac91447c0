// Deep feature synthesis, kept up to date row by row: the aggregates of synthesis_plan.h, shared by
// all tasks of a fold.
//
// What it says. The aggregates at any settled moment are those of the rows as they are then: every
// row whose newest version is no deletion, with that version's content, under the keys that its
// foreign keys name then. A row's time is what its time column says, but not later than its newest
// version began; what it joins of another row is what that one was at this time. So an update, a
// delete or a late row leaves exactly what would be there had it come in order; the ordered part of
// an aggregate is then built anew from its newest rows.
//
// How. Rows are only noted when they change; settle() compares what they contributed with what
// they contribute now and applies the difference, together with what depends on them: the children
// of a row that joined it or came to their key over it, the rows that share its time stamp where
// ranks are kept.
//
// Threads: one owner, the fold. Determinism: the state depends on the rows and on where settle()
// was called, which is at the end of every transaction and instant.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/aggregate_pages.h"
#include "daemon/plan.h"
#include "daemon/row_reader.h"
#include "daemon/stamp_index.h"
#include "daemon/synthesis_plan.h"
#include "daemon/window.h"
#include "models/aggregate.h"
#include "models/aggregate_columns.h"
#include "proto/bytes.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::daemon {

class Synthesis {
 public:
  static constexpr std::uint32_t kNoKey = 0xFFFF'FFFF;

  /// What it reads; outlives it.
  struct World {
    const Schema* schema = nullptr;
    store::Graph* graph = nullptr;
    RowReader* rows = nullptr;
    WindowReader* windows = nullptr;
    store::State* state = nullptr;
  };
  /// `bytes_max` bounds the states in memory: keys beyond it have none and read as empty.
  Synthesis(const std::vector<TaskPlan>& tasks, const World& world, std::size_t bytes_max);

  /// Call before a row changes with effect from `from` on; `newest` is its newest version so far.
  /// Cost: O(1) for a new row that nothing names, else one row read and encoded; and the same for
  /// each row from that time on that joins it.
  void changing(NodeId node, const std::optional<store::Version>& newest, TimeUs from);
  /// Bring the aggregates up to date. Cost per changed row: O(streams × columns); for a row that
  /// was out of order also AggregateForm::rows_remembered row reads per ordered stream.
  void settle();
  /// Does any aggregate read rows of this table?
  bool reads(TableId table) const { return by_table_[table.value].has_value(); }

  const SynthesisPlan& plan() const { return plan_; }
  PageBudget& budget() { return budget_; }
  std::size_t memory_bytes() const { return budget_.bytes + stamps_bytes(); }
  /// First failed read since opening.
  Status health() const;

  // For readers; all settled.
  const models::AggregateForm& form(std::size_t stream) const { return streams_[stream].form; }
  const double* state(std::size_t stream, std::uint32_t key) const {
    return key == kNoKey ? nullptr : streams_[stream].pages.find(key);
  }
  std::uint32_t hop(std::size_t hop, std::uint32_t row) const;
  /// The plain mean of each column over all rows of a source, at one half-life.
  void means(std::size_t source, std::size_t life, std::vector<double>& out) const;
  /// Columns of a source: the expressions of the tasks, then what its rows and those that they join
  /// have shown.
  std::vector<std::string> column_names(std::size_t source) const;
  /// For each category, of the rows or of rows that they join, the columns that tell its values:
  /// among the first `known` of a source, in order of appearance, so that a category keeps its
  /// place.
  std::vector<std::vector<std::size_t>> categories(std::size_t source, std::size_t known) const;
  std::uint64_t changes() const { return changes_; }  ///< rises whenever a state may have changed

  /// What has come since the beginning, in order.
  struct Growth {
    enum class Kind : std::uint8_t { Columns, Attribute };
    Kind kind = Kind::Columns;
    std::size_t source = 0;
    std::size_t value = 0;  ///< Columns: as many as it has from then on; Attribute: the column
  };
  const std::vector<Growth>& growth() const { return growth_; }

  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  /// What a row says, but for ranks and for keys that lie beyond its parents.
  struct Facts {
    bool valid = false;
    double time = 0;  // NaN: none
    std::vector<double> own;
    std::vector<std::vector<double>> joined;  // by join
    std::vector<std::uint32_t> named;         // by foreign key, then by attribute
  };
  /// What a row contributes: facts in the light of other rows.
  struct Contribution {
    std::uint32_t row = 0;
    Facts facts;
    std::vector<double> values;
    std::vector<std::uint32_t> keys;  // by stream of its source
    std::vector<double> links;
  };
  struct Entry {
    NodeId node;
    Contribution before;
    Contribution after;
    bool is_new = false;  // never contributed before
  };
  /// Where a column of an aggregate comes from: the row's own columns, or those of a join.
  struct Part {
    std::uint16_t join = 0;  // 0: own, else 1 + join
    std::uint16_t index = 0;
  };
  struct Source {
    models::AggregateColumns columns;
    std::vector<Part> parts;                                                // only ever appended to
    std::optional<StampIndex> stamps;                                       // where ranks are kept
    std::vector<std::map<std::string, std::uint32_t, std::less<>>> groups;  // by attribute
    double newest_time = 0;  // of the newest row observed
    bool any = false;
  };
  struct Stream {
    models::AggregateForm form;
    AggregatePages pages;
  };

  // What is there.
  models::AggregateForm make_form(std::size_t stream) const;
  void make_streams(std::size_t first);
  void add_attribute(std::size_t source, ColumnId column);
  void add_parts(std::size_t source, std::size_t join);
  Status load_source(std::size_t index, ByteReader& reader);
  static std::string stamps_prefix(std::size_t source);
  std::size_t stamps_bytes() const;

  // What rows say.
  void facts_of(std::size_t source, NodeId node, const std::optional<store::Version>& newest,
                Facts& facts);
  void facts_now(std::size_t source, NodeId node, Facts& facts);
  void names_of(std::size_t source, const RowContent& row, std::vector<std::uint32_t>& named);
  std::uint32_t group_of(std::size_t source, std::size_t attribute, const Value& cell);
  void join(std::size_t source, Facts& facts);
  void compose(std::size_t source, Contribution& contribution) const;
  void observe(std::size_t source, const Entry& entry);

  // What changed.
  Entry* note(NodeId node);
  void note_unchanged(NodeId node);
  void note_joining(NodeId node, TimeUs from);
  void find_dependents();
  void find_children(std::size_t hop, std::uint32_t row);
  void find_stamp_mates(std::size_t source, double time);
  void place(std::size_t source, Contribution& contribution) const;
  void rank(Contribution Entry::*which);
  void rank_group(std::size_t source, double time, std::span<Facts* const> group);
  void complete(Contribution Entry::*which);
  void update_hops();
  void update_stamps();
  void apply_all();
  void apply(std::size_t source, const Entry& entry);
  void apply_to(std::size_t stream, std::size_t slot, const Entry& entry);
  void forget_noted();

  // What is built anew.
  void rebuild_order(std::size_t stream, std::uint32_t key, bool oldest_too);
  void newest_rows(std::size_t stream, std::uint32_t key, std::vector<Contribution>& newest);
  double oldest_time(std::size_t stream, std::uint32_t key);
  void rank_alone(std::size_t source, std::uint32_t row, Facts& facts);
  void review();
  void review_source(std::size_t source, std::set<std::size_t>& outgrown);
  void fill_hop(std::size_t hop);
  void rebuild(std::size_t source);

  World world_;
  SynthesisPlan plan_;
  PageBudget budget_;
  std::vector<std::optional<std::size_t>> by_table_;
  std::vector<Source> sources_;
  std::vector<Stream> streams_;
  std::vector<AggregatePages> hops_;  // by hop: row -> key + 1
  std::vector<Growth> growth_;
  std::uint64_t changes_ = 0;

  std::vector<Entry> entries_;  // the first used_ are in use
  std::size_t used_ = 0;
  std::unordered_map<std::uint64_t, std::size_t> noted_;  // rows to their entry; only looked up
  std::map<std::pair<std::size_t, std::uint32_t>, bool> stale_;  // (stream, key) -> oldest too
  std::vector<store::Edge> edges_;
  std::string key_;
  Facts scratch_;
};

}  // namespace accrete::daemon
