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

TEST(SeedParts, InstantsStayWholeButForOneThatIsTooLargeByItself) {
  const std::vector<int> at{1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4};
  std::vector<std::pair<std::size_t, std::size_t>> parts;
  std::vector<std::size_t> refused;
  in_parts_of_instants(
      at.size(), [&](std::size_t i) { return at[i]; },
      [&](std::size_t first, std::size_t count) {
        if (count > 5) {
          refused.push_back(count);
          return false;
        }
        parts.emplace_back(first, count);
        return true;
      });
  const std::vector<std::pair<std::size_t, std::size_t>> expected{{0, 5}, {5, 4}, {9, 4}, {13, 1}};
  EXPECT_EQ(parts, expected);
  EXPECT_EQ(refused, (std::vector<std::size_t>{14, 9, 8})) << "none is tried twice";
}

}  // namespace
}  // namespace accrete::daemon
