// Waiting predictions: what goes to the store comes back the same, and leaves memory.
#include "daemon/pending.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

PendingBatch batch_of(std::size_t rows) {
  PendingBatch batch;
  batch.at = day(1);
  batch.due = day(2);
  batch.classes = 3;
  batch.width = 2;
  batch.population = 7;
  for (std::size_t i = 0; i < rows; ++i) {
    batch.rows.push_back(static_cast<std::uint32_t>(i));
    batch.taught.push_back(static_cast<std::uint32_t>(i));
    batch.features.insert(batch.features.end(), {1, static_cast<float>(i)});
    batch.items.insert(batch.items.end(), {1, 2, static_cast<std::uint32_t>(i)});
    batch.shares.insert(batch.shares.end(), {.5F, .25F, .25F});
    batch.outputs.push_back(static_cast<double>(i));
    batch.uncertainty.push_back(2.0 * static_cast<double>(i));
  }
  return batch;
}

TEST(PendingQueue, WhatIsInTheStoreComesBackTheSame) {
  const Config config = shop_config();
  World world(config);
  PendingQueue queue("t/");
  queue.push(batch_of(100));
  EXPECT_GT(queue.dirty_bytes(), 0u);
  queue.stage(world.state());
  EXPECT_EQ(queue.dirty_bytes(), 0u);
  ASSERT_TRUE(world.state().commit(world.state().cursor()));
  queue.shrink(0);
  EXPECT_EQ(queue.memory_bytes(), 0u);
  EXPECT_EQ(queue.next_due(), day(2));
  EXPECT_EQ(queue.next_at(), day(1));
  const auto back = queue.pop(world.state());
  ASSERT_TRUE(back) << back.error().detail;
  const PendingBatch expected = batch_of(100);
  EXPECT_EQ(back.value().rows, expected.rows);
  EXPECT_EQ(back.value().taught, expected.taught);
  EXPECT_EQ(back.value().features, expected.features);
  EXPECT_EQ(back.value().items, expected.items);
  EXPECT_EQ(back.value().shares, expected.shares);
  EXPECT_EQ(back.value().outputs, expected.outputs);
  EXPECT_EQ(back.value().uncertainty, expected.uncertainty);
  EXPECT_EQ(back.value().population, 7u);
  EXPECT_TRUE(queue.empty());
}

TEST(PendingQueue, WhatIsInTheStoreLeavesMemory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator does not tell";
  const Config config = shop_config();
  World world(config);
  PendingQueue queue("t/");
  for (int i = 0; i < 20; ++i)
    queue.push(batch_of(20'000));
  queue.stage(world.state());
  ASSERT_TRUE(world.state().commit(world.state().cursor()));
  const auto in_use = [] {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const std::size_t before = in_use();
  const std::size_t held = queue.memory_bytes();
  ASSERT_GT(held, 20u << 20);
  queue.shrink(0);
  EXPECT_LT(in_use() + held * 9 / 10, before);
}

}  // namespace
}  // namespace accrete::daemon
