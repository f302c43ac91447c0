// The daemon's outward side: predictions on an XPUB socket, the past on a replay ROUTER, questions
// on a control ROUTER. One thread owns all three; what it serves comes through interfaces.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/prediction.h"
#include "proto/result.h"
#include "stream/endpoint.h"
#include "stream/mailbox.h"

namespace accrete::stream {

/// What is published: topic, header frame, payload frame.
struct Outgoing {
  std::string topic;
  PredictionHeader header;
  std::string payload;
};
/// Predictions of one drain of the fold, in sequence order, already in the prediction log; or an
/// alarm (proto/drift_alarm.h; its header says so); or, with neither, only news for the progress
/// frame.
struct OutgoingBatch {
  std::vector<Outgoing> predictions;
  PredictionHeader progress;  ///< flag_progress; newest seq, watermark, ordinal
  std::uint64_t epoch = 1;
};

/// The past, as the replay socket serves it. Called on the publish thread.
class ReplaySource {
 public:
  virtual ~ReplaySource() = default;
  virtual std::uint64_t epoch() = 0;
  virtual PredictionSeq oldest() = 0;  ///< oldest retained number; end() + 1 when empty
  virtual PredictionSeq end() = 0;     ///< newest number; 0 = none
  /// Predictions with numbers in [from, …), at most `max`, whose topic has the prefix; sets `next`.
  virtual Status read(PredictionSeq from, std::size_t max, std::string_view topic,
                      std::vector<Outgoing>& out, PredictionSeq& next) = 0;
  /// Newest value of every topic with the prefix; returns the number it is as of.
  virtual Result<PredictionSeq> snapshot(std::string_view topic,
                                         const std::function<bool(const Outgoing&)>& visit) = 0;
  virtual Status acknowledge(std::string_view name, std::uint64_t epoch, PredictionSeq seq) = 0;
  /// Last acknowledged number of a named subscriber: {epoch, seq}; {0, 0} if unknown.
  virtual Result<std::pair<std::uint64_t, PredictionSeq>> subscriber(std::string_view name) = 0;
};

/// A question from the control socket on its way to whoever can answer.
struct ControlQuestion {
  std::string peer;   ///< routing id; opaque
  std::string bytes;  ///< serialized wire.ToControl, checked to parse
};
struct ControlAnswer {
  std::string peer;
  std::string bytes;  ///< serialized wire.FromControl
};

struct PublishOptions {
  EndpointOptions predictions;
  EndpointOptions replay;
  EndpointOptions control;
  std::chrono::milliseconds progress_interval{1000};
  std::size_t replay_rows_max =
      8192;  ///< predictions of one REPLAY answer (split into messages of 512)
  std::size_t control_open_max = 256;  ///< questions waiting for an answer
  /// Answers that full pipes do not take yet, of all peers; what comes on top is dropped.
  std::size_t backlog_bytes_max = 512u << 20;
};

/// `dropped`: answers to peers that had gone or read too slowly, and payloads that are no JSON.
/// What ZeroMQ drops on the prediction socket it does not tell; the subscribers see it and replay.
struct PublishCounters {
  std::uint64_t published = 0, alarms = 0, expert_news = 0, json_published = 0, replayed = 0,
                snapshots = 0, faults = 0, subscriptions = 0, questions = 0, dropped = 0;
};

/// Message on the prediction socket: [topic][header][payload][links], where links say which number
/// came before under each tracked prefix (stream/chain.h). JSON goes out as [json/topic][header]
/// [document] while at least one subscription begins with `json/` or is a beginning of it; the
/// empty subscription alone gets only binary.
class PublishServer {
 public:
  /// Binds all three. Questions go to `ask` (return false when it cannot take more: the peer is
  /// told Exhausted; what was taken must be answered, however late); answers come back through
  /// `answers`. Json topics are `json/` + topic.
  static Result<std::unique_ptr<PublishServer>> open(void* zmq_context,
                                                     const PublishOptions& options,
                                                     Mailbox<OutgoingBatch>& outgoing,
                                                     Mailbox<ControlAnswer>& answers,
                                                     ReplaySource& source,
                                                     std::function<bool(ControlQuestion)> ask);
  ~PublishServer();

  /// One turn: wait for mail or a frame up to `timeout`, serve all that is there. Returns false
  /// when `outgoing` is closed and drained. Errors: only what ends the thread.
  Result<bool> poll(std::chrono::milliseconds timeout);

  const PublishCounters& counters() const;
  std::string predictions_address() const;
  std::string replay_address() const;
  std::string control_address() const;

 private:
  struct Parts;
  explicit PublishServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::stream
