// Keys sort as their numbers do; varints and differences come back as they went in.
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"
#include "store/handles.h"
#include "store/keys.h"

namespace accrete::store {
namespace {

TEST(Bytes, BigEndianKeysSortAsNumbers) {
  Rng rng(1, 0, Purpose::Test);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t a = rng.next() >> (rng.next() % 64);
    const std::uint64_t b = rng.next() >> (rng.next() % 64);
    EXPECT_EQ(key_of_number(a) < key_of_number(b), a < b);
    EXPECT_EQ(get_be<std::uint64_t>(key_of_number(a)), a);
  }
}

TEST(Bytes, VarintsRoundTrip) {
  Rng rng(2, 0, Purpose::Test);
  std::vector<std::uint64_t> numbers = {0, 127, 128, std::numeric_limits<std::uint64_t>::max()};
  for (int i = 0; i < 10'000; ++i)
    numbers.push_back(rng.next() >> (rng.next() % 64));
  std::string bytes;
  for (const std::uint64_t number : numbers)
    put_varint(bytes, number);
  ByteReader in(bytes);
  for (const std::uint64_t number : numbers)
    EXPECT_EQ(in.varint(), number);
  EXPECT_TRUE(in.ok() && in.done());
}

TEST(Bytes, AnyDifferenceRoundTrips) {
  const std::uint64_t min = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::min());
  const std::uint64_t max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  for (const std::uint64_t a : {std::uint64_t{0}, std::uint64_t{5}, min, max}) {
    for (const std::uint64_t b : {std::uint64_t{0}, std::uint64_t{9}, min, max}) {
      EXPECT_EQ(b + unzigzag(zigzag(a - b)), a);
    }
  }
  EXPECT_LE(zigzag(std::uint64_t{0} - 3), 5u);  // small either way
}

TEST(Bytes, ReadingPastTheEndFails) {
  for (const std::string& bytes : {std::string(), std::string("\x80"), std::string(11, '\xFF')}) {
    ByteReader in(bytes);
    EXPECT_EQ(in.varint(), 0u);
    EXPECT_FALSE(in.ok());
  }
  ByteReader in(
      std::string_view("\x05"
                       "ab",
                       3));
  EXPECT_EQ(in.text(), "");
  EXPECT_FALSE(in.ok());
}

TEST(Bytes, PrefixEndIsAfterEveryKeyWithThePrefix) {
  EXPECT_EQ(prefix_end("ab"), "ac");
  EXPECT_EQ(prefix_end("a\xFF"), "b");
  EXPECT_EQ(prefix_end("\xFF\xFF"), "");
  EXPECT_EQ(prefix_end(""), "");
}

}  // namespace
}  // namespace accrete::store
