// Snapshots, replay pages and the places of named subscribers.
#include "stream/replay_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <stream.pb.h>

#include "proto/limits.h"
#include "stream/chain.h"

namespace accrete::stream {

struct ReplayService::Parts {
  Parts(ReplaySource& from, std::size_t page_rows) : source(from), rows_max(page_rows) {}

  ReplaySource& source;
  const std::size_t rows_max;
  Counters counters;
  // Reused from request to request: their buffers have grown to what requests need.
  wire::ToReplay request;
  wire::FromReplay answer;
  std::vector<Outgoing> rows;
  std::size_t message_bytes = 0;  ///< of the Rows message being filled
  std::size_t answer_bytes = 0;   ///< of the Rows messages sent for this request

  void dispatch(std::vector<std::string>& answers);
  void replay(const wire::ReplayRequest& wanted, std::vector<std::string>& answers);
  void snapshot(const wire::SnapshotRequest& wanted, std::vector<std::string>& answers);
  void acknowledge(const wire::SubscriberAck& ack, std::vector<std::string>& answers);
  void place(const std::string& name, std::vector<std::string>& answers);

  void add_row(Outgoing&& row, std::vector<std::string>& answers);
  void send(std::vector<std::string>& answers);
  void send_rows(std::vector<std::string>& answers);
  void send_end(PredictionSeq next, std::vector<std::string>& answers);
  void send_gone(std::vector<std::string>& answers);
  void send_fault(Errc code, std::string detail, std::vector<std::string>& answers);
  bool name_ok(const std::string& name, std::vector<std::string>& answers);
  bool topic_ok(const std::string& topic, std::vector<std::string>& answers);
};

ReplayService::ReplayService(ReplaySource& source, std::size_t rows_max)
    : parts_(std::make_unique<Parts>(source, std::max<std::size_t>(rows_max, 1))) {}
ReplayService::~ReplayService() = default;

const ReplayService::Counters& ReplayService::counters() const {
  return parts_->counters;
}

void ReplayService::handle(std::string_view frame, std::vector<std::string>& answers) {
  Parts& parts = *parts_;
  parts.answer.Clear();
  parts.message_bytes = parts.answer_bytes = 0;
  parts.request.Clear();
  if (!parts.request.ParseFromArray(frame.data(), static_cast<int>(frame.size()))) {
    parts.send_fault(Errc::Malformed,
                     "a frame of " + std::to_string(frame.size()) +
                         " bytes is not a ToReplay message (proto/stream.proto)",
                     answers);
    return;
  }
  parts.dispatch(answers);
}

void ReplayService::Parts::dispatch(std::vector<std::string>& answers) {
  switch (request.body_case()) {
    case wire::ToReplay::kReplay:
      return replay(request.replay(), answers);
    case wire::ToReplay::kSnapshot:
      return snapshot(request.snapshot(), answers);
    case wire::ToReplay::kAck:
      return acknowledge(request.ack(), answers);
    case wire::ToReplay::kQuery:
      if (name_ok(request.query().name(), answers)) place(request.query().name(), answers);
      return;
    case wire::ToReplay::BODY_NOT_SET:
      break;
  }
  send_fault(Errc::Malformed,
             "ToReplay without a body; send one of snapshot, replay, ack and query", answers);
}

void ReplayService::Parts::replay(const wire::ReplayRequest& wanted,
                                  std::vector<std::string>& answers) {
  if (!topic_ok(wanted.topic(), answers)) return;
  if (wanted.from() == 0) {
    return send_fault(Errc::Malformed, "replay from 0: numbers begin at 1", answers);
  }
  if (wanted.epoch() != 0 && wanted.epoch() != source.epoch()) return send_gone(answers);
  const PredictionSeq end = source.end();
  PredictionSeq next{wanted.from()};
  if (next > end) return send_end(PredictionSeq{end.value + 1}, answers);
  if (next < source.oldest()) return send_gone(answers);

  std::size_t left = wanted.max() == 0 ? rows_max : std::min<std::size_t>(wanted.max(), rows_max);
  while (left > 0 && next <= end && answer_bytes < answer_bytes_max) {
    rows.clear();
    const PredictionSeq from = next;
    const Status read =
        source.read(from, std::min(left, message_rows_max), wanted.topic(), rows, next);
    if (!read) {
      if (read.error().code == Errc::NotFound) return send_gone(answers);
      return send_fault(read.error().code, read.error().detail, answers);
    }
    left -= std::min(left, rows.size());
    counters.replayed += rows.size();
    for (Outgoing& row : rows)
      add_row(std::move(row), answers);
    send_rows(answers);
    if (next <= from) break;  // a source that does not move must not hold us
  }
  send_end(next, answers);
}

void ReplayService::Parts::snapshot(const wire::SnapshotRequest& wanted,
                                    std::vector<std::string>& answers) {
  if (!topic_ok(wanted.topic(), answers)) return;
  ++counters.snapshots;
  const std::size_t before = answers.size();
  bool fits = true;
  const auto as_of = source.snapshot(wanted.topic(), [&](const Outgoing& row) {
    add_row(Outgoing(row), answers);
    fits = answer_bytes <= snapshot_bytes_max;
    return fits;
  });
  if (!as_of || !fits) {
    answers.resize(before);
    answer.clear_rows();
    if (!as_of) return send_fault(as_of.error().code, as_of.error().detail, answers);
    return send_fault(Errc::Exhausted,
                      "the snapshot of \"" + wanted.topic() + "\" is larger than " +
                          std::to_string(snapshot_bytes_max >> 20) +
                          " MiB; ask for a longer topic prefix, or replay from the oldest number",
                      answers);
  }
  send_rows(answers);
  send_end(PredictionSeq{as_of.value().value + 1}, answers);
}

void ReplayService::Parts::acknowledge(const wire::SubscriberAck& ack,
                                       std::vector<std::string>& answers) {
  if (!name_ok(ack.name(), answers)) return;
  if (ack.epoch() != source.epoch()) {
    return send_fault(Errc::Gap,
                      "subscriber \"" + ack.name() + "\" acknowledges epoch " +
                          std::to_string(ack.epoch()) + ", but the daemon is in epoch " +
                          std::to_string(source.epoch()) + "; begin again there",
                      answers);
  }
  if (PredictionSeq{ack.seq()} > source.end()) {
    return send_fault(Errc::Malformed,
                      "subscriber \"" + ack.name() + "\" acknowledges " +
                          std::to_string(ack.seq()) + ", but the newest number is " +
                          std::to_string(source.end().value),
                      answers);
  }
  const Status stored = source.acknowledge(ack.name(), ack.epoch(), PredictionSeq{ack.seq()});
  if (!stored) return send_fault(stored.error().code, stored.error().detail, answers);
  place(ack.name(), answers);
}

void ReplayService::Parts::place(const std::string& name, std::vector<std::string>& answers) {
  const auto found = source.subscriber(name);
  if (!found) return send_fault(found.error().code, found.error().detail, answers);
  wire::SubscriberPosition* position = answer.mutable_position();
  position->set_name(name);
  position->set_epoch(found.value().first);
  position->set_seq(found.value().second.value);
  send(answers);
}

void ReplayService::Parts::add_row(Outgoing&& row, std::vector<std::string>& answers) {
  constexpr std::size_t framing = 16;  // tags and lengths of one TopicPrediction, at most
  const std::size_t bytes =
      row.topic.size() + PredictionHeader::bytes + row.payload.size() + framing;
  if (static_cast<std::size_t>(answer.rows().predictions_size()) >= message_rows_max ||
      (message_bytes > 0 && message_bytes + bytes > message_bytes_max)) {
    send_rows(answers);
  }
  row.header.flags |= PredictionHeader::flag_replayed;
  const auto header = row.header.encode();
  wire::TopicPrediction* out = answer.mutable_rows()->add_predictions();
  out->set_topic(std::move(row.topic));
  out->set_header(header.data(), header.size());
  out->set_payload(std::move(row.payload));
  message_bytes += bytes;
}

void ReplayService::Parts::send(std::vector<std::string>& answers) {
  answer.set_request(request.request());
  std::string& bytes = answers.emplace_back();
  answer.SerializeToString(&bytes);
}

void ReplayService::Parts::send_rows(std::vector<std::string>& answers) {
  if (message_bytes == 0) return;
  send(answers);
  answer_bytes += message_bytes;
  message_bytes = 0;
  answer.mutable_rows()->clear_predictions();  // keeps the elements for the next message
}

void ReplayService::Parts::send_end(PredictionSeq next, std::vector<std::string>& answers) {
  wire::End* end = answer.mutable_end();
  end->set_epoch(source.epoch());
  end->set_next(next.value);
  end->set_oldest(source.oldest().value);
  send(answers);
}

void ReplayService::Parts::send_gone(std::vector<std::string>& answers) {
  wire::Gone* gone = answer.mutable_gone();
  gone->set_epoch(source.epoch());
  gone->set_oldest(source.oldest().value);
  send(answers);
}

void ReplayService::Parts::send_fault(Errc code, std::string detail,
                                      std::vector<std::string>& answers) {
  ++counters.faults;
  wire::Fault* fault = answer.mutable_fault();
  fault->set_code(static_cast<wire::Fault::Code>(code));
  fault->set_detail(std::move(detail));
  send(answers);
}

bool ReplayService::Parts::name_ok(const std::string& name, std::vector<std::string>& answers) {
  if (!name.empty() && name.size() <= limits::name_bytes_max) return true;
  send_fault(Errc::Malformed,
             "a subscriber's name has 1 to " + std::to_string(limits::name_bytes_max) +
                 " bytes, not " + std::to_string(name.size()),
             answers);
  return false;
}

bool ReplayService::Parts::topic_ok(const std::string& topic, std::vector<std::string>& answers) {
  if (topic.size() <= kTopicBytesMax) return true;
  send_fault(Errc::Malformed,
             "a topic prefix has at most " + std::to_string(kTopicBytesMax) + " bytes, not " +
                 std::to_string(topic.size()),
             answers);
  return false;
}

}  // namespace accrete::stream
