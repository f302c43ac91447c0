// Adding tables, sealing, binding layouts by name, fingerprints and suggestions.
#include "proto/schema.h"

#include <gtest/gtest.h>

#include "proto/limits.h"

namespace accrete {
namespace {

Table table(std::string name, std::initializer_list<const char*> columns,
            std::vector<ColumnId> key = {}) {
  Table out;
  out.name = std::move(name);
  for (const char* column : columns) {
    out.columns.push_back({column, ColumnKind::Inferred});
  }
  out.key = std::move(key);
  return out;
}

Table races() {
  return table("races", {"id", "name"}, {ColumnId(0)});
}

Table results() {
  Table out = table("results", {"id", "raceId", "day"}, {ColumnId(0)});
  out.time = ColumnId(2);
  out.foreign_keys = {{{ColumnId(1)}, TableId(1)}};
  return out;
}

/// The child is declared before its parent on purpose.
Schema racing() {
  Schema schema;
  EXPECT_TRUE(schema.add(results()));
  EXPECT_TRUE(schema.add(races()));
  EXPECT_TRUE(schema.seal());
  return schema;
}

void expect_malformed(const Error& error, const char* part) {
  EXPECT_EQ(error.code, Errc::Malformed);
  EXPECT_NE(error.detail.find(part), std::string::npos) << error.detail;
}

TEST(Schema, BuildsRelationsAtTheSeal) {
  const Schema schema = racing();
  ASSERT_EQ(schema.relations().size(), 1u);
  EXPECT_EQ(schema.relations()[0].child, TableId(0));
  EXPECT_EQ(schema.relations()[0].parent, TableId(1));
  EXPECT_EQ(schema.find("races"), TableId(1));
  EXPECT_EQ(schema.find("Races"), std::nullopt);
  EXPECT_EQ(schema.table(TableId(0)).find("raceId"), ColumnId(1));
  EXPECT_EQ(schema.table(TableId(0)).find("none"), std::nullopt);
}

TEST(Schema, RefusesTablesThatMakeNoSense) {
  Table twice = table("t", {"a", "b", "a"});
  Table bad_time = races();
  bad_time.time = ColumnId(9);
  Table bad_foreign = results();
  bad_foreign.foreign_keys[0].columns = {ColumnId(3)};
  const std::pair<Table, const char*> cases[] = {
      {table("", {"a"}), "name"},
      {table(std::string(limits::name_bytes_max + 1, 'x'), {"a"}), "name"},
      {table("t", {""}), "column name"},
      {twice, "\"a\" is declared twice"},
      {table("t", {"a"}, {ColumnId(1)}), "key column"},
      {table("t", {"a"}, {ColumnId(0), ColumnId(0)}), "named twice"},
      {bad_time, "time column"},
      {bad_foreign, "foreign-key column"},
  };
  for (const auto& [bad, part] : cases) {
    Schema schema;
    const auto added = schema.add(bad);
    ASSERT_FALSE(added) << part;
    expect_malformed(added.error(), part);
    EXPECT_TRUE(schema.tables().empty());
  }
  Schema schema;
  ASSERT_TRUE(schema.add(races()));
  const auto again = schema.add(races());
  ASSERT_FALSE(again);
  expect_malformed(again.error(), "declared twice");
}

TEST(Schema, RefusesForeignKeysWithoutAFittingParent) {
  Table composite = table("races", {"id", "year"}, {ColumnId(0), ColumnId(1)});
  const std::pair<std::vector<Table>, const char*> cases[] = {
      {{results()}, "does not exist"},
      {{results(), table("races", {"id"})}, "no key"},
      {{results(), composite}, "has 1 columns, the key of \"races\" has 2"},
  };
  for (const auto& [tables, part] : cases) {
    Schema schema;
    for (const Table& each : tables) {
      ASSERT_TRUE(schema.add(each));
    }
    const Status sealed = schema.seal();
    ASSERT_FALSE(sealed) << part;
    expect_malformed(sealed.error(), part);
  }
}

TEST(Schema, BindsByNameAndGrows) {
  Schema schema = racing();
  const auto bound = schema.bind({"results", {"points", "day", "id", "raceId", "grid"}});
  ASSERT_TRUE(bound);
  EXPECT_EQ(bound.value().table, TableId(0));
  EXPECT_EQ(
      bound.value().column_of_cell,
      (std::vector<ColumnId>{ColumnId(3), ColumnId(2), ColumnId(0), ColumnId(1), ColumnId(4)}));
  EXPECT_EQ(schema.table(TableId(0)).columns[4].name, "grid");
  // Columns that the next layout does not mention keep their place.
  const auto less = schema.bind({"results", {"id", "raceId", "day", "grid"}});
  ASSERT_TRUE(less);
  EXPECT_EQ(less.value().column_of_cell[3], ColumnId(4));
  EXPECT_EQ(schema.table(TableId(0)).columns.size(), 5u);
}

TEST(Schema, ColumnsCanBeNamedBeforeRowsShowThem) {
  Schema schema = racing();
  const std::uint64_t before = schema.fingerprint();
  EXPECT_EQ(schema.add_column(TableId(1), "name").value(), ColumnId(1));
  EXPECT_EQ(schema.add_column(TableId(1), "weather").value(), ColumnId(2));
  EXPECT_EQ(schema.bind({"races", {"weather", "id"}}).value().column_of_cell[0], ColumnId(2));
  EXPECT_EQ(schema.fingerprint(), before);
  EXPECT_FALSE(schema.add_column(TableId(1), ""));
  for (std::size_t i = 3; i < limits::columns_max; ++i) {
    ASSERT_TRUE(schema.add_column(TableId(1), "c" + std::to_string(i)));
  }
  EXPECT_FALSE(schema.add_column(TableId(1), "one too many"));
  EXPECT_TRUE(schema.add_column(TableId(1), "weather"));
}

TEST(Schema, ARefusedLayoutChangesNothing) {
  Schema schema = racing();
  const std::pair<Layout, const char*> cases[] = {
      {{"result", {"id"}}, "did you mean \"results\"?"},
      {{"weather", {"id"}}, "unknown table \"weather\""},
      {{"results", {"new", "raceId", "day"}}, "lacks the key column \"id\""},
      {{"results", {"new", "id", "raceId"}}, "lacks the time column \"day\""},
      {{"results", {"new", "id", "raceid", "day"}},
       "lacks the foreign-key column \"raceId\"; did you mean \"raceid\"?"},
      {{"results", {"new", "id", "raceId", "day", "new"}}, "\"new\" is named twice"},
      {{"results", {"new", "id", "raceId", "day", ""}}, "column name"},
  };
  for (const auto& [layout, part] : cases) {
    const auto bound = schema.bind(layout);
    ASSERT_FALSE(bound) << part;
    expect_malformed(bound.error(), part);
    EXPECT_EQ(schema.table(TableId(0)).columns.size(), 3u) << part;
  }
  Layout wide{"races", {"id"}};
  for (std::size_t i = 0; i < limits::columns_max; ++i) {
    wide.columns.push_back("c" + std::to_string(i));
  }
  const auto bound = schema.bind(wide);
  ASSERT_FALSE(bound);
  expect_malformed(bound.error(), "columns");
}

TEST(Schema, FingerprintIsOfTheConfigurationOnly) {
  Schema schema = racing();
  const std::uint64_t before = schema.fingerprint();
  EXPECT_EQ(before, racing().fingerprint());
  ASSERT_TRUE(schema.bind({"races", {"id", "weather"}}));
  EXPECT_EQ(schema.fingerprint(), before);

  std::vector<std::uint64_t> seen{before};
  const auto with = [&](auto change) {
    Table altered = results();
    change(altered);
    Schema other;
    EXPECT_TRUE(other.add(altered));
    EXPECT_TRUE(other.add(races()));
    const std::uint64_t hash = other.fingerprint();
    EXPECT_EQ(std::count(seen.begin(), seen.end(), hash), 0);
    seen.push_back(hash);
  };
  with([](Table& t) { t.name = "resultz"; });
  with([](Table& t) { t.columns[1].name = "raceID"; });
  with([](Table& t) { t.columns[1].kind = ColumnKind::Number; });
  with([](Table& t) { t.columns.push_back({"extra"}); });
  with([](Table& t) { t.key = {ColumnId(1)}; });
  with([](Table& t) { t.key = {}; });
  with([](Table& t) { t.time = std::nullopt; });
  with([](Table& t) { t.time = ColumnId(0); });
  with([](Table& t) { t.time_unit = TimeUnit::Microseconds; });
  with([](Table& t) { t.foreign_keys.clear(); });
  with([](Table& t) { t.foreign_keys[0].columns = {ColumnId(0)}; });
  with([](Table& t) { t.foreign_keys[0].parent = TableId(0); });
}

TEST(Layout, HashTellsNamesApart) {
  const std::vector<Layout> layouts{{"t", {"a", "b"}}, {"t", {"b", "a"}}, {"t", {"ab"}},
                                    {"ta", {"b"}},     {"t", {}},         {"t", {""}}};
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    for (std::size_t j = 0; j < layouts.size(); ++j) {
      EXPECT_EQ(layouts[i].hash() == layouts[j].hash(), i == j) << i << " " << j;
    }
  }
}

TEST(ColumnKind, NamesGoBothWays) {
  for (int i = 0; i <= static_cast<int>(ColumnKind::Ignored); ++i) {
    const auto kind = static_cast<ColumnKind>(i);
    EXPECT_EQ(column_kind_of(column_kind_name(kind)), kind);
  }
  EXPECT_EQ(column_kind_name(ColumnKind::ForeignKey), "foreign_key");
  EXPECT_EQ(column_kind_of("numbers"), std::nullopt);
}

TEST(NearestName, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> names{"driverId", "raceId", "points", "positionOrder"};
  const std::pair<const char*, const char*> cases[] = {
      {"drivrId", "driverId"},
      {"DRIVERID", "driverId"},
      {"race", "raceId"},
      {"position", "positionOrder"},
      {"pionts", "points"},
      {"weather", ""},
      {"", ""},
      {"x", ""},
      {"positionOrderly", "positionOrder"},
  };
  for (const auto& [asked, expected] : cases) {
    EXPECT_EQ(nearest_name(asked, names), expected) << asked;
  }
  EXPECT_EQ(nearest_name("ab", {"xy", "b"}), "b");
  EXPECT_EQ(nearest_name("anything", {}), "");
}

}  // namespace
}  // namespace accrete
