// What a message must be, and what is answered.
#include "daemon/event_sessions.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "proto/limits.h"

namespace accrete::daemon {
namespace {

constexpr std::string_view kSourcePrefix = "events/";  // so that no producer's positions are met

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

std::string_view code_of(Errc code) {
  switch (code) {
    case Errc::Malformed:
      return "MALFORMED";
    case Errc::Gap:
      return "GAP";
    case Errc::Exhausted:
      return "EXHAUSTED";
    default:
      return "UNAVAILABLE";
  }
}

std::string json_of(const Status& status, const stream::OfferOutcome& outcome,
                    std::uint64_t passed_over, const std::vector<std::string>& doubts) {
  using nlohmann::ordered_json;
  ordered_json json;
  if (status) {
    json = {
        {"rows", outcome.rows}, {"duplicates", outcome.duplicates}, {"passed_over", passed_over}};
    if (!doubts.empty()) json["doubts"] = doubts;
  } else {
    const std::string where =
        outcome.event == 0 ? "" : "event " + std::to_string(outcome.event) + ": ";
    json = {{"error", where + status.error().detail + "; nothing of the message was taken"},
            {"code", code_of(status.error().code)}};
  }
  // What a sender wrote may not be UTF-8.
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

/// A message taken apart.
struct EventSessions::Request {
  bool delimited = false;
  EventFormat format = EventFormat::Native;
  std::string source;
  std::string_view body;
  std::string_view id;

  Status read(std::span<const std::string_view> frames);
};

Status EventSessions::Request::read(std::span<const std::string_view> frames) {
  delimited = frames.size() > 1 && frames.front().empty();
  if (delimited) frames = frames.subspan(1);
  if (frames.size() == 4) id = frames[3];
  if (frames.size() < 3 || frames.size() > 4) {
    return wrong(
        "a message has the frames FORMAT, SOURCE, EVENTS and, if you like, an ID; it has " +
        std::to_string(frames.size()) + " frames");
  }
  const auto known = event_format(frames[0]);
  if (!known) {
    std::string all;
    for (const std::string& name : event_formats())
      all += (all.empty() ? "" : ", ") + name;
    return wrong("the first frame must be one of " + all + "; it is \"" +
                 std::string(frames[0].substr(0, 40)) + "\"");
  }
  format = *known;
  source = std::string(kSourcePrefix).append(frames[1].empty() ? frames[0] : frames[1]);
  body = frames[2];
  if (source.size() > limits::name_bytes_max) return wrong("the source's name is too long");
  if (id.size() > limits::name_bytes_max) return wrong("the id is too long");
  if (body.size() > kBodyBytesMax) {
    return wrong("events of " + std::to_string(body.size()) + " bytes; send at most " +
                 std::to_string(kBodyBytesMax) + " in one message");
  }
  return Ok{};
}

EventSessions::EventSessions(const Schema& schema, Send send, Gauges& gauges)
    : schema_(schema),
      send_(std::move(send)),
      gauges_(gauges),
      answers_(std::make_shared<stream::Mailbox<EventAnswer>>(kUnansweredMax)) {}

void EventSessions::on_message(std::string_view peer, std::span<const std::string_view> frames) {
  ACCRETE_CHECK(room());
  Request request;
  Status status = request.read(frames);
  auto entry = peers_.find(peer);
  if (entry == peers_.end()) entry = peers_.emplace(peer, Peer{}).first;
  const std::uint64_t number = entry->second.first + entry->second.waiting.size();
  Waiting& waiting = entry->second.waiting.emplace_back();
  waiting.delimited = request.delimited;
  waiting.id = request.id.substr(0, limits::name_bytes_max);
  waiting.bytes = request.body.size();
  ++unanswered_;
  bytes_ += waiting.bytes;
  if (status) status = begin(entry->second, request);
  if (status && !request.id.empty()) waiting.order = entry->second.order;
  if (status) status = offer(entry, request);
  if (!status) answer(entry, number, status, {});
}

/// Messages with an id are taken in their order: behind one that was not taken, none is until that
/// one comes again.
Status EventSessions::begin(Peer& peer, const Request& request) {
  if (request.id.empty()) return Ok{};
  if (peer.failed) {
    if (*peer.failed != request.id) {
      return Error{Errc::Gap, "message \"" + *peer.failed +
                                  "\" before this one was not taken; send that one first"};
    }
    peer.failed.reset();
    peer.order.reset();
    --stopped_;
  }
  if (!peer.order) peer.order = std::make_shared<stream::OfferOrder>();
  return Ok{};
}

Status EventSessions::offer(Peers::iterator peer, const Request& request) {
  ACCRETE_TRY(DecodedBody decoded,
              decode_events(request.body, request.id, request.format, schema_));
  Waiting& waiting = peer->second.waiting.back();
  waiting.passed_over = decoded.passed_over;
  waiting.doubts = std::move(decoded.doubts);
  stream::Offer offer = std::move(decoded.offer);
  offer.source = request.source;
  offer.order = waiting.order;
  offer.answer = [answers = answers_, name = peer->first,
                  number = peer->second.first + peer->second.waiting.size() - 1](
                     const Status& status, const stream::OfferOutcome& outcome) {
    EventAnswer answer{name, number, status, outcome};
    answers->send(std::move(answer));  // there is a place for each that waits
  };
  if (send_(offer)) return Ok{};
  return Error{Errc::Unavailable, "the daemon stops, or too many requests wait for its log"};
}

void EventSessions::take_answers() {
  while (const auto said = answers_->try_receive()) {
    const auto peer = peers_.find(said->peer);
    ACCRETE_CHECK(peer != peers_.end());  // it stays while one of its messages waits
    answer(peer, said->number, said->status, said->outcome);
  }
}

void EventSessions::answer(Peers::iterator peer, std::uint64_t number, const Status& status,
                           const stream::OfferOutcome& outcome) {
  Waiting& waiting = peer->second.waiting.at(number - peer->second.first);
  waiting.answer = json_of(status, outcome, waiting.passed_over, waiting.doubts);
  note(peer->second, waiting, status);
  flush(peer);
}

void EventSessions::note(Peer& peer, const Waiting& waiting, const Status& status) {
  const bool again = !status && status.error().code != Errc::Malformed;
  ++(status ? gauges_.events_taken : again ? gauges_.events_delayed : gauges_.events_refused);
  // Only the first of an order that is still the peer's: those behind it get Gap after it, some of
  // them when it has come again.
  if (!again || !waiting.order || waiting.order != peer.order || peer.failed) return;
  peer.failed = waiting.id;
  ++stopped_;
}

/// Answers go out in the order of the messages.
void EventSessions::flush(Peers::iterator entry) {
  Peer& peer = entry->second;
  for (; !peer.waiting.empty() && peer.waiting.front().answer; ++peer.first) {
    Waiting& done = peer.waiting.front();
    EventReply& reply = replies_.emplace_back();
    reply.peer = entry->first;
    if (done.delimited) reply.frames.emplace_back();
    reply.frames.push_back(*std::move(done.answer));
    if (!done.id.empty()) reply.frames.push_back(std::move(done.id));
    --unanswered_;
    bytes_ -= done.bytes;
    peer.waiting.pop_front();
  }
  if (!peer.waiting.empty()) return;
  if (!peer.failed) {
    peers_.erase(entry);
  } else if (stopped_ > kStoppedMax) {
    peers_.erase(entry);
    --stopped_;
  }
}

std::vector<EventReply> EventSessions::take_replies() {
  return std::exchange(replies_, {});
}

}  // namespace accrete::daemon
