// One thread, three sockets, two mailboxes: publishing goes first, the past and questions between.
#include "stream/publish_server.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <utility>

#include <zmq.h>

#include "proto/drift_alarm.h"
#include "proto/expert_news.h"
#include "stream/control_desk.h"
#include "stream/replay_service.h"
#include "stream/socket.h"
#include "stream/subscriptions.h"

namespace accrete::stream {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBatchesPerTurn = 64;  // then the other sockets get a look
constexpr std::size_t kReplaysPerTurn = 16;  // publishing happens between any two of them
constexpr std::size_t kQuestionsPerTurn = 64;
constexpr std::size_t kEventsPerTurn = 100'000;  // subscriptions; a client may send many at once
constexpr milliseconds kBacklogRetry{2};      // ZeroMQ does not say when one peer's pipe has room
constexpr milliseconds kControlLinger{1000};  // the answer to "drain" leaves before we do

}  // namespace

struct PublishServer::Parts {
  Parts(Socket predictions_socket, Socket replay_socket, Socket control_socket,
        const PublishOptions& with, Mailbox<OutgoingBatch>& mail,
        Mailbox<ControlAnswer>& answers_mail, ReplaySource& past,
        std::function<bool(ControlQuestion)> ask)
      : options(with),
        outgoing(mail),
        answers(answers_mail),
        source(past),
        predictions(std::move(predictions_socket)),
        replay(std::move(replay_socket)),
        control(std::move(control_socket)),
        service(past, with.replay_rows_max),
        desk(std::move(ask), with.control_open_max) {}

  const PublishOptions options;
  Mailbox<OutgoingBatch>& outgoing;
  Mailbox<ControlAnswer>& answers;
  ReplaySource& source;
  Socket predictions;
  Socket replay;
  Socket control;
  ReplayService service;
  ControlDesk desk;
  Subscriptions subscriptions;
  PublishCounters counters;
  PredictionHeader progress;  ///< of the newest batch
  Instant progress_due{};
  // Answers that wait for room in their peer's pipe, per peer and in order.
  std::map<std::string, std::deque<std::string>, std::less<>> backlog;
  std::size_t backlog_bytes = 0;
  std::vector<Frame> frames;  // reused, as are the two below
  std::vector<std::string> replies;
  std::string links;

  Status wait_for_work(milliseconds timeout);
  Status read_subscriptions();
  Status publish_mail();
  Status publish(OutgoingBatch& batch);
  Status publish_one(const Outgoing& row);
  Status send_progress();
  Status announce_when_due();
  Status send_control_answers();
  Status serve_replay();
  Status serve_control();
  Status reply(std::string_view peer);
  Result<bool> reply_one(std::string_view peer, std::string answer);
  Status flush_backlog();
  Status tolerate(Status sent);
};

Result<std::unique_ptr<PublishServer>> PublishServer::open(
    void* zmq_context, const PublishOptions& options, Mailbox<OutgoingBatch>& outgoing,
    Mailbox<ControlAnswer>& answers, ReplaySource& source,
    std::function<bool(ControlQuestion)> ask) {
  ACCRETE_TRY(Socket predictions,
              Socket::create(zmq_context, SocketKind::Xpub, options.predictions));
  if (zmq_setsockopt(predictions.handle(), ZMQ_XPUB_WELCOME_MSG, kWelcomeTopic.data(),
                     kWelcomeTopic.size()) != 0) {
    return Error{Errc::Unavailable, std::string("welcome message: ") + zmq_strerror(zmq_errno())};
  }
  ACCRETE_DO(predictions.bind());
  ACCRETE_TRY(Socket replay, Socket::bind(zmq_context, SocketKind::Router, options.replay));
  ACCRETE_TRY(Socket control, Socket::create(zmq_context, SocketKind::Router, options.control));
  ACCRETE_DO(control.set_linger(kControlLinger));
  ACCRETE_DO(control.bind());
  auto parts =
      std::make_unique<Parts>(std::move(predictions), std::move(replay), std::move(control),
                              options, outgoing, answers, source, std::move(ask));
  parts->progress.epoch = source.epoch();
  parts->progress.seq = source.end();
  parts->subscriptions.note_newest(source.end());
  return std::unique_ptr<PublishServer>(new PublishServer(std::move(parts)));
}

PublishServer::PublishServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PublishServer::~PublishServer() = default;

Result<bool> PublishServer::poll(milliseconds timeout) {
  Parts& parts = *parts_;
  ACCRETE_DO(parts.wait_for_work(timeout));
  ACCRETE_DO(parts.publish_mail());
  ACCRETE_DO(parts.send_control_answers());
  ACCRETE_DO(parts.serve_replay());
  ACCRETE_DO(parts.serve_control());
  ACCRETE_DO(parts.flush_backlog());
  ACCRETE_DO(parts.announce_when_due());
  parts.counters.replayed = parts.service.counters().replayed;
  parts.counters.snapshots = parts.service.counters().snapshots;
  parts.counters.faults = parts.service.counters().faults + parts.desk.faults();
  parts.counters.questions = parts.desk.questions();
  return !parts.outgoing.closed();
}

const PublishCounters& PublishServer::counters() const {
  return parts_->counters;
}
std::string PublishServer::predictions_address() const {
  return parts_->predictions.bound_address();
}
std::string PublishServer::replay_address() const {
  return parts_->replay.bound_address();
}
std::string PublishServer::control_address() const {
  return parts_->control.bound_address();
}

Status PublishServer::Parts::wait_for_work(milliseconds timeout) {
  const auto until_progress =
      std::chrono::duration_cast<milliseconds>(progress_due - now()) + milliseconds(1);
  timeout = std::clamp(until_progress, milliseconds(0), std::max(timeout, milliseconds(0)));
  if (!backlog.empty()) timeout = std::min(timeout, kBacklogRetry);
  std::array<Waiting, 5> items{};
  items[0].socket = &predictions;
  items[1].socket = &replay;
  items[2].socket = &control;
  items[3].fd = outgoing.fd();
  items[4].fd = answers.fd();
  // A closed mailbox stays readable for ever.
  const std::size_t count = answers.closed() ? 4 : 5;
  ACCRETE_TRY([[maybe_unused]] const bool ready,
              stream::wait(std::span(items).first(count), timeout));
  return Ok{};
}

Status PublishServer::Parts::read_subscriptions() {
  for (std::size_t i = 0; i < kEventsPerTurn; ++i) {
    ACCRETE_TRY(const bool received, predictions.receive(frames));
    if (!received) break;
    if (frames.empty()) continue;
    ++counters.subscriptions;
    subscriptions.note(frames.front().view());
  }
  return Ok{};
}

Status PublishServer::Parts::publish_mail() {
  ACCRETE_DO(read_subscriptions());
  bool published = false;
  for (std::size_t i = 0; i < kBatchesPerTurn; ++i) {
    std::optional<OutgoingBatch> batch = outgoing.try_receive();
    if (!batch) break;
    ACCRETE_DO(publish(*batch));
    published = true;
  }
  if (published && outgoing.size() == 0) return send_progress();
  return Ok{};
}

Status PublishServer::Parts::publish(OutgoingBatch& batch) {
  if (batch.epoch != progress.epoch) subscriptions.forget_numbers();
  for (const Outgoing& row : batch.predictions)
    ACCRETE_DO(publish_one(row));
  subscriptions.note_newest(batch.progress.seq);
  progress = batch.progress;
  progress.epoch = batch.epoch;
  return Ok{};
}

Status PublishServer::Parts::publish_one(const Outgoing& row) {
  const auto header = row.header.encode();
  const std::string_view header_frame(header.data(), header.size());
  const bool alarm = (row.header.flags & PredictionHeader::flag_alarm) != 0;
  const bool news = (row.header.flags & PredictionHeader::flag_experts) != 0;
  links.clear();  // alarms and news have no number, so there is nothing to link
  if (!alarm && !news) subscriptions.publish(row.topic, row.header.seq, links);
  const std::array<std::string_view, 4> message{row.topic, header_frame, row.payload, links};
  ACCRETE_DO(tolerate(predictions.send(message)));
  ++(alarm ? counters.alarms : news ? counters.expert_news : counters.published);
  if (!subscriptions.json_wanted()) return Ok{};
  const auto json = alarm  ? drift_alarm_json(row.payload)
                    : news ? expert_news_json(row.payload)
                           : prediction_json(row.payload);
  if (!json) {
    ++counters.dropped;
    return Ok{};
  }
  const std::string topic = std::string(kJsonTopics) + row.topic;
  const std::array<std::string_view, 3> text{topic, header_frame, json.value()};
  ACCRETE_DO(tolerate(predictions.send(text)));
  ++counters.json_published;
  return Ok{};
}

Status PublishServer::Parts::send_progress() {
  progress.flags = PredictionHeader::flag_progress;
  progress.seq = subscriptions.newest();
  const auto header = progress.encode();
  const std::array<std::string_view, 3> message{
      kProgressTopic, std::string_view(header.data(), header.size()), std::string_view{}};
  return tolerate(predictions.send(message));
}

Status PublishServer::Parts::announce_when_due() {
  const Instant at = now();
  if (at < progress_due) return Ok{};
  progress_due = at + options.progress_interval;
  ACCRETE_DO(send_progress());
  const auto header = progress.encode();
  Status result = Ok{};
  subscriptions.announce([&](std::string_view topic, std::string_view chain) {
    if (!result) return;
    const std::array<std::string_view, 4> message{
        topic, std::string_view(header.data(), header.size()), std::string_view{}, chain};
    result = tolerate(predictions.send(message));
  });
  return result;
}

Status PublishServer::Parts::send_control_answers() {
  while (std::optional<ControlAnswer> answer = answers.try_receive()) {
    desk.answered(answer->peer);
    const std::array<std::string_view, 2> message{answer->peer, answer->bytes};
    ACCRETE_DO(tolerate(control.send(message)));
  }
  return Ok{};
}

Status PublishServer::Parts::serve_replay() {
  for (std::size_t i = 0; i < kReplaysPerTurn; ++i) {
    ACCRETE_TRY(const bool received, replay.receive(frames));
    if (!received) break;
    if (frames.size() < 2) continue;  // a peer that sends only its name has nothing to ask
    replies.clear();
    const std::string peer(frames.front().view());
    service.handle(frames.back().view(), replies);
    ACCRETE_DO(reply(peer));
    ACCRETE_DO(publish_mail());
  }
  return Ok{};
}

Status PublishServer::Parts::serve_control() {
  for (std::size_t i = 0; i < kQuestionsPerTurn; ++i) {
    ACCRETE_TRY(const bool received, control.receive(frames));
    if (!received) break;
    if (frames.size() < 2) continue;
    const std::string peer(frames.front().view());
    if (const auto refusal = desk.handle(peer, frames.back().view())) {
      const std::array<std::string_view, 2> message{peer, *refusal};
      ACCRETE_DO(tolerate(control.send(message)));
    }
  }
  return Ok{};
}

/// The messages of one answer, in order, up to the first that is dropped: behind it an end, which
/// is small and might fit, would say that the rows before it have come. The peer sees an answer
/// without its end, runs into its time-out and asks again.
Status PublishServer::Parts::reply(std::string_view peer) {
  for (std::string& answer : replies) {
    ACCRETE_TRY(const bool kept, reply_one(peer, std::move(answer)));
    if (!kept) break;
  }
  return Ok{};
}

/// Whether it was sent or waits to be.
Result<bool> PublishServer::Parts::reply_one(std::string_view peer, std::string answer) {
  if (backlog.find(peer) == backlog.end()) {
    const std::array<std::string_view, 2> message{peer, answer};
    const Status sent = replay.send(message);
    if (sent) return true;
    if (sent.error().code != Errc::Exhausted) {
      ACCRETE_DO(tolerate(sent));
      return false;
    }
  }
  if (backlog_bytes + answer.size() > options.backlog_bytes_max) {
    ++counters.dropped;
    return false;
  }
  backlog_bytes += answer.size();
  backlog[std::string(peer)].push_back(std::move(answer));
  return true;
}

Status PublishServer::Parts::flush_backlog() {
  for (auto waiting = backlog.begin(); waiting != backlog.end();) {
    std::deque<std::string>& queue = waiting->second;
    bool gone = false;
    while (!queue.empty() && !gone) {
      const std::array<std::string_view, 2> message{waiting->first, queue.front()};
      const Status sent = replay.send(message);
      if (!sent && sent.error().code == Errc::Exhausted) break;
      gone = !sent;
      ACCRETE_DO(tolerate(sent));
      backlog_bytes -= queue.front().size();
      queue.pop_front();
    }
    if (gone) {
      for (const std::string& answer : queue)
        backlog_bytes -= answer.size();
      counters.dropped += queue.size();
      queue.clear();
    }
    waiting = queue.empty() ? backlog.erase(waiting) : std::next(waiting);
  }
  return Ok{};
}

/// A peer that has gone or does not read is its own trouble: counted. Anything else ends the
/// thread.
Status PublishServer::Parts::tolerate(Status sent) {
  if (sent) return sent;
  if (sent.error().code == Errc::Unavailable) return sent;
  ++counters.dropped;
  return Ok{};
}

}  // namespace accrete::stream
