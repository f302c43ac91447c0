// Parts of many seeds: all of them once, in order, as large as fits.
#include "daemon/seed_parts.h"

#include <cstddef>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace accrete::daemon {
namespace {

TEST(SeedParts, CoverAllInOrderAndAreRefusedSeldom) {
  for (const std::size_t seeds : {0u, 1u, 2u, 3u, 10u, 256u, 257u, 1000u, 4099u}) {
    for (const std::size_t fits : {1u, 2u, 3u, 7u, 100u, 5000u}) {
      std::size_t next = 0;
      std::size_t refused = 0;
      std::vector<std::size_t> sizes;
      in_parts(seeds, [&](std::size_t first, std::size_t count) {
        EXPECT_EQ(first, next);
        EXPECT_GT(count, 0u);
        EXPECT_LE(first + count, seeds);
        if (count > fits) {
          ++refused;
          return false;
        }
        next += count;
        sizes.push_back(count);
        return true;
      });
      EXPECT_EQ(next, seeds);
      std::size_t halvings = 0;
      for (std::size_t size = seeds; size > fits; size /= 2)
        ++halvings;
      EXPECT_LE(refused, halvings);
      for (const std::size_t size : sizes) {
        EXPECT_LE(sizes.front() - size, 1u) << seeds << " seeds, " << fits << " fit";
        EXPECT_TRUE(size == seeds || 4 * size > fits) << "not in crumbs";
      }
    }
  }
}

TEST(SeedParts, ARefusalOnTheWayCutsTheRest) {
  std::vector<std::pair<std::size_t, std::size_t>> parts;
  in_parts(16, [&](std::size_t first, std::size_t count) {
    if (count > 8 || (first == 8 && count > 2)) return false;  // the second half is denser
    parts.emplace_back(first, count);
    return true;
  });
  const std::vector<std::pair<std::size_t, std::size_t>> expected{
      {0, 8}, {8, 2}, {10, 2}, {12, 2}, {14, 2}};
  EXPECT_EQ(parts, expected);
}

TEST(SeedParts, WhatWouldFitIsTakenAtOnce) {
  std::vector<std::size_t> tried;
  in_parts(100, [&](std::size_t, std::size_t count) {
    tried.push_back(count);
    return count > 12 ? 12.5 / static_cast<double>(count) : 1;
  });
  EXPECT_EQ(tried, (std::vector<std::size_t>{100, 12, 11, 11, 11, 11, 11, 11, 11, 11}));
  tried.clear();
  in_parts(8, [&](std::size_t, std::size_t count) {
    tried.push_back(count);
    return count > 4 ? 0.99 : 1;  // too much hope: half, as if nobody knew
  });
  EXPECT_EQ(tried, (std::vector<std::size_t>{8, 4, 4}));
}

/// Seeds of these instants, of which each brings so many nodes.
struct Instants {
  std::vector<int> at;
  std::vector<std::size_t> nodes;
  std::vector<std::pair<std::size_t, std::size_t>> parts = {};
  std::vector<std::size_t> refused = {};

  void take(const PartRoom& room) {
    in_parts_of_instants(
        at.size(), [&](std::size_t i) { return at[i]; }, room,
        [&](std::size_t first, std::size_t count) -> PartRead {
          std::size_t all = 0;
          for (std::size_t i = first; i < first + count; ++i)
            all += nodes[i];
          if (all > room.nodes_max) {
            refused.push_back(count);
            return {};
          }
          parts.emplace_back(first, count);
          return {1, all};
        });
  }
};

using Ranges = std::vector<std::pair<std::size_t, std::size_t>>;

TEST(SeedParts, InstantsStayWholeButForOneThatIsTooLargeByItself) {
  Instants some{{1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4}, std::vector<std::size_t>(14, 1)};
  some.take({5, 0});
  EXPECT_EQ(some.parts, (Ranges{{0, 5}, {5, 4}, {9, 4}, {13, 1}}));
  EXPECT_EQ(some.refused, (std::vector<std::size_t>{14, 8})) << "all, as nobody knows, then one";
}

TEST(SeedParts, WhatSeedsBringInTheMeanFits) {
  Instants even{{1, 2, 2, 3, 4, 5, 5, 6, 7, 8}, std::vector<std::size_t>(10, 10)};
  even.take({50, 10});
  EXPECT_EQ(even.parts, (Ranges{{0, 4}, {4, 4}, {8, 2}})) << "four fifths of the room";
  EXPECT_TRUE(even.refused.empty());
  // Later ones bring more than the mean, as the part before has told.
  Instants rising{{1, 2, 3, 4, 5, 6, 7, 8}, {2, 5, 10, 15, 25, 35, 40, 45}};
  rising.take({66, 18});
  EXPECT_EQ(rising.parts, (Ranges{{0, 2}, {2, 2}, {4, 2}, {6, 1}, {7, 1}}));
  EXPECT_TRUE(rising.refused.empty());
  // One that nobody could expect is refused among others, and taken by itself.
  Instants sudden{{1, 2, 3, 4, 5, 6}, {5, 5, 40, 5, 5, 5}};
  sudden.take({50, 5});
  EXPECT_EQ(sudden.parts, (Ranges{{0, 3}, {3, 2}, {5, 1}}));
  EXPECT_EQ(sudden.refused, (std::vector<std::size_t>{6}));
}

TEST(SeedParts, InstantsThatAreTooLargeAreRefusedOnceEach) {
  Instants large{{}, std::vector<std::size_t>(32, 10)};
  for (int i = 0; i < 32; ++i)
    large.at.push_back(i / 8);
  large.take({50, 0});
  EXPECT_EQ(large.parts,
            (Ranges{{0, 4}, {4, 4}, {8, 4}, {12, 4}, {16, 4}, {20, 4}, {24, 4}, {28, 4}}));
  EXPECT_EQ(large.refused, (std::vector<std::size_t>{32, 16, 8, 8, 8, 8}));
}

TEST(SeedParts, AllAtOnceWhereItFits) {
  Instants light{{1, 2, 3, 4}, {1, 1, 1, 1}};
  light.take({50, 0});
  light.take({50, 1});
  EXPECT_EQ(light.parts, (Ranges{{0, 4}, {0, 4}}));
}

}  // namespace
}  // namespace accrete::daemon
