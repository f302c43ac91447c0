// As of when labelled rows are shown: never once their value is known. What comes of a value must
// not tell it, and nothing of that is lost by a crash.
#include "daemon/shown_times.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "tests/daemon/fold_world.h"
#include "tests/sanitized.h"

namespace accrete::daemon {
namespace {

constexpr TimeUs kNow{1'000'000};

TEST(ShownTimes, ARowIsShownWhileItWaited) {
  ShownTimes times("t/shown/", 1);
  std::vector<std::int64_t> after;
  for (std::uint32_t row = 0; row < 1000; ++row) {
    times.settled(row, TimeUs{row}, TimeUs{row + 100});
    const TimeUs at = times.of(row, kNow);
    EXPECT_EQ(at, times.of(row, TimeUs{2'000'000})) << "for good";
    after.push_back(at.value - row);
  }
  const auto [least, most] = std::ranges::minmax(after);
  EXPECT_EQ(least, 0);
  EXPECT_EQ(most, 99) << "its value is known from 100 on";
  const auto early = std::ranges::count_if(after, [](std::int64_t wait) { return wait < 50; });
  EXPECT_NEAR(static_cast<double>(early), 500, 3 * std::sqrt(250.0));
}

TEST(ShownTimes, ARowThatBroughtItsValueIsShownAsIfItHadWaitedLikeOthers) {
  ShownTimes times("t/shown/", 1);
  for (std::uint32_t row = 0; row < 1000; ++row)
    times.settled(row, TimeUs{10 * row}, TimeUs{10 * row});
  EXPECT_EQ(times.of(7, kNow), kNow) << "nobody has waited for a value that came";
  EXPECT_EQ(times.of(5000, kNow), kNow) << "it has none";
  times.settled(1000, TimeUs{0}, TimeUs{300});
  std::int64_t most = 0;
  for (std::uint32_t row = 0; row < 1000; ++row) {
    const std::int64_t arrived = 10 * std::int64_t{row};
    const std::int64_t wait = times.of(row, kNow).value - arrived;
    ASSERT_GE(wait, 0);
    ASSERT_LT(wait, 300);
    most = std::max(most, wait);
    EXPECT_LE(times.of(row, TimeUs{arrived + 5}), TimeUs{arrived + 5});
  }
  EXPECT_GT(most, 250);
  times.forget(7);
  EXPECT_EQ(times.of(7, kNow), kNow);
}

/// A fit that cannot hold all rows takes those of smallest hash (Propagation::fit_softmax).
TEST(ShownTimes, WhichRowsAreTakenSaysNothingOfWhen) {
  ShownTimes times("t/shown/", 1);
  double sum = 0;
  std::size_t taken = 0;
  for (std::uint32_t row = 0; row < 20'000; ++row) {
    times.settled(row, TimeUs{0}, TimeUs{1000});
    if (Rng(1, row, Purpose::Training).next() > ~0ull / 20) continue;
    ++taken;
    sum += static_cast<double>(times.of(row, kNow).value);
  }
  ASSERT_GT(taken, 800U);
  EXPECT_NEAR(sum / static_cast<double>(taken), 500, 50);
}

TEST(ShownTimes, TheWidestWaitIsNoFault) {
  ShownTimes times("t/shown/", 1);
  const TimeUs last{kTimeMax.value - 1};
  times.settled(0, kTimeMin, last);
  EXPECT_LT(times.of(0, last), last);
  times.settled(1, kNow, kNow);
  EXPECT_LE(times.of(1, last), last);
  EXPECT_GE(times.of(1, last), kNow);
}

// ---- what comes of a value --------------------------------------------------------------------

constexpr const char* kReturns = R"(
[[table]]
name = "customers"
key = "id"

[[table]]
name = "orders"
key = "id"
time = "placed"
foreign_keys = { customer = "customers" }
columns = { amount = "number", returned = "flag" }

[[table]]
name = "refunds"
key = "id"
time = "at"
foreign_keys = { order_id = "orders" }

[[task]]
name = "returned"
predict = "PREDICT orders.returned FOR EACH orders.id"
on_change = false
)";

constexpr std::int64_t kOrders = 1500;
constexpr double kStep = 0.01;          // days
constexpr std::int64_t kWaiting = 100;  // those of the last day

Config returns_config() {
  auto config = parse_config(kReturns, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

Layout placed_layout() {
  return {"orders", {"id", "customer", "amount", "returned", "placed"}};
}
Layout refunds_layout() {
  return {"refunds", {"id", "order_id", "at"}};
}

/// Whether an order is returned is chance. It is known a day after, and half an hour later there is
/// a refund. Every `bring`-th order before the middle has brought its value, as in a dump of what
/// was there (and its refund came all the same); 0: none.
std::vector<Transaction> returns(std::int64_t bring) {
  Rng rng(1, 3, Purpose::Test);
  std::multimap<double, std::string> events;  // by days
  events.emplace(-1.0, layout_record(placed_layout()));
  events.emplace(-1.0, layout_record(refunds_layout()));
  for (std::int64_t id = 0; id < kOrders; ++id) {
    const double at = kStep * static_cast<double>(id);
    const bool back = rng.below(2) == 0;
    const bool brings = bring != 0 && id % bring == 0 && id < kOrders / 2;
    const auto row = [&](Op op, Value returned, double when) {
      return change_record(
          placed_layout(), op,
          {Value::of_integer(id), Value::of_integer(static_cast<std::int64_t>(id % 40)),
           Value::of_real(static_cast<double>(rng.below(50))), std::move(returned),
           Value::of_time(day(at))},
          day(when));
    };
    events.emplace(at, row(Op::Insert, brings ? Value::flag(back) : Value::null(), at));
    if (id >= kOrders - kWaiting) continue;
    if (!brings) events.emplace(at + 1, row(Op::Update, Value::flag(back), at + 1));
    if (back) {
      const double later = at + 1.02;
      if (later > kStep * (kOrders - 1)) continue;
      events.emplace(later, change_record(refunds_layout(), Op::Insert,
                                          {Value::of_integer(id), Value::of_integer(id),
                                           Value::of_time(day(later))}));
    }
  }
  std::vector<Transaction> stream;
  for (auto& [at, record] : events)
    stream.push_back({stream.size() + 1, {record}});
  return stream;
}

FoldOptions network_options() {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.width = 16;
  options.network.fan_out = {4, 4};
  options.network.batch = 32;
  options.network.ridge = true;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 100'000;
  return options;
}

/// Mean of what is said of the orders that wait; "" is the mixture.
std::map<std::string, double> means_of_waiting(World& world) {
  AnyTask* const task = world.fold().find_task("returned");
  const TimeUs now = world.fold().now();
  const std::vector<std::string> names = task->candidate_names();
  std::map<std::string, double> sums;
  std::size_t answers = 0;
  EXPECT_TRUE(task->what_if(task->population(now), now, [&](Prediction& prediction) -> Status {
    ++answers;
    sums[""] += prediction.score;
    for (std::size_t c = 0; c < names.size(); ++c)
      sums[names[c]] += prediction.candidates[c].score;
    return Ok{};
  }));
  EXPECT_EQ(answers, static_cast<std::size_t>(kWaiting));
  for (auto& [name, sum] : sums)
    sum /= static_cast<double>(answers);
  return sums;
}

class WhatComesOfAValue : public testing::TestWithParam<std::int64_t> {};

/// Who has learnt that there is a refund of what was returned says of orders that wait, of which
/// there is none, that they were not.
TEST_P(WhatComesOfAValue, DoesNotTellIt) {
  const Config config = returns_config();
  World world(config, network_options());
  world.feed(returns(GetParam()));
  const auto means = means_of_waiting(world);
  for (const char* name :
       {"", "network", "network-on-heads", "network-ridge", "propagation", "propagation-ridge"}) {
    ASSERT_TRUE(means.contains(name)) << name;
    EXPECT_NEAR(means.at(name), 0.5, 0.1) << '"' << name << '"';
  }
}

INSTANTIATE_TEST_SUITE_P(All, WhatComesOfAValue, testing::Values(0, 2));

TEST(WaitingOrders, CrashesAnywhereChangeNothing) {
  const Config config = returns_config();
  auto stream = returns(3);
  if (kSanitized) stream.resize(800);
  FoldOptions options = network_options();
  options.checkpoint_records_min = 97;
  World whole(config, options);
  whole.feed(stream);
  EXPECT_EQ(digest_after_crashes(config, stream, options, 3, 200), whole.stored_digest());
}

/// Rows are deleted in a commit of their own, and come again.
TEST(WaitingOrders, ACrashAfterDeletesChangesNothing) {
  const Config config = returns_config();
  auto stream = returns(1);
  const std::size_t deletes = stream.size();
  for (const bool again : {false, true}) {
    for (std::int64_t id = 0; id < kOrders / 2; ++id) {
      const TimeUs at = day(30 + (again ? 1 : 0) + 0.01 * static_cast<double>(id));
      std::vector<Value> cells = {Value::of_integer(id), Value::null(), Value::null(),
                                  Value::null(), Value::null()};
      if (again) {
        cells[2] = Value::of_real(static_cast<double>(id % 7));
        cells[3] = Value::flag(id % 3 == 0);
        cells[4] = Value::of_time(at);
      }
      stream.push_back({stream.size() + 1,
                        {change_record(placed_layout(), again ? Op::Insert : Op::Delete,
                                       std::move(cells), at)}});
    }
  }
  const std::size_t inserts = deletes + kOrders / 2;
  for (std::int64_t id = kOrders - kWaiting; id < kOrders; ++id)
    stream.push_back({stream.size() + 1, {request_record("returned", id, day(60))}});
  std::string clock;
  encode_mark({MarkKind::Clock, day(61)}, clock);
  stream.push_back({stream.size() + 1, {clock}});
  expect_same_after_a_crash(config, stream, network_options(), deletes, inserts);
}

}  // namespace
}  // namespace accrete::daemon
