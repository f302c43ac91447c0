// Where the numbers of matrices lie: room that is kept, room that is given back.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <fstream>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "models/sparse_rows.h"
#include "proto/rng.h"
#include "tests/sanitized.h"

namespace accrete::models {
namespace {

TEST(RowMatrix, KeepsItsRoomWhenItGetsSmaller) {
  RowMatrix<float> matrix(200, 8);
  matrix.setConstant(3);
  const float* const room = matrix.data();
  matrix.resize(10, 8);
  matrix.setConstant(1);
  matrix.setZero(20, 40);
  EXPECT_EQ(matrix.data(), room);
  EXPECT_EQ(matrix.sum(), 0.0F);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(room) % 64, 0U) << "a line of its own";
  matrix.setConstant(2);
  RowMatrix<float> copied = matrix;
  EXPECT_NE(copied.data(), matrix.data());
  EXPECT_TRUE(copied == matrix);
  copied.conservativeResize(60, 40);
  EXPECT_TRUE(copied.topRows(20) == matrix);
  copied.conservativeResize(5, 40);
  EXPECT_TRUE(copied == matrix.topRows(5));
  RowMatrix<float> moved = std::move(matrix);
  EXPECT_EQ(moved.data(), room);
  moved = copied;
  EXPECT_EQ(moved.data(), room) << "there was room";
  std::swap(moved, copied);
  EXPECT_EQ(copied.data(), room);
  copied.resize(0, 40);
  EXPECT_EQ(copied.data(), nullptr) << "given back";
  EXPECT_EQ(room_bytes(copied, moved), room_bytes(moved));
  RowMatrix<float> large(600, 1024);
  large.setConstant(7);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % kLargePage, 0U);
  EXPECT_EQ(room_bytes(large), 2 * kLargePage);
  large.conservativeResize(1024, 1024);
  EXPECT_EQ(room_bytes(large), 2 * kLargePage) << "the last page had room";
  EXPECT_EQ(large.topRows(600).sum(), 7.0F * 600 * 1024);
}

/// Bytes of the process that are in memory.
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0;
  statm >> pages >> pages;
  return pages * 4096;
}

/// Arrays that come and go, of other sizes in each pass, among small things that stay longer.
TEST(RowMatrix, RoomThatIsGivenBackIsUsedAgain) {
  if (resident_bytes() == 0) GTEST_SKIP() << "no /proc/self/statm";
  if (kSanitized) GTEST_SKIP() << "a sanitizer keeps what was given back";
#if defined(__GLIBC__)
  // As in a process that has run for long: what was mapped and given back once is not mapped again.
  mallopt(M_MMAP_MAX, 0);
#endif
  Rng rng(7, 0, Purpose::Test);
  std::deque<std::vector<char>> small;
  std::size_t held_max = 0;
  std::size_t resident_max = 0;
  const std::size_t before = resident_bytes();
  for (int pass = 0; pass < 100; ++pass) {
    std::vector<RowMatrix<float>> arrays;
    std::size_t held = 0;
    for (int i = 0; i < 24; ++i) {
      const std::uint64_t rows = i % 6 == 0 ? 8'192 + rng.below(24'000) : 16 + rng.below(500);
      arrays.emplace_back(static_cast<Eigen::Index>(rows), 64);
      arrays.back().setConstant(1);
      held += room_bytes(arrays.back());
      small.emplace_back(200 + rng.below(800));
      if (small.size() > 2000) small.pop_front();
    }
    held_max = std::max(held_max, held);
    resident_max = std::max(resident_max, resident_bytes());
  }
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 65536);  // its default
#endif
  EXPECT_LT(resident_max, before + 2 * held_max);
}

}  // namespace
}  // namespace accrete::models
