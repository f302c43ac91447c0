// The row encoder: what each kind gives, prefix stability, inference, exact state.
#include "models/encoder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "proto/time.h"
#include "state_check.h"

namespace accrete::models {
namespace {

constexpr TimeUs as_of{10 * kDayUs};

Table one_column(ColumnKind kind) {
  Table table;
  table.name = "t";
  table.columns = {{"c", kind}};
  table.time_unit = TimeUnit::Seconds;
  return table;
}

std::vector<double> encode(const RowEncoder& encoder, const Value& value) {
  std::vector<double> out{1, 2, 3};
  encoder.encode(std::vector<Value>{value}, as_of, out);
  return out;
}

std::vector<double> see(RowEncoder& encoder, const Table& table, const Value& value) {
  encoder.observe(table, std::vector<Value>{value});
  return encode(encoder, value);
}

TEST(RowEncoder, OneNumberPerCell) {
  struct Case {
    ColumnKind kind;
    Value value;
    double expected;
  };
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  const Case cases[] = {
      {ColumnKind::Number, Value::of_real(2.5), 2.5},
      {ColumnKind::Number, Value::of_integer(-3), -3},
      {ColumnKind::Number, Value::of_text("4.5"), 4.5},
      {ColumnKind::Number, Value::of_text("four"), nan},
      {ColumnKind::Number, Value::of_real(inf), nan},
      {ColumnKind::Number, Value::null(), nan},
      {ColumnKind::Number, Value::unchanged(), nan},
      {ColumnKind::Flag, Value::flag(true), 1},
      {ColumnKind::Flag, Value::of_integer(0), 0},
      {ColumnKind::Flag, Value::of_text("t"), 1},
      {ColumnKind::Flag, Value::of_text("maybe"), nan},
      {ColumnKind::Time, Value::of_time(TimeUs{8 * kDayUs}), std::log1p(2.0)},
      {ColumnKind::Time, Value::of_time(TimeUs{13 * kDayUs}), -std::log1p(3.0)},
      {ColumnKind::Time, Value::of_integer(86400 * 9), std::log1p(1.0)},
      {ColumnKind::Time, Value::of_text("1970-01-10"), std::log1p(1.0)},
      {ColumnKind::Time, Value::of_time(kTimeMin), nan},
      {ColumnKind::Inferred, Value::of_integer(7), 7},
      {ColumnKind::Inferred, Value::flag(true), 1},
      {ColumnKind::Inferred, Value::of_text("1970-01-10 00:00:00"), std::log1p(1.0)},
      {ColumnKind::Inferred, Value::of_text("red"), 1},
      {ColumnKind::Category, Value::of_integer(7), 1},
  };
  for (const Case& c : cases) {
    RowEncoder encoder;
    const std::vector<double> out = see(encoder, one_column(c.kind), c.value);
    ASSERT_EQ(out.size(), 1u);
    ASSERT_EQ(encoder.width(), 1u);
    const auto label = std::string(column_kind_name(c.kind)) + " " + value_text(c.value);
    if (std::isnan(c.expected)) {
      EXPECT_TRUE(std::isnan(out[0])) << label;
    } else {
      EXPECT_DOUBLE_EQ(out[0], c.expected) << label;
    }
  }
}

TEST(RowEncoder, SetsAndVectorsAreProjected) {
  const auto encoded = [](ColumnKind kind, const char* text) {
    RowEncoder encoder;
    return see(encoder, one_column(kind), Value::of_text(text));
  };
  const auto product = [](const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 1; i < a.size(); ++i)
      sum += a[i] * b[i];
    return sum;
  };
  // Short vectors stay as they are, however they are written.
  const auto vector = encoded(ColumnKind::Vector, "[1, -2.5, 3e1]");
  ASSERT_EQ(vector.size(), 65u);
  EXPECT_DOUBLE_EQ(vector[0], std::log1p(3.0));
  EXPECT_EQ(std::vector<double>(vector.begin() + 1, vector.begin() + 5),
            (std::vector<double>{1, -2.5, 30, 0}));
  EXPECT_EQ(encoded(ColumnKind::Vector, "1 -2.5 30"), vector);
  EXPECT_TRUE(std::isnan(encoded(ColumnKind::Vector, "1 two 3")[0]));
  // Sets: order and writing do not matter, weights do, disjoint ones are nearly orthogonal.
  const auto set = encoded(ColumnKind::Set, "a:2 b c:1.0");
  EXPECT_EQ(encoded(ColumnKind::Set, "{\"a\":2, b, c}"), set);
  EXPECT_DOUBLE_EQ(set[0], std::log1p(3.0));
  EXPECT_NE(encoded(ColumnKind::Set, "a b c"), set);
  EXPECT_DOUBLE_EQ(encoded(ColumnKind::Set, "{}")[0], 0);
  std::string these;
  std::string others;
  for (int i = 0; i < 200; ++i) {
    these += "x" + std::to_string(i) + " ";
    others += "y" + std::to_string(i) + " ";
  }
  const auto left = encoded(ColumnKind::Set, these.c_str());
  EXPECT_NEAR(product(left, left), 1, 0.5);
  EXPECT_NEAR(product(left, encoded(ColumnKind::Set, others.c_str())), 0, 0.5);
  EXPECT_NEAR(product(left, encoded(ColumnKind::Set, (these + others).c_str())), std::sqrt(0.5),
              0.5);
}

TEST(RowEncoder, FarAwayTimesDoNotOverflow) {
  RowEncoder encoder;
  const Table table = one_column(ColumnKind::Time);
  encoder.observe(table, std::vector<Value>{Value::of_time(TimeUs{kTimeMax.value - 1})});
  std::vector<double> out;
  encoder.encode(std::vector<Value>{Value::of_time(TimeUs{kTimeMax.value - 1})}, kTimeMin, out);
  EXPECT_TRUE(out[0] < -15 && std::isfinite(out[0]));
}

TEST(RowEncoder, KeysAndIgnoredColumnsGiveNothing) {
  Table table;
  table.columns = {{"id", ColumnKind::Inferred},  {"parent", ColumnKind::Inferred},
                   {"x", ColumnKind::Inferred},   {"skip", ColumnKind::Ignored},
                   {"k", ColumnKind::Key},        {"at", ColumnKind::Inferred},
                   {"code", ColumnKind::Category}};
  table.key = {ColumnId{0}, ColumnId{6}};
  table.foreign_keys = {{{ColumnId{1}}, TableId{0}}};
  table.time = ColumnId{5};
  const std::vector<Value> cells{Value::of_integer(1), Value::of_integer(2), Value::of_real(3),
                                 Value::of_real(4),    Value::of_real(5),    Value::null(),
                                 Value::of_text("a")};
  RowEncoder encoder;
  encoder.observe(table, cells);
  std::vector<std::string> names = encoder.feature_names(table);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"at", "code=a", "x"}))
      << "a key column that is declared a category is one";
}

TEST(RowEncoder, NullsDoNotDecideAKind) {
  RowEncoder encoder;
  const Table table = one_column(ColumnKind::Inferred);
  EXPECT_TRUE(see(encoder, table, Value::null()).empty());
  EXPECT_TRUE(see(encoder, table, Value::unchanged()).empty());
  EXPECT_EQ(see(encoder, table, Value::of_integer(5)), std::vector<double>{5});
  encoder.observe(table, {});
  EXPECT_TRUE(std::isnan(encode(encoder, Value::null())[0]));
}

TEST(RowEncoder, CategoriesGrowToFifteenAndOther) {
  RowEncoder encoder;
  const Table table = one_column(ColumnKind::Category);
  std::vector<std::string> values;
  for (int i = 0; i < 40; ++i)
    values.push_back("v" + std::to_string(i));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::vector<double> out = see(encoder, table, Value::of_text(values[i]));
    EXPECT_EQ(out.size(), std::min<std::size_t>(i + 1, 16));
    for (std::size_t s = 0; s < out.size(); ++s) {
      EXPECT_EQ(out[s], s == std::min<std::size_t>(i, 15) ? 1 : 0) << i;
    }
  }
  EXPECT_EQ(encode(encoder, Value::of_text("never seen"))[15], 1);
  EXPECT_TRUE(std::isnan(encode(encoder, Value::null())[3]));
  EXPECT_EQ(encoder.feature_names(table)[2], "c=v2");
  EXPECT_EQ(encoder.feature_names(table)[15], "c=(other)");
  // Bounded: the dictionary holds the slots and nothing of the other values.
  EXPECT_EQ(saved(encoder).find("v15"), std::string::npos);
}

TEST(RowEncoder, ManyDistinctTextsMakeAText) {
  const Table table = one_column(ColumnKind::Inferred);
  for (const std::size_t distinct : {64u, 65u}) {
    RowEncoder encoder;
    std::vector<std::string> values;
    for (std::size_t i = 0; i < distinct; ++i)
      values.push_back("text " + std::to_string(i));
    for (std::size_t row = 0; row < 1000; ++row) {
      encoder.observe(table, std::vector<Value>{Value::of_text(values[row % distinct])});
    }
    EXPECT_EQ(encoder.width(), distinct == 64 ? 16u : 16u + 9u);
    // After the watch, any number of new values changes nothing.
    const std::size_t width = encoder.width();
    for (int i = 0; i < 300; ++i)
      see(encoder, table, Value::of_text("new" + std::to_string(i)));
    EXPECT_EQ(encoder.width(), width);
  }
}

TEST(RowEncoder, TextIsSharesOfTrigramsAndLength) {
  RowEncoder encoder;
  const Table table = one_column(ColumnKind::Text);
  const std::vector<double> lower = see(encoder, table, Value::of_text("abcdefgh"));
  ASSERT_EQ(lower.size(), 9u);
  double sum = 0;
  for (std::size_t b = 0; b < 8; ++b)
    sum += lower[b];
  EXPECT_DOUBLE_EQ(sum, 1);
  EXPECT_DOUBLE_EQ(lower[8], std::log1p(8.0));
  EXPECT_EQ(encode(encoder, Value::of_text("ABCDEFGH")), lower);
  EXPECT_NE(encode(encoder, Value::of_text("abcdefgx")), lower);
  const std::vector<double> empty = encode(encoder, Value::of_text(""));
  for (const double x : empty)
    EXPECT_EQ(x, 0);
  EXPECT_TRUE(std::isnan(encode(encoder, Value::null())[8]));
  EXPECT_EQ(encoder.feature_names(table)[8], "c.length");
  EXPECT_EQ(encoder.feature_names(table)[3], "c#3");
}

/// A random wide table whose rows turn up new values, and one new column half-way.
struct World {
  Table table;

  explicit World(std::size_t columns) {
    table.name = "w";
    for (std::size_t c = 0; c < columns; ++c) {
      table.columns.push_back({"c" + std::to_string(c), ColumnKind::Inferred});
    }
  }
  std::vector<Value> row(std::uint64_t i, std::vector<std::string>& own) const {
    Rng rng(31, i, Purpose::Test);
    own.assign(table.columns.size(), "");
    std::vector<Value> cells;
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const bool null = rng.below(4) == 0;
      const std::uint64_t draw = rng.below(c % 3 == 0 ? 400 : 12);
      own[c] = "w" + std::to_string(draw);
      cells.push_back(null         ? Value::null()
                      : c % 3 == 2 ? Value::of_real(static_cast<double>(draw))
                                   : Value::of_text(own[c]));
    }
    return cells;
  }
};

TEST(RowEncoder, ThePastIsAPrefixOfTheFuture) {
  World world(6);
  RowEncoder encoder;
  struct Past {
    std::uint64_t row;
    std::vector<double> out;
    std::vector<std::string> names;
  };
  std::vector<Past> pasts;
  std::vector<std::string> own;
  for (std::uint64_t i = 0; i < 600; ++i) {
    if (i == 300) world.table.columns.push_back({"late", ColumnKind::Inferred});
    const std::vector<Value> cells = world.row(i, own);
    encoder.observe(world.table, cells);
    if (i % 50 != 0) continue;
    Past past{i, {}, encoder.feature_names(world.table)};
    encoder.encode(cells, as_of, past.out);
    pasts.push_back(std::move(past));
  }
  const std::vector<std::string> names = encoder.feature_names(world.table);
  EXPECT_EQ(names.size(), encoder.width());
  std::vector<std::uint32_t> columns;
  encoder.columns_of_positions(columns);
  ASSERT_EQ(columns.size(), names.size());
  for (std::size_t p = 0; p < names.size(); ++p)
    EXPECT_TRUE(names[p].starts_with(world.table.columns[columns[p]].name)) << names[p];
  world.table.columns.pop_back();
  for (const Past& past : pasts) {
    if (past.row >= 300) continue;  // drawn with the late column
    std::vector<double> now;
    encoder.encode(world.row(past.row, own), as_of, now);
    ASSERT_GE(now.size(), past.out.size());
    for (std::size_t p = 0; p < past.out.size(); ++p) {
      EXPECT_EQ(names[p], past.names[p]);
      EXPECT_TRUE(now[p] == past.out[p] || (std::isnan(now[p]) && std::isnan(past.out[p])))
          << "row " << past.row << " " << names[p];
    }
  }
}

TEST(RowEncoder, GrowsIdenticallyFromItsState) {
  const World world(7);
  RowEncoder original;
  RowEncoder copy;
  std::vector<std::string> own;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const std::vector<Value> cells = world.row(i, own);
    original.observe(world.table, cells);
    copy.observe(world.table, cells);
    if (i % 29 == 0) {
      const std::string bytes = saved(copy);
      RowEncoder fresh;
      expect_exact_state(bytes, fresh);
      copy = std::move(fresh);
    }
    ASSERT_EQ(saved(original), saved(copy));
  }
}

}  // namespace
}  // namespace accrete::models
