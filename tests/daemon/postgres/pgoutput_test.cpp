// pgoutput: every message from bytes written out, every truncation refused; cells to values.
#include "daemon/postgres/pgoutput.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/postgres/cell_value.h"
#include "pgoutput_bytes.h"
#include "proto/time.h"

namespace accrete::daemon::postgres {
namespace {

using namespace std::string_view_literals;

template <class T>
T decoded(std::string_view bytes) {
  Result<Message> message = decode_message(bytes);
  EXPECT_TRUE(message) << (message ? "" : message.error().detail);
  return std::get<T>(std::move(message).value());
}

TEST(Pgoutput, BeginAndCommitAsPostgresSentThem) {
  // Bytes of a real stream (PostgreSQL 15): commit 0/1930868, 2026-11-27 14:00:00 UTC, xid 735.
  const auto begin = decoded<BeginMessage>(
      "B\x00\x00\x00\x00\x01\x93\x08\x68\x00\x03\x04\x02\x0B\x6E\xA4\x00\x00\x00\x02\xDF"sv);
  EXPECT_EQ(lsn_text(begin.final_lsn), "0/1930868");
  EXPECT_EQ(begin.transaction, 735U);
  EXPECT_EQ(begin.committed.value, 0x000304020B6EA400 + 946'684'800'000'000);
  const auto commit = decoded<CommitMessage>(
      "C\x00\x00\x00\x00\x00\x01\x93\x08\x68\x00\x00\x00\x00\x01\x93\x08\x98"
      "\x00\x00\x00\x00\x00\x00\x00\x00"sv);
  EXPECT_EQ(commit.lsn, 0x1930868U);
  EXPECT_EQ(commit.end_lsn, 0x1930898U);
  EXPECT_EQ(format_time(commit.committed), "2000-01-01T00:00:00Z");
}

TEST(Pgoutput, RelationTypeOriginAndMessage) {
  const std::string bytes =
      test::relation(16'385, "", "orders", 'i', {{true, "id", 20}, {false, "note", 25}});
  const auto relation = decoded<RelationMessage>(bytes);
  EXPECT_EQ(relation.relation, 16'385U);
  EXPECT_EQ(relation.schema, "pg_catalog");
  EXPECT_EQ(relation.name, "orders");
  EXPECT_EQ(relation.identity, 'i');
  ASSERT_EQ(relation.columns.size(), 2U);
  EXPECT_TRUE(relation.columns[0].in_identity);
  EXPECT_EQ(relation.columns[1].name, "note");
  EXPECT_EQ(relation.columns[1].type, 25U);
  EXPECT_EQ(relation.columns[1].modifier, -1);
  const auto type = decoded<TypeMessage>("Y\x00\x00\x40\x01public\0mood\0"sv);
  EXPECT_EQ(type.type, 0x4001U);
  EXPECT_EQ(type.name, "mood");
  const auto origin = decoded<OriginMessage>("O\0\0\0\0\0\0\0\x09node\0"sv);
  EXPECT_EQ(origin.lsn, 9U);
  EXPECT_EQ(origin.name, "node");
  const std::string emitted = test::logical(true, 77, "accrete", "block");
  const auto logical = decoded<LogicalMessage>(emitted);
  EXPECT_TRUE(logical.transactional);
  EXPECT_EQ(logical.prefix, "accrete");
  EXPECT_EQ(logical.content, "block");
}

TEST(Pgoutput, RowsOldRowsAndUnchangedCells) {
  const auto insert =
      decoded<RowMessage>("I\x00\x00\x40\x01N\x00\x03t\x00\x00\x00\x01\x37nt\x00\x00\x00\x00"sv);
  EXPECT_EQ(insert.op, Op::Insert);
  ASSERT_EQ(insert.row.size(), 3U);
  EXPECT_EQ(insert.row[0].bytes, "7");
  EXPECT_EQ(insert.row[1].kind, CellKind::Null);
  EXPECT_EQ(insert.row[2].kind, CellKind::Text);
  EXPECT_EQ(insert.row[2].bytes, "");
  const std::string changed = test::update(1, 'K', {"7", "~"}, {"8", "^"});
  const auto update = decoded<RowMessage>(changed);
  EXPECT_EQ(update.op, Op::Update);
  EXPECT_EQ(update.old, OldRow::Key);
  EXPECT_EQ(update.old_row[0].bytes, "7");
  EXPECT_EQ(update.row[1].kind, CellKind::Unchanged);
  const std::string silent = test::update(1, ' ', {}, {"8"});
  EXPECT_EQ(decoded<RowMessage>(silent).old, OldRow::None);
  const std::string erased = test::erase(1, 'O', {"7", "x"});
  const auto erase = decoded<RowMessage>(erased);
  EXPECT_EQ(erase.op, Op::Delete);
  EXPECT_EQ(erase.old, OldRow::Whole);
  EXPECT_EQ(erase.old_row[1].bytes, "x");
  const auto truncate = decoded<TruncateMessage>(test::truncate(3, {4, 5}));
  EXPECT_TRUE(truncate.cascade);
  EXPECT_TRUE(truncate.restart_identity);
  EXPECT_EQ(truncate.relations, (std::vector<std::uint32_t>{4, 5}));
}

TEST(Pgoutput, EveryTruncationAndEveryTailIsRefused) {
  const std::vector<std::string> whole = {
      test::begin(1, 2, 3),
      test::commit(1, 2, 3),
      test::relation(1, "public", "t", 'f', {{true, "a", 23}}),
      test::insert(1, {"a", "~", "^"}),
      test::update(1, 'O', {"a"}, {"b"}),
      test::erase(1, 'K', {"a"}),
      test::truncate(0, {1, 2, 3}),
      test::logical(false, 9, "p", "content"),
      "Y\x01\x02\x03\x04s",
  };
  for (std::string bytes : whole) {
    if (bytes.front() == 'Y') bytes += std::string("\0t\0", 3);
    ASSERT_TRUE(decode_message(bytes)) << bytes.front();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto cut = decode_message(std::string_view(bytes).substr(0, size));
      ASSERT_FALSE(cut) << bytes.front() << " cut to " << size;
      EXPECT_NE(cut.error().detail.find("pgoutput, byte "), std::string::npos);
    }
    EXPECT_FALSE(decode_message(bytes + "x")) << bytes.front();
  }
}

TEST(Pgoutput, FaultsSayWhereAndWhat) {
  const auto detail = [](std::string_view bytes) { return decode_message(bytes).error().detail; };
  EXPECT_EQ(detail("?"), "pgoutput, byte 1 of 1: kind of message is '?'");
  EXPECT_EQ(detail("I\0\0\0\x01N\0\x01q"sv), "pgoutput, byte 9 of 9: kind of cell is 'q'");
  EXPECT_EQ(detail("I\0\0\0\x01N\0\x01t\xff\xff\xff\xff"sv),
            "pgoutput, byte 13 of 13: length of cell is negative");
  EXPECT_EQ(detail("D\0\0\0\x01N\0\0"sv), "pgoutput, byte 6 of 8: kind of row is 'N'");
  EXPECT_NE(detail("S\0\0\0\x01\x01"sv).find("ask for version 1"), std::string::npos);
  EXPECT_NE(detail("I\0\0\0\x01N\xff\xff"sv).find("number of cells is 65535"), std::string::npos);
}

TEST(StreamItem, DataKeepaliveAndStatus) {
  const std::string data = test::Bytes()
                               .letter('w')
                               .number(std::uint64_t{5})
                               .number(std::uint64_t{6})
                               .number(std::uint64_t{7})
                               .raw("Bxyz")
                               .text();
  const auto wal = std::get<WalData>(decode_stream_item(data).value());
  EXPECT_EQ(wal.start, 5U);
  EXPECT_EQ(wal.end, 6U);
  EXPECT_EQ(wal.message, "Bxyz");
  const auto alive =
      std::get<Keepalive>(decode_stream_item("k\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\x01"sv).value());
  EXPECT_EQ(alive.end, 9U);
  EXPECT_TRUE(alive.reply_now);
  EXPECT_FALSE(decode_stream_item("k\0\0"sv));
  EXPECT_FALSE(decode_stream_item("z"sv));
  EXPECT_EQ(encode_status(0x1122334455667788, 0x0A, TimeUs(946'684'800'000'001)),
            "r\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x0a"
            "\0\0\0\0\0\0\0\x01\0"sv);
}

TEST(LsnText, BackAndForth) {
  for (const Lsn lsn : {Lsn{0}, Lsn{0x1930868}, Lsn{0x16B374D848}, ~Lsn{0}}) {
    EXPECT_EQ(parse_lsn(lsn_text(lsn)), lsn);
  }
  EXPECT_EQ(lsn_text(0x16B374D848), "16/B374D848");
  for (const char* text : {"", "1", "/", "1/", "/1", "x/1", "1/1/1", "1/123456789"}) {
    EXPECT_FALSE(parse_lsn(text)) << text;
  }
}

std::string shown(std::string_view text, TypeOid type, CellRole role = CellRole::Plain) {
  const auto value = cell_value(text, static_cast<std::uint32_t>(type), role);
  if (!value) return "error: " + value.error().detail;
  const char kinds[] = {'0', 'f', 'i', 'r', 't', '@', 'u'};
  return std::string(1, kinds[static_cast<std::size_t>(value.value().kind)]) + " " +
         value_text(value.value());
}

TEST(CellValue, NumbersKeepWhatTheySay) {
  EXPECT_EQ(shown("t", TypeOid::Bool), "f true");
  EXPECT_EQ(shown("yes", TypeOid::Bool), "error: \"yes\" is no boolean");
  EXPECT_EQ(shown("-9223372036854775808", TypeOid::Int8), "i -9223372036854775808");
  EXPECT_EQ(shown("4294967295", TypeOid::Oid), "i 4294967295");
  EXPECT_EQ(shown("1.5", TypeOid::Int4), "error: \"1.5\" is no integer");
  EXPECT_EQ(shown("1e-05", TypeOid::Float8), "r 1e-05");
  EXPECT_EQ(shown("NaN", TypeOid::Float4), "t NaN");
  EXPECT_EQ(shown("10.50", TypeOid::Numeric), "r 10.5");
  EXPECT_EQ(shown("-0.01", TypeOid::Numeric), "r -0.01");
  EXPECT_EQ(shown("42.000", TypeOid::Numeric), "i 42");
  EXPECT_EQ(shown("0.00", TypeOid::Numeric), "i 0");
  // Beyond a double: a key keeps all digits, a cell to learn from its value.
  EXPECT_EQ(shown("9007199254740993.10", TypeOid::Numeric, CellRole::Key), "t 9007199254740993.1");
  EXPECT_EQ(shown("9007199254740993.10", TypeOid::Numeric), "r 9007199254740994");
  EXPECT_EQ(shown("123456789012345678901234567890", TypeOid::Numeric, CellRole::Key),
            "t 123456789012345678901234567890");
  EXPECT_EQ(shown("NaN", TypeOid::Numeric), "t NaN");
  for (const char* bad : {"", "-", ".", "1.", ".5", "1.2.3", "1e5", "--1"}) {
    EXPECT_EQ(shown(bad, TypeOid::Numeric).substr(0, 5), "error") << bad;
  }
}

TEST(CellValue, TimesOfAllCenturies) {
  EXPECT_EQ(shown("2026-01-31", TypeOid::Date), "@ 2026-01-31T00:00:00Z");
  EXPECT_EQ(shown("2026-01-31 12:00:05.25", TypeOid::Timestamp), "@ 2026-01-31T12:00:05.250000Z");
  EXPECT_EQ(shown("2026-01-31 12:00:05+05:30", TypeOid::TimestampTz), "@ 2026-01-31T06:30:05Z");
  EXPECT_EQ(shown("2026-01-31 12:00:05-01", TypeOid::TimestampTz), "@ 2026-01-31T13:00:05Z");
  for (const char* endless : {"infinity", "-infinity"}) {
    EXPECT_EQ(shown(endless, TypeOid::Timestamp), "0 NULL");
    EXPECT_EQ(shown(endless, TypeOid::Date), "0 NULL");
  }
  EXPECT_EQ(shown("5874897-12-31", TypeOid::Date), "0 NULL");
  // The last microsecond before the era begins: 1 BC is year 0, a leap year.
  EXPECT_EQ(parse_postgres_time("0001-01-01").value()->value -
                parse_postgres_time("0001-12-31 23:59:59.999999 BC").value()->value,
            1);
  EXPECT_EQ(parse_postgres_time("0001-03-01 BC").value()->value -
                parse_postgres_time("0001-02-29 BC").value()->value,
            kDayUs);
  EXPECT_EQ(parse_postgres_time("0044-03-15 BC").value()->value, -63'517'824'000'000'000);
  for (const char* bad : {"", "2026", "2026-13-01", "2026-01-32", "2026-01-01T00:00:00",
                          "2026-01-01 00:00", "2026-01-01 25:00:00", "31/01/2026"}) {
    EXPECT_FALSE(parse_postgres_time(bad)) << bad;
  }
}

TEST(CellValue, TimesAgreeWithTheOtherReader) {
  for (int year = 1; year < 9999; year += 37) {
    for (int month = 1; month <= 12; ++month) {
      char text[32];
      std::snprintf(text, sizeof text, "%04d-%02d-%02d 01:02:03", year, month, 1 + year % 28);
      EXPECT_EQ(parse_postgres_time(text).value(), parse_time(text).value()) << text;
    }
  }
}

TEST(CellValue, AllOtherTypesAreTheirText) {
  for (const auto& [type, text] : std::vector<std::pair<std::uint32_t, std::string_view>>{
           {17, "\\xdeadbeef"},
           {2950, "6f9619ff-8b86-d011-b42d-00c04fc964ff"},
           {1007, "{1,2,NULL}"},
           {3802, "{\"a\": 1}"},
           {1186, "1 day"},
           {25, "42"}}) {
    const auto value = cell_value(text, type, CellRole::Plain).value();
    EXPECT_EQ(value.kind, ValueKind::Text);
    EXPECT_EQ(value.text.data(), text.data());
  }
}

}  // namespace
}  // namespace accrete::daemon::postgres
