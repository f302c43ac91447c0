// A small shop and a fold over its rows, in a folder of its own, that can crash and come back.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/backtest.h"
#include "daemon/digest.h"
#include "daemon/fold.h"
#include "daemon/log_sink.h"
#include "proto/rng.h"
#include "proto/time.h"
#include "stream/ingest_group.h"
#include "stream/record_check.h"
#include "tests/sanitized.h"

namespace accrete::daemon {

namespace fs = std::filesystem;

constexpr const char* kShopConfig = R"(
[[table]]
name = "customers"
key = "id"
columns = { city = "category" }

[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }

[[task]]
name = "active"
predict = """
PREDICT EXISTS(orders.*, 0, 3, DAYS) FOR EACH customers.id
WHERE COUNT(orders.*, -20, 0, DAYS) > 0 EVERY 1 DAY"""

[[task]]
name = "spend"
predict = "PREDICT SUM(orders.price, 0, 2, DAYS) FOR EACH customers.id EVERY 2 DAYS"
debounce = "6 HOURS"
)";

struct Transaction {
  std::uint64_t position = 0;
  std::vector<std::string> records;
};

inline Layout customers_layout() {
  return {"customers", {"id", "city"}};
}
inline Layout orders_layout() {
  return {"orders", {"id", "customer", "price", "at"}};
}

inline std::string layout_record(const Layout& layout) {
  std::string out;
  encode_layout(layout, out);
  return out;
}

inline std::string change_record(const Layout& layout, Op op, std::vector<Value> cells,
                                 std::optional<TimeUs> when = std::nullopt) {
  Change change;
  change.layout = layout.hash();
  change.op = op;
  change.cells = std::move(cells);
  change.change_time = when;
  std::string out;
  encode_change(change, out);
  return out;
}

inline TimeUs day(double days) {
  return TimeUs{static_cast<std::int64_t>(days * static_cast<double>(kDayUs)) +
                1'600'000'000 * kSecondUs};
}

inline std::string order(std::int64_t id, std::int64_t customer, double price, TimeUs at) {
  return change_record(orders_layout(), Op::Insert,
                       {Value::of_integer(id), Value::of_integer(customer), Value::of_real(price),
                        Value::of_time(at)});
}

inline std::string request_record(std::string_view task, std::int64_t customer, TimeUs at) {
  Request request;
  request.task = task;
  request.key = {Value::of_integer(customer)};
  request.as_of = at;
  std::string out;
  encode_request(request, out);
  return out;
}

/// A shop's history: customers, orders in time order with ties, updates, deletes, some late rows.
/// Orders from `dear_from` on cost 1,000 more.
inline std::vector<Transaction> shop(std::uint64_t seed, std::size_t orders, bool late = true,
                                     std::size_t dear_from = ~std::size_t{0}) {
  Rng rng(seed, 0, Purpose::Test);
  std::vector<Transaction> stream;
  Transaction first;
  first.records = {layout_record(customers_layout()), layout_record(orders_layout())};
  for (std::int64_t c = 0; c < 30; ++c) {
    const char* city = c % 3 == 0 ? "Bonn" : "Graz";
    first.records.push_back(change_record(customers_layout(), Op::Insert,
                                          {Value::of_integer(c), Value::of_text(city)}));
  }
  stream.push_back(std::move(first));
  double now = 0;
  for (std::size_t i = 0; i < orders; ++i) {
    Transaction transaction;
    const auto id = static_cast<std::int64_t>(i);
    if (rng.below(4) != 0) now += rng.uniform() * 0.2;
    const std::size_t rows = 1 + rng.below(3);
    const double more = i >= dear_from ? 1000 : 0;
    for (std::size_t r = 0; r < rows; ++r) {
      const auto customer = static_cast<std::int64_t>(rng.below(36));  // some are unknown yet
      const double at = late && rng.below(12) == 0 ? now - rng.uniform() * 5 : now;
      transaction.records.push_back(order(id * 10 + static_cast<std::int64_t>(r), customer,
                                          static_cast<double>(rng.below(100)) + more, day(at)));
    }
    if (i > 3 && rng.below(9) == 0) {
      const auto target = static_cast<std::int64_t>(rng.below(i)) * 10;
      const bool removes = rng.below(2) == 0;
      transaction.records.push_back(
          removes ? change_record(
                        orders_layout(), Op::Delete,
                        {Value::of_integer(target), Value::null(), Value::null(), Value::null()},
                        day(now))
                  : change_record(orders_layout(), Op::Update,
                                  {Value::of_integer(target),
                                   Value::of_integer(static_cast<std::int64_t>(rng.below(30))),
                                   Value::unchanged(), Value::unchanged()},
                                  day(now)));
    }
    stream.push_back(std::move(transaction));
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

class Collector final : public FoldSink {
 public:
  void predictions(std::span<const store::StoredPrediction> predictions) override {
    for (const auto& prediction : predictions) {
      digest.add(prediction.payload);
      payloads.push_back(prediction.payload);
      newest = prediction.header.seq;
    }
  }
  void label(const MaturedLabel& label) override {
    labels.push_back(std::string(label.task->name) + "|" + format_time(label.as_of) + "|" +
                     key_text(label.entity_key) + "|" + std::to_string(label.value));
    label_values.push_back(label.value);
    label_texts.emplace_back(label.text);
  }
  void graded(const GradedPrediction& graded) override {
    ++graded_count;
    if (when_graded) when_graded();
    graded_labels.push_back(graded.label);
    graded_by_task[graded.task->name][graded.label] += 1;
  }
  void alarm(const DriftAlarm& alarm, std::uint64_t) override {
    if (newest.value != 0) {
      EXPECT_EQ(alarm.seq, newest) << "told after all predictions before it";
    }
    alarms.push_back(alarm);
  }
  void experts(const ExpertNews& told, std::uint64_t) override {
    if (newest.value != 0) {
      EXPECT_EQ(told.seq, newest) << "told after all predictions before it";
    }
    news.push_back(told);
  }

  Digest digest;
  std::vector<std::string> payloads;
  std::vector<std::string> labels;
  PredictionSeq newest;
  std::vector<DriftAlarm> alarms;
  std::vector<ExpertNews> news;
  std::vector<double> label_values;
  std::vector<std::string> label_texts;
  std::vector<double> graded_labels;
  std::size_t graded_count = 0;
  std::function<void()> when_graded;
  std::map<std::string, std::map<double, std::size_t>>
      graded_by_task;  // task -> label -> how often
};

/// A store in a folder of its own with a fold on it; can be closed without a commit and reopened.
class World {
 public:
  explicit World(const Config& config, FoldOptions options = {}, bool keep_predictions = true)
      : config_(config), options_(options), keep_predictions_(keep_predictions) {
    std::string path = (fs::temp_directory_path() / "fold-test-XXXXXX").string();
    folder_ = ::mkdtemp(path.data());
    open();
  }
  ~World() {
    close();
    fs::remove_all(folder_);
  }

  void open() {
    store::DatabaseOptions settings;
    settings.path = folder_;
    settings.sync = false;
    auto database = store::Database::open(settings);
    ASSERT_TRUE(database) << database.error().detail;
    database_ = std::move(database).value();
    auto log = store::Log::open(*database_);
    ASSERT_TRUE(log) << log.error().detail;
    log_.emplace(std::move(log).value());
    auto state = store::State::open(*database_);
    ASSERT_TRUE(state) << state.error().detail;
    state_ = std::move(state).value();
    auto predictions = store::PredictionLog::open(*database_);
    ASSERT_TRUE(predictions) << predictions.error().detail;
    predictions_ = std::move(predictions).value();
    options_.fingerprint = fold_fingerprint(config_);
    sink = std::make_unique<Collector>();
    auto fold = Fold::open(config_, options_, *log_, *state_,
                           keep_predictions_ ? predictions_.get() : nullptr, *sink);
    ASSERT_TRUE(fold) << fold.error().detail;
    fold_ = std::move(fold).value();
    // What the log holds beyond the last commit.
    while (fold_->admitted() < log_->end()) {
      auto slice = log_->read(Ordinal{fold_->admitted().value + 1}, 7, 1u << 20);
      ASSERT_TRUE(slice) << slice.error().detail;
      Status admitted = fold_->admit(slice.value());
      ASSERT_TRUE(admitted) << admitted.error().detail;
    }
    Schema schema = config_.schema;
    Layouts layouts;
    for (const Layout& layout : fold_->layouts()) {
      ASSERT_TRUE(layouts.declare(layout, schema));
    }
    check_ = std::make_unique<stream::RecordCheck>(schema, std::move(layouts));
  }
  /// As after kill -9: nothing is committed that was not before.
  void close() {
    fold_.reset();
    predictions_.reset();
    state_.reset();
    log_.reset();
    database_.reset();
  }
  void crash() {
    close();
    open();
  }

  void feed(std::span<const Transaction> stream, std::size_t group = 1) {
    LogSink log_sink(*database_, *log_, 0,
                     [this](LogSlice slice) -> Status { return fold_->admit(slice); });
    stream::IngestGroup collected;
    std::size_t in_group = 0;
    for (const Transaction& transaction : stream) {
      collected.begin("test", transaction.position);
      for (const std::string& record : transaction.records) {
        const auto checked = check_->check(record);
        ASSERT_TRUE(checked) << checked.error().detail;
        collected.add(record, checked.value());
      }
      collected.end();
      if (++in_group < group) continue;
      in_group = 0;
      Status done = collected.commit(log_sink);
      ASSERT_TRUE(done) << done.error().detail;
    }
    Status done = collected.commit(log_sink);
    ASSERT_TRUE(done) << done.error().detail;
  }

  Fold& fold() { return *fold_; }
  store::State& state() { return *state_; }
  store::PredictionLog& predictions() { return *predictions_; }

  std::string stored_digest() {
    Digest digest;
    PredictionSeq from{1};
    while (from <= predictions_->end()) {
      auto page = predictions_->read(from, 10'000, 64u << 20, "");
      EXPECT_TRUE(page);
      for (const auto& prediction : page.value().predictions)
        digest.add(prediction.payload);
      from = page.value().next;
    }
    return digest.hex();
  }

  std::unique_ptr<Collector> sink;

 private:
  const Config& config_;
  FoldOptions options_;
  bool keep_predictions_;
  std::string folder_;
  std::unique_ptr<store::Database> database_;
  std::optional<store::Log> log_;
  std::unique_ptr<store::State> state_;
  std::unique_ptr<store::PredictionLog> predictions_;
  std::unique_ptr<Fold> fold_;
  std::unique_ptr<stream::RecordCheck> check_;
};

inline Config shop_config(const std::string& extra = "") {
  auto config = parse_config(std::string(kShopConfig).append(extra), "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

/// What a fold comes to that is fed pieces of random size, sometimes commits and crashes after
/// each.
inline std::string digest_after_crashes(const Config& config, std::span<const Transaction> stream,
                                        const FoldOptions& options, std::uint64_t seed,
                                        std::size_t piece_max = 60) {
  Rng rng(seed, 6, Purpose::Test);
  World world(config, options);
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t count = std::min<std::size_t>(1 + rng.below(piece_max), stream.size() - at);
    world.feed(stream.subspan(at, count), 1 + rng.below(9));
    at += count;
    if (rng.below(3) == 0) {
      EXPECT_TRUE(world.fold().checkpoint());
    }
    world.crash();
  }
  return world.stored_digest();
}

/// A stream in three pieces, each of the first two with a commit behind it: a crash behind the
/// second changes nothing of what follows. `look`, before the crash.
inline void expect_same_after_a_crash(const Config& config, std::span<const Transaction> stream,
                                      const FoldOptions& options, std::size_t first,
                                      std::size_t second,
                                      const std::function<void(World&)>& look = {}) {
  std::vector<std::string> digests;
  for (const bool crashes : {false, true}) {
    World world(config, options);
    world.feed(stream.first(first));
    ASSERT_TRUE(world.fold().checkpoint());
    world.feed(stream.subspan(first, second - first));
    if (look) look(world);
    ASSERT_TRUE(world.fold().checkpoint());
    if (crashes) world.crash();
    world.feed(stream.subspan(second));
    digests.push_back(world.stored_digest());
  }
  EXPECT_EQ(digests[0], digests[1]);
}

inline std::string digest_of(const Config& config, std::span<const Transaction> stream,
                             FoldOptions options = {}, std::size_t group = 1) {
  World world(config, options);
  world.feed(stream, group);
  EXPECT_GT(world.sink->payloads.size(), 150U);
  EXPECT_EQ(world.stored_digest(), world.sink->digest.hex());
  return world.stored_digest();
}

}  // namespace accrete::daemon
