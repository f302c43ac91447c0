// The graph, case by case: visibility, boundaries, samples, failure.
#include "store/graph.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "graph_world.h"

namespace accrete::store {
namespace {

constexpr NodeId kUser{kUsers, 0};

TimeUs at(std::int64_t time) {
  return TimeUs{time};
}

TEST(Graph, AChildMayComeBeforeItsParent) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  const NodeId user = graph.intern(kUsers, "u");
  EXPECT_FALSE(graph.version(user, kTimeMax));
  EXPECT_FALSE(graph.newest_version(user));
  graph.link(kOrderUser, user, graph.intern(kOrders, "o"), at(5));
  EXPECT_EQ(graph.count(kOrderUser, user, kTimeMin, kTimeMax, at(5)), 1u);
  graph.put_version(user, {at(9), Ordinal{3}, false});
  EXPECT_FALSE(graph.version(user, at(8)));
  EXPECT_EQ(graph.version(user, at(9))->ordinal.value, 3u);
  EXPECT_EQ(graph.intern(kUsers, "u"), user);
}

TEST(Graph, TablesAndRelationsDoNotMix) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  const NodeId user = graph.intern(kUsers, "1");
  const NodeId order = graph.intern(kOrders, "1");
  const NodeId event = graph.append(kEvents);
  EXPECT_EQ(user, kUser);
  EXPECT_EQ(order, (NodeId{kOrders, 0}));
  EXPECT_FALSE(graph.find(kEvents, "1"));
  graph.link(kEventUser, user, event, at(1));
  EXPECT_EQ(graph.count(kEventUser, user, kTimeMin, kTimeMax, at(1)), 1u);
  EXPECT_EQ(graph.count(kOrderUser, user, kTimeMin, kTimeMax, at(1)), 0u);
  EXPECT_EQ(graph.count(kEventOrder, order, kTimeMin, kTimeMax, at(1)), 0u);
}

TEST(Graph, WindowsAreOpenOnTheLeftAndKnowTheTimeless) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  graph.intern(kUsers, "u");
  for (const std::int64_t time : {10, 20, 20, 30}) {
    graph.link(kEventUser, kUser, graph.append(kEvents), at(time));
  }
  graph.link(kEventUser, kUser, graph.append(kEvents), kTimeMin);
  struct Case {
    TimeUs after, upto, as_of;
    std::uint64_t count;
  };
  for (const Case& c : {Case{at(10), at(20), at(99), 2}, Case{at(9), at(19), at(99), 1},
                        Case{at(20), at(30), at(29), 0}, Case{at(20), at(30), at(30), 1},
                        Case{kTimeMin, at(99), at(99), 5}, Case{kTimeMin, at(5), at(99), 1},
                        Case{kTimeMin, kTimeMax, kTimeMin, 1}, Case{at(0), kTimeMax, kTimeMax, 4},
                        Case{at(30), at(10), at(99), 0}}) {
    EXPECT_EQ(graph.count(kEventUser, kUser, c.after, c.upto, c.as_of), c.count);
  }
  std::vector<Edge> edges;
  graph.newest(kEventUser, kUser, at(99), 9, edges);
  EXPECT_EQ(edges.front().time, at(30));
  EXPECT_EQ(edges.back().time, kTimeMin);
}

TEST(Graph, AnEndedEdgeIsValidBeforeItsEndOnly) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  graph.intern(kUsers, "u");
  const NodeId order = graph.intern(kOrders, "o");
  graph.link(kOrderUser, kUser, order, at(10));
  EXPECT_TRUE(graph.unlink(kOrderUser, kUser, order, at(20)));
  EXPECT_FALSE(graph.unlink(kOrderUser, kUser, order, at(21)));
  graph.link(kOrderUser, kUser, order, at(30));  // and back again
  for (const auto& [as_of, count] : std::array<std::pair<std::int64_t, std::uint64_t>, 6>{
           {{9, 0}, {10, 1}, {19, 1}, {20, 0}, {29, 0}, {30, 1}}}) {
    EXPECT_EQ(graph.count(kOrderUser, kUser, kTimeMin, kTimeMax, at(as_of)), count) << as_of;
  }
  EXPECT_EQ(graph.count(kOrderUser, kUser, kTimeMin, kTimeMax, kTimeMax), 1u);
  EXPECT_EQ(graph.newest_time(kOrderUser, kUser, at(25)), at(10));  // a bound: ends do not count
}

TEST(Graph, KeysOfAnyLengthAreDistinct) {
  GraphWorld world(0);  // every look-up goes to the store
  std::vector<std::string> keys;
  for (std::size_t size = 0; size < 40; ++size) {
    keys.emplace_back(size, '\0');
    keys.emplace_back(size, '\xFF');
  }
  keys.erase(keys.begin());  // the empty key is there twice
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(world.graph->intern(kUsers, keys[i]).row, i);
    }
    EXPECT_EQ(world.graph->node_count(kUsers), keys.size());
    world.commit();
    if (round == 1) world.open();
  }
}

/// Draw k of the valid edges many times; every one must come equally often.
void expect_uniform(Graph& graph, TimeUs as_of, std::size_t k, std::size_t valid) {
  constexpr int kTrials = 20'000;
  std::map<std::uint32_t, int> drawn;
  std::vector<Edge> edges;
  for (std::uint64_t trial = 0; trial < kTrials; ++trial) {
    edges.clear();
    graph.sample(kEventUser, kUser, as_of, k, Rng(7, trial, Purpose::Sample), edges);
    ASSERT_EQ(edges.size(), std::min(k, valid));
    for (const Edge& edge : edges)
      ++drawn[edge.child];
  }
  ASSERT_EQ(drawn.size(), valid);
  const double p = static_cast<double>(std::min(k, valid)) / static_cast<double>(valid);
  const double expected = p * kTrials;
  const double deviation = std::sqrt(expected * (1 - p));
  for (const auto& [child, count] : drawn)
    EXPECT_NEAR(count, expected, 5 * deviation + 1e-9);
}

TEST(Graph, SamplesAreUniform) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  graph.intern(kUsers, "u");
  for (int i = 0; i < 150; ++i)
    graph.link(kEventUser, kUser, graph.append(kEvents), at(i));
  expect_uniform(graph, at(99), 10, 100);
  expect_uniform(graph, at(99), 99, 100);
  // Some ended: by rejection. Nearly all ended: by listing them.
  for (std::uint32_t row = 0; row < 50; ++row) {
    EXPECT_TRUE(graph.unlink(kEventUser, kUser, {kEvents, row}, at(99)));
  }
  expect_uniform(graph, at(99), 10, 50);
  for (std::uint32_t row = 50; row < 96; ++row) {
    EXPECT_TRUE(graph.unlink(kEventUser, kUser, {kEvents, row}, at(99)));
  }
  expect_uniform(graph, at(99), 2, 4);
  expect_uniform(graph, at(99), 4, 4);
}

TEST(Graph, WhatEndsLaterChangesNoSample) {
  GraphWorld world(1u << 20);
  Graph& graph = *world.graph;
  graph.intern(kUsers, "u");
  for (int i = 0; i < 400; ++i) {
    const NodeId event = graph.append(kEvents);
    graph.link(kEventUser, kUser, event, at(i));
    if (i % 50 == 0) graph.unlink(kEventUser, kUser, event, at(i + 1));
  }
  const auto draw = [&](std::uint64_t number) {
    std::vector<Edge> edges;
    graph.sample(kEventUser, kUser, at(300), 1 + number % 30, Rng(3, number, Purpose::Sample),
                 edges);
    std::vector<std::uint32_t> children;
    for (const Edge& edge : edges)
      children.push_back(edge.child);
    return children;
  };
  std::vector<std::vector<std::uint32_t>> before;
  for (std::uint64_t number = 0; number < 300; ++number)
    before.push_back(draw(number));
  for (std::uint32_t row = 1; row < 400; row += 3) {
    if (row % 50 == 0) continue;  // ended already
    EXPECT_TRUE(graph.unlink(kEventUser, kUser, {kEvents, row}, at(400)));
  }
  for (std::uint64_t number = 0; number < 300; ++number)
    EXPECT_EQ(draw(number), before[number]);
}

TEST(Graph, SamplesDoNotDependOnTheCache) {
  GraphWorld roomy(64u << 20);
  GraphWorld tight(0);
  for (GraphWorld* world : {&roomy, &tight}) {
    world->graph->intern(kUsers, "u");
    for (int i = 0; i < 3000; ++i) {
      const NodeId event = world->graph->append(kEvents);
      world->graph->link(kEventUser, kUser, event, at(i / 2));
      if (i % 7 == 0) world->graph->unlink(kEventUser, kUser, event, at(1400));
      if (world == &tight && i % 100 == 0) world->commit();
    }
  }
  tight.commit();
  tight.open();
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    std::vector<Edge> a;
    std::vector<Edge> b;
    const TimeUs as_of = at(static_cast<std::int64_t>(draw) * 8);
    roomy.graph->sample(kEventUser, kUser, as_of, 20, Rng(1, draw, Purpose::Sample), a);
    tight.graph->sample(kEventUser, kUser, as_of, 20, Rng(1, draw, Purpose::Sample), b);
    ASSERT_EQ(plain(a), plain(b));
  }
}

TEST(Graph, DamageIsSeenAndLatched) {
  for (const Section section : {Section::Nodes, Section::Adjacency, Section::Segments}) {
    GraphWorld world(1u << 20);
    world.graph->intern(kUsers, "u");
    for (int i = 0; i < 300; ++i) {
      const NodeId event = world.graph->append(kEvents);
      world.graph->put_version(event, {at(i), Ordinal{1}, false});
      world.graph->link(kEventUser, kUser, event, at(i));
    }
    world.commit();
    std::vector<std::string> keys;
    must(world.state->scan(section, "", [&](std::string_view key, std::string_view) {
      if (key.size() > 2) keys.emplace_back(key);
      return true;
    }));
    ASSERT_FALSE(keys.empty());
    for (const std::string& key : keys)
      world.state->put(section, key, "\xFF\xFF\xFF\xFF");
    must(world.state->commit({}));
    world.open();
    std::vector<Edge> edges;
    world.graph->edges(kEventUser, kUser, kTimeMin, kTimeMax, at(999), edges);
    world.graph->version({kEvents, 0}, at(999));
    const Status health = world.graph->health();
    ASSERT_FALSE(health);
    EXPECT_EQ(health.error().code, Errc::Corruption);
  }
}

}  // namespace
}  // namespace accrete::store
