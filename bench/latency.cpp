// One row in flight: from send() to the published prediction that it caused, against the floor: one
// tcp round trip and one synced append, measured in turns with it.
#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "bench/control.h"
#include "bench/hop.h"
#include "bench/measure.h"
#include "bench/orders.h"
#include "daemon/backtest.h"
#include "daemon/clock.h"
#include "daemon/server.h"
#include "store/log.h"
#include "stream/client.h"

namespace accrete::bench {
namespace {

using namespace std::chrono_literals;

struct Options : Flags {
  std::size_t events = 2000;
  std::uint64_t probe_rows = 200'000;
  std::uint32_t customers = 2000;
};

constexpr const char* kTask = R"(
[[task]]
name = "orders-week"
predict = "PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id EVERY 7 DAYS"
)";
constexpr std::size_t kMessageRows = 64;

std::unique_ptr<stream::Producer> open_producer(const daemon::Server& server,
                                                const std::string& source, std::size_t rows) {
  stream::ProducerOptions options;
  options.endpoint.address = server.ingest_address();
  options.source = source;
  options.batch_rows = rows;
  return must(stream::Producer::open(options));
}

/// Set once by one thread, waited for with a time limit by another.
class Signal {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  /// True if it is set before `seconds` have passed.
  bool wait(double seconds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

/// Rows of another table from a thread of its own, as fast as they go or at a rate.
class Load {
 public:
  /// `first`: number of the first row; rows sent before would become updates.
  Load(const daemon::Server& server, const Shop& shop, const std::string& source,
       std::uint64_t first)
      : writer_(shop), producer_(open_producer(server, source, kMessageRows)), next_(first) {}

  /// Messages of 64 rows until `rows` are sent or `stop`; `rate` 0 = as fast as they go.
  void run(std::uint64_t rows, double rate, Signal& stop) {
    const double started = daemon::steady_seconds();
    std::uint64_t sent = 0;
    for (bool stopped = false; sent < rows && !stopped;) {
      send_message();
      sent += kMessageRows;
      const double due = rate > 0 ? static_cast<double>(sent) / rate : 0;
      stopped = stop.wait(std::max(0.0, due - (daemon::steady_seconds() - started)));
    }
    must(producer_->flush());
  }

 private:
  void send_message() {
    std::string bytes;
    std::vector<std::size_t> ends;
    if (position_ == 0) {
      writer_.events_layout(bytes);
      ends.push_back(bytes.size());
    }
    for (std::size_t i = 0; i < kMessageRows; ++i) {
      writer_.event(next_++, bytes);
      ends.push_back(bytes.size());
    }
    std::vector<std::string_view> records;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      records.push_back(std::string_view(bytes).substr(begin, end - begin));
      begin = end;
    }
    must(producer_->send(++position_, records));
    must(producer_->push());
  }

  OrderWriter writer_;
  std::unique_ptr<stream::Producer> producer_;
  std::uint64_t next_;
  std::uint64_t position_ = 0;
};

/// The two parts of the floor, one after the other.
class Floor {
 public:
  explicit Floor(const daemon::Config& config, const std::string& path)
      : database_(must(store::Database::open(daemon::database_options(config, path)))),
        log_(must(store::Log::open(*database_))),
        source_(must(log_.source("floor"))) {}

  void measure(std::string_view record) {
    round_trip_us.push_back(echo_.round_trip(record) * 1e6);
    LogSlice slice;
    slice.first = Ordinal{log_.end().value + 1};
    slice.append({source_, slice.first.value, true}, record);
    const store::Log::Advance advance{source_, slice.first.value};
    const double started = daemon::steady_seconds();
    must(log_.append(slice, {&advance, 1}));
    synced_write_us.push_back((daemon::steady_seconds() - started) * 1e6);
  }

  std::vector<double> round_trip_us;
  std::vector<double> synced_write_us;

 private:
  Echo echo_;
  std::unique_ptr<store::Database> database_;
  store::Log log_;
  SourceId source_;
};

class Events {
 public:
  Events(const daemon::Server& server, const Shop& shop)
      : shop_(shop), writer_(shop), producer_(open_producer(server, "events", 1)) {
    stream::SubscriberOptions options;
    options.predictions.address = server.predictions_address();
    options.replay.address = server.replay_address();
    options.topic = "pred/orders-week/";
    subscriber_ = must(stream::Subscriber::open(options));
    std::vector<std::string> rows(shop.customers + 1);
    writer_.customers_layout(rows[0]);
    for (std::uint32_t i = 0; i < shop.customers; ++i)
      writer_.customer(i, rows[i + 1]);
    must(producer_->send(++position_, std::vector<std::string_view>(rows.begin(), rows.end())));
    must(producer_->flush());
  }

  /// Send one order, wait for the prediction of its customer as of its time; microseconds.
  double one() {
    const std::uint64_t order = orders_++;
    record.clear();
    std::string layout;
    writer_.orders_layout(layout);
    writer_.order(order, record);
    std::string key;
    append_key(key, Value::of_integer(refs_of(shop_, order).customer));
    const std::string topic = prediction_topic("orders-week", key);
    const TimeUs at{shop_.first_time_us + static_cast<std::int64_t>(order) * shop_.step_us};
    const std::array<std::string_view, 2> records = {layout, record};
    const double started = daemon::steady_seconds();
    must(producer_->send(++position_, records));
    must(producer_->push());
    while (true) {
      const auto delivered = must(subscriber_->next(30s));
      check(delivered.has_value(), "no prediction for " + topic + " within 30 s");
      check(delivered->header.as_of <= at, "a prediction of the future");
      if (delivered->topic == topic && delivered->header.as_of == at) break;
    }
    return (daemon::steady_seconds() - started) * 1e6;
  }

  std::string record;

 private:
  Shop shop_;
  OrderWriter writer_;
  std::unique_ptr<stream::Producer> producer_;
  std::unique_ptr<stream::Subscriber> subscriber_;
  std::uint64_t position_ = 0;
  std::uint64_t orders_ = 0;
};

void report(const std::string& when, std::size_t count, Events& events, Floor& floor,
            bool has_goal) {
  floor.round_trip_us.clear();
  floor.synced_write_us.clear();
  std::vector<double> latency_us;
  for (std::size_t i = 0; i < count; ++i) {
    latency_us.push_back(events.one());
    floor.measure(events.record);
  }
  const double round_trip = percentile(floor.round_trip_us, 0.5);
  const double synced_write = percentile(floor.synced_write_us, 0.5);
  say(when + ": floor, tcp round trip p50", round_trip, "us");
  say(when + ": floor, synced append p50", synced_write, "us");
  say(when + ": floor, both p99",
      percentile(floor.round_trip_us, 0.99) + percentile(floor.synced_write_us, 0.99), "us");
  say(when + ": event to prediction p50", percentile(latency_us, 0.5), "us");
  say(when + ": event to prediction p99", percentile(latency_us, 0.99), "us");
  const double ratio = percentile(latency_us, 0.5) / (round_trip + synced_write);
  if (has_goal) {
    compare(when + ": p50 / floor", ratio, 2, false);
  } else {
    say(when + ": p50 / floor", ratio, "");
  }
}

void run(Options options) {
  if (options.quick) {
    options.events = 50;
    options.probe_rows = 5'000;
    options.customers = 200;
  }
  Shop shop;
  shop.customers = options.customers;
  const Folder folder(options.folder);
  const daemon::Config config = shop_config(folder.path("store"), kTask);
  const auto server = must(daemon::Server::start(config, nullptr));
  Floor floor(config, folder.path("floor"));
  {
    Events events(*server, shop);
    for (std::size_t i = 0; i < options.events / 10 + 1; ++i)
      static_cast<void>(events.one());
    report("idle", options.events, events, floor, true);
    Signal stop;
    const double started = daemon::steady_seconds();
    Load(*server, shop, "probe", 0).run(options.probe_rows, 0, stop);
    drain(*server);
    const double rate =
        static_cast<double>(options.probe_rows) / (daemon::steady_seconds() - started);
    say("another table as fast as it goes, folded", rate, "rows/s");
    std::thread load([&] {
      Load(*server, shop, "load", 2 * options.probe_rows).run(~std::uint64_t{0}, rate / 2, stop);
    });
    report("half load", options.events, events, floor, false);
    stop.set();
    load.join();
  }
  must(server->stop());
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_latency: from one row sent to its published prediction");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--events", options.events)->check(CLI::PositiveNumber);
  app.add_option("--customers", options.customers)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
