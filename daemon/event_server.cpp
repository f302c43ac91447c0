// Messages between the socket and the sessions.
#include "daemon/event_server.h"

#include <array>
#include <atomic>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/clock.h"
#include "daemon/event_sessions.h"
#include "stream/socket.h"

namespace accrete::daemon {
namespace {

using namespace std::chrono_literals;

// A frame above EventSessions::kBodyBytesMax is answered with what to do, one above this ends the
// connection. With the messages that ZeroMQ may hold of a peer this bounds its memory.
constexpr std::size_t kFrameBytesMax = 2 * EventSessions::kBodyBytesMax;
constexpr int kHeldMax = 4;
constexpr double kEndSeconds = 5;

}  // namespace

struct EventServer::Parts {
  Parts(stream::Socket bound, World given)
      : world(std::move(given)),
        socket(std::move(bound)),
        sessions(
            *world.schema, [this](stream::Offer& offer) { return world.offers->try_send(offer); },
            *world.gauges) {}

  void run();
  Status turn();
  Status read();
  Status answer();

  World world;
  stream::Socket socket;
  EventSessions sessions;
  std::vector<stream::Frame> message;
  std::vector<std::string_view> frames;
  std::atomic<bool> stop{false};
  std::thread thread;
};

/// Whatever is there, one by one, as long as there is room.
Status EventServer::Parts::read() {
  constexpr std::size_t kTurn = 64;  // then answers are looked at
  for (std::size_t count = 0; count < kTurn && sessions.room(); ++count) {
    ACCRETE_TRY(const bool received, socket.receive(message));
    if (!received) break;
    frames.clear();
    for (const stream::Frame& frame : message)
      frames.push_back(frame.view());
    sessions.on_message(frames.front(), std::span(frames).subspan(1));
  }
  message.clear();
  return Ok{};
}

Status EventServer::Parts::answer() {
  for (const EventReply& reply : sessions.take_replies()) {
    frames.assign(1, reply.peer);
    frames.insert(frames.end(), reply.frames.begin(), reply.frames.end());
    Status sent = socket.send(frames);
    // A peer that is gone, or does not read, sends again; only a closed context ends us.
    if (!sent && sent.error().code == Errc::Unavailable) return sent;
  }
  return Ok{};
}

Status EventServer::Parts::turn() {
  std::array<stream::Waiting, 2> items;
  items[0].fd = sessions.answers_fd();
  items[1].socket = &socket;
  const bool reads = !stop && sessions.room();
  ACCRETE_TRY(const bool readable,
              stream::wait(std::span<stream::Waiting>(items).first(reads ? 2 : 1), 100ms));
  if (!readable) return Ok{};
  sessions.take_answers();
  if (reads) ACCRETE_DO(read());
  return answer();
}

void EventServer::Parts::run() {
  double until = 0;  // when the last answers are given up
  while (true) {
    if (stop && until == 0) until = steady_seconds() + kEndSeconds;
    if (stop && (sessions.unanswered() == 0 || steady_seconds() >= until)) return;
    if (const Status done = turn(); !done) {
      if (!stop) world.failed(done.error());
      return;
    }
  }
}

EventServer::EventServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

EventServer::~EventServer() {
  parts_->stop = true;
  parts_->thread.join();
}

Result<std::unique_ptr<EventServer>> EventServer::open(const stream::EndpointOptions& endpoint,
                                                       World world) {
  stream::EndpointOptions options = endpoint;
  options.frame_bytes_max = kFrameBytesMax;
  options.received_max = kHeldMax;
  options.untaken_bytes_max = (kHeldMax + 2) * kFrameBytesMax;
  void* const context = world.zmq_context;
  ACCRETE_TRY(stream::Socket socket,
              stream::Socket::create(context, stream::SocketKind::Router, options));
  ACCRETE_DO(socket.set_linger(200ms));  // the last answers
  ACCRETE_DO(socket.bind());
  auto parts = std::make_unique<Parts>(std::move(socket), std::move(world));
  parts->thread = std::thread([raw = parts.get()] { raw->run(); });
  return std::unique_ptr<EventServer>(new EventServer(std::move(parts)));
}

std::string EventServer::bound_address() const {
  return parts_->socket.bound_address();
}

}  // namespace accrete::daemon
