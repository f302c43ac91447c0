// Queries bound to a schema: what is refused and how it is said; where ticks fall.
#include "daemon/plan.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/plan_columns.h"
#include "proto/time.h"
#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

TEST(Plan, BlocksByClassesNeedATaskThatHasSome) {
  const auto check = [](const std::string& predict, const std::string& network) {
    const std::string task = "\n[[task]]\nname = \"t\"\npredict = \"" + predict + "\"\n";
    const auto config =
        parse_config(std::string(kShopConfig).append(task).append(network), "test.toml");
    if (!config) return config.error().detail;
    const Status checked = check_tasks(config.value());
    return checked ? std::string("good") : checked.error().detail;
  };
  const std::string windows = "PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id";
  const std::string by_classes = "[network]\nexperts = \"sage\"\n[blocks]\nby = \"classes\"\n";
  EXPECT_EQ(check("PREDICT customers.city FOR EACH customers.id", by_classes), "good");
  EXPECT_TRUE(check(windows, by_classes).starts_with("test.toml: [blocks] by = \"classes\""));
  EXPECT_EQ(check(windows, "[blocks]\nby = \"classes\"\n"), "good");
  EXPECT_EQ(check(windows, "[network]\nexperts = \"sage\"\n"), "good");
}

TEST(Plan, RefusesWhatItCannotExecute) {
  const auto bind = [](const std::string& predict) {
    std::string text = kShopConfig;
    text.append("\n[[table]]\nname = \"visits\"\nforeign_keys = { customer = \"customers\" }\n");
    text.append("\n[[table]]\nname = \"shops\"\nkey = \"id\"\n");
    text.append("\n[[table]]\nname = \"calls\"\ntime = \"at\"\n");
    text.append("foreign_keys = { customer = \"customers\", shop = \"shops\" }\n");
    text.append("\n[[task]]\nname = \"t\"\npredict = \"").append(predict).append("\"\n");
    auto config = parse_config(text, "test.toml");
    if (!config) return config.error().detail;
    Schema schema = config.value().schema;
    const auto plan = bind_task(config.value().tasks.back(), schema);
    return plan ? std::string("bound") : plan.error().detail;
  };
  EXPECT_EQ(bind("PREDICT COUNT(orders.*, 0, 7, DAYS) FOR EACH customers.id"), "bound");
  EXPECT_EQ(bind("PREDICT customers.city FOR EACH customers.id"), "bound");
  EXPECT_EQ(
      bind("PREDICT LIST_DISTINCT(calls.shop, 0, 7, DAYS) RANK TOP 100 FOR EACH customers.id"),
      "bound");
  EXPECT_EQ(bind("PREDICT customers.city FOR EACH customers.id WHERE customers.id > 3"), "bound");
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"PREDICT customers.city FOR EACH customers.id EVERY 1 DAY", "leave EVERY out"},
      {"PREDICT customers.city FOR EACH orders.id", "rows of its own table"},
      {"PREDICT orders.at FOR EACH orders.id", "what it is known by"},
      {"PREDICT orders.customer FOR EACH orders.id", "what it is known by"},
      {"PREDICT orders.price FOR EACH orders.id", "columns = { price = \"category\" }"},
      {"PREDICT customers.city FOR EACH customers.id WHERE NOT customers.city = 'Bonn'",
       "may not depend on the column that is predicted"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS), 14 FOR EACH customers.id", "several horizons"},
      {"PREDICT LIST_DISTINCT(orders.price, 0, 7, DAYS) RANK TOP 3 FOR EACH customers.id",
       "rows that a foreign key of \"orders\" names"},
      {"PREDICT LIST_DISTINCT(orders.customer, 0, 7, DAYS) RANK TOP 3 FOR EACH customers.id",
       "another than the one to the entity"},
      {"PREDICT LIST_DISTINCT(calls.shop, 0, 7, DAYS) FOR EACH customers.id", "RANK TOP 10"},
      {"PREDICT LIST_DISTINCT(calls.shop, 0, 7, DAYS) RANK TOP 101 FOR EACH customers.id",
       "at most 100"},
      {"PREDICT LIST_DISTINCT(calls.shop = 3, 0, 7, DAYS) RANK TOP 3 FOR EACH customers.id",
       "names, another"},
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
      {"PREDICT COUNT(visits.*, 0, 7, DAYS) FOR EACH customers.id", "table \"visits\" names none"},
      {"PREDICT COUNT(orders.*, 0, 7, DAYS) VIA payer FOR EACH customers.id",
       "no foreign key \"payer\""},
  };
  for (const auto& [query, expected] : refused) {
    EXPECT_NE(bind(query).find(expected), std::string::npos) << query << "\n" << bind(query);
  }
}

TEST(Plan, TellsOfColumnsThatNoRowHasHad) {
  std::string text = kShopConfig;
  text +=
      "\n[[task]]\nname = \"t\"\npredict = \"PREDICT SUM(orders.amuont WHERE orders.wrapping = 1, "
      "0, "
      "7, "
      "DAYS) FOR EACH customers.id WHERE customers.citty = 'Graz'\"\n";
  const auto config = parse_config(text, "test.toml");
  ASSERT_TRUE(config) << config.error().detail;
  Schema schema = config.value().schema;
  const auto plan = bind_task(config.value().tasks.back(), schema);
  ASSERT_TRUE(plan) << plan.error().detail;
  EXPECT_EQ(columns_read(plan.value(), schema).size(), 3U);
  EXPECT_TRUE(unseen_columns(plan.value(), schema, {}).empty()) << "there may be rows yet";
  std::vector<Layout> layouts{{"orders", {"id", "customer", "at", "amount"}}};
  const std::vector<std::string> lines = unseen_columns(plan.value(), schema, layouts);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0],
            "task \"t\" reads orders.amuont, which no row has had; did you mean \"amount\"?");
  EXPECT_EQ(lines[1], "task \"t\" reads orders.wrapping, which no row has had");
  // A row without a column says nothing against it once another had it.
  layouts.push_back({"orders", {"id", "customer", "at", "amuont", "wrapping"}});
  layouts.push_back({"customers", {"id", "citty"}});
  layouts.push_back({"orders", {"id", "customer", "at"}});
  EXPECT_TRUE(unseen_columns(plan.value(), schema, layouts).empty());
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
