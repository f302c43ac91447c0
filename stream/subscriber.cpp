// The subscriber's sockets: subscribe first, then fetch the past in pages and let Feed merge.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <stream.pb.h>

#include "stream/chain.h"
#include "stream/client.h"
#include "stream/fault.h"
#include "stream/feed.h"
#include "stream/socket.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kLivePerTurn = 4096;  // live frames read before replay gets its turn
constexpr std::size_t kReadyLow = 16'384;   // fewer ready: ask for the next page already
constexpr milliseconds kRetry{50};          // after a page that brought nothing new
constexpr milliseconds kAttempt{1000};      // then a question is sent again
constexpr milliseconds kVerifyAfter{2000};  // without any link: trust progress frames and replay
constexpr std::uint64_t kBeyondEnd = std::numeric_limits<std::uint64_t>::max();

}  // namespace

struct Subscriber::Parts {
  explicit Parts(const SubscriberOptions& with) : options(with), chain(chain_topic(with.topic)) {}

  const SubscriberOptions options;
  const std::string chain;
  Context context;
  std::optional<Socket> predictions;
  std::optional<Socket> replay;
  Feed feed;
  Counters counters;
  std::optional<Error> ended;  ///< until restart(): Gap or NotFound

  std::uint64_t numbered = 0;  ///< requests sent
  std::uint64_t page = 0;      ///< number of the page asked for; 0 = none
  std::uint64_t page_from = 0;
  std::uint64_t call_number = 0;  ///< number of the question being waited for; 0 = none
  std::optional<wire::FromReplay> call_answer;
  bool snapshot_wanted = false;
  std::vector<Delivered> snapshot_rows;

  Instant heard{};       ///< last live frame of any kind
  Instant page_heard{};  ///< last answer to the page, or its request
  Instant page_pause{};  ///< no page before
  Instant linked{};      ///< last link

  std::vector<Frame> frames;  // reused, as is `answer`
  wire::FromReplay answer;

  Status connect();
  Status wait_welcome();
  Status locate(std::optional<std::uint64_t> from, bool resume);
  Status resume_named(const wire::End& end);
  Result<wire::End> find_end();
  Result<wire::FromReplay> call(wire::ToReplay& question);

  Status turn();
  Status read_live();
  Status on_live();
  Status read_replay(std::size_t ready_max);
  Status on_page();
  Status on_rows();
  void on_gone(const wire::Gone& gone);
  Status ask_page();
  Status keep_alive(Instant at);
  milliseconds patience(Instant at, Instant deadline) const;
  Status keep(Status merged);
};

Result<std::unique_ptr<Subscriber>> Subscriber::open(const SubscriberOptions& options) {
  if (options.topic.substr(0, kJsonTopics.size()) == kJsonTopics) {
    return Error{Errc::Malformed,
                 "topic \"" + options.topic +
                     "\": json topics are for plain ZeroMQ subscribers and have no replay; "
                     "subscribe to pred/… and convert with prediction_json()"};
  }
  if (options.topic.size() > kTopicBytesMax || options.name.size() > limits::name_bytes_max) {
    return Error{Errc::Malformed, "a topic has at most " + std::to_string(kTopicBytesMax) +
                                      " bytes and a subscriber's name " +
                                      std::to_string(limits::name_bytes_max)};
  }
  auto parts = std::make_unique<Parts>(options);
  ACCRETE_DO(parts->connect());
  ACCRETE_DO(parts->wait_welcome());
  ACCRETE_DO(parts->locate(options.from, true));
  return std::unique_ptr<Subscriber>(new Subscriber(std::move(parts)));
}

Subscriber::Subscriber(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Subscriber::~Subscriber() = default;

Result<std::optional<Delivered>> Subscriber::next(milliseconds timeout) {
  Parts& parts = *parts_;
  if (parts.feed.ready() == 0) {
    const Instant deadline = now() + timeout;
    for (;;) {
      if (parts.ended) return *parts.ended;
      ACCRETE_DO(parts.turn());
      if (parts.feed.ready() > 0) break;
      if (parts.ended) continue;
      const Instant at = now();
      if (at >= deadline) return std::optional<Delivered>();
      ACCRETE_DO(parts.keep_alive(at));
      std::array<Waiting, 2> items{};
      items[0].socket = &*parts.predictions;
      items[1].socket = &*parts.replay;
      ACCRETE_TRY([[maybe_unused]] const bool ready,
                  stream::wait(items, parts.patience(at, deadline)));
    }
  }
  return std::optional<Delivered>(parts.feed.take());
}

Status Subscriber::acknowledge(PredictionSeq seq) {
  Parts& parts = *parts_;
  if (parts.options.name.empty()) {
    return Error{Errc::Malformed, "a subscriber without a name has no place to acknowledge"};
  }
  wire::ToReplay question;
  question.mutable_ack()->set_name(parts.options.name);
  question.mutable_ack()->set_epoch(parts.feed.epoch());
  question.mutable_ack()->set_seq(seq.value);
  ACCRETE_TRY([[maybe_unused]] const auto stored, parts.call(question));
  return Ok{};
}

PredictionSeq Subscriber::newest() const {
  return PredictionSeq{parts_->feed.newest()};
}
std::uint64_t Subscriber::epoch() const {
  return parts_->feed.epoch();
}
PredictionSeq Subscriber::complete() const {
  return PredictionSeq{parts_->feed.complete()};
}

Status Subscriber::restart(std::uint64_t from) {
  return parts_->locate(from, false);
}

const Subscriber::Counters& Subscriber::counters() const {
  const std::uint64_t reconnects = parts_->counters.reconnects;
  parts_->counters = parts_->feed.counters();
  parts_->counters.reconnects = reconnects;
  return parts_->counters;
}

// ---- finding our place ------------------------------------------------------------------------

Status Subscriber::Parts::connect() {
  predictions.reset();
  replay.reset();
  page = 0;
  snapshot_rows.clear();
  ACCRETE_TRY(Socket sub, Socket::create(context.get(), SocketKind::Sub, options.predictions));
  // The chain first: when the daemon sees the topic's subscription it tracks it already.
  for (const std::string_view topic :
       {kWelcomeTopic, kProgressTopic, std::string_view(chain), std::string_view(options.topic)}) {
    ACCRETE_DO(sub.subscribe(topic));
  }
  ACCRETE_DO(sub.connect());
  ACCRETE_TRY(Socket dealer, Socket::connect(context.get(), SocketKind::Dealer, options.replay));
  predictions.emplace(std::move(sub));
  replay.emplace(std::move(dealer));
  heard = linked = now();
  return Ok{};
}

Status Subscriber::Parts::wait_welcome() {
  const Instant deadline = now() + options.stall_timeout;
  std::array<Waiting, 1> items{};
  items[0].socket = &*predictions;
  while (now() < deadline) {
    ACCRETE_TRY(const bool received, predictions->receive(frames));
    if (received && !frames.empty() && frames.front().view() == kWelcomeTopic) {
      heard = now();
      return Ok{};
    }
    if (received) continue;
    ACCRETE_TRY([[maybe_unused]] const bool ready, stream::wait(items, patience(now(), deadline)));
  }
  return unanswered(options.predictions.address, options.stall_timeout);
}

Status Subscriber::Parts::locate(std::optional<std::uint64_t> from, bool resume) {
  page = 0;
  snapshot_rows.clear();
  snapshot_wanted = false;
  ended.reset();
  ACCRETE_TRY(const wire::End end, find_end());
  const std::uint64_t newest = end.next() - 1;
  if (from) {
    feed.begin(end.epoch(), std::max<std::uint64_t>(*from, 1) - 1);
  } else if (options.snapshot) {
    snapshot_wanted = true;
    feed.begin(end.epoch(), 0);
  } else if (resume && !options.name.empty()) {
    ACCRETE_DO(resume_named(end));
  } else {
    feed.begin(end.epoch(), newest);
  }
  feed.require(newest);
  return Ok{};
}

Status Subscriber::Parts::resume_named(const wire::End& end) {
  wire::ToReplay question;
  question.mutable_query()->set_name(options.name);
  ACCRETE_TRY(const wire::FromReplay found, call(question));
  const wire::SubscriberPosition& position = found.position();
  if (position.epoch() != 0) {
    // Another epoch shows with the first page: the daemon answers Gone.
    feed.begin(position.epoch(), position.seq());
    return Ok{};
  }
  // New here: from now on, and the daemon remembers it even if we never acknowledge anything.
  feed.begin(end.epoch(), end.next() - 1);
  question.mutable_ack()->set_name(options.name);
  question.mutable_ack()->set_epoch(end.epoch());
  question.mutable_ack()->set_seq(end.next() - 1);
  ACCRETE_TRY([[maybe_unused]] const auto stored, call(question));
  return Ok{};
}

/// Where the daemon is: a page from beyond the end is just its End.
Result<wire::End> Subscriber::Parts::find_end() {
  wire::ToReplay question;
  question.mutable_replay()->set_from(kBeyondEnd);
  ACCRETE_TRY(const wire::FromReplay found, call(question));
  if (found.has_end() && found.end().next() > 0) return found.end();
  return Error{Errc::Malformed, options.replay.address + " does not answer as a replay socket"};
}

/// Ask and wait. Questions may safely be asked twice, so a lost one is sent again.
Result<wire::FromReplay> Subscriber::Parts::call(wire::ToReplay& question) {
  const Instant deadline = now() + options.stall_timeout;
  call_answer.reset();
  while (now() < deadline) {
    question.set_request(call_number = ++numbered);
    const Status sent = replay->send(question.SerializeAsString());
    if (!sent && sent.error().code != Errc::Exhausted) return sent.error();
    const Instant attempt = std::min(deadline, now() + kAttempt);
    std::array<Waiting, 1> items{};
    items[0].socket = &*replay;
    while (now() < attempt) {
      ACCRETE_DO(read_replay(std::numeric_limits<std::size_t>::max()));
      if (call_answer) {
        call_number = 0;
        if (call_answer->has_fault()) return error_of(call_answer->fault());
        return std::move(*call_answer);
      }
      ACCRETE_TRY([[maybe_unused]] const bool ready, stream::wait(items, patience(now(), attempt)));
    }
  }
  call_number = 0;
  return unanswered(options.replay.address, options.stall_timeout);
}

// ---- receiving --------------------------------------------------------------------------------

Status Subscriber::Parts::turn() {
  ACCRETE_DO(read_live());
  ACCRETE_DO(read_replay(kReadyLow));
  if (page == 0 && !ended && (snapshot_wanted || feed.needs_replay()) && feed.ready() < kReadyLow &&
      now() >= page_pause) {
    return ask_page();
  }
  return Ok{};
}

Status Subscriber::Parts::read_live() {
  bool any = false;
  for (std::size_t i = 0; i < kLivePerTurn && !ended; ++i) {
    ACCRETE_TRY(const bool received, predictions->receive(frames));
    if (!received) break;
    any = true;
    ACCRETE_DO(on_live());
  }
  if (any) heard = now();
  return Ok{};
}

Status Subscriber::Parts::on_live() {
  const std::string_view topic = frames.front().view();
  if (topic == kWelcomeTopic) {
    // The daemon is new at this connection: what we had asked its predecessor is lost.
    page = 0;
    snapshot_rows.clear();
    return Ok{};
  }
  if (frames.size() < 3 || topic.substr(0, kJsonTopics.size()) == kJsonTopics) return Ok{};
  ACCRETE_TRY(const PredictionHeader header, PredictionHeader::decode(frames[1].view()));
  std::optional<std::uint64_t> link;
  if (frames.size() > 3) link = find_link(frames[3].view(), options.topic.size());
  if ((header.flags & PredictionHeader::flag_progress) == 0) {
    if (link) linked = heard;
    return keep(
        feed.live(Delivered{std::string(topic), header, std::string(frames[2].view())}, link));
  }
  if (topic == chain) {
    if (link) linked = now();
    return keep(feed.progress(header, link));
  }
  if (topic != kProgressTopic) return Ok{};
  ACCRETE_DO(keep(feed.progress(header, std::nullopt)));
  if (feed.newest() > feed.complete() && now() - linked > kVerifyAfter) {
    // Our prefix is not tracked (Subscriptions::prefixes_max): replay tells.
    linked = now();
    feed.require(feed.newest());
  }
  return Ok{};
}

/// Stops once `ready_max` are ready: what is not read holds the daemon back.
Status Subscriber::Parts::read_replay(std::size_t ready_max) {
  while (feed.ready() < ready_max) {
    ACCRETE_TRY(const bool received, replay->receive(frames));
    if (!received) break;
    const std::string_view bytes = frames.back().view();
    if (!answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return Error{Errc::Malformed, options.replay.address + " does not answer as a replay socket"};
    }
    if (answer.request() == call_number && call_number != 0) {
      call_answer.emplace().Swap(&answer);
    } else if (answer.request() == page && page != 0) {
      ACCRETE_DO(on_page());
    }
  }
  return Ok{};
}

Status Subscriber::Parts::on_page() {
  page_heard = now();
  switch (answer.body_case()) {
    case wire::FromReplay::kRows:
      return on_rows();
    case wire::FromReplay::kEnd:
      page = 0;
      if (snapshot_wanted) {
        snapshot_wanted = false;
        const Status merged =
            feed.snapshot(answer.end().epoch(), std::move(snapshot_rows), answer.end().next() - 1);
        snapshot_rows.clear();
        ACCRETE_DO(keep(merged));
      } else {
        ACCRETE_DO(keep(feed.page_end(answer.end().epoch(), answer.end().next())));
        if (feed.complete() + 1 <= page_from) page_pause = page_heard + kRetry;
      }
      if (!ended && feed.needs_replay() && feed.ready() < kReadyLow && page_pause <= page_heard) {
        return ask_page();
      }
      return Ok{};
    case wire::FromReplay::kGone:
      page = 0;
      on_gone(answer.gone());
      return Ok{};
    case wire::FromReplay::kFault:
      page = 0;
      page_pause = page_heard + kRetry;
      return error_of(answer.fault());
    default:
      return Error{Errc::Malformed, options.replay.address + " does not answer as a replay socket"};
  }
}

Status Subscriber::Parts::on_rows() {
  for (wire::TopicPrediction& row : *answer.mutable_rows()->mutable_predictions()) {
    ACCRETE_TRY(const PredictionHeader header, PredictionHeader::decode(row.header()));
    Delivered delivered{std::move(*row.mutable_topic()), header, std::move(*row.mutable_payload())};
    if (snapshot_wanted) {
      snapshot_rows.push_back(std::move(delivered));
    } else {
      ACCRETE_DO(keep(feed.replayed(std::move(delivered))));
    }
  }
  return Ok{};
}

void Subscriber::Parts::on_gone(const wire::Gone& gone) {
  if (feed.epoch() != gone.epoch()) {
    ended = Error{Errc::Gap, "new epoch " + std::to_string(gone.epoch()) +
                                 ": the daemon began its numbers again (ours was epoch " +
                                 std::to_string(feed.epoch()) + "); call restart()"};
    return;
  }
  ended = Error{Errc::NotFound, "GONE: number " + std::to_string(page_from) +
                                    " was pruned; the oldest is " + std::to_string(gone.oldest()) +
                                    "; call restart(" + std::to_string(gone.oldest()) +
                                    ") to go on there"};
}

Status Subscriber::Parts::ask_page() {
  wire::ToReplay question;
  question.set_request(++numbered);
  page_from = feed.complete() + 1;
  if (snapshot_wanted) {
    snapshot_rows.clear();
    question.mutable_snapshot()->set_topic(options.topic);
  } else {
    question.mutable_replay()->set_epoch(feed.epoch());
    question.mutable_replay()->set_from(page_from);
    question.mutable_replay()->set_topic(options.topic);
  }
  Status sent = replay->send(question.SerializeAsString());
  page_heard = now();
  if (sent) {
    page = numbered;
    return Ok{};
  }
  if (sent.error().code != Errc::Exhausted) return sent;
  page_pause = page_heard + kRetry;  // not connected at present
  return Ok{};
}

/// Silence on either socket for too long: connect anew and go on from what is complete.
Status Subscriber::Parts::keep_alive(Instant at) {
  const bool silent = at - heard > options.stall_timeout;
  const bool unserved = page != 0 && at - page_heard > options.stall_timeout;
  if (!silent && !unserved) return Ok{};
  ++counters.reconnects;
  return connect();
}

milliseconds Subscriber::Parts::patience(Instant at, Instant deadline) const {
  Instant until = std::min(deadline, heard + options.stall_timeout);
  if (page != 0) {
    until = std::min(until, page_heard + options.stall_timeout);
  } else if (page_pause > at) {
    until = std::min(until, page_pause);
  }
  const auto left = std::chrono::duration_cast<milliseconds>(until - at) + milliseconds(1);
  return std::max(left, milliseconds(1));
}

/// What ends the stream is told once everything before it was handed out.
Status Subscriber::Parts::keep(Status merged) {
  if (!merged && merged.error().code == Errc::Gap) {
    ended = merged.error();
    return Ok{};
  }
  return merged;
}

}  // namespace accrete::stream
