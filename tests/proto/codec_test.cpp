// The record codec against the generated classes, in both directions, and against hostile bytes.
#include "proto/codec.h"

#include <memory>

#include <gtest/gtest.h>

#include "proto/limits.h"
#include "wire_mirror.h"

namespace accrete {
namespace {

using test::encode;
using test::mirror;
using test::random_record;

/// A heap block of exactly the text's size, so that the address sanitizer sees any read past it.
class Exact {
 public:
  explicit Exact(std::string_view bytes) : size_(bytes.size()), data_(new char[bytes.size()]) {
    std::copy(bytes.begin(), bytes.end(), data_.get());
  }
  std::string_view view() const { return {data_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<char[]> data_;
};

TEST(Codec, AgreesWithTheGeneratedClassesInBothDirections) {
  Record reused;
  for (std::uint64_t i = 0; i < 5'000; ++i) {
    Rng rng(1, i, Purpose::Test);
    const wire::Record message = random_record(rng);
    const std::string bytes = message.SerializeAsString();
    const Exact exact(bytes);
    const Status decoded = decode_record(exact.view(), reused);
    ASSERT_TRUE(decoded) << decoded.error().detail << "\n" << message.DebugString();
    ASSERT_EQ(mirror(reused).SerializeAsString(), bytes) << message.DebugString();
    std::string encoded = "before";  // encoders append
    encode(reused, encoded);
    ASSERT_EQ(encoded, "before" + bytes) << message.DebugString();
  }
}

TEST(Codec, RefusesEveryTruncation) {
  for (std::uint64_t i = 0; i < 300; ++i) {
    Rng rng(2, i, Purpose::Test);
    const std::string bytes = random_record(rng).SerializeAsString();
    Record record;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const Exact exact(std::string_view(bytes).substr(0, size));
      const Status decoded = decode_record(exact.view(), record);
      ASSERT_FALSE(decoded) << "seed " << i << ", " << size << " of " << bytes.size();
      ASSERT_EQ(decoded.error().code, Errc::Malformed);
    }
  }
}

/// Whatever we accept, protobuf accepts and reads the same; we may be stricter, never laxer.
TEST(Codec, DamagedBytesAreRefusedOrReadAsProtobufReadsThem) {
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    Rng rng(3, i, Purpose::Test);
    std::string bytes = random_record(rng).SerializeAsString();
    if (rng.below(4) == 0) bytes += random_record(rng).SerializeAsString();
    for (auto flips = 1 + rng.below(3); flips > 0 && !bytes.empty(); --flips) {
      char& hit = bytes[rng.below(bytes.size())];
      hit = static_cast<char>(hit ^ (1 << rng.below(8)));
    }
    const Exact exact(bytes);
    Record record;
    if (!decode_record(exact.view(), record)) {
      ++refused;
      continue;
    }
    ++accepted;
    wire::Record message;
    ASSERT_TRUE(message.ParseFromString(bytes)) << "seed " << i;
    message.DiscardUnknownFields();
    if (message.SerializeAsString() != mirror(record).SerializeAsString()) {
      // `unchanged: false` is the one content that our Value does not keep apart.
      ASSERT_NE(message.DebugString().find("unchanged: false"), std::string::npos)
          << "seed " << i << "\n"
          << message.DebugString();
    }
  }
  EXPECT_GT(accepted, 1'000u);
  EXPECT_GT(refused, 1'000u);
}

TEST(Codec, RandomBytesNeverReadOutside) {
  Record record;
  for (std::uint64_t i = 0; i < 50'000; ++i) {
    Rng rng(4, i, Purpose::Test);
    std::string bytes(rng.below(40), '\0');
    for (char& c : bytes) {
      c = static_cast<char>(rng.next());
    }
    if (!bytes.empty() && rng.below(2) == 0) bytes[0] = '\x12';  // a change
    const Exact exact(bytes);
    const Status decoded = decode_record(exact.view(), record);
    ASSERT_TRUE(decoded || decoded.error().code == Errc::Malformed);
  }
}

struct Hostile {
  const char* what;
  std::string bytes;
  std::string detail;
};

std::string raw(std::initializer_list<int> bytes) {
  std::string out;
  for (const int byte : bytes) {
    out += static_cast<char>(byte);
  }
  return out;
}

TEST(Codec, NamesTheOffsetAndTheCause) {
  const std::string too_long(11, '\x80');
  const Hostile cases[] = {
      {"nothing", "", "empty record: no layout, change, mark or request at byte 0"},
      {"only an unknown field", raw({0x78, 1}), "empty record"},
      {"tag cut off", raw({0x92}), "truncated varint at byte 0"},
      {"no length", raw({0x12}), "truncated varint at byte 1"},
      {"length past the end", raw({0x12, 5, 0, 0}), "length past the end at byte 1"},
      {"cell past its change", raw({0x12, 2, 0x1A, 1, 0}), "length past the end at byte 3"},
      {"field number 0", raw({0x12, 2, 0x02, 0}), "bad field number at byte 2"},
      {"overlong tag", too_long, "varint longer than 64 bits at byte 0"},
      {"65 bits", raw({0x12, 13, 0x1A, 11, 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2}),
       "varint longer than 64 bits at byte 5"},
      {"layout as varint", raw({0x12, 2, 0x08, 1}), "wrong wire type of a known field at byte 3"},
      {"body as varint", raw({0x10, 1}), "wrong wire type of a known field at byte 1"},
      {"group", raw({0x12, 1, 0x7B}), "group or unknown wire type at byte 3"},
      {"fixed64 cut off", raw({0x12, 5, 0x09, 0, 0, 0, 0}), "fixed64 past the end at byte 3"},
      {"fixed32 cut off", raw({0x12, 2, 0x7D, 0}), "fixed32 past the end at byte 3"},
      {"unknown operation", raw({0x12, 2, 0x10, 4}), "unknown operation at byte 4"},
      {"unknown mark", raw({0x1A, 2, 0x08, 5}), "unknown mark at byte 4"},
      {"lone continuation byte", raw({0x12, 5, 0x1A, 3, 0x22, 1, 0x80}), "not UTF-8 at byte 6"},
      {"overlong slash", raw({0x12, 6, 0x1A, 4, 0x22, 2, 0xC0, 0xAF}), "not UTF-8 at byte 6"},
      {"surrogate", raw({0x12, 7, 0x1A, 5, 0x22, 3, 0xED, 0xA0, 0x80}), "not UTF-8 at byte 6"},
      {"beyond U+10FFFF", raw({0x12, 8, 0x1A, 6, 0x22, 4, 0xF4, 0x90, 0x80, 0x80}),
       "not UTF-8 at byte 6"},
      {"table not UTF-8", raw({0x0A, 3, 0x0A, 1, 0xFF}), "not UTF-8 at byte 4"},
  };
  for (const Hostile& hostile : cases) {
    Record record;
    const Exact exact(hostile.bytes);
    const Status decoded = decode_record(exact.view(), record);
    ASSERT_FALSE(decoded) << hostile.what;
    EXPECT_EQ(decoded.error().code, Errc::Malformed) << hostile.what;
    EXPECT_NE(decoded.error().detail.find(hostile.detail), std::string::npos)
        << hostile.what << ": " << decoded.error().detail;
  }
}

TEST(Codec, HoldsItsLimits) {
  Record record;
  wire::Record message;
  auto* change = message.mutable_change();
  for (std::size_t i = 0; i < limits::columns_max; ++i) {
    change->add_cells();
  }
  EXPECT_TRUE(decode_record(message.SerializeAsString(), record));
  change->add_cells();
  EXPECT_FALSE(decode_record(message.SerializeAsString(), record));

  for (std::size_t i = 0; i <= limits::key_columns_max; ++i) {
    message.mutable_request()->add_key();
  }
  EXPECT_FALSE(decode_record(message.SerializeAsString(), record));

  message.mutable_layout()->set_table(std::string(limits::name_bytes_max, 'x'));
  EXPECT_TRUE(decode_record(message.SerializeAsString(), record));
  message.mutable_layout()->set_table(std::string(limits::name_bytes_max + 1, 'x'));
  EXPECT_FALSE(decode_record(message.SerializeAsString(), record));

  message.mutable_change()->add_cells()->set_text(std::string(limits::row_bytes_max, 'x'));
  EXPECT_FALSE(decode_record(message.SerializeAsString(), record));
}

TEST(Codec, KeepsItsBuffersAndForgetsTheFormerRecord) {
  wire::Record message;
  message.mutable_change()->set_change_time_us(7);
  for (int i = 0; i < 100; ++i) {
    message.mutable_change()->add_cells()->set_integer(i);
  }
  const std::string large = message.SerializeAsString();
  message.mutable_change()->Clear();
  message.mutable_change()->add_cells()->set_text("views");
  const std::string small = message.SerializeAsString();

  Record record;
  ASSERT_TRUE(decode_record(large, record));
  const Value* const cells = record.change.cells.data();
  ASSERT_TRUE(decode_record(small, record));
  ASSERT_EQ(record.change.cells.size(), 1u);
  EXPECT_FALSE(record.change.change_time);
  EXPECT_EQ(record.change.cells.data(), cells);
  // Zero-copy: the text lies inside the message.
  EXPECT_GE(record.change.cells[0].text.data(), small.data());
  EXPECT_LT(record.change.cells[0].text.data(), small.data() + small.size());
}

TEST(LogSlice, GivesBackWhatWasAppended) {
  const std::uint64_t big = std::numeric_limits<std::uint64_t>::max();
  const std::pair<LogHeader, std::string> entries[] = {
      {{SourceId(0), 0, true}, "first"},
      {{SourceId(0xFFFF'FFFFu), big, false}, ""},
      {{SourceId(300), big >> 1, true}, std::string(1'000, 'x')},
  };
  LogSlice slice;
  for (const auto& [header, record] : entries) {
    slice.append(header, record);
  }
  ASSERT_EQ(slice.size(), std::size(entries));
  for (std::size_t i = 0; i < slice.size(); ++i) {
    LogHeader header;
    const auto record = decode_entry(slice.entry(i), header);
    ASSERT_TRUE(record);
    EXPECT_EQ(record.value(), entries[i].second);
    EXPECT_EQ(header.source, entries[i].first.source);
    EXPECT_EQ(header.position, entries[i].first.position);
    EXPECT_EQ(header.last, entries[i].first.last);
  }
  slice.clear();
  EXPECT_EQ(slice.size(), 0u);
}

TEST(LogSlice, JoinsTheNextWithinBounds) {
  LogSlice whole;
  whole.first = Ordinal{5};
  std::vector<LogSlice> parts(3);
  for (std::uint64_t i = 0; i < 6; ++i) {
    const std::string record(i, static_cast<char>('a' + i));
    whole.append({SourceId{2}, i, i % 2 == 1}, record);
    LogSlice& part = parts[i / 2];
    if (part.size() == 0) part.first = Ordinal{5 + i};
    part.append({SourceId{2}, i, i % 2 == 1}, record);
  }
  LogSlice joined = parts[0];
  EXPECT_FALSE(joined.join(parts[2], 100, 1000)) << "a gap";
  EXPECT_FALSE(joined.join(parts[0], 100, 1000)) << "again";
  EXPECT_FALSE(joined.join(parts[1], 3, 1000)) << "too many entries";
  EXPECT_FALSE(joined.join(parts[1], 100, parts[0].bytes.size() + parts[1].bytes.size() - 1));
  EXPECT_EQ(joined.ends, parts[0].ends);
  EXPECT_TRUE(joined.join(parts[1], 4, parts[0].bytes.size() + parts[1].bytes.size()));
  EXPECT_TRUE(joined.join(parts[2], 100, 1000));
  EXPECT_EQ(joined.first, whole.first);
  EXPECT_EQ(joined.bytes, whole.bytes);
  EXPECT_EQ(joined.ends, whole.ends);
}

TEST(LogSlice, DamagedEntriesAreCorruption) {
  for (const std::string& bytes :
       {std::string(), raw({0x80}), raw({0x02}), raw({0x02, 0x80}),
        raw({0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00})}) {  // source above 32 bits
    LogHeader header;
    const Exact exact(bytes);
    const auto record = decode_entry(exact.view(), header);
    ASSERT_FALSE(record);
    EXPECT_EQ(record.error().code, Errc::Corruption);
  }
}

}  // namespace
}  // namespace accrete
