// What a graph network keeps of its task: which examples stay, how they are drawn, which labels are
// known at a time, each against a naive search.
#include "daemon/network_memory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "tests/daemon/network_memory_world.h"

namespace accrete::daemon {
namespace {

/// The same by search.
struct Naive {
  std::size_t most = 0;
  std::vector<std::set<Entry>> kept = {};

  std::size_t size(std::size_t quota) const {
    std::size_t sum = 0;
    for (const auto& block : kept)
      sum += std::min(block.size(), quota);
    return sum;
  }
  std::size_t size() const { return size(SIZE_MAX); }
  static std::uint64_t hash_of(const Entry& entry) {
    return Rng(kSeed ^ std::get<2>(entry), static_cast<std::uint64_t>(std::get<1>(entry)),
               Purpose::Training)
        .next();
  }
  void add(const Entry& entry) {
    kept.resize(std::get<0>(entry) + std::size_t{1});
    kept.back().insert(entry);
    if (size() <= most + most / 10) return;
    std::size_t quota = most;  // becomes the largest under which all fit
    while (size(quota) > most)
      --quota;
    for (auto& block : kept) {
      while (block.size() > quota)
        block.erase(std::ranges::max_element(block, {}, hash_of));
    }
  }
};

TEST(NetworkMemory, KeepsOfEachBlockTheSameNumberThoseOfSmallestHash) {
  for (const std::size_t most : {20UL, 150UL, 301UL}) {
    NetworkMemory memory(of_most(most));
    Naive naive{.most = most};
    std::size_t shrinks = 0;
    std::int64_t at = 0;
    for (std::uint32_t block = 0; block < 17; ++block) {
      Rng rng(1, block, Purpose::Test);
      const std::size_t rows = block % 3 == 0 ? 1 + rng.below(8) : 40 + rng.below(200);
      for (std::size_t i = 0; i < rows; ++i) {
        if (rng.below(5) == 0) ++at;
        const auto row = static_cast<std::uint32_t>(at * 1000) + static_cast<std::uint32_t>(i);
        const auto label = rng.uniform();
        const std::size_t before = memory.size();
        memory.add({row, label, TimeUs{at}, block});
        naive.add({block, at, row, label});
        if (memory.size() < before) ++shrinks;
        ASSERT_EQ(memory.size(), naive.size());
        ASSERT_LE(memory.size(), memory.size() < before ? most : most + most / 10);
      }
      for (std::uint32_t b = 0; b <= block; ++b) {
        ASSERT_EQ(memory.size(b), naive.kept[b].size());
        ASSERT_EQ(content(memory, b), naive.kept[b]) << "block " << b;
      }
    }
    EXPECT_GT(shrinks, 3U);
    EXPECT_EQ(memory.size(17), 0U);
  }
}

TEST(NetworkMemory, OfMoreBlocksThanExamplesTheNewestStay) {
  NetworkMemory memory(of_most(20));
  for (std::uint32_t block = 0; block < 200; ++block) {
    for (std::uint32_t row = 0; row < 2; ++row)
      memory.add({row, 1, TimeUs{block}, block});
    ASSERT_LE(memory.size(), 22U);
    ASSERT_GT(memory.size(block), 0U);
    ASSERT_EQ(drawn(memory, 64, block).size(), 64U);
    std::uint32_t oldest = 0;
    while (memory.size(oldest) == 0)
      ++oldest;
    for (std::uint32_t b = oldest; b <= block; ++b)
      ASSERT_GT(memory.size(b), 0U);
    if (block > 20) {
      ASSERT_GE(block - oldest, 10U);
    }
  }
}

/// A memory that keeps all of `sizes[b]` rows of block b, `rows` of them at each instant.
NetworkMemory filled(const std::vector<std::size_t>& sizes, std::size_t rows,
                     std::set<Entry>* all = nullptr) {
  NetworkMemory memory(of_most(1'000'000));
  std::int64_t at = 0;
  for (std::uint32_t block = 0; block < sizes.size(); ++block) {
    for (std::uint32_t i = 0; i < sizes[block]; ++i) {
      if (i % rows == 0) ++at;
      memory.add({i, i * 0.5, TimeUs{at}, block});
      if (all != nullptr) all->insert({block, at, i, i * 0.5});
    }
  }
  return memory;
}

TEST(NetworkMemory, TheNewestBlockGivesFourTimesItsShareAndAtMostHalf) {
  struct Case {
    std::vector<std::size_t> sizes;
    std::size_t count;
    std::size_t fresh;
  };
  const std::vector<Case> cases = {
      {{1000, 50, 0, 300, 100}, 512, 512 * 4 * 100 / 1450},
      {{1000, 50, 0, 300, 900}, 512, 256},
      {{1000, 1}, 100, 0},
      {{1000, 1}, 1000, 3},
      {{10, 10}, 1, 0},
      {{10, 10}, 7, 3},
      {{0, 0, 70}, 512, 512},
  };
  for (const Case& each : cases) {
    std::set<Entry> all;
    const NetworkMemory memory = filled(each.sizes, 7, &all);
    std::map<std::uint32_t, std::size_t> by_block;
    constexpr std::size_t kDraws = 2000;
    for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
      const auto entries = drawn(memory, each.count, draw);
      ASSERT_EQ(entries.size(), each.count);
      std::size_t fresh = 0;
      for (const Entry& entry : entries) {
        ASSERT_TRUE(all.contains(entry));
        ++by_block[std::get<0>(entry)];
        if (std::get<0>(entry) + 1 == each.sizes.size()) ++fresh;
      }
      ASSERT_EQ(fresh, each.fresh);
    }
    const auto older = static_cast<double>(std::count_if(
        each.sizes.begin(), each.sizes.end() - 1, [](std::size_t size) { return size > 0; }));
    for (std::size_t b = 0; b + 1 < each.sizes.size(); ++b) {
      if (each.sizes[b] == 0) continue;
      const double expected = static_cast<double>((each.count - each.fresh) * kDraws) / older;
      EXPECT_NEAR(static_cast<double>(by_block[static_cast<std::uint32_t>(b)]), expected,
                  0.1 * expected);
    }
  }
}

TEST(NetworkMemory, DrawsDependOnTheGeneratorAlone) {
  const NetworkMemory memory = filled({500, 500, 500}, 5);
  std::set<std::vector<Entry>> seen;
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    const auto entries = drawn(memory, 100, draw);
    EXPECT_EQ(drawn(memory, 100, draw), entries);
    seen.insert(entries);
  }
  EXPECT_EQ(seen.size(), 20U);
}

TEST(NetworkMemory, RunsAreOfOneInstantAndNoLongerThan64) {
  for (const std::size_t rows : {1UL, 9UL, 64UL, 150UL}) {
    const NetworkMemory memory = filled({3000}, rows);
    Rng rng(2, rows, Purpose::Test);
    std::vector<NetworkExample> out(3);  // what is there stays
    memory.draw_from(0, 640, rng, out);
    ASSERT_EQ(out.size(), 643U);
    out.erase(out.begin(), out.begin() + 3);
    const std::size_t run = std::min<std::size_t>(rows, 64);
    std::set<std::int64_t> instants;
    for (std::size_t first = 0; first < out.size(); first += run) {
      std::set<std::uint32_t> distinct;
      const std::size_t end = std::min(out.size(), first + run);
      for (std::size_t i = first; i < end; ++i) {
        EXPECT_EQ(out[i].at, out[first].at);
        distinct.insert(out[i].row);
      }
      EXPECT_EQ(distinct.size(), end - first);
      instants.insert(out[first].at.value);
    }
    EXPECT_GT(instants.size(), 6U);
  }
}

TEST(NetworkMemory, ExamplesOfABlockAreEquallyLikely) {
  NetworkMemory memory(of_most(10'000));
  std::uint32_t row = 0;
  std::int64_t at = 0;
  const auto instant = [&](std::size_t rows) {
    ++at;
    for (std::size_t i = 0; i < rows; ++i)
      memory.add({row++, 0, TimeUs{at}, 0});
  };
  for (int i = 0; i < 100; ++i) {
    instant(1);
    instant(2);
    if (i % 10 == 0) instant(30);
    if (i % 50 == 0) instant(200);
  }
  Rng rng(3, 0, Purpose::Test);
  std::vector<NetworkExample> out;
  constexpr double kVisits = 2000;
  memory.draw_from(0, static_cast<std::size_t>(kVisits) * row, rng, out);
  std::vector<double> visits(row);
  for (const NetworkExample& example : out)
    ++visits[example.row];
  // Five deviations of a Poisson count.
  for (std::uint32_t r = 0; r < row; ++r)
    EXPECT_NEAR(visits[r], kVisits, 5 * std::sqrt(kVisits)) << "row " << r;
}

TEST(NetworkMemory, OfClassesEachIsDrawnAsOftenAsAnyOther) {
  NetworkMemoryOptions options = of_most(10'000);
  options.classes = true;
  NetworkMemory memory(options);
  constexpr std::uint32_t kRows = 1000;
  // A tenth is of class 1, one row of class 2.
  const auto class_of = [](std::uint32_t row) {
    return row == 7 ? 2.0 : row % 10 == 0 ? 1.0 : 0.0;
  };
  for (std::uint32_t row = 0; row < kRows; ++row)
    memory.add({row, class_of(row), TimeUs{row / 50}, 0});
  std::vector<double> counts = {1, 0, 0, 0};
  memory.count_labels(0, counts);
  EXPECT_EQ(counts, (std::vector<double>{900, 100, 1, 0}));
  Rng rng(3, 1, Purpose::Test);
  std::vector<NetworkExample> out;
  constexpr std::size_t kDraws = 90'000;
  memory.draw_from(0, kDraws, rng, out);
  std::map<int, std::size_t> by_class;
  std::vector<double> visits(kRows);
  for (const NetworkExample& example : out) {
    ASSERT_EQ(example.label, class_of(example.row));
    ASSERT_EQ(example.at, TimeUs{example.row / 50});
    ++by_class[static_cast<int>(example.label)];
    ++visits[example.row];
  }
  for (const int label : {0, 1, 2})
    EXPECT_NEAR(static_cast<double>(by_class[label]), kDraws / 3.0, 5 * std::sqrt(kDraws / 4.5));
  for (std::uint32_t row = 0; row < kRows; ++row) {
    const double expected =
        kDraws / 3.0 / std::array{899, 100, 1}.at(static_cast<std::size_t>(class_of(row)));
    EXPECT_NEAR(visits[row], expected, 6 * std::sqrt(expected)) << "row " << row;
  }
}

TEST(NetworkMemory, OfABlockThatIsOverSoManyOfEachClassStay) {
  for (const bool classes : {true, false}) {
    NetworkMemoryOptions options = of_most(10'000);
    options.classes = classes;
    options.per_class = 5;
    NetworkMemory memory(options);
    std::map<std::uint32_t, std::set<Entry>> all;
    std::int64_t at = 0;
    const auto add = [&](std::uint32_t row, double label, std::uint32_t block) {
      memory.add({row, label, TimeUs{at}, block});
      all[block].insert({block, at, row, label});
    };
    for (std::uint32_t block = 0; block < 3; ++block) {
      for (std::uint32_t row = 0; row < 90; ++row, ++at)
        add(block * 100 + row, row < 3 ? 2 : row % 2, block);
      ASSERT_EQ(memory.size(block), 90U) << "the newest keeps all";
    }
    for (const std::uint32_t block : {0U, 1U}) {
      std::map<double, std::set<std::pair<std::uint64_t, Entry>>> by_hash;
      for (const Entry& entry : all[block])
        by_hash[classes ? std::get<3>(entry) : 0].insert({Naive::hash_of(entry), entry});
      std::set<Entry> expected;
      for (const auto& [label, entries] : by_hash) {
        auto entry = entries.begin();
        for (int i = 0; i < 5 && entry != entries.end(); ++i, ++entry)
          expected.insert(entry->second);
      }
      EXPECT_EQ(content(memory, block), expected);
      EXPECT_EQ(memory.size(block), classes ? 13U : 5U);
    }
    EXPECT_EQ(memory.size(), memory.size(0) + memory.size(1) + 90);
    // What comes late for it has no more room, and is one of those of smallest hash or goes.
    for (std::uint32_t row = 1000; row < 1200; ++row)
      add(row, row % 2, 0);
    EXPECT_EQ(memory.size(0), classes ? 13U : 5U);
    std::map<double, std::set<std::pair<std::uint64_t, Entry>>> by_hash;
    for (const Entry& entry : all[0])
      by_hash[classes ? std::get<3>(entry) : 0].insert({Naive::hash_of(entry), entry});
    for (const Entry& entry : content(memory, 0)) {
      const auto& of_label = by_hash[classes ? std::get<3>(entry) : 0];
      const auto place = of_label.find({Naive::hash_of(entry), entry});
      EXPECT_LT(std::distance(of_label.begin(), place), 5);
    }
  }
}

/// Lists of six links, two a block: all of a list are of one row and instant.
void add_lists(std::uint32_t blocks, NetworkMemory& memory) {
  for (std::uint32_t list = 0; list < 2 * blocks; ++list) {
    for (int item = 0; item < 6; ++item)
      memory.add({list % 7, static_cast<double>(item), TimeUs{list}, list / 2});
  }
}

TEST(NetworkMemory, OfListsLinksStayOneByOne) {
  constexpr std::size_t kMost = 120;
  constexpr std::uint32_t kBlocks = 60;  // a block keeps two, less than a list
  NetworkMemoryOptions options = of_most(kMost);
  options.lists = true;
  NetworkMemory memory(options);
  add_lists(kBlocks, memory);
  EXPECT_GE(memory.size(), kMost / 2);
  for (std::uint32_t block = 0; block < kBlocks; ++block)
    EXPECT_GE(memory.size(block), 1U) << block;
  EXPECT_EQ(memory.blocks(), kBlocks);
}

TEST(NetworkMemory, OfListsOfABlockThatIsOverSoManyLinksStay) {
  NetworkMemoryOptions options = of_most(10'000);
  options.lists = true;
  options.per_class = 4;
  NetworkMemory memory(options);
  add_lists(10, memory);
  for (std::uint32_t block = 0; block + 1 < 10; ++block)
    EXPECT_EQ(memory.size(block), 4U) << block;
  EXPECT_EQ(memory.size(9), 12U);
}

TEST(NetworkMemory, TypicalIsAMeanOfWhatWasKnownLaterInstantsCountMore) {
  NetworkMemory memory(of_most(100));
  EXPECT_FALSE(memory.typical(TimeUs{1000}));
  memory.know(1, 4, TimeUs{10});
  memory.know(2, 8, TimeUs{10});
  memory.know(1, 1, TimeUs{20});
  EXPECT_FALSE(memory.typical(TimeUs{9}));
  EXPECT_EQ(memory.typical(TimeUs{10}), 6);
  EXPECT_EQ(memory.typical(TimeUs{19}), 6);
  const auto both = memory.typical(TimeUs{20});
  ASSERT_TRUE(both);
  EXPECT_NEAR(*both, (0.7 * 12 + 1) / (0.7 * 2 + 1), 1e-12);
  memory.know(3, 5, TimeUs{30});
  EXPECT_EQ(memory.typical(TimeUs{20}), both);  // what comes later changes nothing
}

TEST(NetworkMemory, TypicalForgetsTheOldestInstants) {
  NetworkMemory memory(of_most(100));
  constexpr auto kInstants = static_cast<std::int64_t>(NetworkMemory::kInstantsMax);
  for (std::int64_t i = 0; i <= kInstants; ++i)
    memory.know(1, static_cast<double>(i), TimeUs{10 * i});
  EXPECT_FALSE(memory.typical(TimeUs{10 * (kInstants / 4) - 1}));
  EXPECT_TRUE(memory.typical(TimeUs{10 * (kInstants / 4)}));
}

/// A memory that keeps so many labels of an entity, asked of all times.
void compare_newest_labels(std::size_t labels_max) {
  NetworkMemoryOptions options = of_most(100);
  options.labels_max = labels_max;
  NetworkMemory memory(options);
  std::map<std::uint32_t, Labels> all;  // in the order of their coming
  Rng rng(4, 0, Purpose::Test);
  for (std::int64_t at = 0; at < 3000; at += static_cast<std::int64_t>(rng.below(3))) {
    // Row 3 has far more than may stay; rows from 150 have none.
    const auto row = static_cast<std::uint32_t>(rng.below(2) == 0 ? 3 : rng.below(150));
    const auto label = rng.uniform();
    memory.know(row, label, TimeUs{at});
    all[row].emplace_back(label, at);
  }
  ASSERT_GT(all[3].size(), 4 * labels_max);
  for (std::uint32_t row = 0; row < 160; ++row) {
    const Labels known = newest(memory, row, 3000, 10'000);
    if (all[row].size() <= labels_max) {
      EXPECT_EQ(known.size(), all[row].size());
    } else {
      EXPECT_LE(known.size(), labels_max);
      EXPECT_GE(known.size(), labels_max * 3 / 4);
    }
    const Labels kept(all[row].end() - static_cast<std::ptrdiff_t>(known.size()), all[row].end());
    for (int question = 0; question < 40; ++question) {
      const auto at = static_cast<std::int64_t>(rng.below(3002)) - 1;
      const std::size_t k = rng.below(20);
      Labels expected;
      for (auto label = kept.rbegin(); label != kept.rend() && expected.size() < k; ++label) {
        if (label->second <= at) expected.push_back(*label);
      }
      ASSERT_EQ(newest(memory, row, at, k), expected) << "row " << row << " at " << at;
    }
  }
}

TEST(NetworkMemory, NewestLabelsEqualANaiveSearch) {
  for (const std::size_t labels_max : {2UL, 3UL, 64UL})
    compare_newest_labels(labels_max);
  NetworkMemory memory(of_most(100));
  for (std::int64_t at = 0; at < 8; ++at)
    memory.know(3, 1, TimeUs{at});
  std::vector<KnownLabel> out(2);
  memory.newest(3, TimeUs{3000}, 5, out);
  EXPECT_EQ(out.size(), 7U) << "what was there stays";
}

TEST(NetworkMemory, ManyEntitiesKeepFewerLabelsEach) {
  NetworkMemoryOptions options = of_most(100);
  options.all_labels_max = 100;
  NetworkMemory memory(options);
  std::int64_t at = 0;
  const auto know = [&](std::uint32_t rows, int times) {
    for (int i = 0; i < times; ++i, ++at) {
      for (std::uint32_t row = 0; row < rows; ++row)
        memory.know(row, static_cast<double>(at), TimeUs{at});
    }
  };
  know(2, 40);
  EXPECT_EQ(newest(memory, 0, at, 99).size(), 40U);
  know(12, 1);
  know(12, 20);
  std::size_t all = 0;
  for (std::uint32_t row = 0; row < 12; ++row) {
    const Labels kept = newest(memory, row, at, 99);
    all += kept.size();
    ASSERT_GE(kept.size(), 2U);
    EXPECT_EQ(kept.front().second, at - 1) << "the newest stay";
  }
  EXPECT_LE(all, 100U);
  know(80, 3);
  EXPECT_EQ(newest(memory, 79, at, 99).size(), 2U) << "two are what is left at last";

  Kept kept;
  memory.stage("m/", *kept.state);
  kept.commit();
  NetworkMemory loaded(options);
  ASSERT_TRUE(loaded.load("m/", *kept.state));
  for (NetworkMemory* one : {&memory, &loaded}) {
    one->know(3, 7, TimeUs{at});
    EXPECT_EQ(newest(*one, 3, at, 99), newest(memory, 3, at, 99));
  }
}

}  // namespace
}  // namespace accrete::daemon
