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

constexpr double kNoLink = -1;
constexpr std::size_t kNotedMax = 4096;  // rows noted before they are settled
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

/// The row's entry, new if it had none: then its facts are to be filled in. nullptr: it had one.
Synthesis::Entry* Synthesis::note(NodeId node) {
  if (!noted_.emplace(std::uint64_t{node.table.value} << 32 | node.row, used_).second) {
    return nullptr;
  }
  if (used_ == entries_.size()) entries_.emplace_back();
  Entry& entry = entries_[used_++];
  entry.node = node;
  entry.before.row = node.row;
  entry.after.row = node.row;
  entry.before.facts.valid = false;
  entry.after.facts.valid = false;
  entry.is_new = false;
  return &entry;
}

void Synthesis::note_unchanged(NodeId node) {
  Entry* entry = note(node);
  if (entry == nullptr) return;
  facts_now(*by_table_[node.table.value], node, entry->before.facts);
  entry->after.facts = entry->before.facts;
}

void Synthesis::forget_noted() {
  used_ = 0;
  noted_.clear();
}

void Synthesis::changing(NodeId node, const std::optional<store::Version>& newest, TimeUs from) {
  const auto source = by_table_[node.table.value];
  if (!source) return;
  if (used_ >= kNotedMax) settle();
  note_joining(node, from);
  Entry* entry = note(node);
  if (entry == nullptr) return;
  entry->is_new = !newest;
  facts_of(*source, node, newest, entry->before.facts);
}

/// Rows that join this one as it will be from a time on: what they contributed is asked now.
void Synthesis::note_joining(NodeId node, TimeUs from) {
  const auto& relations = world_.schema->relations();
  for (std::size_t r = 0; r < relations.size(); ++r) {
    const auto child = by_table_[relations[r].child.value];
    if (relations[r].parent != node.table || !child || plan_.sources[*child].joins.empty())
      continue;
    edges_.clear();
    const TimeUs after = from == kTimeMin ? kTimeMin : TimeUs{from.value - 1};
    world_.graph->edges(RelationId{static_cast<std::uint16_t>(r)}, node, after, kTimeMax, kOpen,
                        edges_);
    for (const store::Edge& edge : edges_)
      note_unchanged(NodeId{relations[r].child, edge.child});
  }
}

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
  complete(&Entry::before);
  update_hops();
  update_stamps();
  complete(&Entry::after);
  apply_all();
  for (const auto& [key, oldest_too] : stale_)
    rebuild_order(key.first, key.second, oldest_too);
  stale_.clear();
  forget_noted();
  review();
}

/// Facts to contributions, by the hops and stamps of now.
void Synthesis::complete(Contribution Entry::*which) {
  rank(which);
  for (std::size_t i = 0; i < used_; ++i) {
    Contribution& contribution = entries_[i].*which;
    if (!contribution.facts.valid) continue;
    const std::size_t source = *by_table_[entries_[i].node.table.value];
    compose(source, contribution);
    place(source, contribution);
  }
}

/// Rows that contribute otherwise because of the noted ones.
void Synthesis::find_dependents() {
  for (std::size_t i = 0, noted = used_; i < noted; ++i) {
    const NodeId node = entries_[i].node;
    for (const std::size_t h : plan_.sources[*by_table_[node.table.value]].hops) {
      const Facts& after = entries_[i].after.facts;
      const std::uint32_t key = after.valid ? after.named[plan_.hops[h].slot] : kNoKey;
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
  const SourcePlan& plan = plan_.sources[source];
  const auto over = [&](std::uint16_t foreign_key, const std::optional<std::size_t>& by) {
    const std::uint32_t parent = contribution.facts.named[foreign_key];
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
    rows.emplace_back(facts->own);
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
      const std::uint32_t key = after.valid ? after.named[plan_.hops[h].slot] : kNoKey;
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
    row.values = contribution.values;
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

}  // namespace accrete::daemon
