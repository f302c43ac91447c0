// What is novel in rows of several tables, together with the clock that asks.
#include "models/row_novelty.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/block_clock.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

/// Two tables: two numbers and a name; and `wide` numbers, which a space of 8 folds.
struct World {
  explicit World(std::size_t wide_positions, std::uint64_t seed)
      : wide(wide_positions), rng(41, seed, Purpose::Test) {
    options.width = 8;
    novelty = std::make_unique<RowNovelty>(2, options, [this](std::size_t table) {
      return table == 0 ? names : std::vector<bool>(wide);
    });
  }

  /// A row of either table, its numbers moved by `shift`; whether it began a block.
  bool row(double shift) {
    const std::uint32_t before = clock.block();
    if (clock.add({}) != before) novelty->begin(clock.block());
    ++count;
    if (rng.below(3) == 0) {
      std::vector<double> numbers(wide);
      for (double& x : numbers)
        x = 1000 * (normal(rng) + shift);
      if (rng.below(5) == 0) numbers[0] = std::numeric_limits<double>::quiet_NaN();
      novelty->add(1, numbers);
    } else {
      const double side = rng.below(2) == 0 ? 2 : -2;
      const std::vector<double> numbers = {side + 0.1 * normal(rng) + shift, normal(rng),
                                           static_cast<double>(count)};
      novelty->add(0, numbers);
    }
    if (clock.judgeable()) static_cast<void>(novelty->take_novel_share());
    if (clock.chunk_full()) clock.judge_chunk(novelty->take_novel_share());
    return clock.block() != before;
  }

  RowNoveltyOptions options;
  std::vector<bool> names = {false, false, true};
  std::size_t wide;
  BlockClock clock{BlockClockOptions{}};
  std::unique_ptr<RowNovelty> novelty;
  Rng rng;
  std::uint64_t count = 0;
};

TEST(RowNovelty, IsQuietWhereNothingChanges) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    World world(seed % 2 == 0 ? 5 : 30, seed);
    for (int i = 0; i < 12'000; ++i)
      ASSERT_FALSE(world.row(0)) << "row " << i << ", seed " << seed;
    EXPECT_EQ(world.novelty->mixtures(0), 1u);
    EXPECT_EQ(world.novelty->mixtures(1), 1u);
  }
}

TEST(RowNovelty, AShiftEndsTheBlockOnceAndOldRowsAreKnownLater) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    World world(5, 100 + seed);
    for (int i = 0; i < 6000; ++i)
      ASSERT_FALSE(world.row(0));
    int until = 0;
    while (!world.row(6))
      ASSERT_LT(++until, 5 * 128) << "three novel chunks, and those that were open";
    for (int i = 0; i < 6000; ++i)
      ASSERT_FALSE(world.row(6)) << "known by now, row " << i;
    EXPECT_EQ(world.novelty->mixtures(0), 2u);
    for (int i = 0; i < 3000; ++i)
      ASSERT_FALSE(world.row(0)) << "what came first is no news, row " << i;
  }
}

TEST(RowNovelty, WhatChangesSlowlyIsOneBlock) {
  World world(5, 7);
  for (int i = 0; i < 30'000; ++i)
    ASSERT_FALSE(world.row(i * 3e-6)) << "in all the deviation of a mixture's part, row " << i;
}

TEST(RowNovelty, NamesArePositionsOfTheRowNotOfTheBlock) {
  World world(5, 9);
  world.names = {false, false, false};  // a counter is taken at its word
  int row = 0;
  while (!world.row(0) && row < 20'000)
    ++row;
  EXPECT_LT(row, 20'000) << "a counter never stays where the mixture saw it";
}

TEST(RowNovelty, KeepsTheNewestMixtures) {
  RowNoveltyOptions options;
  options.blocks_max = 3;
  options.rows_min = options.sample = 16;
  RowNovelty novelty(1, options, [](std::size_t) { return std::vector<bool>(2); });
  Rng rng(42, 0, Purpose::Test);
  for (std::uint32_t block = 0; block < 6; ++block) {
    if (block > 0) novelty.begin(block);
    for (int i = 0; i < 20; ++i)
      novelty.add(0, std::vector<double>{normal(rng) + 50 * block, normal(rng)});
  }
  EXPECT_EQ(novelty.mixtures(0), 3u);
}

TEST(RowNovelty, ContinuesFromItsStateAndRefusesDamage) {
  World world(30, 11);
  for (int i = 0; i < 1500; ++i)
    world.row(0);
  World again(30, 11);
  std::map<std::size_t, std::string> tables;
  std::string common;
  const auto keep = [&](std::size_t table, const std::string& bytes) { tables[table] = bytes; };
  world.novelty->save(keep, common);
  ASSERT_EQ(tables.size(), 2u);
  for (const auto& [table, bytes] : tables)
    ASSERT_TRUE(again.novelty->load_table(table, bytes));
  ASSERT_TRUE(again.novelty->load_common(common));
  std::string none;
  world.novelty->save([](std::size_t, const std::string&) { FAIL() << "nothing changed"; }, none);
  EXPECT_EQ(none, common);

  for (const auto& [table, bytes] : tables) {
    for (std::size_t cut = 0; cut < bytes.size(); cut += 97)
      EXPECT_FALSE(again.novelty->load_table(table, std::string_view(bytes).substr(0, cut)));
  }
  EXPECT_FALSE(again.novelty->load_common(std::string_view(common).substr(1)));

  // The same rows to both from here on.
  Rng rng(43, 0, Purpose::Test);
  for (int i = 0; i < 4000; ++i) {
    const std::vector<double> numbers = {normal(rng) + (i > 2000 ? 5 : 0), normal(rng), 0};
    world.novelty->add(0, numbers);
    again.novelty->add(0, numbers);
    if (i % 128 == 0) {
      ASSERT_EQ(world.novelty->take_novel_share(), again.novelty->take_novel_share()) << i;
    }
  }
  std::string first;
  std::string second;
  const auto append = [](std::string& to) {
    return [&to](std::size_t, const std::string& bytes) { to += bytes; };
  };
  world.novelty->save(append(first), common);
  again.novelty->save(append(second), common);
  EXPECT_EQ(first, second);
}

/// A table whose rows doubled is fitted anew when those of another fill the chunk: it may have had
/// none since it was written.
TEST(RowNovelty, WhatRowsOfAnotherTableRefitIsWritten) {
  const auto make = [] {
    return RowNovelty(2, RowNoveltyOptions(), [](std::size_t) { return std::vector<bool>{}; });
  };
  RowNovelty live = make();
  Rng rng(1, 1, Purpose::Test);
  std::map<std::size_t, std::string> tables;
  std::string common;
  const auto save = [&] {
    common.clear();
    live.save([&](std::size_t table, const std::string& bytes) { tables[table] = bytes; }, common);
  };
  const auto add = [&](std::size_t table, int rows) {
    for (; rows > 0; --rows)
      live.add(table, std::vector{rng.uniform(), rng.uniform()});
  };
  add(1, 600);
  add(0, 1024);
  save();
  add(1, 128);
  static_cast<void>(live.take_novel_share());
  save();
  RowNovelty again = make();
  for (const auto& [table, bytes] : tables)
    ASSERT_TRUE(again.load_table(table, bytes));
  ASSERT_TRUE(again.load_common(common));
  double novel = 0;
  for (int chunk = 0; chunk < 200; ++chunk) {
    for (int i = 0; i < 128; ++i) {
      const std::vector<double> row = {rng.uniform(), 1.06 * rng.uniform()};
      live.add(i % 4 == 0 ? 1 : 0, row);
      again.add(i % 4 == 0 ? 1 : 0, row);
    }
    const double share = live.take_novel_share();
    ASSERT_EQ(share, again.take_novel_share()) << "chunk " << chunk;
    novel += share;
  }
  EXPECT_GT(novel, 0);
}

}  // namespace
}  // namespace accrete::models
