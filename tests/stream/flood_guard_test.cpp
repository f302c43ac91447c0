// Connections that send without end are cut off; those that are only fast, or have sent much that
// was taken, are not.
#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream/socket.h"

namespace accrete::stream {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t kBound = 1u << 20;

EndpointOptions guarded() {
  EndpointOptions options;
  options.address = "tcp://127.0.0.1:*";
  options.untaken_bytes_max = kBound;
  return options;
}

/// A TCP peer that speaks just enough ZMTP to be a DEALER.
class RawPeer {
 public:
  explicit RawPeer(const std::string& address) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const std::string port = address.substr(address.rfind(':') + 1);
    to.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(port.c_str(), nullptr, 10)));
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    std::string greeting = "\xff" + std::string(8, '\0') + "\x7f\x03" + std::string(1, '\0') +
                           "NULL" + std::string(16 + 32, '\0');
    const std::string ready =
        "\x05READY\x0bSocket-Type" + std::string(3, '\0') + std::string("\x06") + "DEALER";
    greeting += "\x04" + std::string(1, static_cast<char>(ready.size())) + ready;
    EXPECT_TRUE(send(greeting));
    // Until the other side's READY has come.
    std::string heard;
    std::array<char, 512> part{};
    while (heard.find("Socket-Type") == std::string::npos) {
      const ssize_t got = ::recv(socket_, part.data(), part.size(), 0);
      if (got <= 0) break;
      heard.append(part.data(), static_cast<std::size_t>(got));
    }
    EXPECT_NE(heard.find("Socket-Type"), std::string::npos);
  }
  ~RawPeer() {
    if (socket_ >= 0) ::close(socket_);
  }
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;

  /// As the kernel does for who is killed: no goodbye.
  void die() {
    const linger at_once{1, 0};
    EXPECT_EQ(::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    ::close(std::exchange(socket_, -1));
  }

  /// What the other side takes until it has no more room.
  std::size_t fill(const std::string& bytes) const {
    std::size_t all = 0;
    pollfd ready{socket_, POLLOUT, 0};
    while (::poll(&ready, 1, 300) > 0) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) break;
      all += static_cast<std::size_t>(sent);
    }
    return all;
  }

  /// False once the connection has ended.
  bool send(const std::string& bytes) const {
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t sent = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      at += static_cast<std::size_t>(sent);
    }
    return true;
  }

 private:
  int socket_;
};

std::string frame(std::size_t size, bool more) {
  return std::string(1, more ? '\x01' : '\x00') + std::string(1, static_cast<char>(size)) +
         std::string(size, 'x');
}

/// `frame` many times.
std::string block(const std::string& one) {
  std::string out;
  while (out.size() < 16'384)
    out += one;
  return out;
}

TEST(FloodGuard, EndsAMessageThatNeverEnds) {
  Context context;
  auto server = Socket::bind(context.get(), SocketKind::Router, guarded());
  ASSERT_TRUE(server) << server.error().detail;
  for (const std::size_t size : {0u, 100u}) {
    const RawPeer peer(server.value().bound_address());
    const std::string part = block(frame(size, true));
    std::size_t sent = 0;
    while (sent < (1u << 30) && peer.send(part))
      sent += part.size();
    EXPECT_GE(sent + part.size(), kBound);
    EXPECT_LT(sent, 1u << 30) << "it was never ended";
    std::vector<Frame> message;
    const auto received = server.value().receive(message);
    EXPECT_TRUE(received && !received.value()) << "nothing of it is given to us";
  }
}

TEST(FloodGuard, LetsThoseBeWhoseMessagesAreTaken) {
  Context context;
  auto server = Socket::bind(context.get(), SocketKind::Router, guarded());
  ASSERT_TRUE(server);
  const RawPeer peer(server.value().bound_address());
  const std::string messages = block(frame(0, true) + frame(200, false));
  std::size_t sent = 0;
  std::size_t taken = 0;
  std::vector<Frame> message;
  const Instant until = now() + 1s;
  std::array<Waiting, 1> items{};
  items[0].socket = &server.value();
  while (now() < until || sent < 20 * kBound) {
    ASSERT_TRUE(peer.send(messages)) << "after " << sent << " bytes";
    sent += messages.size();
    while (taken < sent) {
      ASSERT_TRUE(wait(items, 10s));
      auto received = server.value().receive(message);
      ASSERT_TRUE(received);
      if (received.value()) taken += 2 + 202;
    }
  }
  EXPECT_GE(sent, 20 * kBound);
}

TEST(FloodGuard, EndsWhoSendsMoreThanItMayWhileNobodyReads) {
  EndpointOptions options = guarded();
  options.high_water_mark = 100'000'000;
  Context context;
  auto server = Socket::bind(context.get(), SocketKind::Router, options);
  ASSERT_TRUE(server);
  const RawPeer peer(server.value().bound_address());
  const std::string messages = block(frame(200, false));
  std::size_t sent = 0;
  while (sent < (1u << 30) && peer.send(messages))
    sent += messages.size();
  EXPECT_LT(sent, 1u << 30);
}

/// ZeroMQ 4.3.4 ends the process where heartbeats are due to a peer that died while its messages
/// waited for room.
TEST(Sockets, OutliveAPeerThatDiesWhileItsMessagesWait) {
  EndpointOptions options;
  options.address = "tcp://127.0.0.1:*";
  options.high_water_mark = 10;
  options.probe_ms = 100;
  Context context;
  auto server = Socket::bind(context.get(), SocketKind::Router, options);
  ASSERT_TRUE(server);
  RawPeer peer(server.value().bound_address());
  EXPECT_GT(peer.fill(block(frame(200, false))), 100'000U);
  peer.die();
  std::array<Waiting, 1> nobody{};
  auto other = Socket::bind(context.get(), SocketKind::Router, options);
  ASSERT_TRUE(other);
  nobody[0].socket = &other.value();
  ASSERT_TRUE(wait(nobody, 1s));  // ten heartbeats would be due
  std::vector<Frame> message;
  std::size_t taken = 0;
  std::array<Waiting, 1> items{};
  items[0].socket = &server.value();
  for (auto more = wait(items, 300ms); more && more.value(); more = wait(items, 300ms)) {
    const auto received = server.value().receive(message);
    ASSERT_TRUE(received);
    if (!received.value()) break;
    ++taken;
  }
  EXPECT_GT(taken, 10U);
}

}  // namespace
}  // namespace accrete::stream
