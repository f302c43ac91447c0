// Walking the schema out from the entity, step by step.
#include "daemon/network_plan.h"

#include <algorithm>
#include <limits>

namespace accrete::daemon {
namespace {

constexpr std::size_t kFar = std::numeric_limits<std::size_t>::max();

/// A relation between tables of the schema.
struct Candidate {
  TableId target;
  TableId source;
  Way way = Way::Up;
  RelationId near;
  RelationId far;
};

/// All ways of one step that the schema has, in its order.
std::vector<Candidate> all_ways(const Schema& schema) {
  const auto& keys = schema.relations();
  std::vector<Candidate> ways;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const RelationId key{static_cast<std::uint16_t>(i)};
    ways.push_back({keys[i].child, keys[i].parent, Way::Up, key, {}});
    ways.push_back({keys[i].parent, keys[i].child, Way::Down, key, {}});
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < keys.size(); ++j) {
      if (i == j || keys[i].child != keys[j].child) continue;
      ways.push_back({keys[i].parent, keys[j].parent, Way::Through,
                      RelationId{static_cast<std::uint16_t>(i)},
                      RelationId{static_cast<std::uint16_t>(j)}});
    }
  }
  return ways;
}

/// Steps from the entity to each table, kFar where there is no way.
std::vector<std::size_t> distances(const std::vector<Candidate>& ways, std::size_t tables,
                                   TableId entity, std::size_t hops) {
  std::vector<std::size_t> distance(tables, kFar);
  distance[entity.value] = 0;
  for (std::size_t hop = 0; hop < hops; ++hop) {
    for (const Candidate& way : ways) {
      std::size_t& source = distance[way.source.value];
      if (distance[way.target.value] == hop && source == kFar) source = hop + 1;
    }
  }
  return distance;
}

}  // namespace

std::vector<models::RelationShape> NetworkPlan::shapes() const {
  std::vector<models::RelationShape> out;
  for (const NetworkRelation& relation : relations)
    out.push_back(relation.shape);
  return out;
}

NetworkPlan plan_network(const Schema& schema, TableId entity, std::size_t hops) {
  ACCRETE_CHECK(hops >= 1);
  std::vector<Candidate> ways = all_ways(schema);
  const std::vector<std::size_t> distance = distances(ways, schema.tables().size(), entity, hops);
  std::erase_if(ways, [&](const Candidate& way) {
    const std::size_t target = distance[way.target.value];
    return target == kFar || target >= hops;
  });
  // From the back: what a Through reads first comes before it. Labels takes one more.
  constexpr std::size_t kWaysMax = NetworkPlan::kRelationsMax - 1;
  if (ways.size() > kWaysMax) ways.resize(kWaysMax);

  NetworkPlan plan;
  plan.hops = hops;
  std::vector<bool> used(schema.tables().size(), false);
  used[entity.value] = true;
  for (const Candidate& way : ways) {
    used[way.target.value] = true;
    used[way.source.value] = true;
  }
  std::vector<std::uint16_t> position(used.size(), 0);
  for (std::size_t t = 0; t < used.size(); ++t) {
    if (!used[t]) continue;
    position[t] = static_cast<std::uint16_t>(plan.tables.size());
    plan.tables.push_back(TableId{static_cast<std::uint16_t>(t)});
  }
  plan.entity = position[entity.value];
  for (const Candidate& way : ways) {
    plan.relations.push_back(
        {{position[way.target.value], position[way.source.value]}, way.way, way.near, way.far});
  }
  plan.relations.push_back({{plan.entity, plan.labels()}, Way::Labels, {}, {}});
  return plan;
}

}  // namespace accrete::daemon
