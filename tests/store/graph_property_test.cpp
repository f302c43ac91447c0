// The graph against the naive one on random streams: late rows, ends, versions, commits, crashes,
// and budgets so small that nothing stays in RAM.
#include <gtest/gtest.h>

#include "graph_world.h"

namespace accrete::store {
namespace {

struct Mix {
  const char* name;
  std::uint64_t seed;
  std::size_t memory_bytes;
  int steps;
  std::uint64_t parents;   ///< few: long lists with many segments; many: many pages
  std::uint64_t late;      ///< percent of links that are late
  std::uint64_t unlinked;  ///< percent of steps that end an edge
};

class RandomStream {
 public:
  explicit RandomStream(const Mix& mix)
      : mix_(mix), world_(mix.memory_bytes), rng_(mix.seed, 0, Purpose::Test) {}

  void run() {
    for (int i = 0; i < mix_.steps && !testing::Test::HasFailure(); ++i) {
      const std::uint64_t what = rng_.below(100);
      if (what < 55) {
        link();
      } else if (what < 55 + mix_.unlinked) {
        unlink();
      } else if (what < 88) {
        put_version();
      } else if (what < 99) {
        // Long lists are slow to copy in the reference: the fewer, the longer, the less often.
        if (rng_.below(1 + 10 / mix_.parents) == 0) {
          compare(kOrderUser, random_user(), random_time());
        }
      } else if (rng_.below(10) < 8) {
        world_.commit();
        committed_ = naive_;
        committed_now_ = now_;
      } else {
        // A crash: what was not committed is gone and comes again.
        world_.open();
        naive_ = committed_;
        now_ = committed_now_;
      }
    }
    compare_everything();
    world_.commit();
    world_.open();
    compare_everything();
    must(world_.graph->health());
  }

 private:
  std::string key(std::uint64_t number) const {
    // Short keys are exact identities, long ones go by their hash.
    std::string out = std::to_string(number);
    return number % 3 == 0 ? out + std::string(20, '#') : out;
  }
  TimeUs random_time() {
    return TimeUs{static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(now_) + 2)) - 1};
  }
  std::uint32_t random_user() { return intern(kUsers, rng_.below(mix_.parents)).row; }

  NodeId intern(TableId table, std::uint64_t number) {
    const auto found = naive_.find(table, key(number));
    EXPECT_EQ(world_.graph->find(table, key(number)), found);
    const NodeId node = naive_.intern(table, key(number));
    EXPECT_EQ(world_.graph->intern(table, key(number)), node);
    EXPECT_EQ(world_.graph->node_count(table), naive_.node_count(table));
    return node;
  }

  void link() {
    const std::uint32_t user = random_user();
    const NodeId order = intern(kOrders, rng_.below(1 + static_cast<std::uint64_t>(now_)));
    now_ += static_cast<std::int64_t>(rng_.below(3));
    TimeUs time{now_};
    if (rng_.below(100) < mix_.late) time = rng_.below(8) == 0 ? kTimeMin : random_time();
    if (naive_.has_open(kOrderUser, user, order.row)) return;
    naive_.link(kOrderUser, user, order.row, time);
    world_.graph->link(kOrderUser, {kUsers, user}, order, time);
    if (rng_.below(2) == 0) {  // the usual case: the child has a version of that time
      put(order, {time, Ordinal{++ordinal_}, false});
    }
  }

  void unlink() {
    const std::uint32_t user = random_user();
    const std::vector<Edge>& edges = naive_.list(kOrderUser, user);
    std::uint32_t child = intern(kOrders, rng_.below(1 + static_cast<std::uint64_t>(now_))).row;
    if (!edges.empty() && rng_.below(10) != 0) child = edges[rng_.below(edges.size())].child;
    const TimeUs end{now_ + static_cast<std::int64_t>(rng_.below(10)) - 3};
    EXPECT_EQ(world_.graph->unlink(kOrderUser, {kUsers, user}, {kOrders, child}, end),
              naive_.unlink(kOrderUser, user, child, end));
  }

  void put(NodeId node, const Version& version) {
    naive_.put_version(node, version);
    world_.graph->put_version(node, version);
  }

  void put_version() {
    const NodeId node = intern(kOrders, rng_.below(1 + static_cast<std::uint64_t>(now_)));
    const TimeUs from = rng_.below(4) == 0 ? random_time() : TimeUs{now_};
    put(node, {from, Ordinal{++ordinal_}, rng_.below(10) == 0});
    compare_versions(node);
  }

  static void expect_same(const std::optional<Version>& a, const std::optional<Version>& b) {
    ASSERT_EQ(a.has_value(), b.has_value());
    if (!a) return;
    EXPECT_EQ(a->from, b->from);
    EXPECT_EQ(a->ordinal, b->ordinal);
    EXPECT_EQ(a->deleted, b->deleted);
  }
  void compare_versions(NodeId node) {
    for (const TimeUs as_of : {kTimeMin, random_time(), TimeUs{now_}, kTimeMax}) {
      expect_same(world_.graph->version(node, as_of), naive_.version(node, as_of));
    }
    expect_same(world_.graph->newest_version(node), naive_.newest_version(node));
    const Ordinal ordinal{rng_.below(ordinal_ + 2)};
    const Version after{random_time(), ordinal, false};
    expect_same(world_.graph->version_before(node, after), naive_.version_before(node, after));
  }

  void compare(RelationId relation, std::uint32_t parent, TimeUs as_of) {
    Graph& graph = *world_.graph;
    const NodeId node{kUsers, parent};
    EXPECT_EQ(graph.newest_time(relation, node, as_of),
              naive_.newest_time(relation, parent, as_of));
    const std::vector<std::pair<TimeUs, TimeUs>> windows = {{kTimeMin, kTimeMax},
                                                            {kTimeMin, random_time()},
                                                            {random_time(), random_time()},
                                                            {random_time(), kTimeMax},
                                                            {as_of, as_of}};
    std::vector<Edge> got;
    for (const auto& [after, upto] : windows) {
      const std::vector<Edge> expected = naive_.edges(relation, parent, after, upto, as_of);
      got.clear();
      graph.edges(relation, node, after, upto, as_of, got);
      ASSERT_EQ(plain(got), plain(expected));
      ASSERT_EQ(graph.count(relation, node, after, upto, as_of), expected.size());
    }
    const std::vector<Edge> valid = naive_.edges(relation, parent, kTimeMin, kTimeMax, as_of);
    for (const std::size_t k : {std::size_t{1}, std::size_t{10}, valid.size(), valid.size() + 1}) {
      got.clear();
      graph.newest(relation, node, as_of, k, got);
      std::vector<Edge> expected(
          valid.end() - static_cast<std::ptrdiff_t>(std::min(k, valid.size())), valid.end());
      std::reverse(expected.begin(), expected.end());
      ASSERT_EQ(plain(got), plain(expected));
    }
    compare_sample(relation, node, as_of, valid);
  }

  void compare_sample(RelationId relation, NodeId node, TimeUs as_of,
                      const std::vector<Edge>& valid) {
    const std::size_t k = rng_.below(valid.size() + 3);
    const Rng draw(mix_.seed, rng_.next(), Purpose::Sample);
    std::vector<Edge> got;
    world_.graph->sample(relation, node, as_of, k, draw, got);
    ASSERT_EQ(got.size(), std::min(k, valid.size()));
    std::vector<Edge> again;
    world_.graph->sample(relation, node, as_of, k, draw, again);
    ASSERT_EQ(plain(got), plain(again));
    // Every drawn edge is valid, in order, and drawn once (a walk along the valid ones finds it).
    std::size_t at = 0;
    for (const auto& edge : plain(got)) {
      while (at < valid.size() && plain({valid[at]})[0] != edge)
        ++at;
      ASSERT_LT(at++, valid.size());
    }
  }

  void compare_everything() {
    for (std::uint32_t user = 0; user < naive_.node_count(kUsers); ++user) {
      compare(kOrderUser, user, TimeUs{now_});
      compare(kOrderUser, user, rng_.below(4) == 0 ? kTimeMax : random_time());
      if (testing::Test::HasFailure()) return;
    }
    for (std::uint32_t row = 0; row < naive_.node_count(kOrders); ++row) {
      compare_versions({kOrders, row});
    }
  }

  Mix mix_;
  GraphWorld world_;
  Rng rng_;
  NaiveGraph naive_;
  NaiveGraph committed_;
  std::int64_t now_ = 10;
  std::int64_t committed_now_ = 10;
  std::uint64_t ordinal_ = 0;
};

class GraphProperty : public testing::TestWithParam<Mix> {};

TEST_P(GraphProperty, AgreesWithTheNaiveGraph) {
  RandomStream(GetParam()).run();
}

INSTANTIATE_TEST_SUITE_P(
    Mixes, GraphProperty,
    testing::Values(Mix{"one_hub", 1, 1u << 20, 20'000, 1, 5, 5},
                    Mix{"one_hub_no_ends", 2, 1u << 20, 20'000, 1, 10, 0},
                    Mix{"few_parents", 3, 1u << 20, 30'000, 8, 10, 10},
                    Mix{"few_parents_late", 4, 1u << 20, 15'000, 4, 90, 10},
                    Mix{"few_parents_no_memory", 5, 0, 15'000, 8, 10, 10},
                    Mix{"many_parents", 6, 1u << 20, 20'000, 2'000, 10, 10},
                    Mix{"many_parents_no_memory", 7, 0, 15'000, 2'000, 10, 10},
                    Mix{"many_parents_some_memory", 8, 300u << 10, 20'000, 5'000, 10, 10}),
    [](const testing::TestParamInfo<Mix>& mix) { return std::string(mix.param.name); });

}  // namespace
}  // namespace accrete::store
