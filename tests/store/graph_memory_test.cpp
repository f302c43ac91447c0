// The graph keeps to its memory budget, and counts what it holds.
#include <gtest/gtest.h>
#include <malloc.h>

#include "graph_world.h"
#include "proto/rng.h"

namespace accrete::store {
namespace {

TEST(GraphMemory, AnEdgeTakesAtMostFortyBytes) {
  for (const std::uint32_t parents : {1'000u, 100'000u, 250'000u}) {
    GraphWorld world(1u << 30);
    Graph& graph = *world.graph;
    constexpr std::uint32_t kEdges = 1'000'000;
    for (std::uint32_t i = 0; i < parents; ++i)
      graph.append(kEvents);
    world.commit();
    for (std::uint32_t i = 0; i < parents; ++i) {
      graph.intern(kUsers, std::to_string(i));
    }
    world.commit();
    const std::size_t before = graph.memory_bytes();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const std::size_t heap_before = mallinfo2().uordblks + mallinfo2().hblkhd;
#endif
    Rng rng(1, 0, Purpose::Test);
    for (std::uint32_t i = 0; i < kEdges; ++i) {
      const NodeId parent{kUsers, static_cast<std::uint32_t>(rng.below(parents))};
      graph.link(kEventUser, parent, {kEvents, i % parents}, TimeUs{i * 1000ll});
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    const double heap =
        static_cast<double>(mallinfo2().uordblks + mallinfo2().hblkhd - heap_before);
    const double counted = static_cast<double>(graph.memory_bytes() - before);
    EXPECT_NEAR(counted / heap, 1.0, 0.15) << parents;
#endif
    world.commit();
    const double bytes = static_cast<double>(graph.memory_bytes() - before) / kEdges;
    EXPECT_LE(bytes, 40) << parents;
    RecordProperty("bytes_per_edge_" + std::to_string(parents), std::to_string(bytes));
  }
}

TEST(GraphMemory, TheBudgetHoldsWhileReadingAndWriting) {
  constexpr std::size_t kBudget = 4u << 20;
  GraphWorld world(kBudget);
  constexpr std::uint32_t kParents = 100'000;
  std::uint32_t row = 0;
  for (std::uint32_t user = 0; user < kParents; ++user) {
    const NodeId parent = world.graph->intern(kUsers, std::to_string(user));
    world.graph->put_version(parent, {TimeUs{user}, Ordinal{user + 1}, false});
    for (int i = 0; i < 3; ++i) {
      const NodeId event = world.graph->append(kEvents);
      world.graph->link(kEventUser, parent, event, TimeUs{row++});
    }
    if (user % 2'000 != 0) continue;
    world.commit();
    EXPECT_LE(world.graph->memory_bytes(), kBudget * 11 / 10);
  }
  world.commit();
  // A pass over everything touches far more than fits.
  std::uint64_t edges = 0;
  for (std::uint32_t user = 0; user < kParents; ++user) {
    edges += world.graph->count(kEventUser, {kUsers, user}, kTimeMin, kTimeMax, kTimeMax);
    EXPECT_TRUE(world.graph->version({kUsers, user}, kTimeMax));
    if (user % 1'000 == 0) {
      EXPECT_LE(world.graph->memory_bytes(), kBudget * 11 / 10);
    }
  }
  EXPECT_EQ(edges, row);
  for (std::uint32_t user = 0; user < kParents; user += 97) {
    EXPECT_EQ(world.graph->find(kUsers, std::to_string(user)), (NodeId{kUsers, user}));
  }
  EXPECT_FALSE(world.graph->find(kUsers, "nobody"));
  must(world.graph->health());
}

}  // namespace
}  // namespace accrete::store
