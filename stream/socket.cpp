// ZeroMQ sockets: options, security, errors.
#include "stream/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <zmq.h>

#include "stream/flood_guard.h"
#include "stream/zap.h"

namespace accrete::stream {
namespace {

// Reconnects are local and cheap: try soon, but do not hammer a daemon that is restoring.
constexpr int kReconnectMs = 50;
constexpr int kReconnectMaxMs = 2000;
// A peer that connects and then says nothing holds a descriptor for so long at most.
constexpr int kHandshakeMs = 10'000;
constexpr std::size_t kWaitingMax = 8;

zmq_msg_t* message_of(Frame& frame) {
  return static_cast<zmq_msg_t*>(frame.raw());
}

Error zmq_error(const std::string& what) {
  const int number = zmq_errno();
  const std::string detail = what + ": " + zmq_strerror(number);
  switch (number) {
    case ETERM:
      return {Errc::Unavailable, what + ": context closed"};
    case EAGAIN:
      return {Errc::Exhausted, what + ": the peer's queue is full"};
    case EHOSTUNREACH:
      return {Errc::NotFound, what + ": the peer is gone"};
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return {Errc::Exhausted, detail + "; raise the limit of open files"};
    case EADDRINUSE:
      return {Errc::Unavailable, detail + "; stop the other process or choose another port"};
    case EINVAL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO:
    case ENAMETOOLONG:
      return {Errc::Malformed, detail};
    default:
      return {Errc::Unavailable, detail};
  }
}

int zmq_type(SocketKind kind) {
  switch (kind) {
    case SocketKind::Router:
      return ZMQ_ROUTER;
    case SocketKind::Dealer:
      return ZMQ_DEALER;
    case SocketKind::Xpub:
      return ZMQ_XPUB;
    case SocketKind::Sub:
      return ZMQ_SUB;
  }
  return -1;
}

}  // namespace

Instant now() {
  return std::chrono::steady_clock::now();
}

Context::Context() : context_(zmq_ctx_new()) {
  ACCRETE_CHECK(context_ != nullptr);
}

Context::~Context() {
  while (zmq_ctx_term(context_) != 0 && zmq_errno() == EINTR) {
  }
}

void Context::shutdown() {
  zmq_ctx_shutdown(context_);
}

Frame::Frame() : storage_{} {
  static_assert(sizeof(zmq_msg_t) <= sizeof(Frame));
  static_assert(alignof(zmq_msg_t) <= alignof(Frame));
  zmq_msg_init(message_of(*this));
}

Frame::Frame(Frame&& other) noexcept : Frame() {
  zmq_msg_move(message_of(*this), message_of(other));
}

Frame& Frame::operator=(Frame&& other) noexcept {
  if (this != &other) zmq_msg_move(message_of(*this), message_of(other));
  return *this;
}

Frame::~Frame() {
  zmq_msg_close(message_of(*this));
}

std::string_view Frame::view() const {
  // zmq_msg_data() takes a mutable message but only reads it.
  auto* const message = message_of(const_cast<Frame&>(*this));
  return {static_cast<const char*>(zmq_msg_data(message)), zmq_msg_size(message)};
}

Socket::Socket(void* socket, SocketKind kind, EndpointOptions endpoint)
    : socket_(socket), kind_(kind), endpoint_(std::move(endpoint)) {}

Socket::Socket(Socket&& other) noexcept
    : socket_(std::exchange(other.socket_, nullptr)),
      context_(other.context_),
      kind_(other.kind_),
      endpoint_(std::move(other.endpoint_)),
      gate_(std::move(other.gate_)),
      domain_(std::move(other.domain_)),
      flood_guard_(std::move(other.flood_guard_)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    close();
    socket_ = std::exchange(other.socket_, nullptr);
    context_ = other.context_;
    kind_ = other.kind_;
    endpoint_ = std::move(other.endpoint_);
    gate_ = std::move(other.gate_);
    domain_ = std::move(other.domain_);
    flood_guard_ = std::move(other.flood_guard_);
  }
  return *this;
}

Socket::~Socket() {
  close();
}

void Socket::close() {
  if (socket_ != nullptr) zmq_close(std::exchange(socket_, nullptr));
  flood_guard_.reset();
  if (gate_) gate_->forget(domain_);
  gate_.reset();
}

Result<Socket> Socket::create(void* zmq_context, SocketKind kind, const EndpointOptions& endpoint) {
  ACCRETE_DO(check_endpoint(endpoint));
  void* const raw = zmq_socket(zmq_context, zmq_type(kind));
  if (raw == nullptr) return zmq_error("cannot make a socket for " + endpoint.address);
  Socket socket(raw, kind, endpoint);
  socket.context_ = zmq_context;
  const std::int64_t frame_bytes_max = static_cast<std::int64_t>(endpoint.frame_bytes_max);
  if (zmq_setsockopt(raw, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof frame_bytes_max) != 0)
    return zmq_error("cannot limit frames of " + endpoint.address);
  ACCRETE_DO(socket.set_linger(std::chrono::milliseconds(0)));
  ACCRETE_DO(socket.set_option(ZMQ_SNDHWM, endpoint.high_water_mark));
  ACCRETE_DO(socket.set_option(
      ZMQ_RCVHWM, endpoint.received_max > 0 ? endpoint.received_max : endpoint.high_water_mark));
  ACCRETE_DO(socket.set_option(ZMQ_RECONNECT_IVL, kReconnectMs));
  ACCRETE_DO(socket.set_option(ZMQ_RECONNECT_IVL_MAX, kReconnectMaxMs));
  ACCRETE_DO(socket.set_option(ZMQ_HANDSHAKE_IVL, kHandshakeMs));
  ACCRETE_DO(socket.probe_peers());
  if (endpoint.address.find('[') != std::string::npos) {
    ACCRETE_DO(socket.set_option(ZMQ_IPV6, 1));
  }
  if (kind == SocketKind::Router) {
    // Mandatory: a send to a peer that is gone says so. Handover: a peer that reconnects under its
    // old name replaces the connection that the network forgot.
    ACCRETE_DO(socket.set_option(ZMQ_ROUTER_MANDATORY, 1));
    ACCRETE_DO(socket.set_option(ZMQ_ROUTER_HANDOVER, 1));
  }
  return socket;
}

/// The kernel asks whether peers are there. ZeroMQ's own heartbeats end the process (4.3.4: an
/// assertion) where a peer dies whose messages wait until they are due: only an XPUB has them,
/// whose peers' messages never wait; with them it also drops those who are there and never read.
Status Socket::probe_peers() {
  const int probe_ms = endpoint_.probe_ms;
  if (probe_ms <= 0) return Ok{};
  if (kind_ == SocketKind::Xpub) {
    ACCRETE_DO(set_option(ZMQ_HEARTBEAT_IVL, probe_ms));
    ACCRETE_DO(set_option(ZMQ_HEARTBEAT_TIMEOUT, 3 * probe_ms));
    ACCRETE_DO(set_option(ZMQ_HEARTBEAT_TTL, 3 * probe_ms));
  }
  const int probe_s = std::max(1, probe_ms / 1000);
  ACCRETE_DO(set_option(ZMQ_TCP_KEEPALIVE, 1));
  ACCRETE_DO(set_option(ZMQ_TCP_KEEPALIVE_IDLE, probe_s));
  ACCRETE_DO(set_option(ZMQ_TCP_KEEPALIVE_INTVL, probe_s));
  return set_option(ZMQ_TCP_KEEPALIVE_CNT, 3);
}

Result<Socket> Socket::bind(void* zmq_context, SocketKind kind, const EndpointOptions& endpoint) {
  ACCRETE_TRY(Socket socket, create(zmq_context, kind, endpoint));
  ACCRETE_DO(socket.bind());
  return socket;
}

Result<Socket> Socket::connect(void* zmq_context, SocketKind kind,
                               const EndpointOptions& endpoint) {
  ACCRETE_TRY(Socket socket, create(zmq_context, kind, endpoint));
  ACCRETE_DO(socket.connect());
  return socket;
}

Status Socket::bind() {
  if (!endpoint_.curve.public_key.empty()) {
    ACCRETE_DO(secure_server(context_));
  }
  if (endpoint_.untaken_bytes_max > 0) {
    ACCRETE_TRY(flood_guard_, FloodGuard::open(context_, socket_, endpoint_.untaken_bytes_max));
  }
  if (zmq_bind(socket_, endpoint_.address.c_str()) != 0)
    return zmq_error("cannot bind " + endpoint_.address);
  return Ok{};
}

Status Socket::connect() {
  if (!endpoint_.curve.public_key.empty()) {
    ACCRETE_DO(secure_client());
  }
  if (zmq_connect(socket_, endpoint_.address.c_str()) != 0)
    return zmq_error("cannot connect to " + endpoint_.address);
  return Ok{};
}

Status Socket::secure_server(void* zmq_context) {
  ACCRETE_DO(set_option(ZMQ_CURVE_SERVER, 1));
  ACCRETE_DO(set_text(ZMQ_CURVE_SECRETKEY, endpoint_.curve.secret_key));
  if (endpoint_.curve.allowed.empty()) return Ok{};
  ACCRETE_TRY(gate_, ZapGate::of(zmq_context));
  ACCRETE_TRY(domain_, gate_->admit(endpoint_.curve.allowed));
  return set_text(ZMQ_ZAP_DOMAIN, domain_);
}

Status Socket::secure_client() {
  if (endpoint_.curve.server_key.empty()) {
    return Error{Errc::Malformed,
                 endpoint_.address + ": CURVE needs the daemon's public key; give server_key"};
  }
  ACCRETE_DO(set_text(ZMQ_CURVE_SERVERKEY, endpoint_.curve.server_key));
  ACCRETE_DO(set_text(ZMQ_CURVE_PUBLICKEY, endpoint_.curve.public_key));
  return set_text(ZMQ_CURVE_SECRETKEY, endpoint_.curve.secret_key);
}

Status Socket::set_option(int option, int value) {
  if (zmq_setsockopt(socket_, option, &value, sizeof value) != 0)
    return zmq_error("cannot set option " + std::to_string(option) + " of " + endpoint_.address);
  return Ok{};
}

Status Socket::set_text(int option, std::string_view value) {
  // Keys are refused by length here; the message must not show them.
  if (zmq_setsockopt(socket_, option, value.data(), value.size()) != 0)
    return zmq_error("cannot set option " + std::to_string(option) + " of " + endpoint_.address);
  return Ok{};
}

Status Socket::set_identity(std::string_view identity) {
  return set_text(ZMQ_ROUTING_ID, identity);
}

Status Socket::set_linger(std::chrono::milliseconds linger) {
  return set_option(ZMQ_LINGER, static_cast<int>(linger.count()));
}

Status Socket::subscribe(std::string_view prefix) {
  return set_text(ZMQ_SUBSCRIBE, prefix);
}
Status Socket::unsubscribe(std::string_view prefix) {
  return set_text(ZMQ_UNSUBSCRIBE, prefix);
}

Status Socket::send(std::span<const std::string_view> frames) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const int flags = ZMQ_DONTWAIT | (i + 1 < frames.size() ? ZMQ_SNDMORE : 0);
    // After the first frame the rest cannot be refused: a message is queued whole or not at all.
    while (zmq_send(socket_, frames[i].data(), frames[i].size(), flags) < 0) {
      if (zmq_errno() != EINTR) return zmq_error("cannot send on " + endpoint_.address);
    }
  }
  return Ok{};
}

Status Socket::send(std::string_view frame) {
  return send(std::span<const std::string_view>(&frame, 1));
}

Result<bool> Socket::receive(std::vector<Frame>& frames) {
  std::size_t count = 0;
  while (true) {
    if (count == frames.size()) frames.emplace_back();
    zmq_msg_t* const message = message_of(frames[count]);
    if (zmq_msg_recv(message, socket_, ZMQ_DONTWAIT) < 0) {
      if (zmq_errno() == EINTR) continue;
      if (zmq_errno() != EAGAIN) return zmq_error("cannot receive on " + endpoint_.address);
      frames.clear();
      return false;
    }
    ++count;
    if (zmq_msg_more(message) == 0) break;
  }
  frames.resize(count);
  if (flood_guard_) {
    std::size_t bytes = 0;
    for (const Frame& frame : frames)
      bytes += frame.view().size();
    flood_guard_->took(zmq_msg_get(message_of(frames.back()), ZMQ_SRCFD), count, bytes);
  }
  return true;
}

std::string Socket::bound_address() const {
  std::array<char, 512> text{};
  std::size_t size = text.size();
  if (zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, text.data(), &size) != 0 || size == 0) return {};
  return std::string(text.data(), size - 1);
}

Result<bool> wait(std::span<Waiting> items, std::chrono::milliseconds timeout) {
  ACCRETE_CHECK(items.size() <= kWaitingMax);
  std::array<zmq_pollitem_t, kWaitingMax> polled{};
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].readable = false;
    polled[i].socket = items[i].socket != nullptr ? items[i].socket->handle() : nullptr;
    polled[i].fd = items[i].fd;
    polled[i].events = ZMQ_POLLIN;
  }
  const int ready = zmq_poll(polled.data(), static_cast<int>(items.size()), timeout.count());
  if (ready < 0) {
    if (zmq_errno() == EINTR) return false;
    return zmq_error("cannot wait for frames");
  }
  for (std::size_t i = 0; i < items.size(); ++i)
    items[i].readable = (polled[i].revents & (ZMQ_POLLIN | ZMQ_POLLERR)) != 0;
  return ready > 0;
}

}  // namespace accrete::stream
