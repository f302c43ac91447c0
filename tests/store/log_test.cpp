// The change log: order, positions, reopening, damage that verify() must see, the failed latch.
#include "store/log.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "proto/limits.h"
#include "proto/rng.h"
#include "scratch.h"
#include "store/handles.h"
#include "store/keys.h"
#include "store/log_page.h"

namespace accrete::store {
namespace {

std::string record(std::int64_t time) {
  std::string out;
  encode_mark({MarkKind::Clock, TimeUs{time}}, out);
  return out;
}

/// One transaction of `records` records at `position`.
Status append(Log& log, SourceId source, std::uint64_t position, std::size_t records) {
  LogSlice slice;
  slice.first = Ordinal{log.end().value + 1};
  for (std::size_t i = 0; i < records; ++i) {
    slice.append({source, position, i + 1 == records},
                 record(static_cast<std::int64_t>(slice.first.value + i)));
  }
  const Log::Advance advance{source, position};
  return log.append(slice, {&advance, 1});
}

void expect_record(const Log& log, std::uint64_t ordinal) {
  std::string entry;
  must(log.get(Ordinal{ordinal}, entry));
  LogHeader header;
  EXPECT_EQ(must(decode_entry(entry, header)), record(static_cast<std::int64_t>(ordinal)));
}

void overwrite(Database& database, Family family, const std::string& key,
               const std::string* value) {
  const Database::Handles& handles = database.handles();
  const auto status = value == nullptr ? handles.db->Delete({}, handles.family(family), key)
                                       : handles.db->Put({}, handles.family(family), key, *value);
  ASSERT_TRUE(status.ok());
}

TEST(Log, AppendsAcrossReopeningsWithoutGaps) {
  Scratch scratch;
  std::uint64_t records = 0;
  Rng rng(3, 0, Purpose::Test);
  for (std::uint64_t round = 1; round <= 5; ++round) {
    const auto database = open_database(scratch);
    Log log = must(Log::open(*database));
    EXPECT_EQ(log.end().value, records);
    const SourceId a = must(log.source("a"));
    const SourceId b = must(log.source("b"));
    EXPECT_EQ(a.value, 0u);
    EXPECT_EQ(b.value, 1u);
    EXPECT_EQ(log.position(a), (round - 1) * 10);
    for (std::uint64_t i = 1; i <= 10; ++i) {
      const std::size_t size = 1 + rng.below(20);
      must(append(log, a, (round - 1) * 10 + i, size));
      must(append(log, b, (round * 100) + i, 1));
      records += size + 1;
    }
    EXPECT_EQ(log.end().value, records);
    for (std::uint64_t ordinal = 1; ordinal <= records; ++ordinal)
      expect_record(log, ordinal);
    const Log::Verified verified = must(log.verify());
    EXPECT_EQ(verified.records, records);
    EXPECT_EQ(verified.transactions, round * 20);
  }
}

TEST(Log, ReadsPagesWithinTheirBounds) {
  Scratch scratch;
  const auto database = open_database(scratch);
  Log log = must(Log::open(*database));
  const SourceId source = must(log.source("s"));
  for (std::uint64_t i = 1; i <= 100; ++i)
    must(append(log, source, i, 3));
  const std::size_t entry_bytes = must(log.read(Ordinal{1}, 1, 1)).bytes.size();
  ASSERT_GT(entry_bytes, 0u);  // one record at least, whatever the bound
  struct Case {
    std::uint64_t from;
    std::size_t records_max, bytes_max, size;
  };
  for (const Case& c : {Case{1, 10, 1 << 20, 10}, Case{295, 10, 1 << 20, 6}, Case{301, 10, 9, 0},
                        Case{1, 0, 100, 0}, Case{1, 300, 1 << 20, 300}}) {
    const LogSlice slice = must(log.read(Ordinal{c.from}, c.records_max, c.bytes_max));
    ASSERT_EQ(slice.size(), c.size);
    EXPECT_EQ(slice.first.value, c.from);
    std::string entry;
    for (std::size_t i = 0; i < slice.size(); ++i) {
      must(log.get(Ordinal{c.from + i}, entry));
      EXPECT_EQ(slice.entry(i), entry);
    }
  }
  EXPECT_LT(must(log.read(Ordinal{50}, 100, 4 * entry_bytes)).size(), 6u);
  std::string entry;
  const Status missing = log.get(Ordinal{301}, entry);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::NotFound);
}

TEST(Log, PagesEndAtTheirBoundsAndGiveBackEveryEntry) {
  Scratch scratch;
  const auto database = open_database(scratch);
  Log log = must(Log::open(*database));
  const SourceId source = must(log.source("s"));
  Rng rng(5, 0, Purpose::Test);
  std::vector<std::string> entries;
  // Tiny entries fill a page by their number, larger ones by their bytes, one page alone is larger.
  for (const std::size_t size_max : {2u, 4'000u, 100'000u}) {
    LogSlice slice;
    slice.first = Ordinal{log.end().value + 1};
    for (std::size_t i = 0; i < 700; ++i) {
      slice.append({source, entries.size() + 1, true}, std::string(rng.below(size_max), 'x'));
      entries.emplace_back(slice.entry(i));
    }
    for (std::size_t begin = 0; begin < slice.size();) {
      const std::size_t end = log_page_end(slice, begin);
      std::string page;
      write_log_page(slice, begin, end, page);
      EXPECT_LE(end - begin, kLogPageEntriesMax);
      EXPECT_TRUE(end - begin == 1 || page.size() <= kLogPageBytesMax + 4 * (end - begin + 1));
      begin = end;
    }
    must(log.append(slice, {}));
  }
  std::string entry;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    must(log.get(Ordinal{i + 1}, entry));
    ASSERT_EQ(entry, entries[i]);
  }
  for (std::uint64_t from = 1; from <= entries.size();) {
    const LogSlice slice = must(log.read(Ordinal{from}, 1 + rng.below(600), 1u << 20));
    ASSERT_GT(slice.size(), 0u);
    for (std::size_t i = 0; i < slice.size(); ++i, ++from)
      ASSERT_EQ(slice.entry(i), entries[from - 1]);
  }
}

TEST(Log, SourceNamesAreBounded) {
  Scratch scratch;
  const auto database = open_database(scratch);
  Log log = must(Log::open(*database));
  const auto refused = log.source(std::string(limits::name_bytes_max + 1, 'x'));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::Exhausted);
  EXPECT_TRUE(log.source(std::string(limits::name_bytes_max, 'x')));
}

TEST(Log, MemoriesAreKeptByPositionUntilForgotten) {
  Scratch scratch;
  const auto listed = [](const Log& log, SourceId source) {
    std::string out;
    for (const Log::Memory& memory : must(log.memories(source)))
      out += std::to_string(memory.position) + "=" + memory.bytes + " ";
    return out;
  };
  {
    const auto database = open_database(scratch);
    Log log = must(Log::open(*database));
    const SourceId a = must(log.source("a"));
    const SourceId b = must(log.source("b"));
    const auto remember = [&](SourceId source, std::uint64_t position, const std::string& bytes,
                              std::uint64_t forget_begin = 0, std::uint64_t forget_end = 0) {
      LogSlice slice;
      slice.first = Ordinal{log.end().value + 1};
      slice.append({source, position, true}, record(1));
      const Log::Advance advance{source, position};
      const Log::Memory memory{source, position, bytes, forget_begin, forget_end};
      must(log.append(slice, {&advance, 1}, {}, {&memory, 1}));
    };
    EXPECT_EQ(listed(log, a), "");
    for (const std::uint64_t position : {1u, 255u, 256u, 70'000u})
      remember(a, position, "m" + std::to_string(position));
    remember(b, 2, "other");
    EXPECT_EQ(listed(log, a), "1=m1 255=m255 256=m256 70000=m70000 ") << "by position";
    remember(a, 70'001, "new", 1, 256);
    must(append(log, a, 70'002, 1));
    EXPECT_EQ(listed(log, b), "2=other ") << "of another source";
  }
  const auto database = open_database(scratch);
  Log log = must(Log::open(*database));
  const SourceId a = must(log.source("a"));
  EXPECT_EQ(listed(log, a), "256=m256 70000=m70000 70001=new ");
  std::string damaged(meta::kMemory);
  put_be<std::uint32_t>(damaged, a.value);
  const std::string nothing;
  overwrite(*database, Family::Meta, damaged + "short", &nothing);
  const auto read = log.memories(a);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Errc::Corruption);
  EXPECT_NE(read.error().detail.find("source \"a\""), std::string::npos) << read.error().detail;
}

TEST(Log, DeadLettersAreNumberedKeptAndPruned) {
  Scratch scratch;
  {
    const auto database = open_database(scratch);
    Log log = must(Log::open(*database));
    std::vector<DeadLetter> letters;
    for (std::uint64_t i = 1; i <= 10; ++i) {
      letters.push_back({0, "source", i, "reason " + std::to_string(i), std::string(i, '\0')});
    }
    must(log.append({}, {}, letters));
    must(log.append({}, {}, {letters.data(), 1}));
    must(log.prune_dead_letters(4));
  }
  const auto database = open_database(scratch);
  Log log = must(Log::open(*database));
  EXPECT_EQ(log.dead_letter_count(), 11u);
  EXPECT_EQ(log.end().value, 0u);
  const std::vector<DeadLetter> kept = must(log.dead_letters(0, 100));
  ASSERT_EQ(kept.size(), 4u);
  EXPECT_EQ(kept[0].number, 8u);
  EXPECT_EQ(kept[0].position, 8u);
  EXPECT_EQ(kept[0].reason, "reason 8");
  EXPECT_EQ(kept[0].record, std::string(8, '\0'));
  EXPECT_EQ(kept[3].number, 11u);
  EXPECT_EQ(must(log.dead_letters(10, 1)).at(0).number, 10u);
}

/// Ten transactions of two records; each is a page, so page keys are 2, 4, … 20.
class DamagedLog : public testing::Test {
 protected:
  void SetUp() override {
    const auto database = open_database(scratch_);
    Log log = must(Log::open(*database));
    const SourceId source = must(log.source("s"));
    for (std::uint64_t i = 1; i <= 10; ++i)
      must(append(log, source, i, 2));
  }
  void expect_damage(const std::string& says) {
    const auto database = open_database(scratch_);
    const auto log = Log::open(*database);
    if (!log) {
      EXPECT_NE(log.error().detail.find(says), std::string::npos) << log.error().detail;
      return;
    }
    const auto verified = log.value().verify();
    ASSERT_FALSE(verified);
    EXPECT_EQ(verified.error().code, Errc::Corruption);
    EXPECT_NE(verified.error().detail.find(says), std::string::npos) << verified.error().detail;
  }
  void damage(std::uint64_t last, const std::string* value) {
    overwrite(*open_database(scratch_), Family::Log, key_of_number(last), value);
  }
  /// A page of records of these positions; the last ends its transaction if `ended`.
  static std::string page(std::initializer_list<std::uint64_t> positions, bool ended) {
    LogSlice slice;
    for (const std::uint64_t position : positions)
      slice.append({SourceId{0}, position, ended && slice.size() + 1 == positions.size()},
                   record(1));
    std::string bytes;
    write_log_page(slice, 0, slice.size(), bytes);
    return bytes;
  }
  Scratch scratch_;
};

TEST_F(DamagedLog, ARemovedPageIsMissed) {
  damage(8, nullptr);
  expect_damage("record 7 is missing");
}
TEST_F(DamagedLog, ARemovedEndIsMissed) {
  damage(20, nullptr);
  expect_damage("record 19 is missing");
}
TEST_F(DamagedLog, AnExtraPageIsSeen) {
  const std::string extra = page({11}, true);
  damage(21, &extra);
  expect_damage("record 21");
}
TEST_F(DamagedLog, AShorterPageIsSeen) {
  const std::string shorter = page({3}, true);
  damage(6, &shorter);
  expect_damage("record 5 is missing");
}
TEST_F(DamagedLog, AlteredPagesAreSeen) {
  const std::string whole = page({3, 3}, true);
  const std::string too_long = whole + "x";
  std::string backwards = whole;
  std::swap(backwards[4], backwards[8]);  // the two end offsets
  const std::string none(4, '\0');
  for (const std::string& bytes :
       {std::string(), whole.substr(0, 3), whole.substr(0, 9), too_long, backwards, none}) {
    damage(6, &bytes);
    expect_damage("page that ends with record 6 does not decode");
  }
}
TEST_F(DamagedLog, AlteredRecordsAreSeen) {
  LogSlice slice;
  for (const char* bytes : {"\xFF\xFF\xFF", "\xFF"}) {
    slice.bytes += bytes;
    slice.ends.push_back(static_cast<std::uint32_t>(slice.bytes.size()));
  }
  std::string garbage;
  write_log_page(slice, 0, 2, garbage);
  damage(6, &garbage);
  expect_damage("record 5 does not decode");
}
TEST_F(DamagedLog, ARepeatedPositionIsSeen) {
  const std::string again = page({5, 5}, true);
  damage(12, &again);
  expect_damage("record 11 has position 5 after 5");
}
TEST_F(DamagedLog, AnUnfinishedTransactionIsSeen) {
  const std::string unfinished = page({10, 10}, false);
  damage(20, &unfinished);
  expect_damage("unfinished");
}
TEST_F(DamagedLog, AForgottenPositionIsSeen) {
  const std::string behind = key_of_number(9) + "s";
  overwrite(*open_database(scratch_), Family::Meta,
            std::string(meta::kSource) + std::string(4, '\0'), &behind);
  expect_damage("beyond the stored position");
}

TEST(Log, OneFailedWriteEndsIt) {
  Scratch scratch;
  {
    const auto database = open_database(scratch);
    Log log = must(Log::open(*database));
    must(append(log, must(log.source("s")), 1, 2));
  }
  DatabaseOptions options = scratch.options();
  options.read_only = true;  // every write fails
  const auto database = must(Database::open(options));
  Log log = must(Log::open(*database));
  const SourceId source = must(log.source("s"));
  for (int i = 0; i < 2; ++i) {
    const Status failed = append(log, source, 2, 1);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::Unavailable);
    EXPECT_EQ(failed.error().detail.find("failed before") != std::string::npos, i == 1);
  }
  EXPECT_EQ(log.end().value, 2u);
  EXPECT_EQ(log.position(source), 1u);
}

}  // namespace
}  // namespace accrete::store
