// Answers of the graph network in their own units, and what they came from.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/graph_network.h"
#include "daemon/network_report.h"
#include "tests/daemon/fold_world.h"
#include "tests/daemon/regions.h"

namespace accrete::daemon {
namespace {

FoldOptions network_options() {
  FoldOptions options;
  options.network.experts = NetworkConfig::Experts::Sage;
  options.network.width = 16;
  options.network.fan_out = {4, 3};
  options.network.batch = 32;
  options.network.passes = 2;
  options.blocks.by = models::BlockRule::Rows;
  options.blocks.every_rows = 300;
  options.checkpoint_records_min = 50;
  return options;
}

TEST(NetworkAnswers, TellsWhatAnAnswerCameFrom) {
  const Config config = shop_config();
  World world(config, network_options());
  world.feed(shop(5, 300));
  GraphNetwork& network = *world.fold().find_task("spend")->network();
  const TimeUs now = world.fold().now();
  std::size_t rows = 0;
  for (std::uint32_t customer = 0; customer < 30; ++customer) {
    const auto evidence = network.evidence(customer, now);
    ASSERT_TRUE(evidence);
    EXPECT_TRUE(std::isfinite(evidence->adds)) << "on heads";
    ASSERT_EQ(evidence->layers.size(), 2U);
    EXPECT_EQ(evidence->layers.back().nodes, 1U) << "the customer";
    EXPECT_EQ(evidence->experts.size(), network.experts());
    for (const NetworkEvidence::Read& read : evidence->read) {
      EXPECT_GT(read.rows, 0U);
      EXPECT_LE(read.newest_us, read.oldest_us);
      EXPECT_GE(read.newest_us, models::kAgeless);
      rows += read.rows;
    }
    const auto json = evidence_json(*evidence, world.fold().schema());
    double share = 0;
    for (const auto& [name, of_row] : json["layers"][1]["experts"].items())
      share += of_row.get<double>();
    EXPECT_NEAR(share, 1, 1e-3);
  }
  EXPECT_GT(rows, 100U);
}

/// Most outcomes of a yes or no say the same.
TEST(NetworkAnswers, TellsEveryOutcomeThatWasRead) {
  const Config config = shop_config();
  World world(config, network_options());
  world.feed(shop(5, 600));
  GraphNetwork& network = *world.fold().find_task("active")->network();
  std::size_t full = 0;
  for (std::uint32_t customer = 0; customer < 30; ++customer) {
    const auto evidence = network.evidence(customer, world.fold().now());
    ASSERT_TRUE(evidence);
    for (const NetworkEvidence::Read& read : evidence->read) {
      if (read.table) continue;
      EXPECT_LE(read.rows, 16U);
      if (read.rows < 16) continue;
      ++full;
      EXPECT_GE(read.oldest_us - read.newest_us, 15 * kDayUs) << "one a day";
    }
  }
  EXPECT_GT(full, 20U);
}

/// Hardly any trade in the first days, then a customer's orders have a price of their own.
std::vector<Transaction> quiet_start(std::int64_t orders) {
  std::vector<Transaction> stream = shop(1, 1);
  Rng rng(4, 0, Purpose::Test);
  for (std::int64_t i = 1; i < orders; ++i) {
    const auto customer = static_cast<std::int64_t>(rng.below(30));
    const double price = i < orders / 8 ? 0.01 * static_cast<double>(rng.below(10))
                                        : 100 + 20 * static_cast<double>(customer);
    stream.push_back({static_cast<std::uint64_t>(i) + 1,
                      {order(100 + i, customer, price, day(0.05 * static_cast<double>(i)))}});
  }
  return stream;
}

TEST(NetworkAnswers, AQuietStartDoesNotSetTheUnitForEver) {
  const Config config = shop_config();
  const auto stream = quiet_start(1600);
  for (const bool on_heads : {false, true}) {
    FoldOptions options = network_options();
    options.network.on_heads = on_heads;
    World world(config, options);
    world.feed(stream);
    const AnyTask& task = *world.fold().find_task("spend");
    std::map<std::string, double> errors;
    const auto names = task.candidate_names();
    for (std::size_t c = 0; c < names.size(); ++c) {
      for (const auto& [name, value] : task.metrics()[c].sliding())
        if (name == "mae") errors[names[c]] = value;
    }
    EXPECT_LT(errors.at("network"), 1.3 * errors.at(on_heads ? "ridge-32k" : "global-mean"))
        << (on_heads ? "on heads" : "alone");
  }
}

constexpr const char* kMeansConfig = R"(
[[table]]
name = "customers"
key = "id"

[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }

[[task]]
name = "mean"
predict = "PREDICT AVG(orders.price, 0, 1, DAYS) FOR EACH customers.id EVERY 1 DAY"
)";

/// When the unit is looked at again is decided at an instant that teaches nothing.
TEST(NetworkAnswers, ACrashAfterAQuietDayChangesNoUnit) {
  const auto config = parse_config(kMeansConfig, "test.toml");
  ASSERT_TRUE(config) << config.error().detail;
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(customers_layout()), layout_record(orders_layout())};
  for (std::int64_t c = 0; c < 70; ++c) {
    stream[0].records.push_back(change_record(customers_layout(), Op::Insert,
                                              {Value::of_integer(c), Value::of_text("Bonn")}));
  }
  const auto orders = [&](double at, std::int64_t count, double about) {
    Transaction& transaction = stream.emplace_back();
    for (std::int64_t c = 0; c < count; ++c) {
      const auto id = static_cast<std::int64_t>(stream.size()) * 100 + c;
      const double price = about + static_cast<double>(c % 7);
      transaction.records.push_back(order(id, c, price, day(at)));
    }
  };
  const auto clock = [&](double at) {
    encode_mark({MarkKind::Clock, day(at)}, stream.emplace_back().records.emplace_back());
  };
  orders(1, 1, 0);  // ticks begin
  orders(2, 70, 0);
  clock(2.8);
  const std::size_t taught = stream.size();
  clock(3.8);  // a tick of which nobody has an outcome
  const std::size_t quiet = stream.size();
  for (const double at : {3.9, 4.9, 5.9})
    orders(at, 25, 1000);
  clock(8);
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  FoldOptions options = network_options();
  options.network.on_heads = false;
  options.network.batch = 64;
  expect_same_after_a_crash(config.value(), stream, options, taught, quiet, [](World& world) {
    EXPECT_GT(world.fold().find_task("mean")->network()->steps(), 0U);
  });
}

/// From matured labels to pairs that share a row to what the network weighs before any loss.
TEST(NetworkAnswers, LabelsThatAgreeWithTheirNeighboursRaiseItsPrior) {
  const Config config = regions_config();
  const auto prior = [&](const Regions& shape) {
    FoldOptions options = network_options();
    options.network.passes = 1;
    options.network.fan_out = {1};
    options.blocks.every_rows = 100'000;
    World world(config, options);
    world.feed(regions(5, shape));
    const models::LabelSignals& signals = world.fold().find_task("active")->network()->signals();
    EXPECT_GT(signals.labels(), 3000U);
    EXPECT_EQ(signals.paths(), 1U);
    return signals.prior();
  };
  EXPECT_GT(prior({.first = 80, .each_day = 0}), models::NetworkPrior::low + 0.02);
  EXPECT_EQ(prior({.first = 80, .each_day = 0, .says = 0}), models::NetworkPrior::low);
  // Of more and more customers only the newest buy, so at each time most say the same.
  EXPECT_EQ(prior({.says = 0}), models::NetworkPrior::low);
}

constexpr const char* kTurnsTask = R"(
[[table]]
name = "people"
key = "id"
[[table]]
name = "visits"
key = "id"
time = "at"
foreign_keys = { person = "people" }
columns = { what = "category" }
[[task]]
name = "first"
predict = "PREDICT FIRST(visits.what, 0, 1, DAYS) FOR EACH people.id EVERY 1 DAY"
)";

/// A person's first visit of a day is one of three in turn; six others that follow, of any kind,
/// stand between it and who reads the newest rows.
std::vector<Transaction> turns(std::int64_t people, int days) {
  const Layout persons{"people", {"id"}};
  const Layout visits{"visits", {"id", "person", "what", "at"}};
  Rng rng(8, 0, Purpose::Test);
  std::vector<Transaction> stream(1);
  stream[0].records = {layout_record(persons), layout_record(visits)};
  for (std::int64_t p = 0; p < people; ++p)
    stream[0].records.push_back(change_record(persons, Op::Insert, {Value::of_integer(p)}));
  std::int64_t id = 0;
  for (int d = 0; d < days; ++d) {
    Transaction& today = stream.emplace_back();
    for (int i = 0; i < 7; ++i) {
      for (std::int64_t p = 0; p < people; ++p) {
        const std::uint64_t kind = i == 0 ? static_cast<std::uint64_t>(p + d) % 3 : rng.below(3);
        const TimeUs at = day(d + 0.5 + 0.05 * i);  // midnight is at .48
        today.records.push_back(change_record(
            visits, Op::Insert,
            {Value::of_integer(id++), Value::of_integer(p),
             Value::of_text(std::string(1, static_cast<char>('a' + kind))), Value::of_time(at)},
            at));
      }
    }
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

/// Outcomes that are classes are rows around an entity, too, each class a thing of its own.
TEST(NetworkAnswers, WhatItCameToSaysWhichClassIsNext) {
  auto parsed = parse_config(kTurnsTask, "turns.toml");
  ASSERT_TRUE(parsed) << parsed.error().detail;
  const Config config = std::move(parsed).value();
  FoldOptions options = network_options();
  options.network.passes = 8;
  options.network.fan_out = {4};
  options.blocks.every_rows = 100'000;
  World world(config, options);
  world.feed(turns(60, 60));
  const AnyTask& task = *world.fold().find_task("first");
  std::map<std::string, double> right;
  const auto names = task.candidate_names();
  for (std::size_t c = 0; c < names.size(); ++c) {
    for (const auto& [name, value] : task.metrics()[c].sliding())
      if (name == "accuracy") right[names[c]] = value;
  }
  EXPECT_GT(right.at("network"), 0.6) << "from the beginning on; a third by chance";
  EXPECT_LT(right.at("last-label"), 0.1) << "it is never the same again";
  GraphNetwork& network = *world.fold().find_task("first")->network();
  const auto evidence = network.evidence(0, world.fold().now());
  ASSERT_TRUE(evidence);
  std::size_t outcomes = 0;
  for (const NetworkEvidence::Read& read : evidence->read)
    if (!read.table) outcomes += read.rows;
  EXPECT_EQ(outcomes, 16U) << "the newest";
}

}  // namespace
}  // namespace accrete::daemon
