// A subscriber that is far behind catches up over the replay socket, against the floor: the same
// bytes over one tcp hop.
#include <atomic>
#include <cstdio>
#include <thread>

#include "bench/hop.h"
#include "bench/measure.h"
#include "daemon/clock.h"
#include "daemon/live_sink.h"
#include "store/database.h"
#include "stream/client.h"
#include "stream/socket.h"

namespace accrete::bench {
namespace {

using namespace std::chrono_literals;

struct Options : Flags {
  std::uint64_t predictions = 1'000'000;
};

constexpr std::size_t kEntities = 20'000;
constexpr std::size_t kMessagePredictions = 512;  // as a replay answer is cut

store::StoredPrediction make(std::uint64_t seq) {
  std::string key;
  append_key(key, Value::of_integer(static_cast<std::int64_t>(seq * 2'654'435'761 % kEntities)));
  Prediction prediction;
  prediction.seq = PredictionSeq{seq};
  prediction.task = "orders-week";
  prediction.entity_key = key;
  prediction.as_of = TimeUs{static_cast<std::int64_t>(seq) * 1000};
  prediction.kind = TaskKind::Regression;
  prediction.score = static_cast<double>(seq % 1000) / 7;
  prediction.low = prediction.score - 1;
  prediction.high = prediction.score + 1;
  prediction.candidates = {{"global mean", 1.5}, {"entity mean", 2.5}, {"ridge", 3.5}};
  store::StoredPrediction stored;
  stored.header.epoch = 1;
  stored.header.seq = prediction.seq;
  stored.header.as_of = prediction.as_of;
  stored.topic = prediction_topic(prediction.task, key);
  encode_prediction(prediction, stored.payload);
  return stored;
}

/// Fill the log; returns the messages of the floor: headers, topics and payloads back to back.
std::vector<std::string> fill(store::PredictionLog& log, std::uint64_t count) {
  std::vector<std::string> messages;
  std::vector<store::StoredPrediction> batch;
  for (std::uint64_t seq = 1; seq <= count; ++seq) {
    batch.push_back(make(seq));
    if (batch.size() % kMessagePredictions == 1) messages.emplace_back();
    const auto header = batch.back().header.encode();
    messages.back().append(header.data(), header.size());
    messages.back() += batch.back().topic + batch.back().payload;
    if (batch.size() < 4096 && seq < count) continue;
    must(log.append(batch));
    batch.clear();
  }
  return messages;
}

/// The publish thread of a daemon whose fold has nothing to say.
class Publisher {
 public:
  explicit Publisher(store::PredictionLog& log) : past_(log, 1) {
    stream::PublishOptions options;
    options.predictions.address = options.replay.address = "tcp://127.0.0.1:*";
    options.control.address = "tcp://127.0.0.1:*";
    server_ =
        must(stream::PublishServer::open(context_.get(), options, outgoing_, answers_, past_,
                                         [](const stream::ControlQuestion&) { return false; }));
    predictions_address = server_->predictions_address();
    replay_address = server_->replay_address();
    thread_ = std::thread([this] {
      while (must(server_->poll(500ms))) {
      }
      server_.reset();
    });
  }
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;
  ~Publisher() {
    outgoing_.close();
    thread_.join();
  }

  std::string predictions_address;
  std::string replay_address;

 private:
  stream::Context context_;
  stream::Mailbox<stream::OutgoingBatch> outgoing_{8};
  stream::Mailbox<stream::ControlAnswer> answers_{8};
  daemon::StoredPast past_;
  std::unique_ptr<stream::PublishServer> server_;
  std::thread thread_;
};

/// Seconds from opening the subscriber to the newest prediction; every one is checked.
double catch_up(const Publisher& publisher, std::uint64_t count) {
  stream::SubscriberOptions options;
  options.predictions.address = publisher.predictions_address;
  options.replay.address = publisher.replay_address;
  options.from = 1;
  const double started = daemon::steady_seconds();
  const auto subscriber = must(stream::Subscriber::open(options));
  std::uint64_t bytes = 0;
  for (std::uint64_t seq = 1; seq <= count; ++seq) {
    const auto delivered = must(subscriber->next(30s));
    check(delivered.has_value(), "prediction " + std::to_string(seq) + " does not come");
    check(delivered->header.seq.value == seq, "predictions in order, none missing, none twice");
    if (seq % 997 == 1) {
      const store::StoredPrediction sent = make(seq);
      check(delivered->topic == sent.topic && delivered->payload == sent.payload,
            "prediction " + std::to_string(seq) + " is what was stored");
    }
    bytes += delivered->payload.size();
  }
  const double seconds = daemon::steady_seconds() - started;
  check(subscriber->counters().gaps == 0 || bytes > 0, "payloads came");
  return seconds;
}

void run(Options options) {
  if (options.quick) options.predictions = 20'000;
  const double count = static_cast<double>(options.predictions);
  const Folder folder(options.folder);
  store::DatabaseOptions settings;
  settings.path = folder.path("store");
  const auto database = must(store::Database::open(settings));
  const auto log = must(store::PredictionLog::open(*database));
  const double started = daemon::steady_seconds();
  const std::vector<std::string> messages = fill(*log, options.predictions);
  say("made and stored", count / (daemon::steady_seconds() - started), "predictions/s");
  const std::vector<std::string_view> views(messages.begin(), messages.end());
  const double floor = hop_seconds(views, {1, 8u << 20, ""});
  const Publisher publisher(*log);
  const double cpu = daemon::cpu_seconds();
  const double seconds = catch_up(publisher, options.predictions);
  say("floor: one tcp hop", count / floor, "predictions/s");
  say("replayed, complete and in order", count / seconds, "predictions/s");
  say("CPU, both ends", (daemon::cpu_seconds() - cpu) / count * 1e6, "us/prediction");
  say("ratio to the floor", floor / seconds, "");
  compare("predictions/s, in thousands", count / seconds / 1e3, 300, true);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_replay: a subscriber that is behind catches up");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--predictions", options.predictions)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
