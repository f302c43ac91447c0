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

}  // namespace
}  // namespace accrete::daemon
