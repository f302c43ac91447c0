// The ingest socket: drains frames into the sessions, one group commit a turn, sends the replies.
#include "stream/ingest_server.h"

#include <array>
#include <deque>
#include <utility>

#include "stream/ingest_sessions.h"
#include "stream/socket.h"

namespace accrete::stream {

struct IngestServer::Parts {
  Parts(Socket bound, const IngestOptions& options, const Schema& schema, Layouts layouts,
        CommitSink& sink)
      : socket(std::move(bound)),
        sessions(options, schema, std::move(layouts), sink),
        offers(options.offers) {}

  void take_offers();
  Status drain();
  Status answer();

  Socket socket;
  IngestSessions sessions;
  Mailbox<Offer>* offers;
  // Messages of the group being collected: the first `count`. A deque, because the sessions hold
  // views of frames, and short frames live inside their objects.
  std::deque<std::vector<Frame>> messages;
};

/// A few offers first, so that busy producers do not keep them out.
void IngestServer::Parts::take_offers() {
  constexpr std::size_t kTurn = 256;
  for (std::size_t count = 0; count < kTurn && offers != nullptr && !sessions.group_full();
       ++count) {
    auto offer = offers->try_receive();
    if (!offer) return;
    sessions.on_offer(std::move(*offer));
  }
}

Status IngestServer::Parts::drain() {
  const Instant when = now();
  for (std::size_t count = 0; !sessions.group_full(); ++count) {
    if (count == messages.size()) messages.emplace_back();
    std::vector<Frame>& message = messages[count];
    ACCRETE_TRY(const bool received, socket.receive(message));
    if (!received) break;
    // A DEALER's message arrives as [routing id][frame].
    if (message.size() == 2) {
      sessions.on_frame(message[0].view(), message[1].view(), when);
    } else {
      sessions.on_garbage(message[0].view(), message.size() - 1);
    }
  }
  return Ok{};
}

Status IngestServer::Parts::answer() {
  for (const IngestReply& reply : sessions.take_replies()) {
    const std::array<std::string_view, 2> frames = {reply.peer, reply.frame};
    Status status = socket.send(frames);
    // A peer that is gone, or does not read, asks again with HELLO; only a closed context ends us.
    if (!status && status.error().code == Errc::Unavailable) return status;
  }
  return Ok{};
}

Result<std::unique_ptr<IngestServer>> IngestServer::open(void* zmq_context,
                                                         const IngestOptions& options,
                                                         const Schema& schema, Layouts layouts,
                                                         CommitSink& sink) {
  const auto positive = [](std::size_t value) { return value > 0; };
  if (!positive(options.credit_bytes) || !positive(options.group_rows_max) ||
      !positive(options.group_bytes_max) || !positive(options.producers_max) ||
      !positive(options.sources_max) || !positive(options.transaction_bytes_max))
    return Error{Errc::Malformed, "ingest: every limit must be positive"};
  if (options.open_bytes_max < options.transaction_bytes_max) {
    return Error{Errc::Malformed,
                 "ingest: open_bytes_max must not be below transaction_bytes_max, or the largest "
                 "transaction could never complete"};
  }
  ACCRETE_TRY(Socket socket, Socket::bind(zmq_context, SocketKind::Router, options.endpoint));
  return std::unique_ptr<IngestServer>(new IngestServer(
      std::make_unique<Parts>(std::move(socket), options, schema, std::move(layouts), sink)));
}

IngestServer::IngestServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
IngestServer::~IngestServer() = default;

Status IngestServer::poll(std::chrono::milliseconds timeout) {
  std::array<Waiting, 2> items;
  items[0].socket = &parts_->socket;
  const bool offered = parts_->offers != nullptr;
  if (offered) items[1].fd = parts_->offers->fd();
  ACCRETE_TRY(const bool readable, wait(std::span<Waiting>(items).first(offered ? 2 : 1), timeout));
  if (!readable) return Ok{};
  parts_->take_offers();
  ACCRETE_DO(parts_->drain());
  Status committed = parts_->sessions.commit();
  ACCRETE_DO(parts_->answer());
  return committed;
}

const IngestCounters& IngestServer::counters() const {
  return parts_->sessions.counters();
}

std::string IngestServer::bound_address() const {
  return parts_->socket.bound_address();
}

}  // namespace accrete::stream
