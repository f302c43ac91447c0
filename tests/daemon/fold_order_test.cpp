// Changes that come in another order than their times, or without one: what a row says depends on
// the log alone, whatever of it was folded when, kept or read back.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/fold_world.h"
#include "tests/sanitized.h"

namespace accrete::daemon {
namespace {

std::string change_order(Op op, std::int64_t id, Value customer, Value price, Value at,
                         std::optional<TimeUs> when) {
  return change_record(orders_layout(), op, {Value::of_integer(id), customer, price, at}, when);
}

std::string delete_order(std::int64_t id, std::optional<TimeUs> when) {
  return change_order(Op::Delete, id, Value::null(), Value::null(), Value::null(), when);
}

std::string clock_record(TimeUs time) {
  std::string out;
  encode_mark({MarkKind::Clock, time}, out);
  return out;
}

/// The head of each stream here: two tables, customers 0 to 29.
Transaction head() {
  Transaction first;
  first.position = 1;
  first.records = {layout_record(customers_layout()), layout_record(orders_layout())};
  for (std::int64_t c = 0; c < 30; ++c) {
    first.records.push_back(change_record(customers_layout(), Op::Insert,
                                          {Value::of_integer(c), Value::of_text("Graz")}));
  }
  return first;
}

/// Orders that are changed three times each: in part or as a whole, replaced, moved to another key,
/// at times days off, or at none.
std::vector<Transaction> restless_shop(std::uint64_t seed, std::size_t steps) {
  Rng rng(seed, 1, Purpose::Test);
  std::vector<Transaction> stream = {head()};
  double now = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    now += rng.uniform() * 0.15;
    Transaction transaction;
    transaction.position = i + 2;
    const auto new_order = static_cast<std::int64_t>(i);
    const auto customer = [&] {
      return Value::of_integer(static_cast<std::int64_t>(rng.below(30)));
    };
    const auto price = [&] { return Value::of_real(static_cast<double>(rng.below(100))); };
    const double ahead = rng.below(5) == 0 ? rng.uniform() * 4 : 0;
    transaction.records.push_back(change_order(Op::Insert, new_order, customer(), price(),
                                               Value::of_time(day(now + ahead)), std::nullopt));
    for (int change = 0; change < 3; ++change) {
      const std::size_t back = rng.below(std::min<std::size_t>(i + 1, 12));
      const std::int64_t id = new_order - static_cast<std::int64_t>(back);
      std::optional<TimeUs> when = day(now + rng.uniform() * 4 - 2.5);
      if (rng.below(4) == 0) when.reset();
      switch (rng.below(6)) {
        case 0:
          transaction.records.push_back(
              change_order(Op::Update, id, Value::unchanged(), price(), Value::unchanged(), when));
          break;
        case 1:
          transaction.records.push_back(change_order(Op::Update, id, customer(), Value::unchanged(),
                                                     Value::unchanged(), when));
          break;
        case 2:
          transaction.records.push_back(
              change_order(Op::Update, id, customer(), price(), Value::of_time(day(now)), when));
          break;
        case 3:
          transaction.records.push_back(delete_order(id, when));
          break;
        case 4:
          transaction.records.push_back(delete_order(id, when));
          transaction.records.push_back(change_order(Op::Insert, id, customer(), price(),
                                                     Value::of_time(day(now - 1)), std::nullopt));
          break;
        default: {
          Change moved;
          moved.layout = orders_layout().hash();
          moved.op = Op::Update;
          moved.cells = {Value::of_integer(100'000 + id), customer(), price(), Value::unchanged()};
          moved.old_key = {Value::of_integer(id)};
          moved.change_time = when;
          std::string record;
          encode_change(moved, record);
          transaction.records.push_back(record);
        }
      }
    }
    stream.push_back(std::move(transaction));
  }
  return stream;
}

TEST(FoldOrder, RestlessRowsHaveTheSameBitsWhateverIsKeptCommittedOrLost) {
  const Config config = shop_config();
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    const auto stream = restless_shop(seed, 150);
    for (const std::int64_t lateness : {std::int64_t{0}, 2 * kDayUs}) {
      FoldOptions options;
      options.lateness_us = lateness;
      const std::string expected = digest_of(config, stream, options);
      EXPECT_EQ(digest_of(config, stream, options, 7), expected);
      options.row_cache_rows = 1;
      options.checkpoint_records_min = 1;
      EXPECT_EQ(digest_of(config, stream, options, 3), expected);
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed, 20), expected);
      options.row_cache_rows = 100;
      options.checkpoint_records_min = 11;
      EXPECT_EQ(digest_after_crashes(config, stream, options, seed + 1, 50), expected);
    }
  }
}

/// A change without a time waits for the end of its transaction, while a late one that was logged
/// behind it is folded at once: the first lies below the second then.
TEST(FoldOrder, WhatIsPutBelowAKeptRowIsSeenThroughIt) {
  const Config config = shop_config();
  std::vector<Transaction> stream = {head()};
  const auto add = [&](std::vector<std::string> records) {
    stream.push_back({stream.size() + 1, std::move(records)});
  };
  const Value same = Value::unchanged();
  for (std::int64_t id = 0; id < (kSanitized ? 20 : 60); ++id) {
    const double at = 0.3 * static_cast<double>(id);
    const auto customer = [&](std::int64_t step) { return Value::of_integer((id + step) % 30); };
    add({order(id, id % 30, 1, day(at))});
    std::string between = change_order(Op::Update, id, same, Value::of_real(50), same, {});
    if (id % 3 == 0) between = delete_order(id, {});
    add({between, change_order(Op::Update, id, customer(1), same, same, day(at - 2))});
    add({change_order(Op::Update, id, customer(2), same, same, day(at + 0.01))});
  }
  add({clock_record(day(30))});
  FoldOptions options;
  const std::string expected = digest_of(config, stream, options);
  options.row_cache_rows = 1;
  options.checkpoint_records_min = 1;
  EXPECT_EQ(digest_of(config, stream, options), expected);
  EXPECT_EQ(digest_after_crashes(config, stream, options, 1, 5), expected);
}

/// When a change takes effect, where that is of the record alone.
std::optional<TimeUs> time_of(const std::string& bytes) {
  Record record;
  if (!decode_record(bytes, record) || record.kind != RecordKind::Change) return std::nullopt;
  const Change& change = record.change;
  if (change.op != Op::Insert && change.change_time) return change.change_time;
  if (change.cells.size() < 4 || change.cells[3].kind != ValueKind::Time) return std::nullopt;
  return TimeUs{change.cells[3].integer};
}

/// All orders as of a day, and what they say.
std::vector<std::string> orders_as_of(World& world, double when) {
  std::vector<std::string> out;
  for (const std::int64_t base : {0, 100'000}) {
    for (std::int64_t id = base; id < base + 200; ++id) {
      std::string key;
      append_key(key, Value::of_integer(id));
      const TableId orders = *world.fold().schema().find("orders");
      const auto node = world.fold().graph().find(orders, key);
      const RowContent* row = node ? world.fold().rows().row(*node, day(when)) : nullptr;
      if (row == nullptr) continue;
      out.push_back(std::to_string(id));
      for (const Value& cell : row->cells)
        out.back() += "|" + value_text(cell);
    }
  }
  return out;
}

TEST(FoldOrder, RestlessRowsSayNothingOfTimesToCome) {
  const Config config = shop_config();
  FoldOptions options;
  options.lateness_us = 30 * kDayUs;
  auto stream = restless_shop(4, 150);
  // Of a change without a time none but the watermark knows when it takes effect.
  for (Transaction& transaction : stream) {
    std::erase_if(transaction.records, [](const std::string& bytes) {
      Record record;
      return decode_record(bytes, record) && record.kind == RecordKind::Change &&
             record.change.cells.size() == 4 && !time_of(bytes);
    });
  }
  Transaction end;
  end.position = stream.size() + 1;
  end.records = {clock_record(day(100))};
  World whole(config, options);
  whole.feed(stream);
  whole.feed(std::vector{end});
  for (const double when : {3.0, 5.0, 7.0}) {
    std::vector<Transaction> early = stream;
    for (Transaction& transaction : early) {
      std::erase_if(transaction.records, [&](const std::string& bytes) {
        const auto time = time_of(bytes);
        return time && *time > day(when);
      });
    }
    std::erase_if(early,
                  [](const Transaction& transaction) { return transaction.records.empty(); });
    World world(config, options);
    world.feed(early);
    world.feed(std::vector{end});
    EXPECT_GT(orders_as_of(world, when).size(), 20u);
    EXPECT_EQ(orders_as_of(whole, when), orders_as_of(world, when));
  }
}

/// What order 1 is as of a day: its price, or nothing.
std::optional<double> price_of(World& world, double when, std::int64_t id = 1) {
  std::string key;
  append_key(key, Value::of_integer(id));
  const TableId orders = *world.fold().schema().find("orders");
  const auto node = world.fold().graph().find(orders, key);
  const RowContent* row = node ? world.fold().rows().row(*node, day(when)) : nullptr;
  if (row == nullptr) return std::nullopt;
  const Value& price = row->at(*world.fold().schema().table(orders).find("price"));
  return price.is_number() ? std::optional(price.as_number()) : std::nullopt;
}

struct Told {
  std::vector<std::vector<std::string>> transactions;
  std::vector<std::pair<double, std::optional<double>>> prices;  ///< as of days
};

/// For any lateness that lets the changes wait, and after a restart.
void expect_prices(const Told& told, double lateness_days) {
  const Config config = shop_config();
  FoldOptions options;
  options.lateness_us = static_cast<std::int64_t>(lateness_days * static_cast<double>(kDayUs));
  std::vector<Transaction> stream = {head()};
  for (const auto& records : told.transactions)
    stream.push_back({stream.size() + 1, records});
  stream.push_back({stream.size() + 1, {clock_record(day(50))}});
  World world(config, options);
  world.feed(stream);
  for (int restart = 0; restart < 2; ++restart) {
    for (const auto& [when, price] : told.prices)
      EXPECT_EQ(price_of(world, when), price) << "as of day " << when << ", restart " << restart;
    ASSERT_TRUE(world.fold().checkpoint());
    world.crash();
  }
}

Value whole(std::int64_t number) {
  return Value::of_integer(number);
}

TEST(FoldOrder, AHalfWrittenUpdateIsCompletedFromBeforeItsTime) {
  const auto update = [](Value customer, Value price, double when) {
    return change_order(Op::Update, 1, customer, price, Value::unchanged(), day(when));
  };
  const Told told = {{{order(1, 1, 10, day(1)), order(2, 1, 10, day(4))},
                      {update(Value::unchanged(), Value::of_real(50), 5)},
                      {update(whole(7), Value::unchanged(), 4)}},
                     {{3, 10}, {4.5, 10}, {6, 50}}};
  expect_prices(told, 2);
  expect_prices(told, 0);
}

TEST(FoldOrder, ARowMayBeReplacedInOneTransaction) {
  for (const bool timed : {false, true}) {
    const std::optional<TimeUs> when = timed ? std::optional(day(10.5)) : std::nullopt;
    const Told told = {{{order(1, 1, 10, day(1)), order(2, 1, 10, day(10))},
                        {clock_record(day(10))},
                        {delete_order(1, when), order(1, 1, 99, day(1))},
                        {clock_record(day(12))}},
                       {{11, 99}, {40, 99}}};
    expect_prices(told, 0);
    expect_prices(told, 2);
  }
}

TEST(FoldOrder, ARowThatWaitsMayBeChangedOrDeletedBefore) {
  const std::string update =
      change_order(Op::Update, 1, whole(1), Value::of_real(77), Value::of_time(day(7)), day(7));
  const std::vector<std::string> comes = {order(1, 1, 10, day(10)), order(2, 1, 1, day(12))};
  for (const double lateness : {0.0, 3.0, 30.0}) {
    expect_prices({{comes, {update}}, {{11, 77}, {40, 77}}}, lateness);
    expect_prices({{comes, {delete_order(1, day(7))}}, {{8, {}}, {11, {}}, {40, {}}}}, lateness);
    expect_prices({{comes, {delete_order(1, std::nullopt)}}, {{20, {}}, {40, {}}}}, lateness);
  }
}

TEST(FoldOrder, ATruncateThatWaitsSparesWhatCameAfterIt) {
  const std::string truncate = change_record(orders_layout(), Op::Truncate, {}, day(9));
  expect_prices(
      {{{order(1, 1, 10, day(1)), order(2, 1, 10, day(10))}, {truncate}, {order(1, 1, 55, day(2))}},
       {{20, 55}}},
      3);
}

}  // namespace
}  // namespace accrete::daemon
