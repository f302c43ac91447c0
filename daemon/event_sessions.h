// Change events over ZeroMQ without the socket: messages of peers in, offers for the ingest thread
// out, answers in the order of a peer's messages. What is promised is decided here, so it is tested
// and fuzzed here. Frames and answers: proto/FORMAT.md, "Events".
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/event_body.h"
#include "daemon/gauges.h"
#include "proto/result.h"
#include "proto/schema.h"
#include "stream/mailbox.h"
#include "stream/offer.h"

namespace accrete::daemon {

/// What the ingest thread says of one message.
struct EventAnswer {
  std::string peer;
  std::uint64_t number = 0;  ///< of the peer's messages that wait
  Status status = Ok{};
  stream::OfferOutcome outcome;
};

struct EventReply {
  std::string peer;
  std::vector<std::string> frames;
};

/// Threads: one at a time; answers come through the mailbox.
class EventSessions {
 public:
  static constexpr std::size_t kBodyBytesMax = 8u << 20;
  static constexpr std::size_t kUnansweredMax = 256;             ///< messages of all peers
  static constexpr std::size_t kUnansweredBytesMax = 16u << 20;  ///< of their bodies
  static constexpr std::size_t kStoppedMax = 1024;               ///< peers

  /// Gives an offer to the ingest thread; false, with the offer untouched: it takes none (now).
  using Send = std::function<bool(stream::Offer& offer)>;

  /// `schema` outlives the object, `gauges` too.
  EventSessions(const Schema& schema, Send send, Gauges& gauges);

  /// Whether one more message may be read; while not, peers are kept waiting by the socket.
  bool room() const { return unanswered_ < kUnansweredMax && bytes_ < kUnansweredBytesMax; }
  std::size_t unanswered() const { return unanswered_; }

  /// One message, without the peer's routing id. Decodes all of its events.
  /// Checks: room().
  void on_message(std::string_view peer, std::span<const std::string_view> frames);

  /// Take the answers that are there.
  void take_answers();
  int answers_fd() const { return answers_->fd(); }

  std::vector<EventReply> take_replies();

 private:
  struct Waiting {
    bool delimited = false;  ///< the peer is a REQ socket: an empty frame goes first
    std::string id;
    std::uint64_t passed_over = 0;
    std::vector<std::string> doubts;
    std::size_t bytes = 0;
    std::shared_ptr<stream::OfferOrder> order;  ///< null: the message has no id
    std::optional<std::string> answer;
  };
  struct Peer {
    std::deque<Waiting> waiting;
    std::uint64_t first = 0;  ///< number of the first that waits
    std::shared_ptr<stream::OfferOrder> order;
    std::optional<std::string> failed;  ///< the id that must come again before any other
  };
  using Peers = std::map<std::string, Peer, std::less<>>;
  struct Request;

  Status begin(Peer& peer, const Request& request);
  Status offer(Peers::iterator peer, const Request& request);
  void answer(Peers::iterator peer, std::uint64_t number, const Status& status,
              const stream::OfferOutcome& outcome);
  void note(Peer& peer, const Waiting& waiting, const Status& status);
  void flush(Peers::iterator peer);

  const Schema& schema_;
  Send send_;
  Gauges& gauges_;
  std::shared_ptr<stream::Mailbox<EventAnswer>> answers_;  // the last offer may outlive us
  Peers peers_;
  std::size_t stopped_ = 0;     // peers with a `failed`
  std::size_t unanswered_ = 0;  // also those whose answer waits for one before it
  std::size_t bytes_ = 0;       // of these
  std::vector<EventReply> replies_;
};

}  // namespace accrete::daemon
