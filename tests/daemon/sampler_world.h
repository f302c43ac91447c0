// Random schemas and streams with everything that can happen to rows, folded for real; and the
// sampler again, straight from its definition.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/network_plan.h"
#include "daemon/network_rows.h"
#include "daemon/subgraph_sampler.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {

/// Tables t0, t1, … with an id, foreign keys f0, f1, …, a number, a category, some with a time; and
/// in each row the moment it was written for (`stamp`, in days), so that what is shown tells when
/// it is from.
class RandomStream {
 public:
  struct Shape {
    bool timed = false;
    std::vector<std::size_t> parents;
  };
  struct Version {
    TimeUs from;
    bool deleted = false;
    std::vector<std::int64_t> parents;  // ids; -1: null
  };
  using Rows = std::map<std::int64_t, std::vector<Version>>;  // newest last

  RandomStream(std::uint64_t seed, std::size_t steps, bool late, double bend = 0)
      : rng_(seed, 0, Purpose::Test), late_(late), bend_(bend) {
    const std::size_t count = 2 + rng_.below(4);
    for (std::size_t t = 0; t < count; ++t) {
      Shape& shape = shapes.emplace_back();
      shape.timed = t + 1 == count || rng_.below(3) != 0;
      for (std::size_t k = rng_.below(4); k > 0 || (t + 1 == count && shape.parents.size() < 2);
           k -= k > 0 ? 1 : 0)
        shape.parents.push_back(rng_.below(count));  // itself among them
    }
    rows.resize(count);
    Transaction first;
    for (std::size_t t = 0; t < count; ++t)
      first.records.push_back(layout_record(layout(t)));
    finish(std::move(first));
    for (std::size_t i = 0; i < steps; ++i) {
      Transaction transaction;
      if (rng_.below(3) == 0) now_ += rng_.uniform();
      const std::size_t table = rng_.below(4) == 0 ? rng_.below(count) : count - 1;
      change(transaction, table);
      finish(std::move(transaction));
    }
    Transaction last;
    encode_mark({MarkKind::Clock, day(now_ + 1)}, last.records.emplace_back());
    finish(std::move(last));
  }

  Config config() const {
    std::string text;
    for (std::size_t t = 0; t < shapes.size(); ++t) {
      text += "[[table]]\nname = \"" + name(t) + "\"\nkey = \"id\"\n";
      if (shapes[t].timed) text += "time = \"at\"\n";
      text += "columns = { stamp = \"number\" }\n";
      std::string keys;
      for (std::size_t k = 0; k < shapes[t].parents.size(); ++k) {
        keys += keys.empty() ? "" : ", ";
        keys += "f" + std::to_string(k) + " = \"" + name(shapes[t].parents[k]) + "\"";
      }
      if (!keys.empty()) text += "foreign_keys = { " + keys + " }\n";
    }
    auto parsed = parse_config(text, "test.toml");
    EXPECT_TRUE(parsed) << parsed.error().detail << "\n" << text;
    return std::move(parsed).value();
  }

  static std::string name(std::size_t table) { return "t" + std::to_string(table); }
  double now() const { return now_; }

  std::vector<Shape> shapes;
  std::vector<Rows> rows;  // by table
  std::vector<Transaction> stream;
  std::vector<TimeUs> times;  // of each transaction's row; kTimeMin: not bound to a time

 private:
  Layout layout(std::size_t table) const {
    Layout out{name(table), {"id"}};
    for (std::size_t k = 0; k < shapes[table].parents.size(); ++k)
      out.columns.push_back("f" + std::to_string(k));
    for (const char* column : {"x", "kind", "stamp", "at"})
      out.columns.emplace_back(column);
    return out;
  }

  void finish(Transaction transaction) {
    transaction.position = stream.size() + 1;
    stream.push_back(std::move(transaction));
    times.resize(stream.size(), kTimeMin);
  }

  void change(Transaction& transaction, std::size_t table) {
    Rows& known = rows[table];
    const auto next = static_cast<std::int64_t>(known.size());
    const std::uint64_t what = rng_.below(10);
    const bool fresh = what < 7 || next == 0;
    const std::int64_t id =
        fresh ? next : static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(next)));
    std::vector<Version>& versions = known[id];
    const bool gone = versions.empty() || versions.back().deleted;
    if (!fresh && gone) return;
    const double at = late_ && rng_.below(8) == 0 ? now_ - 4 * rng_.uniform() : now_;
    const TimeUs when = day(at);
    if (!fresh && what == 9) {
      std::vector<Value> cells(layout(table).columns.size(), Value::null());
      cells[0] = Value::of_integer(id);
      transaction.records.push_back(change_record(layout(table), Op::Delete, cells, when));
      versions.push_back({when, true, {}});
      times.resize(stream.size() + 1, when);
      return;
    }
    Version version{when, false, {}};
    std::vector<Value> cells{Value::of_integer(id)};
    for (const std::size_t parent : shapes[table].parents) {
      const bool none = rng_.below(12) == 0;
      // Some parents are named before they come.
      const auto named = static_cast<std::int64_t>(rng_.below(rows[parent].size() + 2));
      version.parents.push_back(none ? -1 : named);
      cells.push_back(none ? Value::null() : Value::of_integer(named));
    }
    static const char* const kKinds[] = {"a", "b", "c"};
    const bool always = fresh && !shapes[table].timed;
    if (always) version.from = kTimeMin;
    const double x = rng_.uniform();
    const std::uint64_t kind = rng_.below(3);
    cells.push_back(rng_.below(9) == 0 ? Value::null() : Value::of_real(x + bend_ * x * x));
    cells.push_back(Value::of_text(kKinds[bend_ == 0 ? kind : 2 - kind]));
    cells.push_back(always ? Value::null() : Value::of_real(at));
    cells.push_back(shapes[table].timed ? Value::of_time(when) : Value::null());
    const auto said = fresh ? std::nullopt : std::optional(when);
    transaction.records.push_back(
        change_record(layout(table), fresh ? Op::Insert : Op::Update, cells, said));
    times.resize(stream.size() + 1, version.from);
    versions.push_back(std::move(version));
  }

  Rng rng_;
  bool late_;
  double bend_;
  double now_ = 0;
};

/// Everything that is in the graph, observed in the order of tables and rows.
inline void observe_all(World& world, NetworkRows& rows) {
  Fold& fold = world.fold();
  for (std::size_t t = 0; t < fold.schema().tables().size(); ++t) {
    const TableId id{static_cast<std::uint16_t>(t)};
    for (std::uint32_t row = 0; row < fold.graph().node_count(id); ++row) {
      const auto version = fold.graph().newest_version({id, row});
      if (!version || version->deleted) continue;
      const RowContent* content = fold.rows().content({id, row}, *version);
      ASSERT_NE(content, nullptr);
      rows.observe(id, content->cells, version->from);
    }
  }
}

/// Outcomes that follow from row and time: some for each entity, one a day.
class DailyLabels final : public LabelRows {
 public:
  void newest(std::uint32_t row, TimeUs at, std::size_t k, std::vector<LabelRow>& out) override {
    for (int d = 60; d >= 0 && k > 0; d -= 1 + static_cast<int>(row % 5)) {
      if (day(d) > at) continue;
      out.push_back({static_cast<float>((static_cast<int>(row) + d) % 3), day(d)});
      --k;
    }
  }
};

/// A neighbourhood written out: what each node shows, its age, block and, by relation, what it
/// reads. Two that are equal are the same to the network, whatever their nodes' numbers.
class Writing {
 public:
  void node(std::uint16_t table, std::int64_t age, std::uint32_t block,
            std::span<const float> shows) {
    text += " t" + std::to_string(table) + " " + std::to_string(age) + " " + std::to_string(block) +
            " ";
    for (const float value : shows)
      text += std::to_string(std::bit_cast<std::uint32_t>(value)) + ",";
  }
  std::string text;
};

inline void write_batch(const models::GraphBatch& batch, const NetworkPlan& plan,
                        std::uint32_t node, std::size_t depth, Writing& out) {
  const std::uint16_t table = batch.table[node];
  const auto& features = batch.features[table];
  out.node(table, batch.age_us[node], batch.block[node],
           {features.data() + static_cast<std::size_t>(batch.row[node]) *
                                  static_cast<std::size_t>(features.cols()),
            static_cast<std::size_t>(features.cols())});
  if (depth == 0) return;
  for (std::size_t r = 0; r < plan.relations.size(); ++r) {
    const auto& lists = batch.relations[r];
    const std::uint32_t begin = lists.begin[node];
    const std::uint32_t end = lists.begin[node + 1];
    if (plan.relations[r].shape.target != table) {
      EXPECT_EQ(begin, end) << "a node reads a relation that is not of its table";
      continue;
    }
    out.text += " (";
    for (std::uint32_t i = begin; i < end; ++i) {
      EXPECT_EQ(batch.table[lists.source[i]], plan.relations[r].shape.source);
      write_batch(batch, plan, lists.source[i], depth - 1, out);
    }
    out.text += ")";
  }
}

/// The sampler from its definition: one node at a time, nothing kept.
class NaiveSampler {
 public:
  NaiveSampler(World& world, const NetworkPlan& plan, NetworkRows& rows,
               const SampleOptions& options)
      : world_(world), plan_(plan), rows_(rows), options_(options) {}

  /// (table of the plan, row, time) of every node met, with the least number of steps to it.
  std::map<std::tuple<std::uint16_t, std::uint32_t, std::int64_t>, std::size_t> met;
  std::set<std::pair<std::size_t, std::tuple<std::uint16_t, std::uint32_t, std::int64_t>>>
      met_by_hop;
  std::set<std::pair<std::uint16_t, std::uint64_t>> shown;  // (table, ordinal)

  void write(std::uint16_t table, std::uint32_t row, TimeUs at, std::size_t hop, Writing& out) {
    const NodeId node{plan_.tables[table], row};
    const auto version = graph().version(node, at);
    const std::tuple who(table, row, at.value);
    const auto [place, fresh] = met.try_emplace(who, hop);
    if (!fresh) place->second = std::min(place->second, hop);
    met_by_hop.emplace(hop, who);
    shown.emplace(table, version ? version->ordinal.value : 0);
    if (version) {
      const NetworkRows::View view = rows_.view(node, *version);
      std::vector<float> features(view.features.begin(), view.features.end());
      hide(node.table, features);
      const std::int64_t age = view.time == kTimeMin ? -1 : at.value - view.time.value;
      out.node(table, age, rows_.block(node), features);
    } else {
      out.node(table, -1, rows_.block(node), std::vector<float>(rows_.width(node.table), 0.0F));
    }
    if (hop == options_.fan_out.size()) return;
    for (const NetworkRelation& relation : plan_.relations) {
      if (relation.shape.target != table) continue;
      out.text += " (";
      if (relation.way == Way::Labels) {
        write_labels(row, at, out);
      } else {
        for (const std::uint32_t source : read(relation, node, at, options_.fan_out[hop]))
          write(relation.shape.source, source, at, hop + 1, out);
      }
      out.text += ")";
    }
  }

 private:
  store::Graph& graph() { return world_.fold().graph(); }
  const Relation& key(RelationId id) const { return world_.fold().schema().relations()[id.value]; }

  void hide(TableId table, std::vector<float>& features) {
    std::vector<std::uint32_t> columns;
    for (const MaskedColumn& masked : options_.masked) {
      if (masked.table != table) continue;
      rows_.columns_of(masked, columns);
      for (const std::uint32_t column : columns)
        features[column] = 0;
    }
  }

  bool closed(RelationId id) const {
    const auto& keys = world_.fold().schema().table(key(id).child).foreign_keys;
    for (const MaskedColumn& masked : options_.masked) {
      if (masked.table == key(id).child && keys[key(id).foreign_key].columns[0] == masked.column)
        return true;
    }
    return false;
  }

  /// The valid row that a row names.
  std::vector<std::uint32_t> up(RelationId id, std::uint32_t child, TimeUs at) {
    if (closed(id)) return {};
    const RowContent* content = world_.fold().rows().row({key(id).child, child}, at);
    if (content == nullptr) return {};
    const auto& foreign =
        world_.fold().schema().table(key(id).child).foreign_keys[key(id).foreign_key];
    const Value& cell = content->at(foreign.columns[0]);
    if (cell.is_null()) return {};
    std::string name;
    append_key(name, cell);
    const auto parent = graph().find(key(id).parent, name);
    if (!parent || !graph().version(*parent, at)) return {};
    return {parent->row};
  }

  /// The valid rows among the newest or drawn edges; the newest are picked from all edges.
  std::vector<std::uint32_t> down(RelationId id, NodeId parent, TimeUs at, std::size_t k) {
    if (closed(id)) return {};
    std::vector<store::Edge> edges;
    if (options_.choice == Choice::Newest) {
      graph().edges(id, parent, kTimeMin, kTimeMax, at, edges);
      std::reverse(edges.begin(), edges.end());
      if (edges.size() > k) edges.resize(k);
    } else {
      Rng moment(options_.seed, static_cast<std::uint64_t>(at.value), Purpose::Sample);
      const Rng rng(moment.next(), std::uint64_t{parent.row} << 16 | id.value, Purpose::Sample);
      graph().sample(id, parent, at, k, rng, edges);
    }
    std::vector<std::uint32_t> out;
    for (const store::Edge& edge : edges) {
      EXPECT_LE(edge.time, at);
      if (graph().version({key(id).child, edge.child}, at)) out.push_back(edge.child);
    }
    return out;
  }

  std::vector<std::uint32_t> read(const NetworkRelation& relation, NodeId node, TimeUs at,
                                  std::size_t k) {
    if (relation.way == Way::Up) return up(relation.near, node.row, at);
    std::vector<std::uint32_t> children = down(relation.near, node, at, k);
    if (relation.way == Way::Down) return children;
    std::vector<std::uint32_t> out;
    for (const std::uint32_t child : children) {
      for (const std::uint32_t end : up(relation.far, child, at))
        out.push_back(end);
    }
    return out;
  }

  void write_labels(std::uint32_t row, TimeUs at, Writing& out) {
    if (options_.labels == nullptr) return;
    std::vector<LabelRow> outcomes;
    options_.labels->newest(row, at, options_.labels_max, outcomes);
    for (const LabelRow& outcome : outcomes) {
      const float shows[] = {outcome.value, 1};
      out.node(plan_.labels(), at.value - outcome.known.value, rows_.block_at(outcome.known),
               shows);
      // A label reads nothing, whatever the depth.
    }
  }

  World& world_;
  const NetworkPlan& plan_;
  NetworkRows& rows_;
  const SampleOptions& options_;
};

}  // namespace accrete::daemon
