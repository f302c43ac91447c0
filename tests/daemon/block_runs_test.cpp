// Blocks asked one by one, or together where they are too small or too many.
#include "daemon/block_runs.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/network_memory_world.h"

namespace accrete::daemon {
namespace {

using Blocks = std::vector<std::uint32_t>;

/// So many examples of each block.
NetworkMemory memory_of(const std::vector<std::size_t>& sizes) {
  NetworkMemory memory(of_most(100'000));
  std::uint32_t row = 0;
  for (std::uint32_t block = 0; block < sizes.size(); ++block) {
    for (std::size_t i = 0; i < sizes[block]; ++i, ++row)
      memory.add({row, 1, TimeUs{row}, block});
  }
  return memory;
}

/// Expert t is born for block first[t].
std::function<std::uint32_t(std::uint32_t)> experts_of(Blocks first) {
  return [first](std::uint32_t block) {
    const auto after = std::ranges::upper_bound(first, block);
    return static_cast<std::uint32_t>(std::max<std::ptrdiff_t>(after - first.begin(), 1) - 1);
  };
}

std::vector<Blocks> blocks_of(const std::vector<BlockRun>& runs) {
  std::vector<Blocks> out;
  for (const BlockRun& run : runs)
    out.push_back(run.blocks);
  return out;
}

TEST(BlockRuns, EachBlockIsOneAlone) {
  const NetworkMemory memory = memory_of({50, 0, 40, 300, 40});
  const auto runs = block_runs(memory, experts_of({0, 3}), {40, 100});
  EXPECT_EQ(blocks_of(runs), (std::vector<Blocks>{{0}, {2}, {3}, {4}}));
  EXPECT_EQ(runs[1].expert, 0U);
  EXPECT_EQ(runs[2].expert, 1U);
  EXPECT_EQ(runs[2].examples, 300U);
  EXPECT_TRUE(block_runs(NetworkMemory(of_most(10)), experts_of({0}), {1, 1}).empty());
}

TEST(BlockRuns, SmallOnesJoinTheirNeighboursOfTheSameExpert) {
  const NetworkMemory memory = memory_of({10, 20, 30, 5, 8, 100, 3, 0, 4});
  const auto runs = block_runs(memory, experts_of({0, 4, 6}), {30, 100});
  // What is left of an expert joins the run before it, or is all there is.
  EXPECT_EQ(blocks_of(runs), (std::vector<Blocks>{{0, 1}, {2, 3}, {4, 5}, {6, 8}}));
  EXPECT_EQ(runs[1].examples, 35U);
  EXPECT_TRUE(runs[3].spans(7));
  EXPECT_FALSE(runs[2].spans(6));
}

TEST(BlockRuns, OfManyBlocksNeighboursAreAskedTogether) {
  constexpr std::size_t kBlocks = 1000;
  constexpr std::size_t kRuns = 128;
  const NetworkMemory memory = memory_of(std::vector<std::size_t>(kBlocks, 5));
  const auto runs = block_runs(memory, experts_of({0, 10, 100, 500}), {1, kRuns});
  EXPECT_LE(runs.size(), kRuns + 4);
  EXPECT_GE(runs.size(), kRuns - 8);
  Blocks all;
  for (const BlockRun& run : runs) {
    all.insert(all.end(), run.blocks.begin(), run.blocks.end());
    for (const std::uint32_t block : run.blocks)
      EXPECT_EQ(experts_of({0, 10, 100, 500})(block), run.expert);
  }
  ASSERT_EQ(all.size(), kBlocks);
  for (std::uint32_t block = 0; block < kBlocks; ++block)
    EXPECT_EQ(all[block], block);
}

TEST(BlockRuns, ExamplesAreDrawnOfEachBlock) {
  const NetworkMemory memory = memory_of({40, 40, 40, 40});
  std::vector<NetworkExample> drawn;
  Rng rng(3, 0, Purpose::Test);
  draw_of_blocks(memory, {1, 3}, 70, rng, drawn);
  std::map<std::uint32_t, std::size_t> counts;
  for (const NetworkExample& example : drawn)
    ++counts[example.block];
  EXPECT_EQ(counts[1] + counts[3], 70U);
  EXPECT_EQ(counts[1], 35U);
  draw_of_blocks(memory, {}, 70, rng, drawn);
  EXPECT_EQ(drawn.size(), 70U);
}

TEST(BlockRuns, RowsOfALargeInstantAreDrawnAsOftenAsOthers) {
  // Half of each block's rows are of one instant, the others alone in theirs.
  constexpr std::uint32_t kHalf = 60;
  NetworkMemory memory(of_most(100'000));
  std::int64_t at = 0;
  for (std::uint32_t block = 0; block < 4; ++block) {
    ++at;
    for (std::uint32_t row = 0; row < kHalf; ++row)
      memory.add({row, 0, TimeUs{at}, block});
    for (std::uint32_t row = kHalf; row < 2 * kHalf; ++row)
      memory.add({row, 0, TimeUs{++at}, block});
  }
  for (const std::size_t count : {std::size_t{4}, std::size_t{64}, std::size_t{1024}}) {
    std::size_t large = 0;
    std::size_t all = 0;
    for (std::uint64_t draw = 0; all < 40'000; ++draw) {
      std::vector<NetworkExample> drawn;
      Rng rng(6, draw, Purpose::Test);
      draw_of_blocks(memory, {0, 1, 2, 3}, count, rng, drawn);
      all += drawn.size();
      large += static_cast<std::size_t>(std::ranges::count_if(
          drawn, [](const NetworkExample& example) { return example.row < kHalf; }));
    }
    EXPECT_NEAR(static_cast<double>(large) / static_cast<double>(all), .5, .05) << count;
  }
}

TEST(BlockRuns, NoBlockIsLeftOutWhileThereAreExamplesForAll) {
  constexpr std::uint32_t kBlocks = 50;
  const NetworkMemory memory = memory_of(std::vector<std::size_t>(kBlocks, 9));
  Blocks all(kBlocks);
  std::ranges::copy(std::views::iota(0U, kBlocks), all.begin());
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    std::vector<NetworkExample> drawn;
    Rng rng(4, draw, Purpose::Test);
    draw_of_blocks(memory, all, kBlocks + draw, rng, drawn);
    EXPECT_EQ(drawn.size(), kBlocks + draw);
    std::set<std::uint32_t> seen;
    for (const NetworkExample& example : drawn)
      seen.insert(example.block);
    EXPECT_EQ(seen.size(), kBlocks);
  }
  // Of fewer examples than blocks each time others.
  std::set<std::uint32_t> seen;
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    std::vector<NetworkExample> drawn;
    Rng rng(5, draw, Purpose::Test);
    draw_of_blocks(memory, all, 10, rng, drawn);
    for (const NetworkExample& example : drawn)
      seen.insert(example.block);
  }
  EXPECT_EQ(seen.size(), kBlocks);
}

}  // namespace
}  // namespace accrete::daemon
