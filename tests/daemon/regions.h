// Customers whose region's wealth decides whether they buy: what only a neighbour says.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {

inline constexpr const char* kRegionsConfig = R"(
[[table]]
name = "regions"
key = "id"

[[table]]
name = "customers"
key = "id"
foreign_keys = { region = "regions" }

[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }

[[task]]
name = "active"
predict = "PREDICT EXISTS(orders.*, 0, 1, DAYS) FOR EACH customers.id EVERY 1 DAY"
)";

inline Config regions_config() {
  auto config = parse_config(kRegionsConfig, "regions.toml");
  EXPECT_TRUE(config) << config.error().detail;
  return std::move(config).value();
}

struct Regions {
  std::size_t days = 60;
  int first = 0;     ///< customers of the first day
  int each_day = 8;  ///< and those of each
  double says = 4;   ///< the odds that one buys are exp(says × its region's wealth, in [-1, 1))
};

/// Customers of 40 regions, of whom the newest eighty may buy.
inline std::vector<Transaction> regions(std::uint64_t seed, const Regions& shape = {}) {
  const Layout customers{"customers", {"id", "region", "city"}};
  const Layout region_rows{"regions", {"id", "wealth"}};
  Rng rng(seed, 0, Purpose::Test);
  std::vector<Transaction> stream;
  Transaction first;
  first.records = {layout_record(customers), layout_record(region_rows),
                   layout_record(orders_layout())};
  std::vector<double> wealth;
  for (std::int64_t r = 0; r < 40; ++r) {
    wealth.push_back(rng.uniform() * 2 - 1);
    first.records.push_back(change_record(region_rows, Op::Insert,
                                          {Value::of_integer(r), Value::of_real(wealth.back())}));
  }
  stream.push_back(std::move(first));
  std::vector<std::int64_t> region_of;
  std::int64_t orders = 0;
  for (std::size_t d = 0; d < shape.days; ++d) {
    Transaction today;
    for (int n = d == 0 ? -shape.first : 0; n < shape.each_day; ++n) {
      const auto id = static_cast<std::int64_t>(region_of.size());
      region_of.push_back(static_cast<std::int64_t>(rng.below(40)));
      today.records.push_back(change_record(
          customers, Op::Insert,
          {Value::of_integer(id), Value::of_integer(region_of.back()), Value::of_text("x")}));
    }
    const std::size_t oldest = region_of.size() > 80 ? region_of.size() - 80 : 0;
    for (std::size_t c = oldest; c < region_of.size(); ++c) {
      const double score = shape.says * wealth[static_cast<std::size_t>(region_of[c])];
      if (rng.uniform() > 1 / (1 + std::exp(-score))) continue;
      today.records.push_back(order(orders++, static_cast<std::int64_t>(c), 1.0,
                                    day(static_cast<double>(d) + 0.5 + rng.uniform() * 0.4)));
    }
    stream.push_back(std::move(today));
  }
  for (std::size_t i = 0; i < stream.size(); ++i)
    stream[i].position = i + 1;
  return stream;
}

}  // namespace accrete::daemon
