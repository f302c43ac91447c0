// The timeline, and rows that are dated far ahead of all others: they make nobody late.
#include "daemon/timeline.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

/// Times in days, as they come; each a transaction of its own.
class Rows {
 public:
  explicit Rows(std::int64_t ahead_max_us = 10 * kDayUs) : timeline(0, ahead_max_us) {}
  void add(double days) {
    const TimeUs time = day(days);
    timeline.saw(time);
    timeline.push({time, Ordinal{++count}});
    timeline.advance();
  }
  /// How many are ripe now.
  std::size_t ripe() {
    std::size_t rows = 0;
    for (; timeline.next() != nullptr; timeline.pop())
      ++rows;
    return rows;
  }
  Timeline timeline;
  std::uint64_t count = 0;
};

TEST(Timeline, ARowFarAheadWaitsAsideAndMovesNothing) {
  Rows rows;
  rows.add(0);
  rows.add(1);
  rows.add(5000);
  EXPECT_EQ(rows.timeline.watermark(), day(1));
  EXPECT_EQ(rows.timeline.ahead(), 1u);
  EXPECT_EQ(rows.timeline.earliest_ahead(), day(5000));
  EXPECT_EQ(rows.ripe(), 2u);
  EXPECT_EQ(rows.timeline.waiting(), 1u);
  rows.add(11);  // ten days further is near
  EXPECT_EQ(rows.timeline.watermark(), day(11));
  EXPECT_EQ(rows.ripe(), 1u);
}

TEST(Timeline, WithoutABoundEveryRowIsBelieved) {
  Rows rows(0);
  for (const double at : {0.0, 1.0, 100'000.0})
    rows.add(at);
  EXPECT_EQ(rows.timeline.ahead(), 0u);
  EXPECT_EQ(rows.timeline.watermark(), day(100'000));
  EXPECT_EQ(rows.ripe(), 3u);
}

TEST(Timeline, RowsThatOthersReachTakeTheirPlacesInOrder) {
  Rows rows;
  rows.add(0);
  rows.add(20);  // aside
  rows.add(29);  // aside
  rows.add(200);
  rows.add(9);
  EXPECT_EQ(rows.timeline.ahead(), 3u);
  rows.add(12);  // brings 20 near, which brings 29 near
  EXPECT_EQ(rows.timeline.ahead(), 1u);
  EXPECT_EQ(rows.timeline.watermark(), day(29));
  std::vector<TimeUs> order;
  for (; rows.timeline.next() != nullptr; rows.timeline.pop())
    order.push_back(rows.timeline.next()->time);
  EXPECT_EQ(order, (std::vector<TimeUs>{day(0), day(9), day(12), day(20), day(29)}));
}

TEST(Timeline, ManyDifferentTimesAheadAreTheStreamManyRowsOfOneTimeAreNot) {
  Rows rows;
  rows.add(0);
  for (int i = 0; i < 1000; ++i)
    rows.add(8000);  // "never" of some source
  EXPECT_EQ(rows.timeline.ahead(), 1000u);
  // The stream was silent for a year, and goes on.
  for (std::size_t i = 1; i + 1 < Timeline::kAheadTimes; ++i)
    rows.add(365 + static_cast<double>(i));
  EXPECT_EQ(rows.timeline.watermark(), day(0));
  rows.add(365.5);
  EXPECT_EQ(rows.timeline.watermark(), day(365 + Timeline::kAheadTimes - 2));
  EXPECT_EQ(rows.timeline.ahead(), 1000u);
  EXPECT_EQ(rows.ripe(), Timeline::kAheadTimes);
}

TEST(Timeline, AClockMarkIsBelieved) {
  Rows rows;
  rows.add(0);
  rows.add(400);
  rows.timeline.clock(day(395));
  rows.timeline.advance();
  EXPECT_EQ(rows.timeline.ahead(), 0u);
  EXPECT_EQ(rows.timeline.watermark(), day(400));
}

TEST(Timeline, StateKeepsWhatWaitsAside) {
  Rows rows;
  for (const double at : {0.0, 3.0, 500.0, 500.0, 700.0})
    rows.add(at);
  ASSERT_EQ(rows.ripe(), 2u);
  std::string bytes;
  rows.timeline.save(bytes);
  Rows fresh;
  const auto from = fresh.timeline.load(bytes);
  ASSERT_TRUE(from);
  EXPECT_EQ(from.value(), Ordinal{}) << "nothing to look for in the log";
  EXPECT_EQ(fresh.timeline.ahead(), 3u);
  std::string again;
  fresh.timeline.save(again);
  EXPECT_EQ(again, bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Timeline(0, kDayUs).load(bytes.substr(0, size))) << size;
}

/// The shop with orders that are dated far ahead among the others.
std::vector<Transaction> with_rows_ahead(std::vector<Transaction> stream, std::size_t every,
                                         TimeUs at) {
  std::vector<Transaction> out;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    out.push_back(stream[i]);
    if (i == 0 || i % every != 0) continue;
    const auto id = static_cast<std::int64_t>(1'000'000 + i);
    out.push_back({0, {order(id, static_cast<std::int64_t>(i % 30), 7, at)}});
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i].position = i + 1;
  return out;
}

TEST(Fold, RowsDatedFarAheadMakeNobodyLate) {
  const Config config = shop_config();
  const auto stream = shop(11, 300, false);
  World plain(config);
  plain.feed(stream);
  for (const TimeUs at : {day(50 * 365), TimeUs{253'402'214'400 * kSecondUs}}) {  // 9999-12-31
    World world(config);
    world.feed(with_rows_ahead(stream, 20, at));
    EXPECT_EQ(world.fold().counters().late_rows, 0u);
    EXPECT_EQ(world.fold().timeline().ahead(), 15u);
    EXPECT_EQ(world.sink->labels, plain.sink->labels);
    ASSERT_EQ(world.sink->payloads.size(), plain.sink->payloads.size());
  }
}

TEST(Fold, RowsDatedFarAheadSurviveCrashesAndComeInTheirTime) {
  const Config config = shop_config();
  std::vector<Transaction> stream = with_rows_ahead(shop(12, 250), 10, day(90));
  // Months later the source goes on, where these rows said it would.
  for (int i = 0; i < 60; ++i)
    stream.push_back(
        {stream.size() + 1, {order(2'000'000 + i, i % 30, 3, shift(day(90), i * kDayUs / 4))}});
  FoldOptions options;
  options.checkpoint_records_min = 37;
  options.ahead_max_us = 20 * kDayUs;
  World world(config, options);
  world.feed(stream);
  EXPECT_EQ(world.fold().timeline().ahead(), 0u);
  EXPECT_GT(world.fold().timeline().watermark(), day(89));
  const std::string expected = world.stored_digest();
  for (std::uint64_t seed = 0; seed < 3; ++seed)
    EXPECT_EQ(digest_after_crashes(config, stream, options, seed), expected) << "seed " << seed;
}

}  // namespace
}  // namespace accrete::daemon
