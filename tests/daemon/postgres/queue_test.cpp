// Transactions between the stream's thread and the sender's: bounds, and when the sender is woken.
#include <chrono>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "daemon/postgres/follower.h"

namespace accrete::daemon::postgres {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{60'000};  // no test waits for so long unless it fails
constexpr std::size_t kBytesMax = 100;

SourceTransaction transaction(std::uint64_t position, std::size_t bytes = 1) {
  SourceTransaction out;
  out.position = position;
  out.bytes = std::string(bytes, 'x');
  return out;
}

TEST(TransactionQueue, GivesWhatIsThereWhenTheTimeIsUp) {
  TransactionQueue queue(kBytesMax);
  EXPECT_TRUE(queue.take(milliseconds(0), 1).empty());
  queue.put(transaction(1));
  queue.put(transaction(2));
  const auto taken = queue.take(milliseconds(1), 3);
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].position, 1u);
  EXPECT_EQ(taken[1].position, 2u);
  EXPECT_TRUE(queue.take(milliseconds(0), 1).empty());
}

TEST(TransactionQueue, WaitsNoLongerThanForTheWantedOrForRoom) {
  TransactionQueue queue(kBytesMax);
  for (std::uint64_t position = 1; position <= 3; ++position)
    queue.put(transaction(position));
  EXPECT_EQ(queue.take(kLong, 2).size(), 3u);
  queue.put(transaction(4, kBytesMax - 1));
  EXPECT_TRUE(queue.has_room());
  queue.put(transaction(5));
  EXPECT_FALSE(queue.has_room());
  EXPECT_EQ(queue.take(kLong, 1'000).size(), 2u) << "one who fills it waits for us";
  EXPECT_TRUE(queue.has_room());
}

TEST(TransactionQueue, WakesOneWhoWaits) {
  TransactionQueue queue(kBytesMax);
  for (const std::size_t wanted : {1u, 2u}) {
    std::jthread putter([&] {
      for (std::uint64_t position = 1; position <= 2; ++position)
        queue.put(transaction(position));
    });
    EXPECT_GE(queue.take(kLong, wanted).size(), wanted);
    putter.join();
    queue.clear();
  }
  std::jthread putter([&] { queue.put(transaction(1, 2 * kBytesMax)); });
  EXPECT_EQ(queue.take(kLong, 1'000).size(), 1u);
}

}  // namespace
}  // namespace accrete::daemon::postgres
