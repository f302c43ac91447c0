// A publish server on its own thread over a prediction log in memory, for tests of both ends.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "proto/prediction.h"
#include "proto/value.h"
#include "stream/client.h"
#include "stream/publish_server.h"
#include "stream/socket.h"

namespace accrete::stream {

/// The prediction log: numbers oldest … end, all of one epoch. Threads: any.
class MemorySource : public ReplaySource {
 public:
  std::uint64_t epoch() override {
    const std::lock_guard lock(mutex_);
    return epoch_;
  }
  PredictionSeq oldest() override {
    const std::lock_guard lock(mutex_);
    return PredictionSeq{pruned_ + 1};
  }
  PredictionSeq end() override {
    const std::lock_guard lock(mutex_);
    return PredictionSeq{rows_.size()};
  }
  Status read(PredictionSeq from, std::size_t max, std::string_view topic,
              std::vector<Outgoing>& out, PredictionSeq& next) override {
    const std::lock_guard lock(mutex_);
    if (fail_reads_) return Error{Errc::Corruption, "block 7 does not match its checksum"};
    std::uint64_t seq = from.value;
    for (; seq <= rows_.size() && max > 0; ++seq) {
      const Outgoing& row = rows_[seq - 1];
      if (row.topic.compare(0, topic.size(), topic) != 0) continue;
      out.push_back(row);
      --max;
    }
    next = PredictionSeq{seq};
    return Ok{};
  }
  Result<PredictionSeq> snapshot(std::string_view topic,
                                 const std::function<bool(const Outgoing&)>& visit) override {
    const std::lock_guard lock(mutex_);
    std::map<std::string_view, const Outgoing*> newest;
    for (const Outgoing& row : rows_) {
      if (row.topic.compare(0, topic.size(), topic) == 0) newest[row.topic] = &row;
    }
    for (const auto& [name, row] : newest) {
      if (!visit(*row)) break;
    }
    return PredictionSeq{rows_.size()};
  }
  Status acknowledge(std::string_view name, std::uint64_t epoch, PredictionSeq seq) override {
    const std::lock_guard lock(mutex_);
    places_[std::string(name)] = {epoch, seq};
    return Ok{};
  }
  Result<std::pair<std::uint64_t, PredictionSeq>> subscriber(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(std::string(name));
    if (found == places_.end()) return std::pair<std::uint64_t, PredictionSeq>{};
    return found->second;
  }

  /// Make the next `count` predictions, spread over three tasks and 97 entities.
  std::vector<Outgoing> append(std::size_t count) {
    const std::lock_guard lock(mutex_);
    const std::size_t before = rows_.size();
    for (std::size_t i = 0; i < count; ++i)
      rows_.push_back(make(rows_.size() + 1));
    return {rows_.begin() + static_cast<std::ptrdiff_t>(before), rows_.end()};
  }
  void prune(std::uint64_t up_to) {
    const std::lock_guard lock(mutex_);
    pruned_ = up_to;
  }
  void begin_epoch(std::uint64_t epoch) {
    const std::lock_guard lock(mutex_);
    epoch_ = epoch;
    rows_.clear();
    pruned_ = 0;
  }
  void fail_reads() {
    const std::lock_guard lock(mutex_);
    fail_reads_ = true;
  }
  /// Numbers from `from` on whose topic has the prefix, by plain search.
  std::vector<std::uint64_t> numbers(std::string_view topic, std::uint64_t from = 1) {
    const std::lock_guard lock(mutex_);
    std::vector<std::uint64_t> found;
    for (std::uint64_t seq = from; seq <= rows_.size(); ++seq) {
      if (rows_[seq - 1].topic.compare(0, topic.size(), topic) == 0) found.push_back(seq);
    }
    return found;
  }

 private:
  Outgoing make(std::uint64_t seq) const {
    static constexpr std::array<std::string_view, 3> tasks{"churn", "late", "spend"};
    const std::uint64_t mixed = seq * 0x9E37'79B9'7F4A'7C15ull >> 33;
    std::string key;
    append_key(key, Value::of_integer(static_cast<std::int64_t>(mixed / 3 % 97)));
    Prediction prediction;
    prediction.seq = PredictionSeq{seq};
    prediction.task = tasks[mixed % 3];
    prediction.entity_key = key;
    prediction.as_of = TimeUs{static_cast<std::int64_t>(seq) * 1000};
    prediction.score = 0.25;
    prediction.ordinal = Ordinal{seq * 2};
    Outgoing out;
    out.topic = prediction_topic(prediction.task, key);
    out.header.epoch = epoch_;
    out.header.seq = prediction.seq;
    out.header.as_of = prediction.as_of;
    out.header.ordinal = prediction.ordinal;
    encode_prediction(prediction, out.payload);
    return out;
  }

  std::mutex mutex_;
  std::uint64_t epoch_ = 1;
  std::vector<Outgoing> rows_;
  std::uint64_t pruned_ = 0;
  bool fail_reads_ = false;
  std::map<std::string, std::pair<std::uint64_t, PredictionSeq>> places_;
};

/// The daemon's publish thread. Questions go to `questions`, which the test reads.
class Daemon {
 public:
  explicit Daemon(MemorySource& source, int high_water_mark = 1000,
                  std::size_t control_open_max = 4, std::size_t backlog_bytes_max = 512u << 20)
      : source_(source) {
    for (EndpointOptions* endpoint : {&options_.predictions, &options_.replay, &options_.control}) {
      endpoint->address = "tcp://127.0.0.1:*";
    }
    options_.predictions.high_water_mark = high_water_mark;
    options_.progress_interval = std::chrono::milliseconds(20);
    options_.control_open_max = control_open_max;
    options_.backlog_bytes_max = backlog_bytes_max;
    start();
  }
  ~Daemon() { stop(); }

  void start() {
    outgoing_ = std::make_unique<Mailbox<OutgoingBatch>>(64);
    answers_ = std::make_unique<Mailbox<ControlAnswer>>(64);
    // A context of its own: when it is gone, so are its listening ports.
    server_context_ = std::make_unique<Context>();
    auto server = PublishServer::open(
        server_context_->get(), options_, *outgoing_, *answers_, source_,
        [this](ControlQuestion question) { return questions.try_send(question); });
    ASSERT_TRUE(server) << server.error().detail;
    server_ = std::move(server).value();
    options_.predictions.address = server_->predictions_address();
    options_.replay.address = server_->replay_address();
    options_.control.address = server_->control_address();
    thread_ = std::thread([this] {
      for (;;) {
        const auto more = server_->poll(std::chrono::milliseconds(1000));
        ASSERT_TRUE(more) << more.error().detail;
        if (!more.value()) break;
      }
    });
  }
  /// Everything sent is published, then the thread ends; the same addresses serve start() again.
  void stop() {
    if (!thread_.joinable()) return;
    outgoing_->close();
    thread_.join();
    counters = server_->counters();
    server_.reset();
    server_context_.reset();
  }

  /// Everything sent is published, and nobody can hear it live any more.
  void flush() {
    stop();
    start();
  }

  void publish(std::size_t count, std::size_t batch_rows = 1000) {
    while (count > 0) {
      const std::size_t rows = std::min(count, batch_rows);
      send(source_.append(rows));
      count -= rows;
    }
  }
  void send(std::vector<Outgoing> rows) {
    OutgoingBatch batch;
    batch.epoch = source_.epoch();
    batch.progress.seq = rows.back().header.seq;
    batch.progress.as_of = rows.back().header.as_of;
    batch.predictions = std::move(rows);
    ASSERT_TRUE(outgoing_->send(std::move(batch)));
  }
  void answer(ControlAnswer answer) { ASSERT_TRUE(answers_->send(std::move(answer))); }

  SubscriberOptions subscriber(std::string topic = "pred/") const {
    SubscriberOptions options;
    options.predictions.address = options_.predictions.address;
    options.predictions.high_water_mark = options_.predictions.high_water_mark;
    options.replay.address = options_.replay.address;
    options.topic = std::move(topic);
    return options;
  }
  EndpointOptions control() const { return options_.control; }
  EndpointOptions predictions() const { return options_.predictions; }
  EndpointOptions replay() const { return options_.replay; }
  void* context() const { return client_context_.get(); }  ///< for sockets of the test

  Mailbox<ControlQuestion> questions{3};
  PublishCounters counters;  ///< of the last run, after stop()

 private:
  MemorySource& source_;
  Context client_context_;
  std::unique_ptr<Context> server_context_;
  PublishOptions options_;
  std::unique_ptr<Mailbox<OutgoingBatch>> outgoing_;
  std::unique_ptr<Mailbox<ControlAnswer>> answers_;
  std::unique_ptr<PublishServer> server_;
  std::thread thread_;
};

inline std::unique_ptr<Subscriber> open_subscriber(const SubscriberOptions& options) {
  auto subscriber = Subscriber::open(options);
  EXPECT_TRUE(subscriber) << subscriber.error().detail;
  return subscriber ? std::move(subscriber).value() : nullptr;
}

/// Take exactly `count`; their numbers. Stops at the first error or after half a minute of silence.
inline std::vector<std::uint64_t> take(Subscriber& subscriber, std::size_t count) {
  std::vector<std::uint64_t> numbers;
  while (numbers.size() < count) {
    auto next = subscriber.next(std::chrono::seconds(30));
    if (!next || !next.value()) {
      ADD_FAILURE() << "after " << numbers.size() << " of " << count << ": "
                    << (next ? "silence" : next.error().detail);
      break;
    }
    numbers.push_back(next.value()->header.seq.value);
  }
  return numbers;
}

/// A subscriber and the topic it asked for.
struct Listener {
  Subscriber& subscriber;
  std::string_view topic;
};

/// Publish until every listener hears it live: then its subscription has arrived, and what is lost
/// from now on was not lost on the way there. They take all that is published; the others nothing.
inline void await_live(Daemon& daemon, MemorySource& source, std::vector<Listener> listeners) {
  const auto deaf = [](const Listener& one) { return one.subscriber.counters().live == 0; };
  for (int round = 0; round < 1000 && std::ranges::any_of(listeners, deaf); ++round) {
    const std::uint64_t begin = source.end().value + 1;
    daemon.publish(300, 7);
    for (const Listener& listener : listeners) {
      const auto wanted = source.numbers(listener.topic, begin);
      ASSERT_EQ(take(listener.subscriber, wanted.size()), wanted);
    }
  }
  ASSERT_TRUE(std::ranges::none_of(listeners, deaf));
}

/// The first error next() tells.
inline std::optional<Error> first_error(Subscriber& subscriber) {
  for (;;) {
    auto next = subscriber.next(std::chrono::seconds(30));
    if (!next) return next.error();
    if (!next.value()) return std::nullopt;
  }
}

}  // namespace accrete::stream
