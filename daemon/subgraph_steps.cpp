// What the sampler reads of each table: the steps of its plan, and what a call hides of them.
#include <algorithm>

#include "daemon/subgraph_sampler.h"
#include "proto/result.h"

namespace accrete::daemon {

void SubgraphSampler::make_steps() {
  steps_.resize(plan_.table_count());
  for (std::size_t i = 0; i < plan_.relations.size(); ++i) {
    const NetworkRelation& relation = plan_.relations[i];
    Steps& steps = steps_[relation.shape.target];
    const auto up = [&](RelationId key) {
      return UpStep{i, key, schema_.relations()[key.value].foreign_key, relation.shape.source};
    };
    switch (relation.way) {
      case Way::Up:
        steps.up.push_back(up(relation.near));
        break;
      case Way::Down:
        steps.down.push_back({i, relation.near, relation.shape.source, {}});
        break;
      case Way::Through: {
        const auto first = std::find_if(steps.down.begin(), steps.down.end(),
                                        [&](const DownStep& s) { return s.key == relation.near; });
        ACCRETE_CHECK(first != steps.down.end());
        first->through.push_back(up(relation.far));
        break;
      }
      case Way::Labels:
        steps.labels = true;
        break;
    }
  }
}

void SubgraphSampler::hide(std::span<const MaskedColumn> masked) {
  const auto& keys = schema_.relations();
  closed_.assign(keys.size(), false);
  hidden_.resize(plan_.tables.size());
  for (std::vector<std::uint32_t>& hidden : hidden_)
    hidden.clear();
  std::vector<std::uint32_t> columns;
  for (const MaskedColumn& column : masked) {
    for (std::size_t r = 0; r < keys.size(); ++r) {
      if (keys[r].child != column.table) continue;
      const auto& named = schema_.table(column.table).foreign_keys[keys[r].foreign_key].columns;
      if (std::count(named.begin(), named.end(), column.column) > 0) closed_[r] = true;
    }
    const auto table = std::find(plan_.tables.begin(), plan_.tables.end(), column.table);
    if (table == plan_.tables.end()) continue;
    rows_.columns_of(column, columns);
    auto& hidden = hidden_[static_cast<std::size_t>(table - plan_.tables.begin())];
    hidden.insert(hidden.end(), columns.begin(), columns.end());
  }
}

}  // namespace accrete::daemon
