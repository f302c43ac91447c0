// The aggregates that features are made of, kept up to date by difference, against sums over the
// rows as they are: on streams with late rows, updates, deletes, changed keys, nulls and crashes.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/synthesis_oracle.h"

namespace accrete::daemon {
namespace {

/// Compares all aggregates of some entities; returns how many numbers were compared.
std::size_t compare(const Market& market, World& world, double days_later) {
  std::size_t compared = 0;
  const TimeUs at = day(market.now() + days_later);
  Oracle oracle(market, world.fold(), static_cast<double>(at.value));
  for (const bool products : {true, false}) {
    AnyTask* task = world.fold().find_task(products ? "dear" : "visits");
    const std::string table = products ? "products" : "customers";
    const double unit = (products ? 3.0 : 20.0) / 32 * static_cast<double>(kDayUs);
    const std::string middle = products ? "half-life 16 days" : "half-life 256 days";
    const auto names = task->features().names();
    oracle.learn_values(names);
    for (std::int64_t id = 0; id < (products ? 24 : 15); id += 2) {
      std::string key;
      append_key(key, Value::of_integer(id));
      const auto node = world.fold().graph().find(task->plan().entity, key);
      const auto values = task->feature_values(node->row, at);
      EXPECT_EQ(values.size(), names.size());
      for (std::size_t i = 0; i < names.size(); ++i) {
        const auto expected = oracle.value(table, id, names[i], middle, unit);
        if (!expected) continue;
        ++compared;
        if (std::isnan(*expected)) {
          EXPECT_TRUE(std::isnan(values[i]))
              << table << " " << id << ": " << names[i] << " is " << values[i];
          continue;
        }
        // A deviation is a root: of what rounding leaves of a difference of squares. The newest
        // few values are kept as floats.
        const bool rough = names[i].find("deviation") != std::string::npos ||
                           names[i].find("newest ") != std::string::npos;
        const double slack = rough ? 1e-5 : 1e-9;
        EXPECT_NEAR(values[i], *expected, slack * (1 + std::abs(*expected)))
            << table << " " << id << ": " << names[i];
      }
    }
  }
  return compared;
}

TEST(Synthesis, EqualsSumsOverTheRowsAsTheyAre) {
  const auto config = parse_config(kMarketConfig, "market.toml");
  ASSERT_TRUE(config) << config.error().detail;
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    Market market(seed);
    FoldOptions options;
    options.checkpoint_records_min = 97;
    World world(config.value(), options);
    world.feed(market.stream);
    std::size_t compared = 0;
    for (int i = 1; i <= (kSanitized ? 450 : 700) && !testing::Test::HasFailure(); ++i) {
      const Transaction transaction = market.step();
      world.feed(std::span(&transaction, 1));
      if (i % 151 == 0) world.crash();
      if (i % 50 == 0) compared += compare(market, world, i % 100 == 0 ? 0 : 2.5);
    }
    EXPECT_GT(compared, 10'000U) << "seed " << seed;
    // The rarer parts were really there.
    const auto names = world.fold().find_task("dear")->features().names();
    for (const char* name :
         {"orders.rank of price by product, mean, half-life 4 days",
          "orders.kind = gift by product, newest", "orders.price is null by product, newest",
          "orders.length of note of all, mean, half-life 4 days",
          "notes.stars by product, mean, ever",
          "orders.product.size by session.customer of newest orders.session.customer, mean, "
          "half-life 4 days",
          "orders.session.pages by product, newest",
          "orders.product.family = toy of all, mean, half-life 4 days",
          "orders.price by product.family of products.family, mean, half-life 4 days",
          "log count of orders.session.customer of newest "
          "orders.session.customer, ever",
          "orders.price by product, trend over newest 8", "log mean gap of orders.product",
          "different session.customer of newest 8 orders.product",
          "share of newest 8 orders.product with the newest session.customer"}) {
      EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
    }
  }
}

TEST(Synthesis, SameBitsAfterCrashesAndWhatIfs) {
  const auto config = parse_config(kMarketConfig, "market.toml");
  ASSERT_TRUE(config) << config.error().detail;
  Market market(7);
  for (int i = 0; i < 500; ++i)
    market.step();
  FoldOptions options;
  options.checkpoint_records_min = 41;
  // All states; then room for some keys only, which has to be the same ones every time.
  for (const std::size_t room : {std::size_t{1} << 30, std::size_t{200} << 10}) {
    options.features_bytes_max = room;
    const std::string expected = digest_of(config.value(), market.stream, options);
    EXPECT_EQ(digest_after_crashes(config.value(), market.stream, options, 1), expected) << room;
    EXPECT_EQ(digest_after_crashes(config.value(), market.stream, options, 2), expected) << room;
    // Questions that are not in the log leave no trace.
    World world(config.value(), options);
    std::size_t asked = 0;
    for (const Transaction& transaction : market.stream) {
      world.feed(std::span(&transaction, 1));
      if (world.fold().now() == kTimeMin) continue;
      for (auto& task : world.fold().tasks()) {
        const std::vector<std::uint32_t> rows{0, 3};
        ASSERT_TRUE(task->what_if(rows, shift(world.fold().now(), kDayUs), [&](Prediction&) {
          ++asked;
          return Status(Ok{});
        }));
      }
    }
    EXPECT_GT(asked, 1000U);
    EXPECT_EQ(world.stored_digest(), expected) << room;
    EXPECT_LE(world.fold().memory_bytes(), std::size_t{64} << 20);
  }
}

}  // namespace
}  // namespace accrete::daemon
