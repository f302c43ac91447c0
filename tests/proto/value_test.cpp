// Canonical keys, their decoding and their text; guessing the type of a text cell.
#include "proto/value.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "proto/hash.h"
#include "proto/rng.h"

namespace accrete {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kIntMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kIntMax = std::numeric_limits<std::int64_t>::max();

std::string key(const Value& value) {
  std::string out;
  append_key(out, value);
  return out;
}

Value text(std::string_view content) {
  return Value::of_text(content);
}
Value integer(std::int64_t number) {
  return Value::of_integer(number);
}
Value real(double number) {
  return Value::of_real(number);
}

TEST(Key, OneIntegerIsOneKeyWhateverCarriesIt) {
  const std::vector<std::vector<Value>> classes{
      {integer(0), Value::flag(false), real(0.0), real(-0.0), text("0")},
      {integer(1), Value::flag(true), real(1.0), text("1")},
      {integer(-17), real(-17.0), text("-17")},
      {integer(kIntMax), text("9223372036854775807")},
      {integer(kIntMin), real(-0x1.0p63), text("-9223372036854775808")},
      {integer(1ll << 53), real(0x1.0p53)},
      {text("01")},
      {text("+1")},
      {text("1.0")},
      {text(" 1")},
      {text("1 ")},
      {text("-0")},
      {text("-")},
      {text("")},
      {text("9223372036854775808")},
      {text("-9223372036854775809")},
      {real(0x1.0p63)},
      {real(0.5)},
      {real(kInfinity)},
      {real(-kInfinity)},
      {real(NAN)},
      {Value::of_time(TimeUs(0))},
      {Value::of_time(TimeUs(1))},
      {Value::null()},
  };
  for (std::size_t i = 0; i < classes.size(); ++i) {
    for (std::size_t j = 0; j < classes.size(); ++j) {
      for (const Value& a : classes[i]) {
        for (const Value& b : classes[j]) {
          EXPECT_EQ(key(a) == key(b), i == j) << value_text(a) << " " << value_text(b);
        }
      }
    }
  }
}

TEST(Key, IntegersAndTimesSortAsNumbers) {
  const std::int64_t numbers[] = {kIntMin, -300, -256, -1, 0, 1, 255, 256, 1ll << 40, kIntMax};
  for (std::size_t i = 1; i < std::size(numbers); ++i) {
    EXPECT_LT(key(integer(numbers[i - 1])), key(integer(numbers[i])));
    EXPECT_LT(key(Value::of_time(TimeUs(numbers[i - 1]))), key(Value::of_time(TimeUs(numbers[i]))));
  }
}

Value random_value(Rng& rng, std::string& owner) {
  switch (rng.below(6)) {
    case 0:
      return Value::null();
    case 1:
      return integer(static_cast<std::int64_t>(rng.next() >> rng.below(64)));
    case 2:
      return real(std::ldexp(rng.uniform() - 0.5, static_cast<int>(rng.below(200))));
    case 3:
      return Value::of_time(TimeUs(static_cast<std::int64_t>(rng.next())));
    default:
      owner.assign(rng.below(300), 'x');
      for (char& c : owner) {
        c = static_cast<char>(rng.next());
      }
      return text(owner);
  }
}

TEST(Key, CompositesDecodeToTheirPartsAndBack) {
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    Rng rng(1, i, Purpose::Test);
    std::string bytes;
    std::vector<std::string> parts;
    for (auto n = rng.below(5); n > 0; --n) {
      std::string owner;
      parts.push_back(key(random_value(rng, owner)));
      bytes += parts.back();
    }
    std::array<Value, 4> values;
    std::size_t count = 0;
    ASSERT_TRUE(decode_key(bytes, values, count));
    ASSERT_EQ(count, parts.size());
    for (std::size_t p = 0; p < count; ++p) {
      ASSERT_EQ(key(values[p]), parts[p]);
    }
    if (count > 0) {
      ASSERT_FALSE(decode_key(bytes, std::span(values).first(count - 1), count));
    }
  }
}

/// Only canonical bytes decode: what decodes at all encodes to the same bytes again.
TEST(Key, OtherBytesAreRefused) {
  std::size_t accepted = 0;
  for (std::uint64_t i = 0; i < 50'000; ++i) {
    Rng rng(2, i, Purpose::Test);
    std::string owner;
    std::string bytes = key(random_value(rng, owner)) + key(random_value(rng, owner));
    if (rng.below(2) == 0) bytes.resize(rng.below(bytes.size()));
    if (!bytes.empty()) {
      bytes[rng.below(std::min<std::size_t>(bytes.size(), 4))] = static_cast<char>(rng.below(8));
    }
    std::array<Value, 8> values;
    std::size_t count = 0;
    if (!decode_key(bytes, values, count)) continue;
    ++accepted;
    std::string again;
    for (std::size_t p = 0; p < count; ++p) {
      append_key(again, values[p]);
    }
    ASSERT_EQ(again, bytes) << "seed " << i;
  }
  EXPECT_GT(accepted, 100u);
  std::array<Value, 2> values;
  std::size_t count = 0;
  EXPECT_FALSE(decode_key(std::string_view("\x05\x01"
                                           "7",
                                           3),
                          values, count));                                        // "7" is Integer
  EXPECT_FALSE(decode_key(std::string_view("\x05\x81\x00x", 4), values, count));  // long length
  EXPECT_FALSE(decode_key(std::string_view("\x03\0\0\0\0\0\0\0\0", 9), values, count));  // 0.0
}

TEST(Key, TextIsForPeople) {
  std::string bytes;
  for (const Value& part : {integer(-5), text("a|b"), real(0.5), Value::of_time(TimeUs(0)),
                            Value::null(), Value::flag(true)}) {
    append_key(bytes, part);
  }
  EXPECT_EQ(key_text(bytes), "-5|a|b|0.5|1970-01-01T00:00:00Z|NULL|1");
  EXPECT_EQ(key_text(""), "");
  EXPECT_EQ(key_text("\xFF"), "?");
}

TEST(Value, TextAndEquality) {
  EXPECT_EQ(value_text(Value::flag(false)), "false");
  EXPECT_EQ(value_text(real(0.1)), "0.1");
  EXPECT_EQ(value_text(integer(kIntMin)), "-9223372036854775808");
  EXPECT_EQ(value_text(Value::unchanged()), "UNCHANGED");
  EXPECT_TRUE(real(NAN) == real(NAN));
  EXPECT_FALSE(integer(1) == real(1.0));
  EXPECT_FALSE(integer(1) == Value::of_time(TimeUs(1)));
  EXPECT_TRUE(Value::null() == Value::null());
  EXPECT_FALSE(text("a") == text("b"));
  static_assert(sizeof(Value) <= 32 && std::is_trivially_copyable_v<Value>);
}

TEST(Guess, TellsNumbersFromIdentifiers) {
  const std::pair<const char*, Value> cases[] = {
      {"", Value::null()},   {"0", integer(0)},
      {"-12", integer(-12)}, {"9223372036854775807", integer(kIntMax)},
      {"1.5", real(1.5)},    {"-0.25", real(-0.25)},
      {"1e3", real(1'000)},  {"1E-3", real(0.001)},
      {"0.5", real(0.5)},    {".5", real(0.5)},
      {"5.", real(5)},       {"-0", real(-0.0)},
      {"1.0", real(1)},
  };
  for (const auto& [cell, value] : cases) {
    EXPECT_TRUE(guess_value(cell) == value) << cell;
  }
  for (const char* cell : {"0171",  "00.5",
                           "-00.5", "01",
                           "+1",    " 1",
                           "1 ",    "inf",
                           "nan",   "-inf",
                           "NaN",   "1e999",
                           "1e",    "1.2.3",
                           "0x10",  "1,5",
                           "e5",    ".",
                           "-",     "-.",
                           "--1",   "9223372036854775808",
                           "NULL",  "12345678901234567890123",
                           "true",  "2010-01-01",
                           "1_000", "1f",
                           "e",     "-e1"}) {
    EXPECT_TRUE(guess_value(cell) == text(cell)) << cell;
  }
  const std::string cell = "view";
  EXPECT_EQ(guess_value(cell).text.data(), cell.data());
}

TEST(Hash, IsTheOneOnDisk) {
  // Fixed for ever: these numbers are in logs and state directories.
  EXPECT_EQ(hash64(""), 0x2D06'8005'38D3'94C2ull);
  EXPECT_EQ(hash128("").low, 0x6001'C324'468D'497Full);
  EXPECT_EQ(hash128("").high, 0x99AA'06D3'0147'98D8ull);
}

}  // namespace
}  // namespace accrete
