// Blocks against a naive reference that keeps every row, and drift on synthetic streams.
#include "models/block_clock.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "models/gaussian_mixture.h"
#include "proto/ids.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr std::int64_t kDay = 86'400'000'000;

BlockClockOptions options_of(BlockRule rule, std::uint64_t rows_min, std::uint64_t rows_max) {
  BlockClockOptions options;
  options.rule = rule;
  options.rows_min = rows_min;
  options.rows_max = rows_max;
  options.rows = rows_max;
  options.period_us = kDay;
  return options;
}

/// Does `block`, all its rows so far, end before `next`? From the definition, over all its rows.
bool naive_end(const BlockClockOptions& options, const std::vector<BlockRow>& block,
               const BlockRow& next, std::int64_t newest_before) {
  const auto n = block.size();
  if (n >= options.rows_max) return true;
  if (n < options.rows_min) return false;
  if (options.rule == BlockRule::Rows) return n >= options.rows;
  const auto day = [](std::int64_t t) {
    return std::floor(static_cast<double>(t) / static_cast<double>(kDay));
  };
  if (options.rule == BlockRule::Time) {
    // A period that no row was of before begins, with another row than the first of the block.
    std::int64_t newest = std::max(newest_before, block.front().time_us);
    bool ends = false;
    const auto see = [&](const BlockRow& row) {
      ends = ends || (newest != kTimeMin.value && day(row.time_us) > day(newest));
      newest = std::max(newest, row.time_us);
    };
    std::for_each(block.begin() + 1, block.end(), see);
    see(next);
    return ends;
  }
  std::uint64_t classes = 0;
  bool overfull = false;
  for (const BlockRow& row : block) {
    overfull = overfull || (row.new_classes > 0 && classes >= options.classes);
    classes += row.new_classes;
  }
  return overfull || (next.new_classes > 0 && classes >= options.classes);
}

TEST(BlockClock, CutsAsTheDefinitionDoes) {
  std::size_t blocks = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(301, seed, Purpose::Test);
    const BlockRule rule = seed % 3 == 0   ? BlockRule::Rows
                           : seed % 3 == 1 ? BlockRule::Time
                                           : BlockRule::Classes;
    const std::uint64_t rows_min = 1 + rng.below(20);
    BlockClockOptions options = options_of(rule, rows_min, rows_min + rng.below(60));
    options.rows = rows_min + rng.below(options.rows_max - rows_min + 1);
    options.classes = static_cast<std::uint32_t>(1 + rng.below(3));
    BlockClock clock(options);
    std::vector<BlockRow> open;
    std::uint32_t block = 0;
    std::int64_t time = (static_cast<std::int64_t>(rng.below(20)) - 10) * kDay;
    std::int64_t newest = kTimeMin.value;  // of the blocks before
    for (int i = 0; i < 400; ++i) {
      time += static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(kDay) / 8));
      if (rng.below(50) == 0) time += 3 * kDay;
      BlockRow row{time, 0};
      if (rng.below(10) == 0) row.time_us -= static_cast<std::int64_t>(rng.below(5)) * kDay / 2;
      if (rng.below(12) == 0) row.new_classes = static_cast<std::uint32_t>(1 + rng.below(2));
      if (rng.below(12) == 0 || (seed % 2 == 0 && i < 10)) row.time_us = kTimeMin.value;
      if (!open.empty() && naive_end(options, open, row, newest)) {
        for (const BlockRow& one : open)
          newest = std::max(newest, one.time_us);
        open.clear();
        ++block;
      }
      open.push_back(row);
      ASSERT_EQ(clock.add(row), block) << seed << " " << i;
      ASSERT_EQ(clock.rows(), open.size());
    }
    blocks += block;
  }
  EXPECT_GT(blocks, 1000u);
}

TEST(BlockClock, PeriodsBeginAtMultiplesAlsoBefore1970) {
  BlockClock clock(options_of(BlockRule::Time, 1, 1000));
  EXPECT_EQ(clock.add({-kDay - 1}), 0u);
  EXPECT_EQ(clock.add({-kDay}), 1u);
  EXPECT_EQ(clock.add({-1}), 1u);
  EXPECT_EQ(clock.add({0}), 2u);
  EXPECT_EQ(clock.add({-1}), 2u) << "late: the block it arrives in";
  EXPECT_EQ(clock.add({kDay - 1}), 2u);
  EXPECT_EQ(clock.add({5 * kDay}), 3u) << "empty periods make no blocks";
}

TEST(BlockClock, APeriodEndsOnceWhateverRowBeginsTheNextBlock) {
  for (const std::int64_t begins : {kTimeMin.value, 5 * kDay}) {
    BlockClock clock(options_of(BlockRule::Time, 3, 1000));
    for (const std::int64_t time : {5 * kDay, 6 * kDay, 6 * kDay})
      EXPECT_EQ(clock.add({time}), 0u) << "too small to end";
    EXPECT_EQ(clock.add({begins}), 1u);
    for (int i = 0; i < 5; ++i)
      EXPECT_EQ(clock.add({6 * kDay}), 1u) << "the block before was ended for this period";
    EXPECT_EQ(clock.add({7 * kDay}), 2u);
  }
}

TEST(BlockClock, PeriodsBeginWithTheFirstRowThatHasATime) {
  BlockClock clock(options_of(BlockRule::Time, 2, 6));
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(clock.add({kTimeMin.value}), 0u) << "of a table without times";
  EXPECT_EQ(clock.add({100 * kDay}), 0u) << "its period is the block's";
  EXPECT_EQ(clock.add({100 * kDay}), 1u) << "the largest block";
  EXPECT_EQ(clock.add({kTimeMin.value}), 1u);
  EXPECT_EQ(clock.add({100 * kDay + 1}), 1u);
  EXPECT_EQ(clock.add({101 * kDay}), 2u);
  BlockClock undated(options_of(BlockRule::Time, 1, 3));
  std::string state;
  for (std::uint32_t i = 0; i < 9; ++i)
    EXPECT_EQ(undated.add({kTimeMin.value}), i / 3) << "only the largest block ends";
  undated.save(state);
  BlockClock again(options_of(BlockRule::Time, 1, 3));
  ASSERT_TRUE(again.load(state));
  EXPECT_EQ(again.add({kDay}), 3u);
  EXPECT_EQ(again.add({kDay}), 3u) << "began no period of its own before it";
  EXPECT_EQ(again.add({2 * kDay}), 4u);
}

TEST(BlockClock, AMarkerWaitsForTheSmallestBlock) {
  BlockClock clock(options_of(BlockRule::Marker, 3, 8));
  clock.mark();  // before any row: nothing to end
  EXPECT_EQ(clock.add({}), 0u);
  clock.mark();
  EXPECT_EQ(clock.add({}), 0u);
  EXPECT_EQ(clock.add({}), 0u);
  EXPECT_EQ(clock.add({}), 1u);
  for (int i = 1; i < 8; ++i)
    EXPECT_EQ(clock.add({}), 1u);
  EXPECT_EQ(clock.add({}), 2u) << "the largest block, without a marker";
}

TEST(BlockClock, OtherRulesIgnoreMarkersAndAlarms) {
  BlockClock clock(options_of(BlockRule::Rows, 1, 50));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(clock.add({i * kDay, 1}), 0u);
    clock.mark();
    clock.alarm();
    EXPECT_FALSE(clock.chunk_full());
  }
}

TEST(BlockClock, DriftTakesSoManyNovelChunksInARowOrAnAlarm) {
  BlockClockOptions options = options_of(BlockRule::Drift, 10, 1000);
  options.chunk_rows = 5;
  options.chunks = 2;
  options.novel_share = 0.5;
  BlockClock clock(options);
  // Shares of the chunks after the first ten rows; the block ends after two above one half.
  const std::vector<double> shares{0.6, 0.5, 0.9, 0.1, 0.51, 0.51};
  std::size_t chunk = 0;
  std::uint64_t rows = 0;
  while (chunk < shares.size()) {
    EXPECT_EQ(clock.add({}), 0u);
    ++rows;
    EXPECT_EQ(clock.judgeable(), rows == 10);
    ASSERT_EQ(clock.chunk_full(), rows > 10 && rows % 5 == 0);
    if (clock.chunk_full()) clock.judge_chunk(shares[chunk++]);
  }
  EXPECT_EQ(rows, 40u);
  EXPECT_EQ(clock.add({}), 1u);
  clock.alarm();  // the loss of a block that has just begun
  for (int i = 1; i < 10; ++i)
    EXPECT_EQ(clock.add({}), 1u);
  EXPECT_EQ(clock.add({}), 1u);
  clock.alarm();
  EXPECT_EQ(clock.add({}), 2u);
}

double normal(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i)
    sum += rng.uniform();
  return sum;
}

struct DriftRun {
  std::vector<std::uint64_t> begins;  ///< rows that began a block, but the first
};

/// A stream of vectors in two clusters whose mean moves by `shift` deviations in each column at row
/// `change`; the clock and the mixtures work together as the header of the clock says.
DriftRun run_drift(std::uint64_t seed, std::uint64_t rows, std::uint64_t change, double shift) {
  constexpr Eigen::Index width = 8;
  BlockClockOptions options;
  BlockClock clock(options);
  BlockMixtures mixtures;
  RowMatrix<float> open(static_cast<Eigen::Index>(rows), width);
  DriftRun run;
  Rng rng(311, seed, Purpose::Test);
  for (std::uint64_t i = 0; i < rows; ++i) {
    const double side = rng.uniform() < 0.5 ? 2 : -2;
    const std::uint32_t before = clock.block();
    const std::uint32_t block = clock.add({});
    if (block != before) run.begins.push_back(i);
    const auto n = static_cast<Eigen::Index>(clock.rows());
    for (Eigen::Index c = 0; c < width; ++c) {
      open(n - 1, c) = static_cast<float>(side * (c % 2 == 0 ? 1 : -1) + normal(rng) +
                                          (i >= change ? shift : 0));
    }
    if (clock.judgeable()) mixtures.add(block, open.topRows(n));
    if (!clock.chunk_full()) continue;
    const auto chunk = static_cast<Eigen::Index>(options.chunk_rows);
    clock.judge_chunk(mixtures.novel_share(open.middleRows(n - chunk, chunk)));
  }
  return run;
}

TEST(BlockClock, FindsAShiftWithinFourChunksAndSettles) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const DriftRun run = run_drift(seed, 8000, 4000, 1.5);
    ASSERT_EQ(run.begins.size(), 1u) << "one change, one new block";
    EXPECT_GT(run.begins[0], 4000u);
    EXPECT_LE(run.begins[0], 4000u + 4 * 128) << "three chunks, and the one that was open";
  }
}

TEST(BlockClock, IsQuietOnFiftyStationaryStreams) {
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    EXPECT_TRUE(run_drift(100 + seed, 6000, 6000, 0).begins.empty()) << seed;
}

TEST(BlockClock, KnowsABlockThatComesBack) {
  // Two regimes that alternate: once both have a mixture, neither is novel again.
  BlockClockOptions options;
  BlockClock clock(options);
  BlockMixtures mixtures;
  RowMatrix<float> open(20000, 4);
  Rng rng(312, 0, Purpose::Test);
  for (std::uint64_t i = 0; i < 16000; ++i) {
    const std::uint32_t block = clock.add({});
    const auto n = static_cast<Eigen::Index>(clock.rows());
    for (Eigen::Index c = 0; c < 4; ++c)
      open(n - 1, c) = static_cast<float>(normal(rng) + (i / 4000 % 2 == 0 ? 0 : 4));
    if (clock.judgeable()) mixtures.add(block, open.topRows(n));
    if (clock.chunk_full()) {
      clock.judge_chunk(mixtures.novel_share(open.middleRows(n - 128, 128)));
    }
  }
  EXPECT_EQ(clock.block(), 1u);
}

TEST(BlockClock, ContinuesFromItsStateAndRefusesDamage) {
  for (const BlockRule rule : {BlockRule::Drift, BlockRule::Rows, BlockRule::Time,
                               BlockRule::Marker, BlockRule::Classes}) {
    BlockClockOptions options = options_of(rule, 5, 40);
    options.chunk_rows = 4;
    options.chunks = 2;
    BlockClock clock(options);
    BlockClock copy(options);
    for (std::uint64_t i = 0; i < 500; ++i) {
      std::uint32_t block = 0;
      for (BlockClock* each : {&clock, &copy}) {
        Rng rng(321, i, Purpose::Test);
        const BlockRow row{static_cast<std::int64_t>(i) * kDay / 20,
                           static_cast<std::uint32_t>(rng.below(8) == 0 ? 1 : 0)};
        const std::uint32_t now = each->add(row);
        if (each == &copy) {
          EXPECT_EQ(now, block);
        }
        block = now;
        if (rng.below(15) == 0) each->mark();
        if (each->chunk_full()) each->judge_chunk(rng.uniform() / 4);
        if (rng.below(100) == 0) each->alarm();
      }
      if (i % 13 != 0) continue;
      const std::string bytes = saved(copy);
      copy = BlockClock(options);
      expect_exact_state(bytes, copy);
    }
    EXPECT_EQ(saved(clock), saved(copy));
    EXPECT_GT(clock.block(), 11u);
  }
}

}  // namespace
}  // namespace accrete::models
