// The producer against a real server on loopback: restarts, refusals, dead letters, CURVE.
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "ingest_fixture.h"
#include "stream/client.h"
#include "stream/socket.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

/// An ingest server on a thread of its own, until destroyed: as abrupt as a crash, except that the
/// sink lives on.
class ServerThread {
 public:
  ServerThread(const IngestOptions& options, MemorySink& sink) {
    auto opened = IngestServer::open(context_.get(), options, test_schema(), sink.layouts(), sink);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
    address_ = opened.value()->bound_address();
    thread_ = std::thread([this, server = std::move(opened).value()]() mutable {
      while (server->poll(milliseconds(10'000))) {
      }
      server.reset();
    });
  }
  ServerThread(const ServerThread&) = delete;
  ServerThread& operator=(const ServerThread&) = delete;
  ~ServerThread() {
    context_.shutdown();
    thread_.join();
  }
  const std::string& address() const { return address_; }
  void* context() const { return context_.get(); }

 private:
  Context context_;
  std::string address_;
  std::thread thread_;
};

class ProducerTest : public testing::Test {
 protected:
  void SetUp() override {
    ingest_.endpoint.address = "tcp://127.0.0.1:*";
    options_.source = "s";
    options_.batch_rows = 10;
    options_.reply_timeout = milliseconds(5'000);
    options_.give_up_after = milliseconds(60'000);
  }
  /// Start, or restart at the same address.
  void start() {
    server_.emplace(ingest_, sink_);
    ingest_.endpoint.address = options_.endpoint.address = server_->address();
  }
  std::unique_ptr<Producer> open() {
    auto opened = Producer::open(options_);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
    return opened ? std::move(opened).value() : nullptr;
  }
  static Status send(Producer& producer, std::uint64_t position,
                     const std::vector<std::string>& records) {
    const std::vector<std::string_view> views(records.begin(), records.end());
    return producer.send(position, views);
  }
  /// Positions 1 … `last` in the log, each once, each with its own row.
  void expect_positions(std::uint64_t last) {
    std::uint64_t expected = 0;
    for (const MemorySink::Entry& entry : sink_.log("s")) {
      EXPECT_EQ(entry.position, ++expected);
      EXPECT_EQ(entry.records.back(), row(static_cast<std::int64_t>(entry.position)));
    }
    EXPECT_EQ(expected, last);
  }

  IngestOptions ingest_;
  ProducerOptions options_;
  MemorySink sink_;
  std::optional<ServerThread> server_;
  const std::string layout_ = layout_record(orders_layout());
};

TEST_F(ProducerTest, EndToEndAndResume) {
  start();
  auto producer = open();
  for (std::uint64_t i = 1; i <= 95; ++i)
    ASSERT_TRUE(send(*producer, i, {layout_, row(static_cast<std::int64_t>(i))}));
  ASSERT_TRUE(producer->flush());
  EXPECT_EQ(producer->durable_position(), 95u);
  EXPECT_EQ(producer->counters().acknowledged, 95u);
  EXPECT_EQ(producer->counters().batches, 10u);
  const Status back = send(*producer, 95, {});
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().detail,
            "position 95 after position 95; the positions of a source must rise");
  ASSERT_TRUE(producer->close());
  EXPECT_FALSE(send(*producer, 96, {}));
  expect_positions(95);

  producer = open();
  EXPECT_EQ(producer->durable_position(), 95u);
  for (std::uint64_t i = 90; i <= 100; ++i)  // an overlap is dropped on our side
    ASSERT_TRUE(send(*producer, i, {layout_, row(static_cast<std::int64_t>(i))}));
  ASSERT_TRUE(producer->close());
  expect_positions(100);
}

TEST_F(ProducerTest, AdvanceLetsBatchesGrowWhileOneIsDue) {
  start();
  auto producer = open();
  EXPECT_TRUE(producer->idle());
  std::uint64_t position = 0;
  const auto send_some = [&](int count) {
    for (int i = 0; i < count; ++i, ++position)
      ASSERT_TRUE(send(*producer, position + 1, {layout_, row(static_cast<int>(position) + 1)}));
    ASSERT_TRUE(producer->advance());
  };
  {
    const auto held = sink_.hold();
    send_some(3);
    EXPECT_EQ(producer->counters().batches, 1u) << "nothing is due: at once";
    send_some(4);
    send_some(4);
    EXPECT_EQ(producer->counters().batches, 1u) << "one is due, and this is no full one";
    send_some(4);
    EXPECT_EQ(producer->counters().batches, 2u) << "a full one waits for nothing";
    EXPECT_FALSE(producer->idle());
    EXPECT_EQ(producer->durable_position(), 0u);
  }
  while (!producer->idle())
    ASSERT_TRUE(producer->advance());
  EXPECT_EQ(producer->durable_position(), 15u);
  EXPECT_EQ(producer->counters().batches, 3u);
  expect_positions(15);
}

TEST_F(ProducerTest, AdvanceFindsItsWayBackToADaemonThatDied) {
  start();
  auto producer = open();
  sink_.refuse(1, Errc::Unavailable);
  ASSERT_TRUE(send(*producer, 1, {layout_, row(1)}));
  while (!producer->idle())
    ASSERT_TRUE(producer->advance());
  EXPECT_EQ(producer->counters().reconnects, 1u);
  expect_positions(1);

  server_.reset();
  options_.reply_timeout = options_.give_up_after = milliseconds(200);
  start();
  auto hasty = open();
  server_.reset();
  ASSERT_TRUE(send(*hasty, 2, {layout_, row(2)}));
  Status given_up = Ok{};
  while (given_up)
    given_up = hasty->advance();
  EXPECT_EQ(given_up.error().code, Errc::Unavailable);
  start();
  ASSERT_TRUE(hasty->flush());
  expect_positions(2);
}

TEST_F(ProducerTest, LargeTransactionIsCutAndArrivesWhole) {
  ingest_.credit_bytes = 4096;
  start();
  auto producer = open();
  std::vector<std::string> records = {layout_};
  for (std::int64_t i = 0; i < 1000; ++i)
    records.push_back(row(i, orders_layout(), std::string(100, 'x')));
  ASSERT_TRUE(send(*producer, 7, records));
  ASSERT_TRUE(producer->flush());
  ASSERT_EQ(sink_.log("s").size(), 1u);
  EXPECT_EQ(sink_.log("s")[0].position, 7u);
  EXPECT_EQ(sink_.log("s")[0].records, records);
  EXPECT_GE(producer->counters().batches, 100u);
}

TEST_F(ProducerTest, ServerKilledInTheMiddle) {
  start();
  auto producer = open();
  constexpr std::uint64_t kLast = 3000;
  for (std::uint64_t i = 1; i <= kLast; ++i) {
    ASSERT_TRUE(send(*producer, i, {layout_, row(static_cast<std::int64_t>(i))}));
    // Killed with batches in flight; in between the producer gets back on its feet.
    if (i % 1000 == 0) {
      ASSERT_TRUE(producer->flush());
    }
    if (i % 1000 == 500) {
      server_.reset();
      start();
    }
  }
  ASSERT_TRUE(producer->flush());
  EXPECT_EQ(producer->durable_position(), kLast);
  EXPECT_GE(producer->counters().reconnects, 3u);
  expect_positions(kLast);
}

TEST_F(ProducerTest, RefusedCommitsAreRetriedUntilGivenUp) {
  start();
  auto producer = open();
  sink_.refuse(3, Errc::Unavailable);
  for (std::uint64_t i = 1; i <= 50; ++i)
    ASSERT_TRUE(send(*producer, i, {layout_, row(static_cast<std::int64_t>(i))}));
  ASSERT_TRUE(producer->flush());
  expect_positions(50);
  EXPECT_GE(producer->counters().reconnects, 3u);
  EXPECT_GT(producer->counters().resent, 0u);

  options_.give_up_after = milliseconds(200);
  auto hasty = open();
  sink_.refuse(1'000'000, Errc::Exhausted);
  ASSERT_TRUE(send(*hasty, 51, {layout_, row(51)}));
  const Status given_up = hasty->flush();
  ASSERT_FALSE(given_up);
  EXPECT_EQ(given_up.error().code, Errc::Exhausted);
  EXPECT_NE(given_up.error().detail.find("the log is full"), std::string::npos)
      << given_up.error().detail;
  sink_.refuse(0, Errc::Exhausted);
  ASSERT_TRUE(hasty->flush()) << "nothing was lost by giving up";
  expect_positions(51);
}

TEST_F(ProducerTest, DeadLettersAreTold) {
  start();
  auto producer = open();
  for (std::uint64_t i = 1; i <= 3; ++i)
    ASSERT_TRUE(send(*producer, i, {layout_, row(i == 2 ? -1 : static_cast<std::int64_t>(i))}));
  ASSERT_TRUE(producer->flush());
  const std::vector<std::string> faults = producer->take_faults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_NE(faults[0].find("position 2 was set aside"), std::string::npos) << faults[0];
  EXPECT_EQ(producer->counters().rejected, 1u);
  EXPECT_TRUE(producer->take_faults().empty());
  EXPECT_EQ(sink_.log("s").size(), 2u);
  EXPECT_EQ(sink_.dead("s").size(), 1u);
}

/// A layout that no table has is its own transaction's trouble, also when a session begins again.
TEST_F(ProducerTest, ABadLayoutTakesNoOtherTransactionWithIt) {
  start();
  const Layout bad{"no_such_table", {"id"}};
  const auto send_bad = [&](Producer& producer, std::uint64_t position) {
    return send(producer, position,
                {layout_record(bad), row(static_cast<std::int64_t>(position), bad, "x")});
  };
  auto producer = open();
  ASSERT_TRUE(send(*producer, 1, {layout_, row(1)}));
  ASSERT_TRUE(send_bad(*producer, 2));
  ASSERT_TRUE(send(*producer, 3, {layout_, row(3)}));
  ASSERT_TRUE(producer->flush());
  server_.reset();
  start();  // everything is said anew
  ASSERT_TRUE(send(*producer, 4, {layout_, row(4)}));
  ASSERT_TRUE(producer->close());
  producer = open();
  ASSERT_TRUE(send_bad(*producer, 2)) << "durable already";
  ASSERT_TRUE(send(*producer, 5, {layout_, row(5)}));
  ASSERT_TRUE(producer->close());
  std::vector<std::uint64_t> logged;
  for (const MemorySink::Entry& entry : sink_.log("s"))
    logged.push_back(entry.position);
  EXPECT_EQ(logged, (std::vector<std::uint64_t>{1, 3, 4, 5}));
  EXPECT_EQ(sink_.dead("s").size(), 1u);
}

/// A transaction that brings a layout and does not fit behind others in a batch.
TEST_F(ProducerTest, ALayoutIsNotLostWhereItsFirstRowDoesNotFit) {
  options_.batch_rows = 100;
  options_.batch_bytes = 2000;
  start();
  auto producer = open();
  const std::string large(3000, 'x');
  ASSERT_TRUE(send(*producer, 1, {layout_, row(1)}));
  ASSERT_TRUE(producer->flush());
  ASSERT_TRUE(send(*producer, 2, {layout_, row(2)}));
  ASSERT_TRUE(send(*producer, 3, {layout_record(items_layout()), row(3, items_layout(), large)}));
  ASSERT_TRUE(producer->close());
  EXPECT_TRUE(sink_.dead("s").empty());
  EXPECT_EQ(sink_.log("s").size(), 3u);
}

TEST_F(ProducerTest, SilenceAndBadOptions) {
  options_.endpoint.address = "tcp://127.0.0.1:1";
  options_.give_up_after = milliseconds(100);
  const auto silent = Producer::open(options_);
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, Errc::Unavailable);
  EXPECT_NE(silent.error().detail.find("tcp://127.0.0.1:1: gave up"), std::string::npos);
  options_.source.clear();
  const auto nameless = Producer::open(options_);
  ASSERT_FALSE(nameless);
  EXPECT_EQ(nameless.error().code, Errc::Malformed);
  ingest_.open_bytes_max = 1;
  Context context;
  const auto server =
      IngestServer::open(context.get(), ingest_, test_schema(), sink_.layouts(), sink_);
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Errc::Malformed);
}

TEST_F(ProducerTest, GarbageOnTheSocketIsAnswered) {
  start();
  Context context;
  auto socket = Socket::connect(context.get(), SocketKind::Dealer, options_.endpoint);
  ASSERT_TRUE(socket);
  const std::vector<std::string_view> two = {"one", "two"};
  ASSERT_TRUE(socket.value().send(two));
  ASSERT_TRUE(socket.value().send("garbage"));
  std::vector<Frame> frames;
  for (const char* fault : {"a message of 2 frames", "not a ToIngest message"}) {
    Waiting item{&socket.value()};
    ASSERT_TRUE(wait({&item, 1}, milliseconds(10'000)));
    ASSERT_TRUE(item.readable);
    ASSERT_TRUE(socket.value().receive(frames));
    wire::FromIngest message;
    ASSERT_TRUE(message.ParseFromString(std::string(frames[0].view())));
    EXPECT_EQ(message.fault().detail().find(fault), 0u) << message.fault().detail();
  }
}

TEST_F(ProducerTest, CurveLetsInWhoItShould) {
  const CurveKeys server_keys = make_keys().value();
  const CurveKeys friend_keys = make_keys().value();
  const CurveKeys stranger_keys = make_keys().value();
  const auto as = [&](const CurveKeys& keys, const std::string& server_key) {
    ProducerOptions options = options_;
    options.endpoint.curve = keys;
    options.endpoint.curve.server_key = server_key;
    options.give_up_after = milliseconds(300);
    return Producer::open(options);
  };
  for (const bool listed : {false, true}) {
    ingest_.endpoint.curve = server_keys;
    if (listed) ingest_.endpoint.curve.allowed = {friend_keys.public_key};
    start();
    auto producer = as(friend_keys, server_keys.public_key);
    ASSERT_TRUE(producer) << producer.error().detail;
    EXPECT_EQ(as(stranger_keys, server_keys.public_key).has_value(), !listed);
    EXPECT_FALSE(as(friend_keys, stranger_keys.public_key)) << "not the daemon we trust";
    EXPECT_FALSE(Producer::open([&] {
      ProducerOptions plain = options_;
      plain.give_up_after = milliseconds(300);
      return plain;
    }()))
        << "no keys at all";
    const std::uint64_t position = listed ? 2 : 1;
    ASSERT_TRUE(send(*producer.value(), position, {layout_, row(static_cast<int>(position))}));
    ASSERT_TRUE(producer.value()->close());
    server_.reset();
  }
  expect_positions(2);
}

}  // namespace
}  // namespace accrete::stream
