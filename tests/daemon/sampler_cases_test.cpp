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
