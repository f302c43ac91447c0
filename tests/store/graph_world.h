// A small schema and a graph of plain vectors, the reference that every read is compared with.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "scratch.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::store {

inline constexpr TableId kUsers{0};
inline constexpr TableId kOrders{1};
inline constexpr TableId kEvents{2};  ///< without a key
inline constexpr RelationId kOrderUser{0};
inline constexpr RelationId kEventUser{1};
inline constexpr RelationId kEventOrder{2};

inline Schema world_schema() {
  Schema schema;
  const auto column = [](const char* name) { return Column{name, ColumnKind::Inferred}; };
  const auto reference = [](std::uint16_t at, TableId parent) {
    return ForeignKey{{ColumnId{at}}, parent};
  };
  Table users{"users", {column("id")}, {ColumnId{0}}, {}, TimeUnit::Seconds, {}};
  Table orders{"orders",          {column("id"), column("user")}, {ColumnId{0}}, {},
               TimeUnit::Seconds, {reference(1, kUsers)}};
  Table events{"events",
               {column("user"), column("order")},
               {},
               {},
               TimeUnit::Seconds,
               {reference(0, kUsers), reference(1, kOrders)}};
  must(schema.add(std::move(users)));
  must(schema.add(std::move(orders)));
  must(schema.add(std::move(events)));
  must(schema.seal());
  return schema;
}

/// What graph.h promises, written down as simply as possible.
class NaiveGraph {
 public:
  NodeId intern(TableId table, const std::string& key) {
    const auto [found, fresh] = keys_[table.value].try_emplace(key, counts_[table.value]);
    if (fresh) ++counts_[table.value];
    return {table, found->second};
  }
  std::optional<NodeId> find(TableId table, const std::string& key) const {
    const auto& keys = keys_[table.value];
    const auto found = keys.find(key);
    if (found == keys.end()) return std::nullopt;
    return NodeId{table, found->second};
  }
  NodeId append(TableId table) { return {table, counts_[table.value]++}; }
  std::uint32_t node_count(TableId table) const { return counts_[table.value]; }

  void put_version(NodeId node, const Version& version) {
    std::vector<Version>& versions = versions_[node];
    versions.insert(std::upper_bound(versions.begin(), versions.end(), version.from,
                                     [](TimeUs from, const Version& v) { return from < v.from; }),
                    version);
  }
  std::optional<Version> version(NodeId node, TimeUs as_of) {
    std::optional<Version> out;
    for (const Version& v : versions_[node]) {
      if (v.from <= as_of) out = v;
    }
    if (out && out->deleted) return std::nullopt;
    return out;
  }
  std::optional<Version> newest_version(NodeId node) {
    if (versions_[node].empty()) return std::nullopt;
    return versions_[node].back();
  }

  std::optional<Version> version_before(NodeId node, const Version& after) {
    std::optional<Version> out;
    for (const Version& v : versions_[node]) {
      if (v.ordinal >= after.ordinal || v.from > after.from) continue;
      if (!out || v.ordinal > out->ordinal) out = v;
    }
    return out;
  }

  std::vector<Edge>& list(RelationId relation, std::uint32_t parent) {
    return lists_[{relation.value, parent}];
  }
  void link(RelationId relation, std::uint32_t parent, std::uint32_t child, TimeUs time) {
    std::vector<Edge>& edges = list(relation, parent);
    edges.insert(std::upper_bound(edges.begin(), edges.end(), time,
                                  [](TimeUs t, const Edge& e) { return t < e.time; }),
                 {time, kTimeMax, child});
  }
  bool has_open(RelationId relation, std::uint32_t parent, std::uint32_t child) {
    const std::vector<Edge>& edges = list(relation, parent);
    return std::any_of(edges.begin(), edges.end(),
                       [&](const Edge& e) { return e.child == child && e.end == kTimeMax; });
  }
  bool unlink(RelationId relation, std::uint32_t parent, std::uint32_t child, TimeUs end) {
    for (Edge& edge : list(relation, parent)) {
      if (edge.child != child || edge.end != kTimeMax) continue;
      edge.end = end;
      return true;
    }
    return false;
  }
  std::vector<Edge> edges(RelationId relation, std::uint32_t parent, TimeUs after, TimeUs upto,
                          TimeUs as_of) {
    std::vector<Edge> out;
    for (const Edge& e : list(relation, parent)) {
      const bool in_window = e.time <= upto && (e.time > after || after == kTimeMin);
      const bool open = e.end == kTimeMax || as_of < e.end;
      if (in_window && e.time <= as_of && open) out.push_back(e);
    }
    return out;
  }
  std::optional<TimeUs> newest_time(RelationId relation, std::uint32_t parent, TimeUs as_of) {
    std::optional<TimeUs> out;
    for (const Edge& e : list(relation, parent)) {
      if (e.time <= as_of) out = e.time;
    }
    return out;
  }

 private:
  std::map<std::string, std::uint32_t> keys_[3];
  std::uint32_t counts_[3] = {};
  std::map<NodeId, std::vector<Version>> versions_;
  std::map<std::pair<std::uint16_t, std::uint32_t>, std::vector<Edge>> lists_;
};

inline std::vector<std::tuple<std::int64_t, std::int64_t, std::uint32_t>> plain(
    const std::vector<Edge>& edges) {
  std::vector<std::tuple<std::int64_t, std::int64_t, std::uint32_t>> out;
  for (const Edge& e : edges)
    out.emplace_back(e.time.value, e.end.value, e.child);
  return out;
}

/// A graph on a database of its own that can be committed, dropped and opened again.
struct GraphWorld {
  explicit GraphWorld(std::size_t memory_bytes_in) : memory_bytes(memory_bytes_in) { open(); }

  void open() {
    graph.reset();
    state.reset();
    database.reset();
    database = open_database(scratch);
    state = must(State::open(*database));
    graph = std::make_unique<Graph>(*state, schema, memory_bytes);
    must(graph->health());
  }
  void commit() {
    graph->stage();
    must(graph->health());
    must(state->commit({}));
    graph->committed();
    EXPECT_EQ(graph->dirty_bytes(), 0u);
  }

  Scratch scratch;
  Schema schema = world_schema();
  std::size_t memory_bytes;
  std::unique_ptr<Database> database;
  std::unique_ptr<State> state;
  std::unique_ptr<Graph> graph;
};

}  // namespace accrete::store
