// Looking at what the kernel has received and what we have.
#include "stream/flood_guard.h"

#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "stream/socket.h"

namespace accrete::stream {
namespace {

constexpr int kLookMs = 25;  // at 10 Gbit/s a peer gets 31 MB further than it may
// Beside its bytes, what a frame has on the wire at most: lengths, and with CURVE nonce and code.
constexpr std::int64_t kFrameOverhead = 64;
// Heartbeats are no messages: with CURVE about 25 bytes a second.
constexpr std::int64_t kForgivenBytes = 64;
constexpr int kForgivenEveryMs = 1000;

/// Bytes that came in so far; nothing for what is no TCP connection (any more).
std::optional<std::int64_t> received_bytes(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return static_cast<std::int64_t>(info.tcpi_bytes_received);
}

std::optional<sockaddr_storage> peer_of(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0)
    return std::nullopt;
  return peer;
}

bool same(const sockaddr_storage& a, const sockaddr_storage& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;  // both were zeroed before
}

struct Event {
  std::uint16_t what = 0;
  int descriptor = -1;
};

/// One event of a monitored socket: [number, value][address]. False when none waits.
bool receive_event(void* socket, Event& event) {
  zmq_msg_t message;
  bool more = true;
  for (int part = 0; more; ++part) {
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, socket, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&message);
      return false;
    }
    if (part == 0 && zmq_msg_size(&message) == sizeof(std::uint16_t) + sizeof(std::int32_t)) {
      const char* const data = static_cast<const char*>(zmq_msg_data(&message));
      std::memcpy(&event.what, data, sizeof event.what);
      std::memcpy(&event.descriptor, data + sizeof event.what, sizeof(std::int32_t));
    }
    more = zmq_msg_more(&message) != 0;
    zmq_msg_close(&message);
  }
  return true;
}

std::string fresh_address() {
  static std::atomic<std::uint64_t> next{1};
  return "inproc://accrete-flood-guard-" + std::to_string(next++);
}

}  // namespace

Result<std::unique_ptr<FloodGuard>> FloodGuard::open(void* zmq_context, void* socket,
                                                     std::size_t bytes_max) {
  const std::string address = fresh_address();
  const int events = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED;
  void* const pair = zmq_socket(zmq_context, ZMQ_PAIR);
  const int linger_ms = 0;
  const int unbounded = 0;  // an event that is lost would be a connection that is not watched
  if (pair == nullptr || zmq_setsockopt(pair, ZMQ_LINGER, &linger_ms, sizeof linger_ms) != 0 ||
      zmq_setsockopt(pair, ZMQ_RCVHWM, &unbounded, sizeof unbounded) != 0 ||
      zmq_socket_monitor(socket, address.c_str(), events) != 0 ||
      zmq_connect(pair, address.c_str()) != 0) {
    const std::string cause = zmq_strerror(zmq_errno());
    if (pair != nullptr) zmq_close(pair);
    return Error{Errc::Unavailable, "cannot watch the connections of a socket: " + cause};
  }
  const int stop_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  ACCRETE_CHECK(stop_fd >= 0);
  return std::unique_ptr<FloodGuard>(new FloodGuard(pair, stop_fd, bytes_max));
}

FloodGuard::FloodGuard(void* events, int stop_fd, std::size_t bytes_max)
    : events_(events),
      stop_fd_(stop_fd),
      bytes_max_(static_cast<std::int64_t>(bytes_max)),
      thread_([this] { run(); }) {}

FloodGuard::~FloodGuard() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(stop_fd_, &one, sizeof one);
  thread_.join();
  ::close(stop_fd_);
}

void FloodGuard::took(int descriptor, std::size_t frames, std::size_t bytes) {
  if (descriptor < 0) return;
  const std::lock_guard lock(mutex_);
  taken_[descriptor] +=
      static_cast<std::int64_t>(bytes) + kFrameOverhead * static_cast<std::int64_t>(frames);
}

void FloodGuard::run() {
  std::array<zmq_pollitem_t, 2> items{};
  items[0] = {events_, 0, ZMQ_POLLIN, 0};
  items[1] = {nullptr, stop_fd_, ZMQ_POLLIN, 0};
  Instant looked = now();
  Instant forgave = looked;
  // A closed context ends the thread as well: its connections end with it.
  while (zmq_poll(items.data(), 2, connections_.empty() ? -1 : kLookMs) >= 0 ||
         zmq_errno() == EINTR) {
    if ((items[1].revents & ZMQ_POLLIN) != 0) break;
    if ((items[0].revents & ZMQ_POLLIN) != 0) hear();
    const Instant at = now();
    if (at - looked < std::chrono::milliseconds(kLookMs)) continue;
    looked = at;
    const bool forgives = at - forgave >= std::chrono::milliseconds(kForgivenEveryMs);
    if (forgives) forgave = at;
    look(forgives ? kForgivenBytes : 0);
  }
  zmq_close(events_);
}

void FloodGuard::hear() {
  Event event;
  while (receive_event(events_, event)) {
    if (event.what == ZMQ_EVENT_ACCEPTED) {
      const auto peer = peer_of(event.descriptor);
      if (peer && received_bytes(event.descriptor)) connections_[event.descriptor] = {*peer, 0};
    } else {
      connections_.erase(event.descriptor);
      const std::lock_guard lock(mutex_);
      taken_.erase(event.descriptor);
    }
  }
}

void FloodGuard::look(std::int64_t forgive) {
  for (auto& [descriptor, connection] : connections_) {
    const auto received = received_bytes(descriptor);
    if (!received) continue;
    std::int64_t taken = 0;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = taken_.find(descriptor); found != taken_.end()) taken = found->second;
    }
    connection.forgiven += forgive;
    const std::int64_t beyond = *received - taken - connection.forgiven;
    // What was taken is counted generously; that must not add up to a credit.
    if (beyond < 0) connection.forgiven += beyond;
    if (beyond <= bytes_max_) continue;
    // The descriptor is ZeroMQ's and may by now be another connection's.
    const auto peer = peer_of(descriptor);
    if (!peer || !same(*peer, connection.peer)) continue;
    // Reset when ZeroMQ closes it: a peer that waits for room would else hear of it a minute later.
    const linger at_once{1, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::shutdown(descriptor, SHUT_RDWR);
  }
}

}  // namespace accrete::stream
