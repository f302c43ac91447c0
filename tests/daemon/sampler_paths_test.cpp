// The ways a sampler walks: not over masked foreign keys, and through bridges as two steps would.
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/sampled_stream.h"

namespace accrete::daemon {
namespace {

TEST(SubgraphSampler, DoesNotWalkOverAMaskedForeignKey) {
  std::size_t walked = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomStream stream(seed, 200, true);
    Sampled sampled(stream, seed, 2);
    sampled.feed_all(stream);
    const Schema& schema = sampled.world.fold().schema();
    const NetworkPlan& plan = sampled.sampler.plan();
    SampleOptions options = some_options(seed, nullptr);
    options.fan_out.resize(2);
    const TableId last{static_cast<std::uint16_t>(stream.shapes.size() - 1)};
    options.masked = {{last, *schema.table(last).find("f0")}};
    Rng rng(seed, 5, Purpose::Test);
    const std::vector<Seed> seeds = sampled.seeds(rng, 10, stream.now());
    models::GraphBatch batch;
    sampled.sampler.sample(seeds, options, batch);
    for (std::size_t r = 0; r + 1 < plan.relations.size(); ++r) {
      const NetworkRelation& relation = plan.relations[r];
      const auto over = [&](RelationId key) {
        const Relation& found = schema.relations()[key.value];
        return found.child == last && found.foreign_key == 0;
      };
      const bool closed =
          over(relation.near) || (relation.way == Way::Through && over(relation.far));
      const std::size_t edges = batch.relations[r].source.size();
      if (closed) {
        EXPECT_EQ(edges, 0U);
      } else {
        walked += edges;
      }
    }
    NaiveSampler naive(sampled.world, plan, sampled.rows, options);
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      Writing expected;
      naive.write(plan.entity, seeds[i].row, seeds[i].at, 0, expected);
      EXPECT_EQ(written(sampled, batch, i), expected.text);
    }
  }
  EXPECT_GT(walked, 1000U);
}

TEST(SubgraphSampler, ReadsThroughABridgeWhatTwoStepsRead) {
  std::size_t compared = 0;
  for (std::uint64_t seed = 0; seed < 18; ++seed) {
    const RandomStream stream(seed, 300, true);
    Sampled sampled(stream, seed, 2);
    sampled.feed_all(stream);
    const auto& relations = sampled.sampler.plan().relations;
    SampleOptions options = some_options(seed, nullptr);
    options.fan_out = {5, 5};
    Rng rng(seed, 6, Purpose::Test);
    models::GraphBatch batch;
    sampled.sampler.sample(sampled.seeds(rng, 12, stream.now()), options, batch);
    const auto list = [&](std::size_t relation, std::uint32_t node) {
      const auto& lists = batch.relations[relation];
      return std::span(lists.source)
          .subspan(lists.begin[node], lists.begin[node + 1] - lists.begin[node]);
    };
    const auto find = [&](Way way, RelationId key) {
      std::size_t found = 0;
      while (relations[found].way != way || relations[found].near != key)
        ++found;
      return found;
    };
    for (std::size_t r = 0; r < relations.size(); ++r) {
      if (relations[r].way != Way::Through) continue;
      const std::size_t down = find(Way::Down, relations[r].near);
      if (relations[r].shape.target != sampled.sampler.plan().entity) continue;
      const std::size_t up = find(Way::Up, relations[r].far);
      for (std::uint32_t v = 0; v < batch.seeds(); ++v) {
        std::vector<std::uint32_t> ends;
        for (const std::uint32_t child : list(down, v)) {
          const auto parents = list(up, child);
          ends.insert(ends.end(), parents.begin(), parents.end());
        }
        const auto through = list(r, v);
        EXPECT_EQ(ends, std::vector<std::uint32_t>(through.begin(), through.end()));
        compared += ends.size();
      }
    }
  }
  EXPECT_GT(compared, 200U);
}

}  // namespace
}  // namespace accrete::daemon
