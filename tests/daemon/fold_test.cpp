// The fold's promises in process: nothing from the future (I4), the same bits whatever the slicing,
// commits, restarts and threads (I5), late rows, updates, deletes, snapshots, requests.
#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "daemon/task.h"
#include "models/threads.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

double number(const std::string& text) {
  return std::strtod(text.c_str(), nullptr);
}

TEST(Fold, SameBitsForAnyGroupingCommitsThreadsAndLateness) {
  const Config config = shop_config();
  const auto stream = shop(1, 400);
  for (const std::int64_t lateness : {std::int64_t{0}, kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    if (lateness > 0) options.taught_rows_max = 12;  // taught at instants between ticks, too
    const std::string expected = digest_of(config, stream, options);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    EXPECT_EQ(digest_of(config, stream, options, 1000), expected);
    options.checkpoint_records_min = 1;  // a commit at every instant
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    options.pending_bytes_max = 1;
    options.graph_bytes_max = 1;
    options.row_cache_rows = 3;
    options.lookahead_graph_bytes_min = 0;
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(2);
    EXPECT_EQ(digest_of(config, stream, options, 7), expected);
    models::set_threads(1);
  }
}

TEST(Fold, CrashesAnywhereChangeNothing) {
  const Config config = shop_config();
  const auto stream = shop(2, 400);
  for (const std::int64_t lateness : {std::int64_t{0}, 2 * kDayUs}) {
    FoldOptions options;
    options.lateness_us = lateness;
    if (lateness > 0) options.taught_rows_max = 12;
    options.checkpoint_records_min = 37;
    const std::string expected = digest_of(config, stream, options);
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed), expected) << "seed " << seed;
    }
  }
}

TEST(Fold, InstantsBetweenTicksTeachAndAreNeverPublished) {
  const Config config = shop_config();
  const auto stream = shop(4, 400);
  FoldOptions options;
  World whole(config, options);
  whole.feed(stream);
  options.taught_rows_max = 12;
  World parts(config, options);
  parts.feed(stream);
  // The same predictions and the same grades, by learners that have seen other rows.
  EXPECT_EQ(parts.sink->payloads.size(), whole.sink->payloads.size());
  EXPECT_NE(parts.stored_digest(), whole.stored_digest());
  ASSERT_EQ(parts.fold().tasks().size(), 2u);
  for (std::size_t t = 0; t < 2; ++t) {
    EXPECT_EQ(parts.fold().tasks()[t]->labels(), whole.fold().tasks()[t]->labels());
    EXPECT_EQ(parts.fold().tasks()[t]->pending(), whole.fold().tasks()[t]->pending());
  }
  const auto taught_between = [](World& world) {
    return dynamic_cast<Task&>(*world.fold().find_task("spend")).taught_between();
  };
  EXPECT_EQ(taught_between(whole), 0u);
  EXPECT_GT(taught_between(parts), 20u);
  // Nothing is learnt after a freeze, at ticks or between them.
  options.freeze_after = day(6);
  World frozen(config, options);
  frozen.feed(stream);
  EXPECT_GT(taught_between(frozen), 0u);
  EXPECT_LT(taught_between(frozen), taught_between(parts));
}

TEST(Fold, NothingIsRepublishedAfterAFreeze) {
  const Config config = shop_config();
  auto stream = shop(4, 400);
  Transaction last{stream.size() + 1, {}};  // time moves on
  encode_mark({MarkKind::Clock, day(50)}, last.records.emplace_back());
  stream.push_back(std::move(last));
  for (int half = 12; half < 24; ++half) {
    FoldOptions options;
    options.freeze_after = day(0.5 * half);
    World world(config, options);
    world.feed(stream);
    std::size_t changes = 0;
    for (const std::string& payload : world.sink->payloads) {
      wire::Prediction prediction;
      ASSERT_TRUE(prediction.ParseFromString(payload));
      if (prediction.trigger() != wire::Prediction::CHANGE) continue;
      ++changes;
      EXPECT_LE(prediction.as_of_us(), options.freeze_after.value);
    }
    EXPECT_GT(changes, 10u);
  }
}

TEST(Fold, RowsAfterATimeDoNotChangePredictionsUpToIt) {
  const Config config = shop_config();
  const auto stream = shop(3, 300, false);
  FoldOptions options;
  options.taught_rows_max = 12;
  World whole(config, options);
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
    World cut_off(config, options);
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
    const std::int64_t customer = static_cast<std::int64_t>(number(cell(2)));
    const std::int64_t days = cell(0) == "active" ? 3 : 2;
    double count = 0;
    for (const auto& [who, when] : orders) {
      if (who == customer && when > at && when <= shift(at, days * kDayUs)) ++count;
    }
    if (cell(0) == "active") {
      ++active;
      EXPECT_EQ(number(cell(3)), count > 0 ? 1 : 0) << line;
    } else {
      EXPECT_DOUBLE_EQ(number(cell(3)), count * 2.5) << line;
    }
  }
  EXPECT_GT(active, 100U);
  EXPECT_EQ(world.sink->graded_count, world.sink->labels.size());
  EXPECT_EQ(world.sink->graded_labels, world.sink->label_values);
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

TEST(Fold, StepsRiseInsideOneAdmit) {
  const auto stream = shop(6, 200, false);
  std::size_t records = 0;
  for (const Transaction& transaction : stream)
    records += transaction.records.size();
  World world(shop_config());
  std::set<std::uint64_t> seen;
  world.sink->when_graded = [&] { seen.insert(world.fold().steps()); };
  world.feed(stream, stream.size());
  EXPECT_GT(seen.size(), 5U) << "who watches sees it get on, group or no group";
  // A record counts when it is admitted and when it is folded, and a prediction counts, too.
  EXPECT_LT(2 * *seen.begin(), world.fold().steps()) << "long before all is admitted and folded";
  EXPECT_GE(world.fold().steps(), records);
}

TEST(Fold, ARowThatComesBackIsThereFromItsEndOn) {
  const Config config = shop_config();
  const auto gone =
      change_record(orders_layout(), Op::Delete,
                    {Value::of_integer(1), Value::null(), Value::null(), Value::null()}, day(5));
  const auto customer_gone =
      change_record(customers_layout(), Op::Delete, {Value::of_integer(1), Value::null()}, day(5));
  const auto late_update = change_record(
      orders_layout(), Op::Update,
      {Value::of_integer(6), Value::of_integer(0), Value::of_real(3), Value::unchanged()}, day(3));
  const auto sixth_gone =
      change_record(orders_layout(), Op::Delete,
                    {Value::of_integer(6), Value::null(), Value::null(), Value::null()}, day(5));
  const auto customer = [](std::int64_t id) {
    return change_record(customers_layout(), Op::Insert,
                         {Value::of_integer(id), Value::of_text("Graz")});
  };
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(customers_layout()), layout_record(orders_layout()),
                       customer(0), customer(1)};
  for (const std::string& record :
       {order(1, 0, 1, day(1)), order(2, 0, 1, day(2)), order(6, 0, 1, day(2)), gone, sixth_gone,
        customer_gone, order(3, 0, 1, day(8)),
        // What replaces a row has its time, and a table without times has none: both began before
        // their rows ended. A change of a row that is gone is late news of it, no new row.
        order(1, 0, 7, day(3)), customer(1), late_update, order(4, 0, 1, day(9)),
        order(5, 0, 1, day(10))}) {
    stream.push_back({stream.size() + 1, {record}});
  }
  stream[0].position = 1;
  World world(config);
  world.feed(stream);
  store::Graph& graph = world.fold().graph();
  const TableId customers = *config.schema.find("customers");
  const auto node_of = [&](std::int64_t id) {
    std::string key;
    append_key(key, Value::of_integer(id));
    return *graph.find(customers, key);
  };
  const auto orders_as_of = [&](double when) {
    return graph.count(RelationId{0}, node_of(0), kTimeMin, day(when), day(when));
  };
  EXPECT_EQ(orders_as_of(4), 3u) << "orders 1, 2 and 6";
  EXPECT_EQ(orders_as_of(6), 2u) << "order 2, and order 1 again";
  EXPECT_EQ(orders_as_of(8.5), 3u) << "and order 3";
  EXPECT_FALSE(graph.newest_version(node_of(1))->deleted);
  EXPECT_FALSE(graph.version(node_of(1), day(6))->deleted);
}

TEST(Fold, ARowThatIsToComeMayBeChangedOrDeletedBefore) {
  const Config config = shop_config();
  const auto order_change = [](Op op, std::int64_t id, std::int64_t customer, double when) {
    return change_record(
        orders_layout(), op,
        {Value::of_integer(id), Value::of_integer(customer), Value::of_real(3), Value::unchanged()},
        day(when));
  };
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(customers_layout()), layout_record(orders_layout())};
  for (const std::int64_t id : {0, 1}) {
    stream[0].records.push_back(change_record(customers_layout(), Op::Insert,
                                              {Value::of_integer(id), Value::of_text("Graz")}));
  }
  for (const std::string& record :
       {order(1, 0, 1, day(20)), order(2, 0, 1, day(20)), order(3, 0, 1, day(2)),
        order_change(Op::Delete, 1, 0, 5), order_change(Op::Update, 2, 1, 6),
        order_change(Op::Update, 3, 1, 6)}) {
    stream.push_back({stream.size() + 1, {record}});
  }
  stream[0].position = 1;
  World world(config);
  world.feed(stream);
  store::Graph& graph = world.fold().graph();
  const auto node_of = [&](std::string_view table, std::int64_t id) {
    std::string key;
    append_key(key, Value::of_integer(id));
    return *graph.find(*config.schema.find(table), key);
  };
  const auto orders_as_of = [&](std::int64_t customer, double when) {
    return graph.count(RelationId{0}, node_of("customers", customer), kTimeMin, day(when),
                       day(when));
  };
  EXPECT_TRUE(graph.newest_version(node_of("orders", 1))->deleted);
  EXPECT_FALSE(graph.version(node_of("orders", 1), day(30)));
  EXPECT_EQ(orders_as_of(0, 4), 1u) << "order 3";
  EXPECT_EQ(orders_as_of(1, 7), 1u) << "order 3, since its change";
  EXPECT_EQ(orders_as_of(0, 30), 0u) << "order 1 never came, orders 2 and 3 are another's";
  EXPECT_EQ(orders_as_of(1, 30), 2u);
}

TEST(Fold, ATaskMayBeNamedLikeThePartsOfTheFold) {
  std::string text = kShopConfig;
  text.replace(text.find("\"spend\""), 7, "\"fold\"");
  const auto config = parse_config(text, "shop.toml");
  ASSERT_TRUE(config) << config.error().detail;
  const auto stream = shop(6, 120);
  const std::string expected = digest_of(config.value(), stream, {});
  World world(config.value());
  world.feed(std::span(stream).first(60));
  ASSERT_TRUE(world.fold().checkpoint());
  world.crash();
  world.feed(std::span(stream).subspan(60));
  EXPECT_EQ(world.stored_digest(), expected);
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

}  // namespace
}  // namespace accrete::daemon
