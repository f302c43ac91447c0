// Walking the schema two steps out from the entity.
#include "daemon/propagation_plan.h"

#include <algorithm>

namespace accrete::daemon {
namespace {

constexpr std::size_t kPathsMax = 32;  // a block of columns each

RelationId relation_id(std::size_t i) {
  return RelationId{static_cast<std::uint16_t>(i)};
}

class Walk {
 public:
  Walk(const Schema& schema, PropagationPlan& plan) : schema_(schema), plan_(plan) {}

  void graph() {
    const auto& relations = schema_.relations();
    for (std::size_t i = 0; i < relations.size(); ++i) {
      if (relations[i].parent != plan_.entity) continue;
      if (relations[i].child == plan_.entity) plan_.self_keys.push_back(relation_id(i));
      for (std::size_t j = i + 1; j < relations.size(); ++j) {
        const bool same_child = relations[j].child == relations[i].child;
        if (!same_child || relations[j].parent != plan_.entity) continue;
        if (relations[i].child == plan_.entity) continue;  // two self keys are two edges of a row
        plan_.bridges.push_back({relations[i].child, relation_id(i), relation_id(j)});
      }
    }
  }

  void paths() {
    for (const PathStep first : steps_from(plan_.entity)) {
      if (is_self_key(first.relation)) continue;
      const TableId middle = end_of(first);
      add({{first}, middle});
      for (const PathStep second : steps_from(middle)) {
        if (goes_back(first, second) || crosses_bridge(first, second)) continue;
        add({{first, second}, end_of(second)});
      }
    }
  }

 private:
  std::vector<PathStep> steps_from(TableId table) const {
    std::vector<PathStep> steps;
    const auto& relations = schema_.relations();
    for (const bool up : {true, false}) {
      for (std::size_t i = 0; i < relations.size(); ++i) {
        const TableId from = up ? relations[i].child : relations[i].parent;
        if (from == table) steps.push_back({relation_id(i), up});
      }
    }
    return steps;
  }
  TableId end_of(PathStep step) const {
    const Relation& relation = schema_.relations()[step.relation.value];
    return step.up ? relation.parent : relation.child;
  }
  bool is_self_key(RelationId relation) const {
    return std::count(plan_.self_keys.begin(), plan_.self_keys.end(), relation) > 0;
  }
  /// Down to a child and up the same key is the row itself; up and down again are its siblings.
  static bool goes_back(PathStep first, PathStep second) {
    return first.relation == second.relation && !first.up && second.up;
  }
  bool crosses_bridge(PathStep first, PathStep second) const {
    return std::any_of(plan_.bridges.begin(), plan_.bridges.end(), [&](const BridgeHop& bridge) {
      const bool there = bridge.first == first.relation && bridge.second == second.relation;
      const bool back = bridge.second == first.relation && bridge.first == second.relation;
      return !first.up && second.up && (there || back);
    });
  }
  void add(RowPath path) {
    if (plan_.paths.size() < kPathsMax) plan_.paths.push_back(std::move(path));
  }

  const Schema& schema_;
  PropagationPlan& plan_;
};

}  // namespace

PropagationPlan plan_propagation(const Schema& schema, TableId entity, ColumnId masked) {
  PropagationPlan plan;
  plan.entity = entity;
  plan.masked = masked;
  Walk walk(schema, plan);
  walk.graph();
  walk.paths();
  return plan;
}

}  // namespace accrete::daemon
