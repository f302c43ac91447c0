// The allow-list of a socket that lives: keys come and go while clients knock.
#include "stream/zap.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "stream/endpoint.h"
#include "stream/socket.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

/// A ROUTER with CURVE and an allow-list, and clients in a context of their own.
class Zap : public testing::Test {
 protected:
  void open(const std::vector<std::string>& allowed) {
    EndpointOptions options;
    options.address = "tcp://127.0.0.1:*";
    options.curve = server_keys_;
    options.curve.allowed = allowed;
    auto bound = Socket::bind(context_.get(), SocketKind::Router, options);
    ASSERT_TRUE(bound) << bound.error().detail;
    router_.emplace(std::move(bound).value());
  }

  Socket client(const CurveKeys& keys) {
    EndpointOptions options;
    options.address = router_->bound_address();
    options.curve = keys;
    options.curve.server_key = server_keys_.public_key;
    auto socket = Socket::connect(clients_.get(), SocketKind::Dealer, options);
    EXPECT_TRUE(socket) << socket.error().detail;
    return std::move(socket).value();
  }

  /// Does a message of this socket arrive? A no takes the whole of `patience`.
  bool heard(Socket& socket, milliseconds patience) {
    const std::string text = "message " + std::to_string(++messages_);
    if (!socket.send(text)) return false;
    std::vector<Frame> frames;
    Waiting item{&*router_};
    while (wait({&item, 1}, patience).value() && item.readable) {
      if (router_->receive(frames).value() && frames.back().view() == text) return true;
    }
    return false;
  }
  bool may_in(const CurveKeys& keys, milliseconds patience) {
    Socket socket = client(keys);
    return heard(socket, patience);
  }

  static constexpr milliseconds kYes{20'000};
  static constexpr milliseconds kNo{300};
  const CurveKeys server_keys_ = make_keys().value();
  const CurveKeys ann_ = make_keys().value();
  const CurveKeys bob_ = make_keys().value();
  Context context_;
  Context clients_;
  std::optional<Socket> router_;
  int messages_ = 0;
};

TEST_F(Zap, AReplacedListHoldsFromTheNextHandshakeOn) {
  open({ann_.public_key});
  Socket connected = client(ann_);
  EXPECT_TRUE(heard(connected, kYes));
  EXPECT_FALSE(may_in(bob_, kNo));

  ASSERT_TRUE(ZapGate::replace(context_.get(), {bob_.public_key}));
  EXPECT_TRUE(may_in(bob_, kYes));
  EXPECT_FALSE(may_in(ann_, kNo));
  EXPECT_TRUE(heard(connected, kYes)) << "whoever is in stays in";

  ASSERT_TRUE(ZapGate::replace(context_.get(), {ann_.public_key, bob_.public_key}));
  EXPECT_TRUE(may_in(ann_, kYes));
  EXPECT_TRUE(may_in(bob_, kYes));
}

TEST_F(Zap, ABadListChangesNothing) {
  open({ann_.public_key});
  const Status bad = ZapGate::replace(context_.get(), {bob_.public_key, "short"});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, Errc::Malformed);
  EXPECT_NE(bad.error().detail.find("\"short\""), std::string::npos);
  EXPECT_TRUE(may_in(ann_, kYes));
  EXPECT_FALSE(may_in(bob_, kNo));
}

TEST_F(Zap, WhereNobodyHasAListThereIsNoneToReplace) {
  open({});
  const Status none = ZapGate::replace(context_.get(), {bob_.public_key});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::NotFound);
  EXPECT_TRUE(may_in(ann_, kYes)) << "the server key alone opens";
  router_.reset();
  open({ann_.public_key});
  EXPECT_TRUE(ZapGate::replace(context_.get(), {bob_.public_key}));
  router_.reset();
  EXPECT_FALSE(ZapGate::replace(context_.get(), {bob_.public_key})) << "it went with its socket";
}

TEST_F(Zap, ListsAreReplacedWhileClientsKnock) {
  open({ann_.public_key});
  std::atomic<bool> stop{false};
  std::atomic<int> replaced{0};
  std::thread replacer([&] {
    while (!stop) {
      // Ann is on every list, Bob on every second one.
      ASSERT_TRUE(ZapGate::replace(context_.get(), {ann_.public_key, bob_.public_key}));
      ASSERT_TRUE(ZapGate::replace(context_.get(), {ann_.public_key}));
      ++replaced;
    }
  });
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(may_in(ann_, kYes)) << i;
  stop = true;
  replacer.join();
  EXPECT_GT(replaced, 0);
  EXPECT_FALSE(may_in(bob_, kNo)) << "the last list holds";
}

}  // namespace
}  // namespace accrete::stream
