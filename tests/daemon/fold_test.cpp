// The fold's promises in process: nothing from the future (I4), the same bits whatever the slicing,
// commits, restarts and threads (I5), late rows, updates, deletes, snapshots, requests.
#include "daemon/fold.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>
#include <stream.pb.h>

#include "daemon/backtest.h"
#include "daemon/digest.h"
#include "daemon/log_sink.h"
#include "proto/rng.h"
#include "proto/time.h"
#include "stream/ingest_group.h"
#include "stream/record_check.h"

namespace accrete::daemon {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = R"(
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
predict = "PREDICT EXISTS(orders.*, 0, 3, DAYS) FOR EACH customers.id WHERE COUNT(orders.*, -20, 0, DAYS) > 0 EVERY 1 DAY"

[[task]]
name = "spend"
predict = "PREDICT SUM(orders.price, 0, 2, DAYS) FOR EACH customers.id EVERY 2 DAYS"
debounce = "6 HOURS"
)";

struct Transaction {
  std::uint64_t position = 0;
  std::vector<std::string> records;
};

Layout customers_layout() {
  return {"customers", {"id", "city"}};
}
Layout orders_layout() {
  return {"orders", {"id", "customer", "price", "at"}};
}

std::string layout_record(const Layout& layout) {
  std::string out;
  encode_layout(layout, out);
  return out;
}

std::string change_record(const Layout& layout, Op op, std::vector<Value> cells,
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

TimeUs day(double days) {
  return TimeUs{static_cast<std::int64_t>(days * static_cast<double>(kDayUs)) +
                1'600'000'000 * kSecondUs};
}

std::string order(std::int64_t id, std::int64_t customer, double price, TimeUs at) {
  return change_record(orders_layout(), Op::Insert,
                       {Value::of_integer(id), Value::of_integer(customer), Value::of_real(price),
                        Value::of_time(at)});
}

std::string request_record(std::string_view task, std::int64_t customer, TimeUs at) {
  Request request;
  request.task = task;
  request.key = {Value::of_integer(customer)};
  request.as_of = at;
  std::string out;
  encode_request(request, out);
  return out;
}

/// A shop's history: customers, orders in time order with ties, updates, deletes, some late rows.
std::vector<Transaction> shop(std::uint64_t seed, std::size_t orders, bool late = true) {
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
    for (std::size_t r = 0; r < rows; ++r) {
      const auto customer = static_cast<std::int64_t>(rng.below(36));  // some are unknown yet
      const double at = late && rng.below(12) == 0 ? now - rng.uniform() * 5 : now;
      transaction.records.push_back(order(id * 10 + static_cast<std::int64_t>(r), customer,
                                          static_cast<double>(rng.below(100)), day(at)));
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
    }
  }
  void label(const MaturedLabel& label) override {
    labels.push_back(std::string(label.task->name) + "|" + format_time(label.as_of) + "|" +
                     key_text(label.entity_key) + "|" + std::to_string(label.value));
  }
  void graded(const GradedPrediction&) override { ++graded_count; }

  Digest digest;
  std::vector<std::string> payloads;
  std::vector<std::string> labels;
  std::size_t graded_count = 0;
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

Config shop_config(const std::string& extra = "") {
  auto config = parse_config(kConfig + extra, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

std::string digest_of(const Config& config, std::span<const Transaction> stream,
                      FoldOptions options = {}, std::size_t group = 1) {
  World world(config, options);
  world.feed(stream, group);
  EXPECT_GT(world.sink->payloads.size(), 200U);
  EXPECT_EQ(world.stored_digest(), world.sink->digest.hex());
  return world.stored_digest();
}

TEST(Fold, SameBitsForAnyGroupingCommitsThreadsAndLateness) {
  const Config config = shop_config();
  const auto stream = shop(1, 400);
  for (const std::int64_t lateness : {std::int64_t{0}, kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
    options.checkpoint_records_min = 1;  // a commit at every instant
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    options.pending_bytes_max = 1;
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    omp_set_num_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    omp_set_num_threads(1);
  }
}

TEST(Fold, CrashesAnywhereChangeNothing) {
  const Config config = shop_config();
  const auto stream = shop(2, 400);
  for (const std::int64_t lateness : {std::int64_t{0}, 2 * kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    options.checkpoint_records_min = 37;
    const std::string expected = digest_of(config, stream, options);
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Rng rng(seed, 1, Purpose::Test);
      World world(config, options);
      std::size_t at = 0;
      while (at < stream.size()) {
        const std::size_t count = std::min<std::size_t>(1 + rng.below(60), stream.size() - at);
        world.feed(std::span(stream).subspan(at, count), 1 + rng.below(9));
        at += count;
        if (rng.below(3) == 0) {
          ASSERT_TRUE(world.fold().checkpoint());
        }
        world.crash();
      }
      EXPECT_EQ(world.stored_digest(), expected) << "seed " << seed;
    }
  }
}

TEST(Fold, RowsAfterATimeDoNotChangePredictionsUpToIt) {
  const Config config = shop_config();
  const auto stream = shop(3, 300, false);
  World whole(config);
  whole.feed(stream);
  Rng rng(3, 2, Purpose::Test);
  for (int round = 0; round < 12; ++round) {
    const TimeUs cut = day(rng.uniform() * 25);
    std::vector<Transaction> kept;
    Schema schema = config.schema;
    Layouts layouts;
    Record decoded;
    for (const Transaction& transaction : stream) {
      Transaction part{transaction.position, {}};
      for (const std::string& record : transaction.records) {
        ASSERT_TRUE(decode_record(record, decoded));
        if (decoded.kind == RecordKind::Layout) {
          ASSERT_TRUE(layouts.declare(decoded.layout, schema));
        }
        if (decoded.kind == RecordKind::Change) {
          const BoundLayout* layout = layouts.find(decoded.change.layout);
          auto time = decoded.change.change_time;
          if (!time) time = event_time_of(decoded.change, *layout, schema.table(layout->table));
          if (time && *time > cut) continue;
        }
        part.records.push_back(record);
      }
      if (!part.records.empty()) kept.push_back(std::move(part));
    }
    World cut_off(config);
    cut_off.feed(kept);
    ASSERT_LE(cut_off.sink->payloads.size(), whole.sink->payloads.size());
    for (std::size_t i = 0; i < cut_off.sink->payloads.size(); ++i) {
      ASSERT_EQ(cut_off.sink->payloads[i], whole.sink->payloads[i]) << "round " << round;
    }
    // And the cut-off world really got as far as the cut: the next prediction is after it.
    if (cut_off.sink->payloads.size() < whole.sink->payloads.size()) {
      wire::Prediction next;
      ASSERT_TRUE(next.ParseFromString(whole.sink->payloads[cut_off.sink->payloads.size()]));
      EXPECT_GE(next.as_of_us(), cut_off.fold().timeline().watermark().value);
    }
  }
}

TEST(Fold, LabelsEqualANaiveCount) {
  const Config config = shop_config();
  std::vector<Transaction> stream = shop(4, 0);
  std::vector<std::pair<std::int64_t, TimeUs>> orders;
  Rng rng(4, 3, Purpose::Test);
  for (int i = 0; i < 200; ++i) {
    const auto customer = static_cast<std::int64_t>(rng.below(30));
    const TimeUs at = day(i * 0.1);
    orders.emplace_back(customer, at);
    stream.push_back({static_cast<std::uint64_t>(i) + 2, {order(i, customer, 2.5, at)}});
  }
  World world(config);
  world.feed(stream);
  std::size_t active = 0;
  for (const std::string& line : world.sink->labels) {
    const auto cell = [&](int index) {
      std::size_t begin = 0;
      for (int i = 0; i < index; ++i)
        begin = line.find('|', begin) + 1;
      return line.substr(begin, line.find('|', begin) - begin);
    };
    const TimeUs at = parse_time(cell(1)).value();
    const std::int64_t customer = std::stoll(cell(2));
    const std::int64_t days = cell(0) == "active" ? 3 : 2;
    double count = 0;
    for (const auto& [who, when] : orders) {
      if (who == customer && when > at && when <= shift(at, days * kDayUs)) ++count;
    }
    if (cell(0) == "active") {
      ++active;
      EXPECT_EQ(std::stod(cell(3)), count > 0 ? 1 : 0) << line;
    } else {
      EXPECT_DOUBLE_EQ(std::stod(cell(3)), count * 2.5) << line;
    }
  }
  EXPECT_GT(active, 100U);
  EXPECT_EQ(world.sink->graded_count, world.sink->labels.size());
}

TEST(Fold, SnapshotsInAnyOrderFoldAsHistory) {
  const Config config = shop_config();
  std::vector<Transaction> ordered = shop(5, 200, false);
  std::vector<Transaction> held;
  std::string begin;
  encode_mark({MarkKind::SnapshotBegin, {}}, begin);
  std::string end;
  encode_mark({MarkKind::SnapshotEnd, {}}, end);
  held.push_back({1, {begin}});
  // Every row alone, newest first; what only depends on order of arrival is left out.
  std::vector<std::string> rows;
  for (const Transaction& transaction : ordered) {
    for (const std::string& record : transaction.records) {
      Record decoded;
      ASSERT_TRUE(decode_record(record, decoded));
      if (decoded.kind == RecordKind::Change && decoded.change.op == Op::Insert) {
        rows.push_back(record);
      }
    }
  }
  held.push_back({2, {layout_record(customers_layout()), layout_record(orders_layout())}});
  for (std::size_t i = rows.size(); i-- > 0;)
    held.push_back({held.size() + 1, {rows[i]}});
  held.push_back({held.size() + 1, {end}});
  FoldOptions options;
  options.checkpoint_records_min = 11;  // the sweep commits in its middle
  World world(config, options);
  world.feed(std::span(held).first(held.size() - 1));
  EXPECT_EQ(world.sink->labels.size(), 0U);
  EXPECT_TRUE(world.fold().timeline().held());
  world.crash();
  world.feed(std::span(held).last(1));
  EXPECT_FALSE(world.fold().timeline().held());
  EXPECT_GT(world.sink->labels.size(), 100U);
  const std::string digest = world.stored_digest();
  world.crash();
  EXPECT_EQ(world.stored_digest(), digest);
  EXPECT_EQ(world.fold().timeline().waiting(), 0U);
}

TEST(Fold, RequestsAreAnsweredOnceAsOfTheirTime) {
  const Config config = shop_config();
  auto stream = shop(6, 100, false);
  const TimeUs asked = day(3.3);
  stream.insert(stream.begin() + 1,
                {0,
                 {request_record("active", 5, asked), request_record("active", 999, asked),
                  request_record("nobody", 5, asked)}});
  // A request moves the clock: rows before it would be late. Put it where its time is.
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  World world(config);
  world.feed(stream);
  std::size_t answers = 0;
  for (const std::string& payload : world.sink->payloads) {
    wire::Prediction prediction;
    ASSERT_TRUE(prediction.ParseFromString(payload));
    if (prediction.trigger() != wire::Prediction::REQUEST) continue;
    ++answers;
    EXPECT_EQ(prediction.as_of_us(), asked.value);
    EXPECT_EQ(prediction.entity(0).integer(), 5);
  }
  EXPECT_EQ(answers, 1U);
  EXPECT_EQ(world.fold().counters().unknown_requests, 2U);
}

TEST(Fold, AChangedTaskBeginsANewEpoch) {
  const Config config = shop_config();
  const Config more = shop_config(R"(
[[task]]
name = "count"
predict = "PREDICT COUNT(orders.*, 0, 5, DAYS) FOR EACH customers.id EVERY 5 DAYS"
)");
  EXPECT_NE(fold_fingerprint(config), fold_fingerprint(more));
}

TEST(Plan, RefusesWhatItCannotExecute) {
  const auto bind = [](const std::string& predict) {
    auto config = parse_config(
        std::string(kConfig) + "\n[[task]]\nname = \"t\"\npredict = \"" + predict + "\"\n",
        "test.toml");
    if (!config) return config.error().detail;
    Schema schema = config.value().schema;
    const auto plan = bind_task(config.value().tasks.back(), schema);
    return plan ? std::string("bound") : plan.error().detail;
  };
  EXPECT_EQ(bind("PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id"), "bound");
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"PREDICT customers.city FOR EACH customers.id", "not executed yet"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS), 14 FOR EACH customers.id", "several horizons"},
      {"PREDICT LIST_DISTINCT(orders.price, 0, 7, DAYS) RANK TOP 3 FOR EACH customers.id",
       "ranked lists"},
      {"PREDICT COUNT(customers.*, 0, 7, DAYS) FOR EACH customers.id", "no foreign key"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.city", "names the entity's key"},
      {"PREDICT COUNT(orders.*, -7, 0, DAYS) FOR EACH customers.id", "must end after 0"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id WHERE COUNT(orders.*, 0, 1, "
       "DAYS) > 0",
       "may not depend on the future"},
      {"PREDICT COUNT(orders.* WHERE orders.custmer = 1, 0, 7, DAYS) FOR EACH customers.id",
       "did you mean \"customer\""},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id WHERE orders.price > 1",
       "columns of the entity"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS) VIA payer FOR EACH customers.id",
       "no foreign key \"payer\""},
  };
  for (const auto& [query, expected] : refused) {
    EXPECT_NE(bind(query).find(expected), std::string::npos) << query << "\n" << bind(query);
  }
}

TEST(Plan, TicksCountBackAndForwardFromTheirAnchors) {
  TaskPlan plan;
  plan.every_us = 30 * kDayUs;
  plan.anchors = {parse_time("2005-01-01").value(), parse_time("2010-01-01").value()};
  const auto next = [&](const char* text) {
    return format_time(plan.tick_at_or_after(parse_time(text).value()));
  };
  EXPECT_EQ(next("2005-01-01"), "2005-01-01T00:00:00Z");
  EXPECT_EQ(next("2004-12-03"), "2005-01-01T00:00:00Z");
  EXPECT_EQ(next("2004-12-02"), "2004-12-02T00:00:00Z");
  EXPECT_EQ(next("2005-01-02"), "2005-01-31T00:00:00Z");
  EXPECT_EQ(next("2009-12-07"), "2010-01-01T00:00:00Z");  // the next would cross the anchor
  EXPECT_EQ(next("2010-01-02"), "2010-01-31T00:00:00Z");
}

}  // namespace
}  // namespace accrete::daemon
