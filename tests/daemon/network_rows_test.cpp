// What rows show: columns stay where they are, numbers change only with freeze(), the cache decides
// nothing, blocks are those of first mention; all of it survives a restart.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/network_world.h"
#include "tests/daemon/people.h"
#include "tests/daemon/sampler_world.h"

namespace accrete::daemon {
namespace {

NetworkRows rows_of(World& world, std::size_t cache_bytes) {
  return {world.fold().schema(), world.fold().graph(), world.fold().rows(), cache_bytes};
}

/// What all rows show as they are now, or one table's.
std::vector<std::vector<float>> shown(World& world, NetworkRows& rows) {
  std::vector<std::vector<float>> out;
  store::Graph& graph = world.fold().graph();
  for (std::size_t t = 0; t < world.fold().schema().tables().size(); ++t) {
    const TableId id{static_cast<std::uint16_t>(t)};
    for (std::uint32_t row = 0; row < graph.node_count(id); ++row) {
      const auto version = graph.newest_version({id, row});
      if (!version || version->deleted) continue;
      const NetworkRows::View view = rows.view({id, row}, *version);
      out.emplace_back(view.features.begin(), view.features.end());
      for (const std::uint32_t parent : view.parents)
        out.back().push_back(static_cast<float>(parent));
      out.back().push_back(static_cast<float>(view.time.value));
    }
  }
  return out;
}

TEST(NetworkRows, StandardiseWhatTheySawAndClipIt) {
  const RandomStream stream(3, 400, false);
  const Config config = stream.config();
  World world(config);
  world.feed(stream.stream, 5);
  NetworkRows rows = rows_of(world, 1u << 20);
  const TableId last{static_cast<std::uint16_t>(stream.shapes.size() - 1)};
  EXPECT_EQ(rows.width(last), 0U) << "nothing is told before the first freeze";
  observe_all(world, rows);
  rows.freeze();
  const auto column = *world.fold().schema().table(last).find("x");
  std::vector<std::uint32_t> columns;
  rows.columns_of({last, column}, columns);
  ASSERT_EQ(columns.size(), 2U) << "the number, and that it is missing";
  std::vector<double> xs;
  double mean = 0;
  for (std::uint32_t row = 0; row < world.fold().graph().node_count(last); ++row) {
    const RowContent* content = world.fold().rows().row({last, row}, kTimeMax);
    if (content == nullptr || content->at(column).is_null()) continue;
    xs.push_back(content->at(column).as_number());
    mean += xs.back();
  }
  ASSERT_GT(xs.size(), 100U);
  mean /= static_cast<double>(xs.size());
  double variance = 0;
  for (const double x : xs)
    variance += (x - mean) * (x - mean) / static_cast<double>(xs.size());
  std::size_t missing = 0;
  for (std::uint32_t row = 0; row < world.fold().graph().node_count(last); ++row) {
    const auto version = world.fold().graph().version({last, row}, kTimeMax);
    if (!version) continue;
    const Value cell = world.fold().rows().content({last, row}, *version)->at(column);
    const NetworkRows::View view = rows.view({last, row}, *version);
    const double expected = cell.is_null() ? 0 : (cell.as_number() - mean) / std::sqrt(variance);
    EXPECT_NEAR(view.features[columns[0]], std::clamp(expected, -4.0, 4.0), 1e-5);
    EXPECT_EQ(view.features[columns[1]], cell.is_null() ? 1 : 0);
    missing += cell.is_null() ? 1U : 0U;
    for (const float value : view.features)
      EXPECT_LE(std::abs(value), 4);
  }
  EXPECT_GT(missing, 5U);
}

/// Where each column of the schema is in the features of its table.
std::map<std::pair<TableId, ColumnId>, std::vector<std::uint32_t>> places(World& world,
                                                                          const NetworkRows& rows) {
  std::map<std::pair<TableId, ColumnId>, std::vector<std::uint32_t>> out;
  const auto& tables = world.fold().schema().tables();
  for (std::size_t t = 0; t < tables.size(); ++t) {
    for (std::size_t c = 0; c < tables[t].columns.size(); ++c) {
      const TableId table{static_cast<std::uint16_t>(t)};
      const ColumnId column{static_cast<std::uint16_t>(c)};
      rows.columns_of({table, column}, out[{table, column}]);
    }
  }
  return out;
}

TEST(NetworkRows, ChangeOnlyWhenFrozenAndOnlyGrowAtTheEnd) {
  std::size_t grown = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const RandomStream stream(seed, 300, true);
    const Config config = stream.config();
    World world(config);
    store::Graph& graph = world.fold().graph();
    const std::span all(stream.stream);
    world.feed(all.first(40), 5);
    NetworkRows rows = rows_of(world, 1u << 20);
    observe_all(world, rows);
    rows.freeze();
    const auto before = shown(world, rows);
    const auto first = places(world, rows);
    std::vector<std::pair<NodeId, store::Version>> versions;
    for (std::size_t t = 0; t < stream.shapes.size(); ++t) {
      const TableId id{static_cast<std::uint16_t>(t)};
      for (std::uint32_t row = 0; row < graph.node_count(id); ++row) {
        const auto version = graph.newest_version({id, row});
        if (version && !version->deleted) versions.emplace_back(NodeId{id, row}, *version);
      }
    }
    world.feed(all.subspan(40), 5);
    observe_all(world, rows);
    ASSERT_EQ(before.size(), versions.size());
    for (std::size_t i = 0; i < versions.size(); ++i) {
      const auto view = rows.view(versions[i].first, versions[i].second);
      EXPECT_TRUE(std::equal(view.features.begin(), view.features.end(), before[i].begin()));
    }
    rows.freeze();
    const auto second = places(world, rows);
    for (const auto& [column, was] : first) {
      const auto& is = second.at(column);
      EXPECT_TRUE(std::includes(is.begin(), is.end(), was.begin(), was.end()));
      grown += is.size() - was.size();
    }
  }
  EXPECT_GT(grown, 10U);
}

TEST(NetworkRows, WhatIsKeptDecidesNothing) {
  const RandomStream stream(5, 800, true);
  const Config config = stream.config();
  World world(config);
  world.feed(stream.stream, 5);
  NetworkRows large = rows_of(world, 64u << 20);
  observe_all(world, large);
  large.freeze();
  NetworkRows small = rows_of(world, 40u << 10);
  observe_all(world, small);
  small.freeze();
  NetworkRows none = rows_of(world, 0);
  observe_all(world, none);
  none.freeze();
  const auto expected = shown(world, large);
  const std::size_t unkept = none.memory_bytes();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(shown(world, large), expected);
    EXPECT_EQ(shown(world, small), expected);
    EXPECT_EQ(shown(world, none), expected);
  }
  EXPECT_LE(small.memory_bytes(), unkept + (40u << 10));
  EXPECT_GT(small.memory_bytes(), unkept) << "it must have kept something";
  EXPECT_GT(large.memory_bytes(), unkept + (40u << 10)) << "the bound must matter";
}

TEST(NetworkRows, BlocksAreThoseOfFirstMention) {
  const RandomStream stream(6, 400, true);
  const Config config = stream.config();
  World world(config);
  NetworkRows rows = rows_of(world, 1u << 20);
  store::Graph& graph = world.fold().graph();
  std::map<NodeId, std::uint32_t> block;
  const auto note = [&](std::uint32_t number) {
    for (std::size_t t = 0; t < stream.shapes.size(); ++t) {
      const TableId id{static_cast<std::uint16_t>(t)};
      for (std::uint32_t row = 0; row < graph.node_count(id); ++row)
        block.try_emplace(NodeId{id, row}, number);
    }
  };
  const std::span all(stream.stream);
  for (std::uint32_t number = 0; number < 5; ++number) {
    if (number > 0) rows.begin_block(std::nullopt, day(10.0 * number));
    const std::size_t first = number == 3 ? 0 : all.size() / 5 * number;
    if (number != 3) world.feed(all.subspan(first, all.size() / 5), 1);  // block 3 has no rows
    note(number);
  }
  EXPECT_EQ(rows.blocks(), 5U);
  ASSERT_GT(block.size(), 100U);
  for (const auto& [node, number] : block)
    EXPECT_EQ(rows.block(node), number);
  EXPECT_EQ(rows.block_at(day(9.9)), 0U);
  EXPECT_EQ(rows.block_at(day(10)), 1U);
  EXPECT_EQ(rows.block_at(day(1000)), 4U);
}

TEST(NetworkRows, ContinueBitForBitFromWhatWasSaved) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const RandomStream stream(seed, 300, true);
    const Config config = stream.config();
    World world(config);
    const std::span all(stream.stream);
    world.feed(all.first(150), 5);
    NetworkRows kept = rows_of(world, 1u << 20);
    observe_all(world, kept);
    kept.freeze();
    kept.begin_block(std::nullopt, day(3));
    kept.stage(world.state());
    ASSERT_TRUE(world.fold().checkpoint());
    observe_all(world, kept);  // beyond the frozen moments
    kept.begin_block(std::nullopt, day(5));
    kept.stage(world.state());
    ASSERT_TRUE(world.fold().checkpoint());
    NetworkRows loaded = rows_of(world, 1u << 20);
    const Status status = loaded.load(world.state());
    ASSERT_TRUE(status) << status.error().detail;
    EXPECT_EQ(shown(world, loaded), shown(world, kept));
    EXPECT_EQ(loaded.blocks(), 3U);
    world.feed(all.subspan(150), 5);
    for (NetworkRows* rows : {&kept, &loaded}) {
      observe_all(world, *rows);
      rows->freeze();
    }
    EXPECT_EQ(shown(world, loaded), shown(world, kept));
    for (std::uint32_t row = 0; row < world.fold().graph().node_count(TableId{0}); ++row)
      EXPECT_EQ(loaded.block({TableId{0}, row}), kept.block({TableId{0}, row}));
  }
}

/// A person's items by the keys of their columns: what a set says, whoever numbers them.
std::map<std::string, float> items_of(World& world, NetworkRows& rows, NodeId node) {
  const auto version = world.fold().graph().newest_version(node);
  std::map<std::string, float> out;
  for (const models::SparseEntry& entry : rows.view(node, *version).items)
    out[std::to_string(entry.column)] += entry.value;
  return out;
}

TEST(NetworkRows, SetsAreItemsWhateverTheCacheHolds) {
  const Config config = people_config();
  World world(config);
  world.feed(people(3, 2, 104, false).transactions);
  const TableId person = *world.fold().schema().find("people");
  const auto words = *world.fold().schema().table(person).find("words");
  const std::uint32_t count = world.fold().graph().node_count(person);
  ASSERT_GT(count, 200U);
  NetworkRows large = rows_of(world, 1u << 20);
  NetworkRows small = rows_of(world, 20'000);
  NetworkRows none = rows_of(world, 1);
  for (NetworkRows* rows : {&large, &small, &none}) {
    EXPECT_TRUE(rows->has_items(person));
    EXPECT_FALSE(rows->has_items(*world.fold().schema().find("teams")));
    observe_all(world, *rows);
    rows->freeze();
    std::vector<std::uint32_t> columns;
    rows->columns_of({person, words}, columns);
    EXPECT_TRUE(columns.empty()) << "items are no numbers";
  }
  std::set<std::string> all;
  for (int round = 0; round < 2; ++round) {
    for (std::uint32_t row = 0; row < count; ++row) {
      const NodeId node{person, row};
      const auto version = world.fold().graph().newest_version(node);
      if (!version || version->deleted) continue;
      const RowContent* content = world.fold().rows().content(node, *version);
      const std::string text(content->at(words).text);
      const auto items = items_of(world, large, node);
      // "w12 w40", or the same word twice, which adds up.
      const bool twice = text.substr(0, text.find(' ')) == text.substr(text.find(' ') + 1);
      EXPECT_EQ(items.size(), twice ? 1U : 2U);
      for (const auto& [item, value] : items) {
        all.insert(item);
        EXPECT_NEAR(value, (twice ? 2 : 1) / std::sqrt(2.0F), 1e-5);
      }
      EXPECT_EQ(items_of(world, small, node), items);
      EXPECT_EQ(items_of(world, none, node), items);
    }
  }
  EXPECT_EQ(all.size(), large.items(person)) << "each item has a column of its own";
  EXPECT_LE(small.memory_bytes() - none.memory_bytes(), 20'000U);
  large.stage(world.state());
  ASSERT_TRUE(world.fold().checkpoint());
  NetworkRows loaded = rows_of(world, 1u << 20);
  const Status status = loaded.load(world.state());
  ASSERT_TRUE(status) << status.error().detail;
  for (std::uint32_t row = 0; row < count; ++row) {
    if (world.fold().graph().newest_version({person, row})) {
      EXPECT_EQ(items_of(world, loaded, {person, row}), items_of(world, large, {person, row}));
    }
  }
}

TEST(NetworkRows, TheRowThatBeginsABlockIsItsFirst) {
  const Config config = people_config();
  World world(config);
  world.feed(people(3, 1, 104, false).transactions);
  NetworkRows rows = rows_of(world, 1u << 20);
  const TableId person = *world.fold().schema().find("people");
  const TableId team = *world.fold().schema().find("teams");
  const std::uint32_t last = world.fold().graph().node_count(person) - 1;
  rows.begin_block(NodeId{person, last}, day(1));
  EXPECT_EQ(rows.block({person, last}), 1U);
  EXPECT_EQ(rows.block({person, last - 1}), 0U);
  EXPECT_EQ(rows.block({team, 0}), 0U);
  rows.begin_block(std::nullopt, day(2));  // an old row changed: it stays where it was
  EXPECT_EQ(rows.block({person, 5}), 0U);
  EXPECT_EQ(rows.block({person, last}), 1U);
  EXPECT_EQ(rows.block({person, last + 1}), 2U);
}

TEST(NetworkRows, RefuseStatesThatDoNotDecode) {
  const RandomStream stream(2, 100, true);
  const Config config = stream.config();
  World world(config);
  world.feed(stream.stream, 5);
  NetworkRows rows = rows_of(world, 1u << 20);
  observe_all(world, rows);
  rows.freeze();
  rows.begin_block(std::nullopt, day(1));
  rows.stage(world.state());
  ASSERT_TRUE(world.fold().checkpoint());
  for (const char* key : {"/network/rows/0", "/network/blocks"}) {
    std::string bytes;
    ASSERT_TRUE(world.state().get(store::Section::Blobs, key, bytes));
    ASSERT_GT(bytes.size(), 8U);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      world.state().put(store::Section::Blobs, key, std::string_view(bytes).substr(0, size));
      ASSERT_TRUE(world.fold().checkpoint());
      NetworkRows loaded = rows_of(world, 1u << 20);
      const Status status = loaded.load(world.state());
      ASSERT_FALSE(status) << key << " cut to " << size << " bytes";
      EXPECT_EQ(status.error().code, Errc::Corruption);
    }
    world.state().put(store::Section::Blobs, key, bytes);
    ASSERT_TRUE(world.fold().checkpoint());
  }
}

/// Rows without a time come first, more than two blocks of them.
TEST(NetworkWorld, TakesScalesWhereBlocksBeginAtOnce) {
  const Config config = people_config();
  Transaction teams;
  teams.position = 1;
  teams.records = {layout_record(teams_layout())};
  for (std::int64_t t = 0; t < 2500; ++t) {
    teams.records.push_back(
        change_record(teams_layout(), Op::Insert,
                      {Value::of_integer(t), Value::of_text(t % 3 == 0 ? "north" : "south")}));
  }
  World world(config);
  world.feed(std::vector{teams});
  const TableId table = *world.fold().schema().find("teams");
  std::vector<std::size_t> widths;
  for (const auto replay : {NetworkConfig::Replay::Rows, NetworkConfig::Replay::Mixtures}) {
    NetworkConfig network;
    network.experts = NetworkConfig::Experts::Sage;
    network.replay = replay;
    BlocksConfig blocks;
    blocks.by = models::BlockRule::Rows;
    blocks.every_rows = 1000;
    NetworkWorld seen(network, blocks, world.fold().schema(), world.fold().graph(),
                      world.fold().rows());
    const auto fold = [&](std::uint32_t first, std::uint32_t end) {
      for (std::uint32_t row = first; row < end; ++row) {
        const auto version = world.fold().graph().newest_version({table, row});
        ASSERT_TRUE(version);
        const std::vector<Value> cells = world.fold().rows().content({table, row}, *version)->cells;
        seen.folded({table, row}, true, cells, kTimeMin, day(0));
      }
    };
    fold(0, 2300);
    EXPECT_EQ(seen.block(), 2u);
    seen.end_instant(day(0));
    widths.push_back(seen.rows().width(table));
    fold(2300, 2500);
    seen.end_instant(day(1));
  }
  EXPECT_GT(widths[0], 0u);
  EXPECT_EQ(widths[1], widths[0]);
}

}  // namespace
}  // namespace accrete::daemon
