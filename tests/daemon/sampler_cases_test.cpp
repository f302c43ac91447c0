// The sampler on a small shop, by hand: what is there when, seeds that are no rows, seeds that
// repeat.
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/sampler_world.h"

namespace accrete::daemon {
namespace {

struct Shop {
  explicit Shop(const char* entity_name)
      : config(shop_config()),
        world(config),
        rows(world.fold().schema(), world.fold().graph(), world.fold().rows(), 1u << 20),
        entity(*world.fold().schema().find(entity_name)),
        sampler(world.fold().schema(), plan_network(world.fold().schema(), entity, 1),
                world.fold().graph(), rows) {
    Transaction all;
    all.position = 1;
    all.records = {layout_record(customers_layout()), layout_record(orders_layout())};
    for (std::int64_t c = 0; c < 2; ++c) {
      all.records.push_back(change_record(customers_layout(), Op::Insert,
                                          {Value::of_integer(c), Value::of_text("Bonn")}));
    }
    all.records.push_back(order(1, 0, 10, day(1)));
    all.records.push_back(order(2, 0, 20, day(2)));
    all.records.push_back(order(3, 77, 30, day(3)));  // nobody knows this customer
    all.records.push_back(
        change_record(orders_layout(), Op::Delete,
                      {Value::of_integer(2), Value::null(), Value::null(), Value::null()}, day(5)));
    encode_mark({MarkKind::Clock, day(20)}, all.records.emplace_back());
    world.feed({&all, 1});
    observe_all(world, rows);
    rows.freeze();
  }
  std::uint32_t row(std::int64_t id) {
    std::string key;
    append_key(key, Value::of_integer(id));
    const auto found = world.fold().graph().find(entity, key);
    EXPECT_TRUE(found);
    return found ? found->row : 0;
  }
  /// Nodes besides the seed.
  std::size_t around(std::int64_t id, double at) {
    const Seed seed{row(id), day(at)};
    SampleOptions options;
    options.fan_out = {10};
    sampler.sample({&seed, 1}, options, batch);
    return batch.nodes() - 1;
  }

  Config config;
  World world;
  NetworkRows rows;
  TableId entity;
  SubgraphSampler sampler;
  models::GraphBatch batch;
};

TEST(SubgraphSampler, RowsThatAreNotThereYetOrNoLongerAreNoNeighbours) {
  Shop shop("customers");
  EXPECT_EQ(shop.around(0, 0.5), 0U);
  EXPECT_EQ(shop.around(0, 1), 1U) << "the order of this very moment";
  EXPECT_EQ(shop.around(0, 4), 2U);
  EXPECT_EQ(shop.batch.age_us[1], 2 * kDayUs) << "the newest first";
  EXPECT_EQ(shop.around(0, 5), 1U) << "deleted";
  EXPECT_EQ(shop.batch.age_us[0], models::kAgeless) << "customers have no time";
  Shop orders("orders");
  EXPECT_EQ(orders.around(1, 4), 1U);
  EXPECT_EQ(orders.around(3, 4), 0U) << "a customer that is only named is no row";
}

TEST(SubgraphSampler, ASeedThatIsNoRowShowsNothingButReadsItsChildren) {
  Shop shop("customers");
  EXPECT_EQ(shop.around(77, 4), 1U);
  EXPECT_EQ(shop.batch.age_us[0], models::kAgeless);
  EXPECT_TRUE(shop.batch.features[shop.batch.table[0]].isZero());
}

/// Outcomes by hand, the newest first.
class SomeLabels final : public LabelRows {
 public:
  void newest(std::uint32_t, TimeUs at, std::size_t k, std::vector<LabelRow>& out) override {
    for (const LabelRow& label : {LabelRow{0, day(3), 2}, LabelRow{0, day(2), 5},
                                  LabelRow{0, day(1), 2}, LabelRow{0, day(0), 0}}) {
      if (label.known <= at && out.size() < k) out.push_back(label);
    }
  }
};

TEST(SubgraphSampler, OutcomesThatAreClassesAreItems) {
  Shop shop("customers");
  SomeLabels labels;
  const Seed seed{shop.row(0), day(3.5)};
  SampleOptions options;
  options.fan_out = {10};
  options.labels = &labels;
  options.labels_max = 3;
  options.label_classes = true;
  ASSERT_TRUE(shop.sampler.sample({&seed, 1}, options, shop.batch));
  const std::uint16_t table = shop.sampler.plan().labels();
  const models::SparseRows& items = shop.batch.items[table];
  ASSERT_EQ(items.rows(), 2U) << "of three outcomes two show the same";
  std::vector<std::uint32_t> classes;
  std::vector<std::int64_t> ages;
  for (std::size_t v = 0; v < shop.batch.nodes(); ++v) {
    if (shop.batch.table[v] != table) continue;
    const auto listed = items.row(shop.batch.row[v]);
    ASSERT_EQ(listed.size(), 1U);
    EXPECT_EQ(listed[0].value, 1);
    classes.push_back(listed[0].column);
    ages.push_back(shop.batch.age_us[v]);
    EXPECT_EQ(shop.batch.features[table](static_cast<Eigen::Index>(shop.batch.row[v]), 1), 1);
  }
  EXPECT_EQ(classes, (std::vector<std::uint32_t>{2, 5, 2}));
  EXPECT_EQ(ages, (std::vector<std::int64_t>{kDayUs / 2, 3 * kDayUs / 2, 5 * kDayUs / 2}));
  options.label_classes = false;
  ASSERT_TRUE(shop.sampler.sample({&seed, 1}, options, shop.batch));
  EXPECT_EQ(shop.batch.items[table].rows(), 0U) << "numbers are none";
}

TEST(SubgraphSampler, SeedsThatRepeatAreNodesOfTheirOwn) {
  Shop shop("customers");
  const Seed seeds[] = {{shop.row(0), day(4)}, {shop.row(0), day(4)}, {shop.row(0), day(1)}};
  SampleOptions options;
  options.fan_out = {10};
  shop.sampler.sample(seeds, options, shop.batch);
  EXPECT_EQ(shop.batch.reach, (std::vector<std::size_t>{3, 6}));
  const auto& orders = shop.batch.relations[0];
  EXPECT_EQ(orders.begin, (std::vector<std::uint32_t>{0, 2, 4, 5}));
  EXPECT_EQ(orders.source, (std::vector<std::uint32_t>{3, 4, 3, 4, 5}));
  EXPECT_EQ(shop.batch.features[shop.sampler.plan().entity].rows(), 1) << "one row, three nodes";
}

}  // namespace
}  // namespace accrete::daemon
