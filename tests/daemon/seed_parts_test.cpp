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

}  // namespace
}  // namespace accrete::daemon
