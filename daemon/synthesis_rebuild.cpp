// What is built anew from the rows as they are: the ordered part of an aggregate after a change out
// of order, and all aggregates of a table that has shown new columns.
#include <algorithm>
#include <cmath>
#include <limits>

#include "daemon/synthesis.h"

namespace accrete::daemon {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
/// Only edges that nothing has ended are valid then.
constexpr TimeUs kOpen{kTimeMax.value - 1};
/// More rows of one time than the index keeps have no ranks, so they need not come together.
constexpr std::size_t kTogetherMax = StampIndex::kRowsMax;
constexpr std::size_t kAttributesMax = 4;  // of one entity table

double order_of(double time) {
  return std::isnan(time) ? -std::numeric_limits<double>::infinity() : time;
}

std::int64_t stamp_of(double time) {
  return static_cast<std::int64_t>(time);
}

}  // namespace

/// The rows that make up the ordered part of an aggregate, oldest first, without ranks.
///
/// The graph orders a parent's edges by their own time, which for a row that was moved to this
/// parent is later than the row's. So what was not read is older than the oldest edge read: enough
/// is read once rows_remembered rows are newer than that.
void Synthesis::newest_rows(std::size_t stream, std::uint32_t key,
                            std::vector<Contribution>& newest) {
  const StreamPlan& plan = plan_.streams[stream];
  const TableId child = plan_.sources[plan.source].table;
  const std::size_t wanted = models::AggregateForm::rows_remembered;
  for (std::size_t read = wanted;; read *= 2) {
    newest.clear();
    edges_.clear();
    world_.graph->newest(plan.relation, NodeId{plan.key_table, key}, kOpen, read, edges_);
    std::size_t certain = 0;
    for (const store::Edge& edge : edges_) {
      Contribution contribution;
      contribution.row = edge.child;
      facts_now(plan.source, NodeId{child, edge.child}, contribution.facts);
      const Facts& facts = contribution.facts;
      if (!facts.valid || facts.named[plan.foreign_key] != key) continue;
      const double oldest_edge = static_cast<double>(edges_.back().time.value);
      certain += facts.time > oldest_edge ? 1 : 0;
      newest.push_back(std::move(contribution));
    }
    if (edges_.size() < read || certain >= wanted) break;
  }
  const auto order = [](const Contribution& c) { return std::pair(order_of(c.facts.time), c.row); };
  std::sort(newest.begin(), newest.end(),
            [&](const auto& a, const auto& b) { return order(a) < order(b); });
  const auto twice = std::unique(newest.begin(), newest.end(),
                                 [](const auto& a, const auto& b) { return a.row == b.row; });
  newest.erase(twice, newest.end());
  if (newest.size() > wanted) {
    newest.erase(newest.begin(), newest.end() - static_cast<std::ptrdiff_t>(wanted));
  }
}

double Synthesis::oldest_time(std::size_t stream, std::uint32_t key) {
  const StreamPlan& plan = plan_.streams[stream];
  const TableId child = plan_.sources[plan.source].table;
  edges_.clear();
  world_.graph->edges(plan.relation, NodeId{plan.key_table, key}, kTimeMin, kTimeMax, kOpen,
                      edges_);
  double oldest = kMissing;
  for (const store::Edge& edge : edges_) {
    facts_now(plan.source, NodeId{child, edge.child}, scratch_);
    if (!scratch_.valid || scratch_.named[plan.foreign_key] != key) continue;
    if (!std::isnan(scratch_.time) && !(oldest <= scratch_.time)) oldest = scratch_.time;
  }
  return oldest;
}

/// Ranks of one row among its stamp's, which are read for it.
void Synthesis::rank_alone(std::size_t source, std::uint32_t row, Facts& facts) {
  if (!sources_[source].stamps || std::isnan(facts.time)) return;
  const std::vector<std::uint32_t> rows = sources_[source].stamps->at(stamp_of(facts.time)).rows;
  std::vector<Facts> mates(rows.size());
  std::vector<Facts*> group{&facts};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == row) continue;
    facts_now(source, NodeId{plan_.sources[source].table, rows[i]}, mates[i]);
    if (mates[i].valid) group.push_back(&mates[i]);
  }
  rank_group(source, facts.time, group);
}

void Synthesis::rebuild_order(std::size_t stream, std::uint32_t key, bool oldest_too) {
  double* state = streams_[stream].pages.touch(key);
  const models::AggregateForm& form = streams_[stream].form;
  if (state == nullptr || form.count(state) == 0) return;
  const std::size_t source = plan_.streams[stream].source;
  std::vector<Contribution> newest;
  newest_rows(stream, key, newest);
  form.clear_order(state, oldest_too ? oldest_time(stream, key) : form.first_time(state));
  for (Contribution& contribution : newest) {
    rank_alone(source, contribution.row, contribution.facts);
    compose(source, contribution);
    place(source, contribution);
    form.append(state, {contribution.facts.time, static_cast<double>(contribution.row),
                        contribution.values, contribution.links});
  }
}

/// Where enough rows were seen, look whether they show new columns, and groups of entities; what
/// has new ones is built anew.
void Synthesis::review() {
  std::set<std::size_t> outgrown;
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    if (sources_[s].columns.review_due()) review_source(s, outgrown);
  }
  for (const std::size_t s : outgrown)
    rebuild(s);
}

void Synthesis::review_source(std::size_t source, std::set<std::size_t>& outgrown) {
  const TableId id = plan_.sources[source].table;
  const Table& table = world_.schema->table(id);
  if (sources_[source].columns.review(table)) {
    for (std::size_t s = 0; s < sources_.size(); ++s) {
      if (plan_.sources[s].streams.empty()) continue;
      const std::size_t before = sources_[s].parts.size();
      if (s == source) add_parts(s, 0);
      for (std::size_t j = 0; j < plan_.sources[s].joins.size(); ++j) {
        if (plan_.sources[s].joins[j].source == source) add_parts(s, j + 1);
      }
      if (sources_[s].parts.size() == before) continue;
      growth_.push_back({Growth::Kind::Columns, s, sources_[s].parts.size()});
      outgrown.insert(s);
    }
  }
  const auto& entities = plan_.entities;
  if (std::find(entities.begin(), entities.end(), id) == entities.end()) return;
  for (const std::size_t column : sources_[source].columns.groups(table)) {
    const ColumnId attribute{static_cast<std::uint16_t>(column)};
    const auto& known = plan_.sources[source].attributes;
    if (known.size() >= kAttributesMax) break;
    if (std::find(known.begin(), known.end(), attribute) != known.end()) continue;
    const std::size_t first = plan_.streams.size();
    add_attribute(source, attribute);
    growth_.push_back({Growth::Kind::Attribute, source, column});
    fill_hop(plan_.hops.size() - 1);
    for (std::size_t s = first; s < plan_.streams.size(); ++s)
      outgrown.insert(plan_.streams[s].source);
  }
}

void Synthesis::fill_hop(std::size_t hop) {
  const HopPlan& plan = plan_.hops[hop];
  const std::size_t source = *by_table_[plan.table.value];
  for (std::uint32_t row = 0; row < world_.graph->node_count(plan.table); ++row) {
    facts_now(source, NodeId{plan.table, row}, scratch_);
    if (!scratch_.valid || scratch_.named[plan.slot] == kNoKey) continue;
    double* slot = hops_[hop].touch(row);
    if (slot != nullptr) *slot = static_cast<double>(scratch_.named[plan.slot]) + 1;
  }
}

/// All aggregates of a source anew, from its rows as they are.
void Synthesis::rebuild(std::size_t source) {
  const TableId table = plan_.sources[source].table;
  Source& of = sources_[source];
  const bool fresh_stamps = of.columns.has_ranks() && !of.stamps;
  if (fresh_stamps) of.stamps.emplace(stamps_prefix(source), *world_.state);
  for (const std::size_t s : plan_.sources[source].streams) {
    streams_[s].form = make_form(s);
    streams_[s].pages.reset(streams_[s].form.size());
  }
  std::vector<std::pair<double, std::uint32_t>> rows;
  for (std::uint32_t row = 0; row < world_.graph->node_count(table); ++row) {
    facts_now(source, NodeId{table, row}, scratch_);
    if (!scratch_.valid) continue;
    rows.emplace_back(order_of(scratch_.time), row);
    if (fresh_stamps && !std::isnan(scratch_.time)) {
      of.stamps->insert(stamp_of(scratch_.time), row);
    }
  }
  std::sort(rows.begin(), rows.end());
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && rows[end].first == rows[begin].first && end - begin < kTogetherMax)
      ++end;
    for (std::size_t i = begin; i < end; ++i) {
      Entry* entry = note(NodeId{table, rows[i].second});
      ACCRETE_CHECK(entry != nullptr);
      facts_now(source, entry->node, entry->after.facts);
    }
    complete(&Entry::after);
    apply_all();
    forget_noted();
  }
  ACCRETE_CHECK(stale_.empty());
}

}  // namespace accrete::daemon
