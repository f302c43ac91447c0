// Which entities are paired, on a history written down here.
#include "daemon/label_pairs.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/fold_world.h"

namespace accrete::daemon {
namespace {

constexpr const char* kTables = R"(
[[table]]
name = "towns"
key = "id"
[[table]]
name = "people"
key = "id"
foreign_keys = { town = "towns" }
[[table]]
name = "products"
key = "id"
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { person = "people", product = "products" }
)";
constexpr std::int64_t kNone = -1;

Value key_value(std::int64_t id) {
  return id == kNone ? Value::null() : Value::of_integer(id);
}

/// Six people and their towns; orders (person, product, day) one after another.
std::vector<Transaction> history() {
  const Layout towns{"towns", {"id"}};
  const Layout people{"people", {"id", "town"}};
  const Layout products{"products", {"id"}};
  const Layout orders{"orders", {"id", "person", "product", "at"}};
  std::vector<Transaction> stream(1);
  stream[0].position = 1;
  auto& records = stream[0].records;
  for (const Layout& layout : {towns, people, products, orders})
    records.push_back(layout_record(layout));
  for (std::int64_t id = 0; id < 3; ++id) {
    records.push_back(change_record(towns, Op::Insert, {key_value(id)}));
    records.push_back(change_record(products, Op::Insert, {key_value(id)}));
  }
  const std::int64_t town_of[] = {0, 0, 1, 0, kNone, 1};
  for (std::int64_t id = 0; id < 6; ++id)
    records.push_back(change_record(people, Op::Insert, {key_value(id), key_value(town_of[id])}));
  struct Order {
    std::int64_t person;
    std::int64_t product;
    double day;
  };
  std::int64_t number = 0;
  for (const Order& one : {Order{0, 2, 1}, Order{1, 2, 1}, Order{2, 2, 2}, Order{3, 1, 2},
                           Order{0, 1, 5}, Order{4, kNone, 5}})
    records.push_back(change_record(orders, Op::Insert,
                                    {key_value(number++), key_value(one.person),
                                     key_value(one.product), Value::of_time(day(one.day))},
                                    day(one.day)));
  return stream;
}

class LabelPairsTest : public testing::Test {
 protected:
  LabelPairsTest() : config(config_of()), world(config, FoldOptions{}) {
    world.feed(history());
    Fold& fold = world.fold();
    rows = std::make_unique<NetworkRows>(fold.schema(), fold.graph(), fold.rows(), 1u << 20);
    const NetworkPlan plan = plan_network(fold.schema(), TableId{1}, 1);
    pairs = std::make_unique<LabelPairs>(fold.schema(), plan, fold.graph(), *rows);
  }
  static Config config_of() {
    auto parsed = parse_config(kTables, "test.toml");
    EXPECT_TRUE(parsed) << parsed.error().detail;
    return std::move(parsed).value();
  }

  Config config;
  World world;
  std::unique_ptr<NetworkRows> rows;
  std::unique_ptr<LabelPairs> pairs;
};

TEST_F(LabelPairsTest, PairsThoseThatMeetAtARow) {
  ASSERT_EQ(pairs->paths(), 2u) << "a person's town, and the product of the newest order";
  const std::vector<std::uint32_t> people = {0, 1, 2, 3, 4, 5};
  models::LabelSignals signals(TaskKind::Multiclass);
  pairs->add(people, std::vector<double>{1, 1, 2, 1, 3, 2}, day(3), day(3), signals);
  // Town 0 has persons 0, 1 and 3, who are alike, town 1 has 2 and 5, as well.
  EXPECT_EQ(signals.homophily(0).pairs, 3u);
  EXPECT_EQ(signals.homophily(0).edge, 1);
  // On day 3 product 2 has 0, 1 and 2. Person 3 is alone at product 1.
  EXPECT_EQ(signals.homophily(1).pairs, 2u);
  EXPECT_LT(signals.homophily(1).edge, 1) << "one pair is not alike, whoever is next to whom";
  models::LabelSignals unlike(TaskKind::Multiclass);
  pairs->add(people, std::vector<double>{1, 2, 3, 4, 5, 6}, day(3), day(3), unlike);
  EXPECT_EQ(unlike.homophily(0).pairs, 3u);
  EXPECT_EQ(unlike.homophily(0).edge, 0);
}

TEST_F(LabelPairsTest, WhoIsPairedDoesNotFollowTheOrderOfTheirComing) {
  const std::vector<std::uint32_t> people = {0, 1, 3};
  std::size_t between = 0;
  constexpr int kTimes = 600;
  for (int i = 0; i < kTimes; ++i) {
    models::LabelSignals signals(TaskKind::Multiclass);
    pairs->add(people, std::vector<double>{1, 2, 1}, day(10 + i), day(10 + i), signals);
    ASSERT_EQ(signals.homophily(0).pairs, 2u);
    if (signals.homophily(0).edge == 0) ++between;
  }
  EXPECT_NEAR(static_cast<double>(between), kTimes / 3.0, 5 * std::sqrt(kTimes * 2 / 9.0))
      << "in a third of the orders person 1 stands between the others";
}

TEST_F(LabelPairsTest, FollowsTheNewestRowOfTheTimeAndOnlyKnownLabels) {
  const std::vector<std::uint32_t> people = {0, 1, 2, 3, 4, 5};
  const double none = std::numeric_limits<double>::quiet_NaN();
  models::LabelSignals signals(TaskKind::Binary);
  // On day 6 person 0's newest order is of product 1, as person 3's; 1 and 2 are left at product 2.
  pairs->add(people, std::vector<double>{1, none, 0, 1, 1, none}, day(6), day(6), signals);
  EXPECT_EQ(signals.homophily(0).pairs, 1u) << "persons 0 and 3";
  EXPECT_EQ(signals.homophily(1).pairs, 1u) << "persons 0 and 3; nobody is with person 2";
  EXPECT_DOUBLE_EQ(signals.homophily(1).edge, 1.0);
  // The same again is the same pair.
  pairs->add(people, std::vector<double>{1, none, 0, 1, 1, none}, day(6), day(6), signals);
  EXPECT_EQ(signals.homophily(1).pairs, 1u);
  // A day later it is another, unless it is told under the same name.
  pairs->add(people, std::vector<double>{1, none, 0, 1, 1, none}, day(7), day(6), signals);
  EXPECT_EQ(signals.homophily(1).pairs, 1u);
  pairs->add(people, std::vector<double>{1, none, 0, 1, 1, none}, day(7), day(7), signals);
  EXPECT_EQ(signals.homophily(1).pairs, 2u);
  models::LabelSignals before(TaskKind::Binary);
  pairs->add(people, std::vector<double>(6, 1.0), day(0.5), day(0.5), before);
  EXPECT_EQ(before.homophily(1).pairs, 0u) << "nobody had ordered anything";
}

TEST_F(LabelPairsTest, BesideEachStandsSomebodyElseOfTheTime) {
  const std::vector<std::uint32_t> people = {0, 1, 2, 3, 4, 5};
  // Town 0 has persons 0, 1 and 3, town 1 has 2 and 5: those of a town are alike, others are not.
  double chance = 0;
  constexpr int kTimes = 600;
  for (int i = 0; i < kTimes; ++i) {
    models::LabelSignals signals(TaskKind::Binary);
    pairs->add(people, std::vector<double>{1, 1, 0, 1, 1, 0}, day(10 + i), day(10 + i), signals);
    ASSERT_EQ(signals.homophily(0).pairs, 3u);
    ASSERT_EQ(signals.homophily(0).edge, 1);
    chance += signals.homophily(0).chance / kTimes;
  }
  // Beside the two pairs of town 0 stands the third of the town, or one of two who are unlike.
  EXPECT_NEAR(chance, 2.0 / 9, 0.04);
  // Of two alone there is nobody else: one label in two is a one.
  const double none = std::numeric_limits<double>::quiet_NaN();
  models::LabelSignals alone(TaskKind::Binary);
  pairs->add(people, std::vector<double>{1, 0, none, none, 1, none}, day(3), day(3), alone);
  EXPECT_EQ(alone.homophily(0).pairs, 1u);
  EXPECT_DOUBLE_EQ(alone.homophily(0).chance, 0.5);
}

}  // namespace
}  // namespace accrete::daemon
