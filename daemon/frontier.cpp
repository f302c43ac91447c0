// Breadth first from what changed: a row reached after n steps is followed on while an entity may
// still read it in the steps that are left.
#include "daemon/frontier.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace accrete::daemon {
namespace {

constexpr std::uint16_t kNowhere = std::numeric_limits<std::uint16_t>::max();
constexpr std::size_t kRoomMax = std::size_t{1} << 20;  // kept from one instant to the next
constexpr std::size_t kFar = std::numeric_limits<std::size_t>::max();

/// Steps from the entity to each table along the plan's relations.
std::vector<std::size_t> distances(const NetworkPlan& plan) {
  std::vector<std::size_t> distance(plan.tables.size(), kFar);
  distance[plan.entity] = 0;
  for (std::size_t hop = 0; hop < plan.hops; ++hop) {
    for (const NetworkRelation& relation : plan.relations) {
      if (relation.way == Way::Labels || distance[relation.shape.target] != hop) continue;
      std::size_t& source = distance[relation.shape.source];
      if (source == kFar) source = hop + 1;
    }
  }
  return distance;
}

/// Children that a row reads, at most; 0: as they are drawn, so any.
std::size_t read_max_of(const NetworkConfig& config) {
  return config.uniform ? 0 : *std::max_element(config.fan_out.begin(), config.fan_out.end());
}

}  // namespace

Frontier::Frontier(const Schema& schema, TableId entity, NetworkWorld& world, store::Graph& graph)
    : schema_(schema),
      plan_(plan_network(schema, entity, world.config().fan_out.size())),
      graph_(graph),
      rows_(world.rows()),
      read_max_(read_max_of(world.config())),
      place_(schema.tables().size(), kNowhere),
      distance_(distances(plan_)),
      readers_(plan_.tables.size()) {
  for (std::size_t t = 0; t < plan_.tables.size(); ++t)
    place_[plan_.tables[t].value] = static_cast<std::uint16_t>(t);
  for (const NetworkRelation& relation : plan_.relations) {
    if (relation.way == Way::Labels) continue;
    readers_[relation.shape.source].push_back(
        {relation.way, relation.near, relation.far, relation.shape.target});
  }
}

/// Of a row that is reached sooner than in as many steps, those who read it were reached sooner.
void Frontier::reach(std::uint16_t table, std::uint32_t row) {
  if (distance_[table] == kFar || distance_[table] + step_ > plan_.hops) return;
  if (seen_.find(row, table) != nullptr) return;
  seen_.add(row, table, 0);
  reached_.push_back({table, row});
  if (table == plan_.entity) entities_.push_back(row);
}

void Frontier::reach(NodeId node) {
  const std::uint16_t table = place_[node.table.value];
  if (table != kNowhere) reach(table, node.row);
}

/// The newest first, and no more than may be followed.
void Frontier::list_children(RelationId key, std::uint32_t parent) {
  children_.clear();
  const TableId table = schema_.relations()[key.value].parent;
  const std::size_t room = kLinksMax - links_;
  graph_.newest(key, NodeId{table, parent}, at_, room + 1, children_);
  if (children_.size() > room) {
    children_.pop_back();
    left_out_ = true;
  }
  links_ += children_.size();
}

/// The row that a child names, if it reads that child.
void Frontier::reach_parent(NodeId child, RelationId key, std::uint16_t target) {
  if (links_ == kLinksMax) {
    left_out_ = true;
    return;
  }
  ++links_;
  const auto version = graph_.version(child, at_);
  if (!version) return;  // its parents know: they were told
  const Relation& relation = schema_.relations()[key.value];
  const std::uint32_t parent = rows_.view(child, *version).parents[relation.foreign_key];
  if (parent == NetworkRows::kNoRow || seen_.find(parent, target) != nullptr) return;
  if (read_max_ > 0) {
    read_.clear();
    graph_.newest(key, NodeId{relation.parent, parent}, at_, read_max_, read_);
    const auto is_it = [&](const store::Edge& edge) { return edge.child == child.row; };
    if (std::none_of(read_.begin(), read_.end(), is_it)) return;
  }
  reach(target, parent);
}

void Frontier::follow(const Reached& from, const Reader& reader) {
  if (distance_[reader.target] == kFar || distance_[reader.target] + step_ > plan_.hops) return;
  const NodeId node{plan_.tables[from.table], from.row};
  switch (reader.way) {
    case Way::Up:
      list_children(reader.near, from.row);
      for (const store::Edge& edge : children_)
        reach(reader.target, edge.child);
      break;
    case Way::Down:
      reach_parent(node, reader.near, reader.target);
      break;
    case Way::Through: {
      list_children(reader.far, from.row);
      const TableId between = schema_.relations()[reader.far.value].child;
      for (const store::Edge& edge : children_)
        reach_parent(NodeId{between, edge.child}, reader.near, reader.target);
      break;
    }
    case Way::Labels:
      break;
  }
}

/// `steps` from what changed: none that is too far from the entity to matter.
void Frontier::keep(std::vector<NodeId>& list, NodeId node, std::size_t steps) {
  const std::uint16_t table = place_[node.table.value];
  if (table == kNowhere || distance_[table] == kFar || distance_[table] + steps > plan_.hops)
    return;
  const auto what = static_cast<std::uint32_t>(2 * std::size_t{table} + steps);
  if (kept_.find(node.row, what) != nullptr) return;
  if (list.size() < kLinksMax) {
    list.push_back(node);
    kept_.add(node.row, what, 0);
  } else {
    left_out_ = true;
  }
}

void Frontier::walk() {
  step_ = 0;
  for (const NodeId row : changed_)
    reach(row);
  std::size_t begin = 0;
  for (step_ = 1; step_ <= plan_.hops; ++step_) {
    const std::size_t end = reached_.size();
    if (step_ == 1) {
      for (const NodeId parent : relisted_)
        reach(parent);
    }
    for (std::size_t i = begin; i < end; ++i) {
      const Reached from = reached_[i];
      for (const Reader& reader : readers_[from.table])
        follow(from, reader);
    }
    begin = end;
  }
}

std::span<const std::uint32_t> Frontier::take(TimeUs at) {
  at_ = at;
  links_ = 0;
  seen_.clear();
  reached_.clear();
  entities_.clear();
  if (at != kTimeMin) {
    walk();
    cut_ += left_out_ ? 1 : 0;
  }
  left_out_ = false;
  changed_.clear();
  relisted_.clear();
  kept_.clear();
  if (memory_bytes() > kRoomMax) {  // of an instant that comes once a year
    changed_ = {};
    relisted_ = {};
    reached_ = {};
    children_ = {};
    kept_ = {};
    seen_ = {};
  }
  return entities_;
}

std::size_t Frontier::memory_bytes() const {
  return (changed_.capacity() + relisted_.capacity()) * sizeof(NodeId) +
         reached_.capacity() * sizeof(Reached) + entities_.capacity() * sizeof(std::uint32_t) +
         (children_.capacity() + read_.capacity()) * sizeof(store::Edge) + kept_.memory_bytes() +
         seen_.memory_bytes();
}

}  // namespace accrete::daemon
