// Bringing the aggregates up to date: what changed rows contributed against what they contribute.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>

#include "daemon/synthesis.h"

namespace accrete::daemon {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr double kNoLink = -1;
/// More rows of one time than the index keeps have no ranks, so they need not come together.
constexpr std::size_t kGroupMax = StampIndex::kRowsMax;
/// Only edges that nothing has ended are valid then.
constexpr TimeUs kOpen{kTimeMax.value - 1};

double order_of(double time) {
  return std::isnan(time) ? -std::numeric_limits<double>::infinity() : time;
}

bool same_bits(std::span<const double> a, std::span<const double> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

std::int64_t stamp_of(double time) {
  return static_cast<std::int64_t>(time);
}

}  // namespace

void Synthesis::settle() {
  if (used_ == 0) return;
  ++changes_;
  for (std::size_t i = 0; i < used_; ++i) {
    Entry& entry = entries_[i];
    const std::size_t s = *by_table_[entry.node.table.value];
    facts_now(s, entry.node, entry.after.facts);
    if (entry.is_new && entry.after.facts.valid) observe(s, entry);
  }
  find_dependents();
  const auto place_all = [&](Contribution Entry::*which) {
    for (std::size_t i = 0; i < used_; ++i) {
      place(*by_table_[entries_[i].node.table.value], entries_[i].*which);
    }
  };
  place_all(&Entry::before);
  rank(&Entry::before);
  update_hops();
  update_stamps();
  place_all(&Entry::after);
  rank(&Entry::after);
  apply_all();
  for (const auto& [key, oldest_too] : stale_)
    rebuild_order(key.first, key.second, oldest_too);
  stale_.clear();
  used_ = 0;
  noted_.clear();
  for (std::size_t s = 0; s < sources_.size(); ++s) {
    if (!sources_[s].columns.review_due()) continue;
    if (!sources_[s].columns.review(world_.schema->table(plan_.sources[s].table))) continue;
    growth_.emplace_back(s, sources_[s].columns.width());
    rebuild(s);
  }
}

/// Count a new row. Its content was just read, so it is in the reader's cache.
void Synthesis::observe(std::size_t source, const Entry& entry) {
  if (plan_.sources[source].streams.empty()) return;
  const auto version = world_.graph->newest_version(entry.node);
  const RowContent* row = version ? world_.rows->content(entry.node, *version) : nullptr;
  if (row == nullptr) return;
  Source& of = sources_[source];
  const double time = entry.after.facts.time;
  of.columns.observe(world_.schema->table(entry.node.table), row->cells,
                     of.any && time == of.newest_time);
  of.any = true;
  of.newest_time = time;
}

/// Rows that contribute otherwise because of the noted ones.
void Synthesis::find_dependents() {
  for (std::size_t i = 0, noted = used_; i < noted; ++i) {
    const NodeId node = entries_[i].node;
    for (const std::size_t h : plan_.sources[*by_table_[node.table.value]].hops) {
      const Facts& after = entries_[i].after.facts;
      const std::uint32_t key = after.valid ? after.parents[plan_.hops[h].foreign_key] : kNoKey;
      if (key != hop(h, node.row)) find_children(h, node.row);
    }
  }
  for (std::size_t i = 0, noted = used_; i < noted; ++i) {
    const std::size_t s = *by_table_[entries_[i].node.table.value];
    if (!sources_[s].stamps) continue;
    for (const auto which : {&Entry::before, &Entry::after}) {
      const Facts& facts = (entries_[i].*which).facts;
      if (facts.valid && !std::isnan(facts.time)) find_stamp_mates(s, facts.time);
    }
  }
}

/// The rows that come to their key over this row of the hop's table.
void Synthesis::find_children(std::size_t hop, std::uint32_t row) {
  const TableId table = plan_.hops[hop].table;
  const auto& relations = world_.schema->relations();
  for (std::size_t r = 0; r < relations.size(); ++r) {
    const auto source = by_table_[relations[r].child.value];
    if (relations[r].parent != table || !source) continue;
    const auto over = [&](const auto& way) {
      return way.hop == hop && way.foreign_key == relations[r].foreign_key;
    };
    const SourcePlan& plan = plan_.sources[*source];
    const bool depends = std::any_of(plan.links.begin(), plan.links.end(), over) ||
                         std::any_of(plan.streams.begin(), plan.streams.end(), [&](std::size_t s) {
                           return !plan_.streams[s].global && over(plan_.streams[s]);
                         });
    if (!depends) continue;
    edges_.clear();
    world_.graph->edges(RelationId{static_cast<std::uint16_t>(r)}, NodeId{table, row}, kTimeMin,
                        kTimeMax, kOpen, edges_);
    for (const store::Edge& edge : edges_)
      note_unchanged(NodeId{relations[r].child, edge.child});
  }
}

void Synthesis::find_stamp_mates(std::size_t source, double time) {
  const std::vector<std::uint32_t> rows = sources_[source].stamps->at(stamp_of(time)).rows;
  for (const std::uint32_t row : rows)
    note_unchanged(NodeId{plan_.sources[source].table, row});
}

/// The keys and links of a row as the hops are now.
void Synthesis::place(std::size_t source, Contribution& contribution) const {
  if (!contribution.facts.valid) return;
  const SourcePlan& plan = plan_.sources[source];
  const auto& parents = contribution.facts.parents;
  const auto over = [&](std::uint16_t foreign_key, const std::optional<std::size_t>& by) {
    const std::uint32_t parent = parents[foreign_key];
    return by ? hop(*by, parent) : parent;
  };
  contribution.keys.clear();
  for (const std::size_t s : plan.streams) {
    const StreamPlan& stream = plan_.streams[s];
    contribution.keys.push_back(stream.global ? 0 : over(stream.foreign_key, stream.hop));
  }
  contribution.links.clear();
  for (const LinkPlan& link : plan.links) {
    const std::uint32_t key = over(link.foreign_key, link.hop);
    contribution.links.push_back(key == kNoKey ? kNoLink : static_cast<double>(key));
  }
}

void Synthesis::rank_group(std::size_t source, double time, std::span<Facts* const> group) {
  // Values are encoded without ranks, so a crowded stamp's stay null.
  if (sources_[source].stamps->at(stamp_of(time)).crowded) return;
  std::vector<std::span<double>> rows;
  for (Facts* facts : group)
    rows.emplace_back(facts->values);
  sources_[source].columns.rank(rows);
}

void Synthesis::rank(Contribution Entry::*which) {
  std::map<std::pair<std::size_t, double>, std::vector<Facts*>> groups;
  for (std::size_t i = 0; i < used_; ++i) {
    const std::size_t s = *by_table_[entries_[i].node.table.value];
    Facts& facts = (entries_[i].*which).facts;
    if (!sources_[s].stamps || !facts.valid || std::isnan(facts.time)) continue;
    groups[{s, facts.time}].push_back(&facts);
  }
  for (auto& [stamp, group] : groups)
    rank_group(stamp.first, stamp.second, group);
}

void Synthesis::update_hops() {
  for (std::size_t i = 0; i < used_; ++i) {
    const NodeId node = entries_[i].node;
    for (const std::size_t h : plan_.sources[*by_table_[node.table.value]].hops) {
      const Facts& after = entries_[i].after.facts;
      const std::uint32_t key = after.valid ? after.parents[plan_.hops[h].foreign_key] : kNoKey;
      if (key == hop(h, node.row)) continue;
      double* slot = hops_[h].touch(node.row);
      if (slot != nullptr) *slot = key == kNoKey ? 0 : static_cast<double>(key) + 1;
    }
  }
}

void Synthesis::update_stamps() {
  for (std::size_t i = 0; i < used_; ++i) {
    const Entry& entry = entries_[i];
    auto& stamps = sources_[*by_table_[entry.node.table.value]].stamps;
    if (!stamps) continue;
    const Facts& before = entry.before.facts;
    const Facts& after = entry.after.facts;
    if (before.valid && after.valid && before.time == after.time) continue;
    if (before.valid && !std::isnan(before.time))
      stamps->erase(stamp_of(before.time), entry.node.row);
    if (after.valid && !std::isnan(after.time))
      stamps->insert(stamp_of(after.time), entry.node.row);
  }
}

/// Removals first, then in order of time: rows that came in order then extend their aggregates.
void Synthesis::apply_all() {
  std::vector<std::size_t> order(used_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const auto rank = [&](const Entry& entry) {
      const Facts& after = entry.after.facts;
      return std::tuple(after.valid, after.valid ? order_of(after.time) : 0, entry.node);
    };
    return rank(entries_[a]) < rank(entries_[b]);
  });
  for (const std::size_t i : order)
    apply(*by_table_[entries_[i].node.table.value], entries_[i]);
}

void Synthesis::apply(std::size_t source, const Entry& entry) {
  const auto& streams = plan_.sources[source].streams;
  for (std::size_t slot = 0; slot < streams.size(); ++slot)
    apply_to(streams[slot], slot, entry);
}

void Synthesis::apply_to(std::size_t stream, std::size_t slot, const Entry& entry) {
  const models::AggregateForm& form = streams_[stream].form;
  AggregatePages& pages = streams_[stream].pages;
  const auto row_of = [&](const Contribution& contribution) {
    models::AggregateRow row;
    row.time = contribution.facts.time;
    row.id = static_cast<double>(entry.node.row);
    row.values = contribution.facts.values;
    if (form.ordered()) row.links = contribution.links;
    return row;
  };
  const auto key_of = [&](const Contribution& contribution) {
    return contribution.facts.valid ? contribution.keys[slot] : kNoKey;
  };
  const auto spoil = [&](std::uint32_t key, bool oldest_too) {
    bool& oldest = stale_[{stream, key}];
    oldest = oldest || oldest_too;
  };
  const std::uint32_t from = key_of(entry.before);
  const std::uint32_t to = key_of(entry.after);
  const models::AggregateRow before = row_of(entry.before);
  const models::AggregateRow after = row_of(entry.after);
  if (from == to && from != kNoKey && order_of(before.time) == order_of(after.time)) {
    if (same_bits(before.values, after.values) && same_bits(before.links, after.links)) return;
    double* state = pages.touch(to);
    if (state != nullptr && !form.revise(state, before, after)) spoil(to, false);
    return;
  }
  if (from != kNoKey) {
    double* state = pages.touch(from);
    const bool oldest =
        state != nullptr && form.ordered() && !(before.time > form.first_time(state));
    if (state != nullptr && !form.remove(state, before)) spoil(from, oldest);
  }
  if (to != kNoKey) {
    double* state = pages.touch(to);
    if (state != nullptr && !form.add(state, after)) spoil(to, false);
  }
}

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
      if (!facts.valid || facts.parents[plan.foreign_key] != key) continue;
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
    if (!scratch_.valid || scratch_.parents[plan.foreign_key] != key) continue;
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
    place(source, contribution);
    form.append(state, {contribution.facts.time, static_cast<double>(contribution.row),
                        contribution.facts.values, contribution.links});
  }
}

/// All aggregates of a source anew, from its rows as they are: it has new columns.
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
    while (end < rows.size() && rows[end].first == rows[begin].first && end - begin < kGroupMax)
      ++end;
    for (std::size_t i = begin; i < end; ++i) {
      Entry* entry = note(NodeId{table, rows[i].second});
      ACCRETE_CHECK(entry != nullptr);
      facts_now(source, entry->node, entry->after.facts);
      place(source, entry->after);
    }
    rank(&Entry::after);
    apply_all();
    used_ = 0;
    noted_.clear();
  }
  ACCRETE_CHECK(stale_.empty());
}

}  // namespace accrete::daemon
