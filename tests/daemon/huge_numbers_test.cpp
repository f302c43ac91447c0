// Numbers that no sum can hold, in rows that are acknowledged already: the fold goes on, counts
// them, and a store that has them opens again.
#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <stream.pb.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// The shop, whose prices are said to be numbers: they are asked of a row, too.
Config dear_config(const std::string& tasks) {
  std::string text = kShopConfig;
  const std::string keys = "foreign_keys = { customer = \"customers\" }\n";
  text.insert(text.find(keys), "columns = { price = \"number\" }\n");
  auto config = parse_config(text + tasks, "test.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

constexpr const char* kMoreTasks = R"(
[[task]]
name = "mean"
predict = "PREDICT AVG(orders.price, 0, 2, DAYS) FOR EACH customers.id EVERY 2 DAYS"

[[task]]
name = "dearest"
predict = "PREDICT MAX(orders.price, 0, 2, DAYS) FOR EACH customers.id EVERY 2 DAYS"

[[task]]
name = "newest"
predict = "PREDICT LAST(orders.price, 0, 2, DAYS) FOR EACH customers.id EVERY 2 DAYS"

[[task]]
name = "much"
predict = "PREDICT SUM(orders.price, 0, 2, DAYS) > 100 FOR EACH customers.id EVERY 2 DAYS"

[[task]]
name = "price"
predict = "PREDICT orders.price FOR EACH orders.id"
)";

/// A shop whose orders of day 10 cost these, two of each by customers 3 and 4.
std::vector<Transaction> dear_shop(const std::vector<double>& prices) {
  std::vector<Transaction> stream = shop(5, 300, false);
  std::int64_t id = 1'000'000;
  Transaction dear;
  for (const double price : prices) {
    for (const std::int64_t customer : {3, 4, 3, 4}) {
      const double later = 1e-6 * static_cast<double>(id % 1000);
      dear.records.push_back(order(id, customer, price, day(10.001 + later)));
      ++id;
    }
  }
  const auto tenth = stream.begin() + 100;  // about then; later rows are as of their own times
  stream.insert(tenth, std::move(dear));
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

struct Huge {
  const char* name;
  std::vector<double> prices;
  bool unusable;  ///< some outcome is no number to learn from
};

void PrintTo(const Huge& huge, std::ostream* out) {
  *out << huge.name;
}

class HugeNumbers : public testing::TestWithParam<Huge> {};

TEST_P(HugeNumbers, AreCountedAndTheFoldGoesOn) {
  for (const bool network : {false, true}) {
    Config config = dear_config(kMoreTasks);
    if (network) config.network.experts = NetworkConfig::Experts::Sage;
    config.network.on_heads = false;
    config.network.width = 8;
    config.network.ridge = network;
    const auto stream = dear_shop(GetParam().prices);
    FoldOptions options;
    options.network = config.network;
    const std::string expected = digest_of(config, stream, options);
    options.checkpoint_records_min = 20;
    EXPECT_EQ(digest_after_crashes(config, stream, options, 1, 200), expected);

    World world(config, options);
    world.feed(stream, 10);
    std::uint64_t unusable = 0;
    for (const auto& task : world.fold().tasks())
      unusable += task->unusable();
    EXPECT_EQ(unusable > 0, GetParam().unusable);
    for (const double label : world.sink->label_values)
      EXPECT_TRUE(std::isfinite(label));
    for (const std::string& payload : world.sink->payloads) {
      wire::Prediction prediction;
      ASSERT_TRUE(prediction.ParseFromString(payload));
      EXPECT_TRUE(std::isfinite(prediction.score())) << prediction.task();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, HugeNumbers,
                         testing::Values(Huge{"Sum", {1e308, 1e308}, true},
                                         Huge{"One", {1e308}, true}, Huge{"Infinity", {kInf}, true},
                                         Huge{"Both", {kInf, -kInf}, true},
                                         Huge{"NotANumber", {kNan}, true},
                                         Huge{"Large", {1e90}, false}),
                         [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace accrete::daemon
