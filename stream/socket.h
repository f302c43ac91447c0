// ZeroMQ sockets with owners: created whole, configured once, closed by their destructor. The only
// place where ZeroMQ's error numbers become Status, and the only one that reads the steady clock.
//
// Threads: a Context may be shared; a Socket is made, used and closed in one thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "stream/endpoint.h"

namespace accrete::stream {

class FloodGuard;
class ZapGate;

/// A monotonic instant, for time-outs and idle peers; never for anything that decides output.
using Instant = std::chrono::steady_clock::time_point;
Instant now();

/// A ZeroMQ context for those who are not given one (clients, tests, main).
class Context {
 public:
  Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();  ///< waits until every socket of the context is closed

  /// Wake every socket of the context: their calls answer Unavailable ("context closed").
  /// Threads: any.
  void shutdown();
  void* get() const { return context_; }

 private:
  void* context_;
};

/// One received frame. A view of it lives as long as the object stays where it is.
class Frame {
 public:
  Frame();
  Frame(Frame&& other) noexcept;
  Frame& operator=(Frame&& other) noexcept;
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame();

  /// Caution: ZeroMQ keeps short frames (up to 33 bytes) inside the object, so a view dies when the
  /// Frame moves.
  std::string_view view() const;
  void* raw() { return storage_.data(); }

 private:
  alignas(8) std::array<unsigned char, 64> storage_;  // sizeof(zmq_msg_t), checked in socket.cpp
};

enum class SocketKind : std::uint8_t { Router, Dealer, Xpub, Sub };

class Socket {
 public:
  /// A socket with the options of `endpoint` set (probes, high-water marks, frame limit, linger
  /// 0, and for a ROUTER mandatory routing with handover), not yet bound or connected.
  /// Errors: Malformed from check_endpoint(), Unavailable.
  static Result<Socket> create(void* zmq_context, SocketKind kind, const EndpointOptions& endpoint);

  /// Created and bound (connected) at `endpoint.address`, as CURVE server (client) where keys are
  /// given. Errors: Malformed, Unavailable (address in use, no such interface), Exhausted.
  static Result<Socket> bind(void* zmq_context, SocketKind kind, const EndpointOptions& endpoint);
  static Result<Socket> connect(void* zmq_context, SocketKind kind,
                                const EndpointOptions& endpoint);

  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  Status bind();
  Status connect();

  /// Before bind()/connect() only: the name a ROUTER knows us by (1 to 255 bytes, not starting with
  /// a NUL); how long close() may linger for unsent frames; a raw ZeroMQ option by number.
  Status set_identity(std::string_view identity);
  Status set_linger(std::chrono::milliseconds linger);
  Status set_option(int option, int value);
  Status probe_peers();

  /// SUB only: subscribe to a topic prefix (also after connect()).
  Status subscribe(std::string_view prefix);
  Status unsubscribe(std::string_view prefix);

  /// Send one message of one or more frames, copied. Never blocks.
  /// Errors: Exhausted when the high-water mark is reached (nothing was sent), NotFound when a
  /// ROUTER does not know the peer in the first frame, Unavailable once the context is closed.
  Status send(std::span<const std::string_view> frames);
  Status send(std::string_view frame);

  /// Receive one whole message into `frames` (replaced). Never blocks; false when there is none.
  /// Errors: Unavailable once the context is closed.
  Result<bool> receive(std::vector<Frame>& frames);

  /// With the real port for `tcp://127.0.0.1:*`. Empty before bind().
  std::string bound_address() const;
  void* handle() const { return socket_; }

 private:
  Socket(void* socket, SocketKind kind, EndpointOptions endpoint);
  Status secure_server(void* zmq_context);
  Status secure_client();
  Status set_text(int option, std::string_view value);
  void close();

  void* socket_ = nullptr;
  void* context_ = nullptr;
  SocketKind kind_ = SocketKind::Router;
  EndpointOptions endpoint_;
  std::shared_ptr<ZapGate> gate_;            // answers for our allow-list while we live
  std::string domain_;                       // our name at the gate
  std::unique_ptr<FloodGuard> flood_guard_;  // of a server that has a bound
};

/// What to wait for: a socket, or a descriptor (a mailbox). `readable` is set by wait().
struct Waiting {
  const Socket* socket = nullptr;
  int fd = -1;
  bool readable = false;
};
/// Wait until one is readable or `timeout` has passed; true when one is. At most 8 at a time.
/// Errors: Unavailable once the context is closed. Interrupted by a signal: false, early.
Result<bool> wait(std::span<Waiting> items, std::chrono::milliseconds timeout);

}  // namespace accrete::stream
