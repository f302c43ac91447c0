// A small relational world for tests of the graph network: entities with events of theirs, and
// lookups that events point to. Batches are its full neighbourhoods, as of each seed's time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "models/expert_network.h"
#include "proto/rng.h"

namespace accrete::models {

struct GraphWorld {
  struct Table {
    RowMatrix<float> features;
    std::vector<std::int64_t> time_us;  // kAgeless: of no time
    std::vector<std::uint32_t> block;
  };
  std::vector<Table> tables;
  std::vector<RelationShape> relations;
  std::vector<std::vector<std::vector<std::uint32_t>>> neighbours;  // [relation][target row]

  std::vector<std::size_t> columns() const {
    std::vector<std::size_t> out;
    for (const Table& table : tables)
      out.push_back(static_cast<std::size_t>(table.features.cols()));
    return out;
  }
};

struct WorldSize {
  std::size_t entities = 8;
  std::size_t events = 24;
  std::size_t lookups = 3;
  std::uint32_t blocks = 2;
};

inline constexpr std::int64_t kWorldEndUs = 400LL * 86'400'000'000;

/// Entities have 3 columns, events 2 and a time, lookups none and no time; blocks follow the time
/// of events, and are drawn for the rest.
inline GraphWorld make_graph_world(std::uint64_t seed, const WorldSize& size) {
  Rng rng(seed, 0, Purpose::Test);
  GraphWorld world;
  const std::size_t rows[] = {size.entities, size.events, size.lookups};
  const Eigen::Index columns[] = {3, 2, 0};
  for (std::size_t t = 0; t < 3; ++t) {
    GraphWorld::Table& table = world.tables.emplace_back();
    table.features.resize(static_cast<Eigen::Index>(rows[t]), columns[t]);
    for (Eigen::Index i = 0; i < table.features.size(); ++i)
      table.features.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
    for (std::size_t i = 0; i < rows[t]; ++i) {
      const auto time = static_cast<std::int64_t>(rng.below(kWorldEndUs));
      table.time_us.push_back(t == 0 ? 0 : t == 1 ? time : kAgeless);
      const auto by_time = static_cast<std::uint32_t>(time * size.blocks / kWorldEndUs);
      table.block.push_back(t == 1 ? by_time : static_cast<std::uint32_t>(rng.below(size.blocks)));
    }
  }
  world.relations = {{0, 1}, {1, 0}, {1, 2}, {2, 1}};
  world.neighbours.resize(4);
  for (std::size_t r = 0; r < 4; ++r)
    world.neighbours[r].resize(rows[world.relations[r].target]);
  for (std::uint32_t event = 0; event < size.events; ++event) {
    const auto entity = static_cast<std::uint32_t>(rng.below(size.entities));
    const auto lookup = static_cast<std::uint32_t>(rng.below(size.lookups));
    world.neighbours[0][entity].push_back(event);
    world.neighbours[1][event].push_back(entity);
    world.neighbours[2][event].push_back(lookup);
    world.neighbours[3][lookup].push_back(event);
  }
  return world;
}

struct Seed {
  std::uint32_t row = 0;  ///< an entity
  std::int64_t time_us = kWorldEndUs;
};

/// Nodes of a batch in the order of their first being reached.
class BatchBuilder {
 public:
  explicit BatchBuilder(const GraphWorld& world) : world_(world), rows_(world.tables.size()) {
    batch_.relations.resize(world.relations.size());
  }

  GraphBatch build(const std::vector<Seed>& seeds, std::size_t layers, bool neighbours) {
    for (const Seed& seed : seeds)
      node(0, seed.row, seed.time_us);
    batch_.reach.push_back(time_us_.size());
    std::size_t next = 0;
    for (std::size_t l = 0; l < layers; ++l) {
      for (; next < batch_.reach.back(); ++next)
        expand(static_cast<std::uint32_t>(next), neighbours);
      batch_.reach.push_back(time_us_.size());
    }
    for (auto& relation : batch_.relations)
      relation.begin.push_back(static_cast<std::uint32_t>(relation.source.size()));
    for (std::size_t t = 0; t < rows_.size(); ++t) {
      const auto& all = world_.tables[t].features;
      RowMatrix<float>& told =
          batch_.features.emplace_back(static_cast<Eigen::Index>(rows_[t].size()), all.cols());
      for (const auto& [row, place] : rows_[t])
        told.row(place) = all.row(row);
    }
    return batch_;
  }

 private:
  std::uint32_t node(std::uint16_t table, std::uint32_t row, std::int64_t time_us) {
    const auto found = nodes_.find({table, row, time_us});
    if (found != nodes_.end()) return found->second;
    const auto v = static_cast<std::uint32_t>(time_us_.size());
    nodes_[{table, row, time_us}] = v;
    time_us_.push_back(time_us);
    row_.push_back(row);
    const std::int64_t own = world_.tables[table].time_us[row];
    batch_.table.push_back(table);
    batch_.age_us.push_back(own == kAgeless ? kAgeless : time_us - own);
    batch_.block.push_back(world_.tables[table].block[row]);
    const auto place =
        rows_[table].try_emplace(row, static_cast<std::uint32_t>(rows_[table].size())).first;
    batch_.row.push_back(place->second);
    return v;
  }

  void expand(std::uint32_t v, bool neighbours) {
    for (std::size_t r = 0; r < world_.relations.size(); ++r) {
      auto& relation = batch_.relations[r];
      relation.begin.push_back(static_cast<std::uint32_t>(relation.source.size()));
      if (!neighbours || batch_.table[v] != world_.relations[r].target) continue;
      const std::uint16_t table = world_.relations[r].source;
      for (const std::uint32_t row : world_.neighbours[r][row_[v]]) {
        if (world_.tables[table].time_us[row] > time_us_[v]) continue;
        relation.source.push_back(node(table, row, time_us_[v]));
      }
    }
  }

  const GraphWorld& world_;
  GraphBatch batch_;
  std::vector<std::int64_t> time_us_;  // of each node's seed
  std::vector<std::uint32_t> row_;     // of the world
  std::map<std::tuple<std::uint16_t, std::uint32_t, std::int64_t>, std::uint32_t> nodes_;
  std::vector<std::map<std::uint32_t, std::uint32_t>> rows_;
};

inline GraphBatch make_batch(const GraphWorld& world, const std::vector<Seed>& seeds,
                             std::size_t layers = 2, bool neighbours = true) {
  return BatchBuilder(world).build(seeds, layers, neighbours);
}

inline NetworkOptions network_options(const GraphWorld& world, std::size_t width,
                                      ExpertKind kind = ExpertKind::Sage) {
  NetworkOptions options;
  options.shape.layers = 2;
  options.shape.layer.kind = kind;
  options.shape.layer.width = width;
  options.shape.layer.heads = 2;
  options.shape.layer.relations = world.relations;
  options.shape.columns = world.columns();
  return options;
}

/// What a head is told of so many seeds, by source.
inline std::vector<RowMatrix<float>> random_told(std::size_t seeds,
                                                 const std::vector<std::size_t>& columns) {
  std::vector<RowMatrix<float>> out;
  Rng rng(43, 1, Purpose::Test);
  for (const std::size_t count : columns) {
    RowMatrix<float>& told =
        out.emplace_back(static_cast<Eigen::Index>(seeds), static_cast<Eigen::Index>(count));
    for (Eigen::Index i = 0; i < told.size(); ++i)
      told.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
  }
  return out;
}

/// Moves every parameter a little, so that nothing stands at the zero it began at.
template <class Real>
void shake(ExpertNetwork<Real>& network, std::uint64_t seed, double size = 0.3) {
  Rng rng(seed, 1, Purpose::Test);
  network.visit([&](std::string_view, Parameter<Real>& parameter) {
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] += static_cast<Real>(size * (2 * rng.uniform() - 1));
    ++parameter.version;
  });
}

inline std::vector<Seed> all_entities(const GraphWorld& world) {
  std::vector<Seed> seeds;
  for (std::uint32_t i = 0; i < world.tables[0].block.size(); ++i)
    seeds.push_back({i});
  return seeds;
}

template <class Real>
void train(ExpertNetwork<Real>& network, const GraphBatch& batch,
           const std::vector<Target>& targets, int steps) {
  for (int step = 0; step < steps; ++step) {
    network.accumulate(batch, targets);
    network.step();
  }
}

/// Targets of a task that are there to be computed with, not to be learnt.
inline std::vector<Target> random_targets(TaskKind kind, std::size_t count, std::size_t classes,
                                          std::uint64_t seed) {
  Rng rng(seed, 2, Purpose::Test);
  std::vector<Target> targets(count);
  for (Target& target : targets) {
    if (kind == TaskKind::Binary) target.value = static_cast<double>(rng.below(2));
    if (kind == TaskKind::Regression) target.value = 4 * rng.uniform() - 2;
    if (kind == TaskKind::Multiclass) target.value = static_cast<double>(rng.below(classes));
    target.weight = 0.5 + rng.uniform();
  }
  return targets;
}

}  // namespace accrete::models
