// From ingest to the fold, by memory or by the log: every record once and in order, bounds, the
// end.
#include "daemon/fold_queue.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "tests/store/scratch.h"

namespace accrete::daemon {
namespace {

using store::must;

class FoldQueueTest : public ::testing::Test {
 protected:
  std::string record(std::uint64_t ordinal) {
    std::string out;
    encode_mark({MarkKind::Clock, TimeUs{static_cast<std::int64_t>(ordinal)}}, out);
    return out;
  }

  /// The next `records` records, durable.
  LogSlice append(std::size_t records) {
    const SourceId source = must(log_.source("shop"));
    LogSlice slice;
    slice.first = Ordinal{log_.end().value + 1};
    for (std::size_t i = 0; i < records; ++i)
      slice.append({source, ++position_, true}, record(slice.first.value + i));
    const store::Log::Advance advance{source, position_};
    must(log_.append(slice, {&advance, 1}));
    return slice;
  }

  /// As the fold does: `slice` must follow what it has.
  void admit(FoldQueue& queue, const LogSlice& slice) {
    ASSERT_EQ(slice.first.value, folded_ + 1);
    for (std::size_t i = 0; i < slice.size(); ++i) {
      LogHeader header;
      ASSERT_EQ(must(decode_entry(slice.entry(i), header)), record(++folded_));
    }
    queue.admitted(Ordinal{folded_});
  }

  std::size_t take(FoldQueue& queue) {
    const auto slice = must(queue.take());
    if (slice) admit(queue, *slice);
    return slice ? slice->size() : 0;
  }

  store::Scratch scratch_;
  std::unique_ptr<store::Database> database_ = store::open_database(scratch_);
  store::Log log_ = must(store::Log::open(*database_));
  std::uint64_t position_ = 0;
  std::uint64_t folded_ = 0;
};

TEST_F(FoldQueueTest, WhatFindsNoPlaceIsReadFromTheLog) {
  FoldQueue queue(log_, {2, 10, 1u << 20, 1000});
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(queue.give(append(10)));
  EXPECT_EQ(queue.groups(), 2u);
  EXPECT_TRUE(queue.in_log());
  EXPECT_EQ(take(queue), 10u);
  EXPECT_TRUE(queue.give(append(1))) << "there is room, but 30 records of the log are older";
  EXPECT_EQ(queue.groups(), 1u);
  EXPECT_EQ(take(queue), 10u);
  EXPECT_EQ(queue.groups(), 0u);
  for (const std::size_t records : {10u, 10u, 10u, 1u})
    EXPECT_EQ(take(queue), records);
  EXPECT_TRUE(queue.idle());
  EXPECT_EQ(take(queue), 0u);
  EXPECT_TRUE(queue.give(append(3)));
  EXPECT_EQ(queue.groups(), 1u) << "caught up: by memory again";
  EXPECT_EQ(take(queue), 3u);
  EXPECT_EQ(folded_, log_.end().value);
}

TEST_F(FoldQueueTest, AReaderOfTheLogStopsWhereItWasLeft) {
  FoldQueue queue(log_, {1, 100, 1u << 20, 1000});
  EXPECT_TRUE(queue.give(append(100)));
  EXPECT_TRUE(queue.give(append(5)));
  EXPECT_EQ(take(queue), 100u);
  LogSlice late = append(7);  // durable, and not given yet
  EXPECT_EQ(take(queue), 5u);
  EXPECT_TRUE(queue.give(std::move(late)));
  EXPECT_EQ(take(queue), 7u) << "once, not twice";
  EXPECT_EQ(folded_, 112u);
}

TEST_F(FoldQueueTest, ALagBeyondItsBoundHoldsTheWriter) {
  FoldQueue queue(log_, {1, 10, 1u << 20, 20});
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(queue.give(append(10)));
  auto held = std::async(std::launch::async, [&] { return queue.give(append(10)); });
  EXPECT_EQ(held.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_EQ(take(queue), 10u);
  EXPECT_TRUE(held.get());
  held = std::async(std::launch::async, [&] { return queue.give(append(10)); });
  EXPECT_EQ(held.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  queue.close();
  EXPECT_FALSE(held.get());
  EXPECT_TRUE(queue.closed());
}

TEST_F(FoldQueueTest, WithoutALagMemoryIsTheBound) {
  FoldQueue queue(log_, {1, 10, 1u << 20, 0});
  EXPECT_TRUE(queue.give(append(10)));
  auto held = std::async(std::launch::async, [&] { return queue.give(append(10)); });
  EXPECT_EQ(held.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  EXPECT_FALSE(queue.in_log());
  EXPECT_EQ(take(queue), 10u);
  EXPECT_TRUE(held.get());
}

TEST_F(FoldQueueTest, TheEndDoesNotWaitForTheLog) {
  FoldQueue queue(log_, {1, 10, 1u << 20, 1000});
  EXPECT_TRUE(queue.give(append(10)));
  EXPECT_TRUE(queue.give(append(10)));
  queue.close();
  EXPECT_FALSE(queue.closed()) << "what is in memory can be had";
  EXPECT_EQ(take(queue), 10u);
  EXPECT_TRUE(queue.closed()) << "the log is read again by who opens it next";
  EXPECT_FALSE(queue.give(append(1)));
}

TEST_F(FoldQueueTest, TwoThreadsLoseNothing) {
  constexpr std::uint64_t kGroups = 3000;
  for (const std::uint64_t lag : {0u, 1u, 100u, 100'000u}) {
    FoldQueue queue(log_, {2, 16, 1u << 20, lag});
    std::atomic<std::uint64_t> furthest{0};
    std::atomic<std::uint64_t> folded{folded_};
    std::thread writer([&] {
      Rng rng(lag, 0, Purpose::Test);
      for (std::uint64_t group = 0; group < kGroups; ++group) {
        LogSlice slice = append(1 + rng.below(12));
        const std::uint64_t before = slice.first.value - 1;
        ASSERT_TRUE(queue.give(std::move(slice)));
        furthest = std::max(furthest.load(), before - std::min(before, folded.load()));
      }
      queue.close();
    });
    Rng rng(lag, 1, Purpose::Test);
    while (const auto slice = must(queue.wait())) {
      admit(queue, *slice);
      folded = folded_;
      if (rng.below(50) == 0) std::this_thread::yield();
    }
    writer.join();
    while (take(queue) > 0) {
    }
    EXPECT_EQ(folded_, log_.end().value) << "lag " << lag;
    if (lag > 0) {
      EXPECT_LE(furthest, lag + 16);
    }
  }
}

}  // namespace
}  // namespace accrete::daemon
