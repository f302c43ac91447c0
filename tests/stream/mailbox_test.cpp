// The channel between threads: order, bounds, its descriptor, and its end.
#include "stream/mailbox.h"

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>

namespace accrete::stream {
namespace {

bool readable(int fd) {
  pollfd item{fd, POLLIN, 0};
  return ::poll(&item, 1, 0) == 1;
}

TEST(Mailbox, DescriptorIsReadableWhileThereIsMail) {
  Mailbox<int> box(2);
  EXPECT_FALSE(readable(box.fd()));
  EXPECT_FALSE(box.try_receive());
  EXPECT_TRUE(box.send(1));
  int two = 2;
  EXPECT_TRUE(box.try_send(two));
  int three = 3;
  EXPECT_FALSE(box.try_send(three)) << "full";
  EXPECT_EQ(box.size(), 2u);
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.try_receive(), 1);
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.receive(), 2);
  EXPECT_FALSE(readable(box.fd()));
  box.close();
  EXPECT_TRUE(readable(box.fd())) << "who polls must learn of the end";
  EXPECT_TRUE(box.closed());
  EXPECT_FALSE(box.send(4));
  EXPECT_EQ(box.receive(), std::nullopt);
}

TEST(Mailbox, MessagesThatJoinTakeNoPlace) {
  Mailbox<int> box(1);
  const auto sums_to_nine = [](int& last, int& next) {
    if (last + next > 9) return false;
    last += next;
    return true;
  };
  EXPECT_TRUE(box.send(4, sums_to_nine));
  EXPECT_TRUE(box.send(3, sums_to_nine)) << "full, but it joins";
  EXPECT_EQ(box.size(), 1u);
  std::thread sender([&] { EXPECT_TRUE(box.send(3, sums_to_nine)) << "waits for room"; });
  EXPECT_EQ(box.receive(), 7);
  EXPECT_EQ(box.receive(), 3);
  sender.join();
  int one = 1;
  EXPECT_TRUE(box.try_send(one, sums_to_nine));
  int nine = 9;
  EXPECT_FALSE(box.try_send(nine, sums_to_nine)) << "full, and it does not join";
  box.close();
  EXPECT_FALSE(box.send(1, sums_to_nine)) << "closed";
  EXPECT_EQ(box.receive(), 1);
}

TEST(Mailbox, ClosedMailIsStillReceived) {
  Mailbox<std::unique_ptr<int>> box(4);
  EXPECT_TRUE(box.send(std::make_unique<int>(7)));
  box.close();
  auto refused = std::make_unique<int>(8);
  EXPECT_FALSE(box.try_send(refused));
  EXPECT_TRUE(refused) << "untouched";
  EXPECT_FALSE(box.closed()) << "not drained yet";
  const auto mail = box.receive();
  ASSERT_TRUE(mail);
  EXPECT_EQ(**mail, 7);
  EXPECT_TRUE(box.closed());
}

TEST(Mailbox, FullBlocksSendersAndLosesNothing) {
  constexpr int kEach = 5000;
  constexpr int kSenders = 3;
  Mailbox<int> box(4);
  std::vector<std::thread> senders;
  for (int s = 0; s < kSenders; ++s)
    senders.emplace_back([&box, s] {
      for (int i = 0; i < kEach; ++i)
        ASSERT_TRUE(box.send(s * kEach + i));
    });
  std::vector<int> next(kSenders, 0);
  for (int received = 0; received < kSenders * kEach; ++received) {
    const auto mail = box.receive();
    ASSERT_TRUE(mail);
    EXPECT_LE(box.size(), 4u);
    const auto sender = static_cast<std::size_t>(*mail / kEach);
    EXPECT_EQ(*mail % kEach, next[sender]++) << "each sender's mail keeps its order";
  }
  for (std::thread& sender : senders)
    sender.join();
}

TEST(Mailbox, CloseWakesEveryone) {
  Mailbox<int> full(1);
  ASSERT_TRUE(full.send(0));
  Mailbox<int> empty(1);
  std::atomic<int> woken{0};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] { woken += full.send(1) ? 0 : 1; });
    waiting.emplace_back([&] { woken += empty.receive() ? 0 : 1; });
  }
  full.close();
  empty.close();
  for (std::thread& thread : waiting)
    thread.join();
  EXPECT_EQ(woken, 6);
}

}  // namespace
}  // namespace accrete::stream
