// pgoutput messages to records: operations, keys, times, unchanged cells, relations that change.
#include "daemon/postgres/translator.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/config.h"
#include "daemon/postgres/follower.h"
#include "pgoutput_bytes.h"
#include "proto/time.h"

namespace accrete::daemon::postgres {
namespace {

using Lines = std::vector<std::string>;

constexpr std::uint32_t kOrders = 100;
constexpr std::uint32_t kCustomers = 101;
constexpr std::uint32_t kEvents = 102;
constexpr std::uint32_t kDomain = 7000;  // over integer
constexpr std::int64_t kDay2 = kDayUs;   // 2000-01-02 on PostgreSQL's clock

class TranslatorTest : public testing::Test {
 protected:
  static Schema tables() {
    std::string text = R"(
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
ignore = ["note"]
[[table]]
name = "customers"
key = "id"
[[table]]
name = "events"
)";
    return parse_config(text, "a.toml").value().schema;
  }

  TranslatorTest()
      : schema_(tables()),
        translator_(schema_,
                    {{{"public", "orders", "orders"},
                      {"public", "customers", "customers"},
                      {"public", "events", "events"},
                      {"other", "gone", "gone"}}},
                    {{kDomain, 23}}) {}

  std::string orders(char identity = 'd') const {
    return test::relation(kOrders, "public", "orders", identity,
                          {{true, "id", 20},
                           {false, "customer", kDomain},
                           {false, "at", 1114},
                           {false, "note", 25},
                           {false, "text", 25}});
  }
  static std::string customers() {
    return test::relation(kCustomers, "public", "customers", 'd',
                          {{true, "id", 20}, {false, "name", 25}});
  }

  Translator::Outcome take(const std::string& message) {
    const auto outcome = translator_.take(message);
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().detail);
    return outcome ? outcome.value() : Translator::Outcome::Open;
  }

  /// A whole transaction, as lines.
  Lines transaction(const Lines& messages, std::int64_t committed = kDay2, Lsn end = 50) {
    take(test::begin(end - 1, committed, 7));
    for (const std::string& message : messages)
      EXPECT_EQ(take(message), Translator::Outcome::Open);
    const auto outcome = take(test::commit(end - 1, end, committed));
    EXPECT_EQ(translator_.end_lsn(), end);
    if (outcome == Translator::Outcome::Empty) return {"empty"};
    EXPECT_EQ(translator_.transaction().position, end);
    return lines(translator_.transaction());
  }

  std::string fault(const Lines& messages) {
    take(test::begin(1, kDay2, 7));
    for (const std::string& message : messages) {
      if (const auto outcome = translator_.take(message); !outcome) return outcome.error().detail;
    }
    return "none";
  }

  static std::string texts(const std::vector<Value>& values) {
    std::string out;
    for (const Value& value : values) {
      out += out.empty() ? "" : "|";
      out += value.kind == ValueKind::Unchanged ? "^" : value_text(value);
    }
    return out;
  }

  static Lines lines(const SourceTransaction& transaction) {
    Lines out;
    Record record;
    std::size_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      EXPECT_TRUE(
          decode_record(std::string_view(transaction.bytes).substr(begin, end - begin), record));
      begin = end;
      std::string& line = out.emplace_back();
      if (record.kind == RecordKind::Layout) {
        line = "layout " + record.layout.table + ":";
        for (const std::string& column : record.layout.columns)
          line += " " + column;
      } else if (record.kind == RecordKind::Mark) {
        line = record.mark.kind == MarkKind::Block ? "block" : "mark";
      } else {
        constexpr const char* names[] = {"insert ", "update ", "delete ", "truncate "};
        line = names[static_cast<std::size_t>(record.change.op)] + texts(record.change.cells);
        if (!record.change.old_key.empty()) line += " was " + texts(record.change.old_key);
        if (record.change.change_time) line += " @" + format_time(*record.change.change_time);
      }
    }
    return out;
  }

  Schema schema_;
  Translator translator_;
};

TEST_F(TranslatorTest, RowsOfOneTransactionWithTheirTimes) {
  EXPECT_EQ(
      transaction({orders(), test::insert(kOrders, {"1", "9", "2000-01-01 12:00:00", "n", "x"}),
                   test::update(kOrders, ' ', {}, {"1", "9", "2000-01-01 12:00:00", "n", "^"}),
                   test::erase(kOrders, 'K', {"1", "~", "~", "~", "~"})}),
      (Lines{"layout orders: id customer at text", "insert 1|9|2000-01-01T12:00:00Z|x",
             "update 1|9|2000-01-01T12:00:00Z|^ @2000-01-02T00:00:00Z",
             "delete 1|NULL|NULL|NULL @2000-01-02T00:00:00Z"}));
  // A change of a row whose event is still to come must not stand before the row itself.
  EXPECT_EQ(
      transaction({test::update(kOrders, ' ', {}, {"1", "9", "2000-01-05 00:00:00", "n", "y"})},
                  kDay2, 60)
          .back(),
      "update 1|9|2000-01-05T00:00:00Z|y @2000-01-05T00:00:00Z");
}

TEST_F(TranslatorTest, AnInsertWithoutAnEventTimeIsOfItsCommit) {
  EXPECT_EQ(transaction({customers(), test::insert(kCustomers, {"5", "Ann"})}),
            (Lines{"layout customers: id name", "update 5|Ann @2000-01-02T00:00:00Z"}));
  // The clock of the server went back an hour.
  EXPECT_EQ(transaction({test::insert(kCustomers, {"6", "Bob"})}, kDay2 - kHourUs, 60).back(),
            "update 6|Bob @2000-01-02T00:00:00Z");
}

TEST_F(TranslatorTest, KeysThatChange) {
  transaction({orders('f'), customers()}, kDay2, 40);
  EXPECT_EQ(
      transaction({test::update(kCustomers, 'K', {"5", "~"}, {"6", "Ann"})}, kDay2, 50).back(),
      "update 6|Ann was 5 @2000-01-02T00:00:00Z");
  // With the whole old row, unchanged cells are told, and the key need not have changed.
  EXPECT_EQ(transaction({test::update(kOrders, 'O', {"1", "9", "2000-01-01", "n", "long"},
                                      {"1", "8", "2000-01-01", "n", "^"})},
                        kDay2, 60)
                .back(),
            "update 1|8|2000-01-01T00:00:00Z|long @2000-01-02T00:00:00Z");
}

TEST_F(TranslatorTest, TablesWithoutAKeyTakeInsertsAndSayWhatTheyLeaveOut) {
  const std::string events = test::relation(kEvents, "public", "events", 'f', {{true, "what", 25}});
  EXPECT_EQ(transaction({events, test::insert(kEvents, {"hi"}), test::erase(kEvents, 'O', {"hi"}),
                         test::truncate(0, {kEvents})}),
            (Lines{"layout events: what", "insert hi", "truncate  @2000-01-02T00:00:00Z"}));
  EXPECT_EQ(translator_.take_notes(),
            (Lines{"table events has no key here: its updates and deletes are left out"}));
}

TEST_F(TranslatorTest, RelationsThatChangeAreNewLayouts) {
  transaction({customers(), test::insert(kCustomers, {"5", "Ann"})}, kDay2, 40);
  const std::string wider =
      test::relation(kCustomers, "public", "customers", 'd',
                     {{true, "id", 20}, {false, "title", 25}, {false, "age", 23}});
  EXPECT_EQ(transaction({wider, test::insert(kCustomers, {"6", "Dr", "40"})}, kDay2, 50),
            (Lines{"layout customers: id title age", "update 6|Dr|40 @2000-01-02T00:00:00Z"}));
  EXPECT_EQ(translator_.take_notes(),
            (Lines{"table customers has changed; its columns are now id, title, age"}));
  // A column with a role that was dropped is NULL; a key that was dropped is a fault.
  const std::string narrow = test::relation(kOrders, "public", "orders", 'd', {{true, "id", 20}});
  EXPECT_EQ(transaction({narrow, test::insert(kOrders, {"3"})}, kDay2, 60),
            (Lines{"layout orders: id at customer", "update 3|NULL|NULL @2000-01-02T00:00:00Z"}));
  EXPECT_NE(fault({test::relation(kOrders, "public", "orders", 'd', {{true, "nr", 20}})})
                .find("no column \"id\" any more"),
            std::string::npos);
}

TEST_F(TranslatorTest, OtherTablesAndEmptyTransactionsPassBy) {
  const std::string stranger = test::relation(9, "public", "stranger", 'd', {{true, "id", 20}});
  const std::string gone = test::relation(10, "other", "gone", 'd', {{true, "id", 20}});
  EXPECT_EQ(transaction({stranger, gone, test::insert(9, {"1"}), test::insert(10, {"1"}),
                         test::truncate(0, {9})}),
            Lines{"empty"});
}

TEST_F(TranslatorTest, MessagesMarkBlocks) {
  EXPECT_EQ(transaction({test::logical(true, 5, "accrete", "block"),
                         test::logical(true, 6, "others", "block")}),
            Lines{"block"});
  // Outside a transaction it is one of its own, behind the commit that ends where it begins.
  EXPECT_EQ(take(test::logical(false, 50, "accrete", "block")), Translator::Outcome::Whole);
  EXPECT_EQ(translator_.transaction().position, 51U);
  EXPECT_EQ(take(test::logical(false, 60, "accrete", "blcok")), Translator::Outcome::Open);
  EXPECT_EQ(translator_.take_notes().size(), 1U);
}

TEST_F(TranslatorTest, ASessionThatBreaksLeavesNothingBehind) {
  take(test::begin(1, kDay2, 7));
  take(customers());
  take(test::insert(kCustomers, {"5", "Ann"}));
  EXPECT_TRUE(translator_.inside());
  translator_.begin_session();
  EXPECT_FALSE(translator_.inside());
  EXPECT_EQ(transaction({customers(), test::insert(kCustomers, {"5", "Ann"})}).size(), 2U);
}

TEST_F(TranslatorTest, FaultsNameTableAndColumn) {
  EXPECT_NE(fault({test::insert(55, {"1"})}).find("relation 55 without its description"),
            std::string::npos);
  EXPECT_EQ(fault({customers(), test::insert(kCustomers, {"x", "Ann"})}),
            "table customers: column \"id\": \"x\" is no integer");
  EXPECT_EQ(fault({customers(), test::insert(kCustomers, {"1"})}),
            "table customers: a row of 1 cells, the relation has 2 columns");
  const std::string other_index = test::relation(kCustomers, "public", "customers", 'i',
                                                 {{false, "id", 20}, {true, "name", 25}});
  EXPECT_NE(fault({other_index, test::erase(kCustomers, 'K', {"~", "Ann"})})
                .find("does not say the key column \"id\""),
            std::string::npos);
}

TEST_F(TranslatorTest, CopyLinesAreInserts) {
  CatalogueTable table;
  table.oid = kCustomers;
  table.schema = "public";
  table.relation = table.name = "customers";
  table.columns = {{"id", 20, true, false, false}, {"name", 25, false, false, false}};
  ASSERT_TRUE(translator_.describe(table));
  SourceTransaction out;
  for (const char* line : {"5\tA\\tb\\\\c\\nd\n", "6\t\\N\n", "7\t\n"})
    ASSERT_TRUE(translator_.append_copy_line(kCustomers, line, out));
  EXPECT_EQ(lines(out), (Lines{"layout customers: id name", "insert 5|A\tb\\c\nd", "insert 6|NULL",
                               "insert 7|"}));
  EXPECT_EQ(out.rows, 3U);
  EXPECT_FALSE(translator_.append_copy_line(kCustomers, "8\n", out));
}

TEST(Confirmation, NothingThatWaitsIsConfirmedAndIdleSlotsMoveOn) {
  Confirmation confirmation;
  confirmation.durable(100);
  EXPECT_EQ(confirmation.confirmed(), 100U);
  confirmation.passed(150);  // keepalive, nothing pending
  EXPECT_EQ(confirmation.confirmed(), 150U);
  confirmation.queued(200);
  confirmation.passed(300);  // the server went on; the daemon does not have 200 yet
  EXPECT_EQ(confirmation.confirmed(), 150U);
  confirmation.durable(199);
  EXPECT_EQ(confirmation.confirmed(), 199U);
  confirmation.durable(200);
  EXPECT_EQ(confirmation.confirmed(), 300U);
  confirmation.durable(250);
  EXPECT_EQ(confirmation.confirmed(), 300U);
}

CatalogueTable with_columns(const std::vector<CatalogueColumn>& columns) {
  CatalogueTable table;
  table.columns = columns;
  return table;
}

TEST(ChooseTime, WhenARowHappened) {
  constexpr std::uint32_t stamp = 1114;
  constexpr std::uint32_t date = 1082;
  EXPECT_EQ(choose_time(with_columns({{"id", 20}, {"note", 25}})), std::nullopt);
  EXPECT_EQ(choose_time(with_columns({{"updated_at", stamp, true, true}, {"expires", date}})),
            std::nullopt);
  EXPECT_EQ(choose_time(with_columns({{"BirthDate", stamp}, {"HireDate", stamp}})), 1U);
  EXPECT_EQ(choose_time(with_columns({{"day", date, true}, {"at", stamp, true}})), 1U);
  EXPECT_EQ(choose_time(with_columns({{"at", stamp, true}, {"created_at", stamp}})), 1U);
  EXPECT_EQ(choose_time(with_columns({{"created", stamp}, {"seen", stamp, true, true}})), 1U);
  EXPECT_EQ(choose_time(with_columns({{"a", stamp}, {"b", stamp}})), 0U);
}

}  // namespace
}  // namespace accrete::daemon::postgres
