// The other ends: a producer that never loses or repeats a row, a subscriber that never misses or
// repeats a prediction, an operator that asks. A small library others can link.
//
// Threads: each object belongs to the thread that made it. Errors carry the daemon's own words.
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

#include "proto/codec.h"
#include "proto/prediction.h"
#include "proto/result.h"
#include "stream/endpoint.h"

namespace accrete::stream {

struct ProducerOptions {
  EndpointOptions endpoint;
  std::string name = "producer";
  std::string source;            ///< whose positions these are
  std::size_t batch_rows = 256;  ///< rows a message
  std::size_t batch_bytes = 256u << 10;
  std::chrono::milliseconds reply_timeout{10'000};  ///< without any answer: reconnect and resume
  std::chrono::milliseconds give_up_after{120'000};
  /// Told once when the daemon has been away for tell_after, with its address and why; and with ""
  /// when it is back. Called from within the producer's own calls; none: nothing is told.
  std::function<void(const std::string& away)> on_away;
  std::chrono::milliseconds tell_after{5'000};
};

class Producer {
 public:
  /// Connect and say HELLO; on return durable_position() is where to resume: send only transactions
  /// with greater positions. Errors: Unavailable after give_up_after; Malformed if refused.
  static Result<std::unique_ptr<Producer>> open(const ProducerOptions& options);
  ~Producer();

  std::uint64_t durable_position() const;

  /// Queue one whole transaction (serialized records). Blocks while credit is used up, sends full
  /// batches, resends after a reconnect. Errors: Unavailable (gave up), Exhausted, Malformed only
  /// when the stream as a whole is refused.
  Status send(std::uint64_t position, std::span<const std::string_view> records);

  /// Send what is queued without waiting for acknowledgement.
  Status push();
  /// Take the acknowledgements that have come, without waiting; when none is due any more, push().
  /// Called often, batches grow with the time that the daemon takes for one, and none waits for a
  /// full one while the daemon has nothing to do. Errors: as send().
  Status advance();
  /// Everything sent is durable.
  bool idle() const;
  /// Send what is queued and wait until all of it is durable.
  Status flush();
  /// Flush and say BYE.
  Status close();

  struct Counters {
    std::uint64_t rows = 0, batches = 0, acknowledged = 0, resent = 0, rejected = 0, reconnects = 0;
  };
  const Counters& counters() const;
  /// Faults that set a transaction aside (dead letters), since the last call.
  std::vector<std::string> take_faults();

 private:
  struct Parts;
  explicit Producer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct SubscriberOptions {
  EndpointOptions predictions;
  EndpointOptions replay;
  std::string topic = "pred/";  ///< prefix; `pred/<task>/` for one task
  /// Named subscribers keep their place at the daemon. A name it does not know begins live, and
  /// from then on has that place.
  std::string name;
  std::optional<std::uint64_t> from;  ///< first number wanted; unset: named -> resume, else live
  bool snapshot = false;  ///< without `from`: first the last value of every key, then live
  std::chrono::milliseconds stall_timeout{15'000};  ///< no progress frame for so long: reconnect
};

/// One prediction as delivered: each number at most once, in order, none left out.
struct Delivered {
  std::string topic;
  PredictionHeader header;
  std::string payload;  ///< serialized wire.Prediction
};

/// How nothing is missed: numbers are global, so a filtered stream has holes, and ZeroMQ drops
/// silently when a subscriber is slow. Each prediction therefore carries links (stream/chain.h):
/// "under your prefix there is no number between `previous` and me". Who is complete up to
/// `previous` takes it; else the numbers in between are replayed, while live ones wait in a
/// bounded buffer. The daemon repeats the newest link on a timer, which shows loss at the end of a
/// burst and lets complete() pass over other topics' numbers. A prefix that the daemon does not
/// track (its bounds: stream/subscriptions.h) is verified by replay alone: slower, as complete.
class Subscriber {
 public:
  /// Subscribes first, waits for the daemon's welcome, then asks for the past and merges. Never
  /// sleeps.
  /// Errors: Malformed (a `json/` topic, a name too long, keys), Unavailable after stall_timeout.
  static Result<std::unique_ptr<Subscriber>> open(const SubscriberOptions& options);
  ~Subscriber();

  /// The next prediction; nullopt when `timeout` passes. Errors: NotFound when numbers were pruned
  /// ("GONE: oldest is N"), Gap when the daemon began a new epoch; both stand until restart().
  /// The daemon's own fault when it cannot read its log; the next call asks again. A daemon that
  /// is away is no error: we connect anew after every stall_timeout and go on where we were.
  /// Cost: a move while predictions are ready; else one turn of both sockets.
  Result<std::optional<Delivered>> next(std::chrono::milliseconds timeout);

  /// For a named subscriber: everything up to `seq` is done. On return the daemon has stored it.
  /// Errors: Malformed (no name; a number not yet made), Gap (new epoch), Unavailable after
  /// stall_timeout. Cost: one round trip.
  Status acknowledge(PredictionSeq seq);
  /// Newest number the daemon has spoken of (from progress frames).
  PredictionSeq newest() const;
  /// Every number of the topic up to this one was received; once next() has handed them out, this
  /// may be acknowledged even where it belongs to another topic.
  PredictionSeq complete() const;
  std::uint64_t epoch() const;
  /// Begin again at `from` in the daemon's present epoch.
  Status restart(std::uint64_t from);

  struct Counters {
    std::uint64_t live = 0, replayed = 0, duplicates_dropped = 0, gaps = 0, reconnects = 0;
  };
  const Counters& counters() const;

 private:
  struct Parts;
  explicit Subscriber(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// What is told on the prediction socket besides predictions.
enum class Told : std::uint8_t { Drift, Experts };

struct AlarmSubscriberOptions {
  EndpointOptions predictions;
  Told told = Told::Drift;
  std::string task;  ///< only this one; "" = every task
  std::chrono::milliseconds welcome_timeout{15'000};
};

/// Alarms of drift or news of experts, live. They have no numbers and no replay: what was told
/// while nobody listened is in the daemon's status. After a crash of the daemon one may come again,
/// under the same task, detector and count.
class AlarmSubscriber {
 public:
  /// Subscribes and waits for the daemon's welcome: what is told from then on is not missed while
  /// it is connected. Errors: Malformed (keys), Unavailable after welcome_timeout.
  static Result<std::unique_ptr<AlarmSubscriber>> open(const AlarmSubscriberOptions& options);
  ~AlarmSubscriber();

  /// The next one (payload: a serialized wire.DriftAlarm or wire.ExpertNews); nullopt when
  /// `timeout` passes. A daemon that goes and comes back is found again. Errors: Malformed (no
  /// header), Unavailable.
  Result<std::optional<Delivered>> next(std::chrono::milliseconds timeout);

 private:
  struct Parts;
  explicit AlarmSubscriber(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// Ask one question on the control socket: a serialized wire.ToControl in, wire.FromControl out.
/// Errors: Unavailable on time-out (says which address), and the daemon's own Fault as its code.
Result<std::string> ask_control(const EndpointOptions& endpoint, std::string_view question,
                                std::chrono::milliseconds timeout);

}  // namespace accrete::stream
