// A folded random stream with a sampler around one of its tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tests/daemon/sampler_world.h"

namespace accrete::daemon {

inline constexpr std::size_t kCacheBytes = 8u << 20;

/// A folded stream, its rows, and a sampler around one of its tables.
struct Sampled {
  Sampled(const RandomStream& stream, std::uint64_t seed, std::size_t hops)
      : config(stream.config()),
        world(config),
        rows(world.fold().schema(), world.fold().graph(), world.fold().rows(), kCacheBytes),
        entity(static_cast<std::uint16_t>(seed % stream.shapes.size())),
        sampler(world.fold().schema(), plan_network(world.fold().schema(), entity, hops),
                world.fold().graph(), rows) {}

  void feed(std::span<const Transaction> part) { world.feed(part, 5); }
  void feed_all(const RandomStream& stream) {
    const std::span all(stream.stream);
    feed(all.first(all.size() / 2));
    rows.begin_block(std::nullopt, day(stream.now() / 2));
    feed(all.subspan(all.size() / 2));
    observe_all(world, rows);
    rows.freeze();
  }
  std::vector<Seed> seeds(Rng& rng, std::size_t count, double now) {
    std::vector<Seed> out;
    const std::uint32_t there = world.fold().graph().node_count(entity);
    for (std::size_t i = 0; i < count && there > 0; ++i) {
      const double at = now * static_cast<double>(1 + rng.below(6)) / 5;
      out.push_back({static_cast<std::uint32_t>(rng.below(there)), day(at)});
    }
    return out;
  }

  Config config;
  World world;
  NetworkRows rows;
  TableId entity;
  SubgraphSampler sampler;
};

inline SampleOptions some_options(std::uint64_t seed, LabelRows* labels) {
  SampleOptions options;
  options.choice = seed % 2 == 0 ? Choice::Newest : Choice::Uniform;
  options.seed = seed;
  options.fan_out = seed % 3 == 0 ? std::vector<std::size_t>{3, 3} : std::vector<std::size_t>{4, 2};
  if (seed % 5 == 0) options.fan_out = {3, 2, 2};
  options.labels_max = 3;
  options.labels = labels;
  return options;
}

inline std::string written(const Sampled& sampled, const models::GraphBatch& batch,
                           std::size_t seed) {
  Writing out;
  write_batch(batch, sampled.sampler.plan(), static_cast<std::uint32_t>(seed),
              batch.reach.size() - 1, out);
  return out.text;
}

}  // namespace accrete::daemon
