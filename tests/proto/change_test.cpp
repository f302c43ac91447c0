// Which changes are accepted into the log, and the key and event time read out of them.
#include <gtest/gtest.h>

#include "proto/codec.h"
#include "proto/limits.h"

namespace accrete {
namespace {

/// orders(id, shop, placed, amount), key (id, shop), time `placed` in milliseconds; notes(text).
struct Shop {
  Shop() {
    Table orders;
    orders.name = "orders";
    for (const char* name : {"id", "shop", "placed", "amount"}) {
      orders.columns.push_back({name});
    }
    orders.key = {ColumnId(0), ColumnId(1)};
    orders.time = ColumnId(2);
    orders.time_unit = TimeUnit::Milliseconds;
    Table notes;
    notes.name = "notes";
    notes.columns = {{"text"}};
    EXPECT_TRUE(schema.add(orders));
    EXPECT_TRUE(schema.add(notes));
    EXPECT_TRUE(schema.seal());
    // Cells in another order than the table's columns.
    bound_orders = schema.bind({"orders", {"placed", "amount", "shop", "id"}}).value();
    bound_notes = schema.bind({"notes", {"text"}}).value();
  }

  Status check(const Change& change) const { return check_change(change, bound_orders, schema); }
  const Table& orders() const { return schema.table(TableId(0)); }

  Schema schema;
  BoundLayout bound_orders;
  BoundLayout bound_notes;
};

Change row(Op op, Value placed, Value amount, Value shop, Value id) {
  Change out;
  out.op = op;
  out.cells = {placed, amount, shop, id};
  return out;
}

const Value kId = Value::of_integer(7);
const Value kShop = Value::of_text("north");
const Value kPlaced = Value::of_integer(1'500);
const Value kAmount = Value::of_real(9.5);

TEST(CheckChange, AcceptsWhatItShould) {
  const Shop shop;
  Change moved = row(Op::Update, Value::unchanged(), Value::unchanged(), kShop, kId);
  moved.old_key = {Value::of_integer(6), kShop};
  Change truncate;
  truncate.op = Op::Truncate;
  const Change accepted[] = {
      row(Op::Insert, kPlaced, kAmount, kShop, kId),
      row(Op::Insert, Value::null(), Value::null(), kShop, kId),
      row(Op::Insert, Value::of_text("2010-01-01"), kAmount, kShop, kId),
      row(Op::Insert, Value::of_time(TimeUs(5)), kAmount, kShop, kId),
      row(Op::Delete, Value::null(), Value::unchanged(), kShop, kId),
      moved,
      truncate,
  };
  for (const Change& change : accepted) {
    const Status status = shop.check(change);
    EXPECT_TRUE(status) << status.error().detail;
  }
}

struct Refused {
  Change change;
  std::string detail;
};

TEST(CheckChange, NamesTableColumnAndValue) {
  const Shop shop;
  const Value null = Value::null();
  Change short_row;
  short_row.cells = {kPlaced};
  Change full_truncate = row(Op::Truncate, null, null, null, null);
  Change old_on_insert = row(Op::Insert, kPlaced, kAmount, kShop, kId);
  old_on_insert.old_key = {kId, kShop};
  Change short_old_key = row(Op::Update, kPlaced, kAmount, kShop, kId);
  short_old_key.old_key = {kId};
  Change null_old_key = row(Op::Update, kPlaced, kAmount, kShop, kId);
  null_old_key.old_key = {kId, null};
  const std::string long_text(limits::key_bytes_max, 'x');
  const Value far = Value::of_integer(std::numeric_limits<std::int64_t>::max());
  const Refused cases[] = {
      {short_row, "orders: 1 cells, the layout has 4 columns"},
      {full_truncate, "orders: a truncate carries no cells"},
      {row(Op::Insert, kPlaced, kAmount, kShop, null), "orders.id is NULL"},
      {row(Op::Delete, null, null, null, kId), "orders.shop is NULL"},
      {row(Op::Update, kPlaced, kAmount, kShop, Value::unchanged()), "orders.id is UNCHANGED"},
      {row(Op::Insert, kPlaced, Value::unchanged(), kShop, kId), "orders.amount is UNCHANGED"},
      {row(Op::Insert, Value::of_text("soon"), kAmount, kShop, kId), "orders.placed is \"soon\""},
      {row(Op::Insert, Value::of_real(1.5), kAmount, kShop, kId), "orders.placed is 1.5"},
      {row(Op::Insert, Value::flag(true), kAmount, kShop, kId), "orders.placed is true"},
      {row(Op::Insert, far, kAmount, kShop, kId), "orders.placed is 9223372036854775807"},
      {row(Op::Insert, kPlaced, kAmount, Value::of_text(long_text), kId), "longer than 4096"},
      {old_on_insert, "orders: old_key is for updates only"},
      {short_old_key, "orders: old_key has 1 values, the key has 2"},
      {null_old_key, "orders.shop is NULL"},
  };
  for (const Refused& refused : cases) {
    const Status status = shop.check(refused.change);
    ASSERT_FALSE(status) << refused.detail;
    EXPECT_EQ(status.error().code, Errc::Malformed);
    EXPECT_NE(status.error().detail.find(refused.detail), std::string::npos)
        << status.error().detail;
  }
}

TEST(CheckChange, TablesWithoutAKeyOnlyGrow) {
  const Shop shop;
  Change change;
  change.cells = {Value::of_text("x")};
  EXPECT_TRUE(check_change(change, shop.bound_notes, shop.schema));
  for (const Op op : {Op::Update, Op::Delete}) {
    change.op = op;
    EXPECT_FALSE(check_change(change, shop.bound_notes, shop.schema));
  }
}

TEST(KeyOf, FollowsTheKeysOrderNotTheCells) {
  const Shop shop;
  std::string key = "former content";
  key_of(row(Op::Insert, kPlaced, kAmount, kShop, Value::of_text("7")), shop.bound_orders,
         shop.orders(), key);
  EXPECT_EQ(key_text(key), "7|north");
  std::string same;
  append_key(same, kId);
  append_key(same, kShop);
  EXPECT_EQ(key, same);
  key_of(Change{}, shop.bound_notes, shop.schema.table(TableId(1)), key);
  EXPECT_EQ(key, "");
}

TEST(EventTimeOf, ReadsTheTimeColumnInItsUnit) {
  const Shop shop;
  const auto time = [&](Value placed) {
    return event_time_of(row(Op::Insert, placed, kAmount, kShop, kId), shop.bound_orders,
                         shop.orders());
  };
  EXPECT_EQ(time(kPlaced), TimeUs(1'500'000));
  EXPECT_EQ(time(Value::of_time(TimeUs(-3))), TimeUs(-3));
  EXPECT_EQ(time(Value::of_text("1970-01-01T00:00:02Z")), TimeUs(2'000'000));
  EXPECT_EQ(time(Value::null()), std::nullopt);
  EXPECT_EQ(time(Value::unchanged()), std::nullopt);
  Change truncate;
  truncate.op = Op::Truncate;
  EXPECT_EQ(event_time_of(truncate, shop.bound_orders, shop.orders()), std::nullopt);
  EXPECT_EQ(event_time_of(Change{}, shop.bound_notes, shop.schema.table(TableId(1))), std::nullopt);
}

TEST(ValueTime, RefusesOverflow) {
  const std::int64_t seconds_max = std::numeric_limits<std::int64_t>::max() / 1'000'000;
  EXPECT_TRUE(value_time(Value::of_integer(seconds_max), TimeUnit::Seconds));
  EXPECT_FALSE(value_time(Value::of_integer(seconds_max + 1), TimeUnit::Seconds));
  EXPECT_FALSE(value_time(Value::of_integer(-seconds_max - 1), TimeUnit::Seconds));
  EXPECT_EQ(value_time(Value::of_integer(-9), TimeUnit::Microseconds), TimeUs(-9));
}

TEST(Layouts, BindsOnceAndRefusesTheUnknown) {
  Shop shop;
  Layouts layouts;
  const Layout layout{"notes", {"text", "author"}};
  EXPECT_FALSE(layouts.known(layout.hash()));
  ASSERT_TRUE(layouts.declare(layout, shop.schema));
  ASSERT_TRUE(layouts.declare(layout, shop.schema));
  ASSERT_TRUE(layouts.known(layout.hash()));
  EXPECT_EQ(layouts.find(layout.hash())->table, TableId(1));
  EXPECT_EQ(shop.schema.table(TableId(1)).columns.size(), 2u);
  const Layout unknown{"nots", {"text"}};
  const Status refused = layouts.declare(unknown, shop.schema);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().detail.find("\"notes\""), std::string::npos);
  EXPECT_FALSE(layouts.known(unknown.hash()));
}

}  // namespace
}  // namespace accrete
