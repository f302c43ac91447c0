// Maxwell, wal2json and Canal: what each says its own way, and the traps of each.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "event_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kConfig = R"(
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
columns = { amount = "number" }
[[table]]
name = "customers"
key = "id"
[[table]]
name = "b.customers"
key = "id"
[[table]]
name = "log"
[[table]]
name = "pairs"
key = ["a", "b"]
)";

using Faults = std::vector<std::pair<std::string, std::string>>;

void refuses(EventFormat format, const Faults& cases) {
  Events events(format, kConfig);
  for (const auto& [event, message] : cases) {
    const std::string line = events.one(event);
    EXPECT_TRUE(line.starts_with("error ")) << line;
    EXPECT_NE(line.find(message), std::string::npos) << line;
  }
}

TEST(Maxwell, RowsAndTransactions) {
  Events events(EventFormat::Maxwell, kConfig);
  EXPECT_EQ(events.one(R"({"database":"a","table":"orders","type":"insert","ts":10,"xid":5,
      "data":{"id":1,"customer":2,"at":"2020-01-01 00:00:00","amount":"1.50"}})"),
            "+ orders 1|2020-01-01T00:00:00Z|2|1.5 at 1970-01-01T00:00:10Z tx 5");
  EXPECT_EQ(events.one(R"({"database":"b","table":"customers","type":"update","xid":5,
      "commit":true,"data":{"id":1,"tags":["x"]},"old":{"tags":null}})"),
            "= b.customers 1|[\"x\"]' tx 5 ends");
  EXPECT_EQ(events.one(R"({"table":"customers","type":"update","data":{"id":2},"old":{"id":1}})"),
            "= customers 2 was 1");
  EXPECT_EQ(events.one(R"({"table":"pairs","type":"update","data":{"a":1,"b":2},"old":{"b":3}})"),
            "= pairs 1|2 was 1|3");  // `old` holds changed columns only
  EXPECT_EQ(events.one(R"({"table":"customers","type":"delete","data":{"id":2}})"),
            "- customers 2");
  EXPECT_EQ(events.one(R"({"table":"customers","type":"bootstrap-insert","xid":9,
      "data":{"id":2}})"),
            "+ customers 2");
}

TEST(Maxwell, ACommitEndsItsTransaction) {
  const Folder folder;
  const auto line = [](int v, const char* more) {
    return R"({"table":"log","type":"insert","data":{"v":)" + std::to_string(v) + R"(},"xid":)" +
           more + "}\n";
  };
  const Schema schema = schema_of(kConfig);
  const std::string path =
      folder.write("a.jsonl", line(1, "5") + line(2, R"(5,"commit":true)") + line(3, "5") +
                                  line(4, R"(6,"commit":true)") + line(5, R"(6,"commit":true)"));
  EXPECT_EQ(lines_of(open_jsonl(path, schema, EventFormat::Maxwell)),
            (Lines{"#1", "layout log: v", "+ log 1", "+ log 2", "#2", "+ log 3", "#3", "+ log 4",
                   "#4", "+ log 5"}));
}

TEST(Maxwell, ZeroDatesAreNoDates) {
  Events events(EventFormat::Maxwell, kConfig);
  EXPECT_EQ(events.one(R"({"table":"orders","type":"insert",
      "data":{"id":1,"at":"0000-00-00 00:00:00.000"}})"),
            "+ orders 1|NULL|NULL|NULL");
  EXPECT_EQ(events.one(R"({"table":"log","type":"insert","data":{"text":"0000-00-00"}})"),
            "+ log 0000-00-00'");
}

TEST(Maxwell, EventsThatChangeNoRow) {
  Events events(EventFormat::Maxwell, kConfig);
  for (const char* type :
       {"bootstrap-start", "bootstrap-complete", "table-alter", "table-drop", "database-create"}) {
    EXPECT_EQ(events.one(R"({"table":"no","type":")" + std::string(type) + "\"}"), "nothing");
  }
  EXPECT_EQ(events.one("null"), "nothing");
  EXPECT_EQ(events.passed_over(), "2 bootstrap marks, 3 schema changes, 1 tombstones");
}

TEST(Maxwell, Faults) {
  refuses(
      EventFormat::Maxwell,
      {{R"({"table":"log","type":"upsert"})", "\"type\" must be insert, update, delete"},
       {R"({"type":"insert","data":{}})", "the event names no table"},
       {R"({"table":"log","type":"insert"})", "no \"data\""},
       {R"({"table":"log","type":"insert","data":[1]})", "a row must be an object"},
       {R"({"table":"log","type":"update","data":{"a":1}})", "has no key"},
       {R"({"table":"customers","type":"insert","data":{"id":{"a":1}}})", "column \"id\" ident"},
       {R"({"table":"orders","type":"insert","data":{"id":1,"at":"soon"}})", "is no time"},
       {R"({"table":"orders","type":"insert","data":{"id":1,"amount":"x"}})",
        "column \"amount\" is configured as a number, but \"x\""}});
}

TEST(Wal2json, BracketsMakeTransactions) {
  Events events(EventFormat::Wal2json, kConfig);
  const std::string row = R"({"action":"I","schema":"public","table":"log","columns":[]})";
  EXPECT_EQ(events.one(row), "+ log ");
  EXPECT_EQ(events.one(R"({"action":"B","xid":7,"timestamp":"2020-01-01 00:00:00+00"})"),
            "nothing tx 7");
  EXPECT_EQ(events.one(row), "+ log  at 2020-01-01T00:00:00Z tx 7");
  EXPECT_EQ(events.one(R"({"action":"C","xid":7})"), "nothing tx 7 ends");
  EXPECT_EQ(events.one(row), "+ log ");
  EXPECT_EQ(events.one(R"({"action":"B"})"), "nothing tx begin 1");
  EXPECT_EQ(events.one(row), "+ log  tx begin 1");
  EXPECT_EQ(events.one(R"({"action":"C"})"), "nothing tx begin 1 ends");
  EXPECT_EQ(events.one(R"({"action":"I","xid":8,"table":"log","columns":[]})"), "+ log  tx 8");
}

TEST(Wal2json, ColumnsBySqlType) {
  Events events(EventFormat::Wal2json, kConfig);
  const auto value = [&](const std::string& type, const std::string& text) {
    return events.one(R"({"action":"I","table":"log","columns":[{"name":"v","type":")" + type +
                      R"(","value":)" + text + "}]}");
  };
  EXPECT_EQ(value("numeric(9,2)", R"("10.50")"), "+ log 10.5");
  EXPECT_EQ(value("bigint", R"("7")"), "+ log 7");
  EXPECT_EQ(value("double precision", R"("NaN")"), "+ log NULL");
  EXPECT_EQ(value("numeric[]", R"("{1,2}")"), "+ log {1,2}'");
  EXPECT_EQ(value("timestamp with time zone", R"("2020-01-01 01:00:00+01")"),
            "+ log 2020-01-01T00:00:00Z");
  EXPECT_EQ(value("date", R"("infinity")"), "+ log infinity'");
  EXPECT_EQ(value("time without time zone", R"("10:00:00")"), "+ log 10:00:00'");
  EXPECT_EQ(value("text", R"("7")"), "+ log 7'");
  EXPECT_EQ(value("boolean", "true"), "+ log true");
  EXPECT_EQ(value("text", "null"), "+ log NULL");
  EXPECT_NE(value("integer", R"("x")").find("column \"v\" \"x\" is no decimal number"),
            std::string::npos);
}

TEST(Wal2json, KeysMoveAndLoseNoDigit) {
  Events events(EventFormat::Wal2json, kConfig);
  const auto update = [&](const std::string& id, const std::string& was) {
    const auto column = [](const std::string& value) {
      return R"([{"name":"id","type":"numeric","value":)" + value + "}]";
    };
    return events.one(R"({"action":"U","table":"customers","columns":)" + column(id) +
                      R"(,"identity":)" + column(was) + "}");
  };
  EXPECT_EQ(update("1.50", R"("1.5")"), "= customers 1.5");
  EXPECT_EQ(update("12345678901234567.25", "12345678901234567.26"),
            "= customers 12345678901234567.25' was 12345678901234567.26'");
  EXPECT_EQ(events.one(R"({"action":"D","table":"pairs",
      "identity":[{"name":"b","value":1},{"name":"a","value":2}]})"),
            "- pairs 2|1");
  // A large value that did not change is left out of the columns.
  EXPECT_EQ(events.one(R"({"action":"U","table":"orders","columns":[{"name":"id","value":1}]})"),
            "= orders 1|unchanged|unchanged|unchanged");
  EXPECT_EQ(events.one(R"({"action":"T","schema":"b","table":"customers"})"),
            "truncate b.customers ");
}

TEST(Wal2json, Messages) {
  Events events(EventFormat::Wal2json, kConfig);
  const std::string block = R"({"action":"M","transactional":true,"prefix":"accrete",
      "content":"block")";
  EXPECT_EQ(events.one(block + R"(,"timestamp":"2020-01-01 00:00:00+00"})"), "mark 3");
  EXPECT_NE(events.one(block + "}").find("needs the time"), std::string::npos);
  EXPECT_EQ(events.one(R"({"action":"B","timestamp":"2020-01-01"})"), "nothing tx begin 1");
  EXPECT_EQ(events.one(block + "}"), "mark 3 tx begin 1");
  EXPECT_EQ(events.one(R"({"action":"M","transactional":false,"prefix":"x","content":"y"})"),
            "nothing");
}

TEST(Wal2json, Version1IsAWholeTransaction) {
  Events events(EventFormat::Wal2json, kConfig);
  const std::string good = R"({"kind":"insert","schema":"public","table":"customers",
      "columnnames":["id","name"],"columntypes":["integer","text"],"columnvalues":[1,"a"]})";
  EXPECT_EQ(events.read(R"({"xid":3,"timestamp":"2020-01-01 00:00:00+00","change":[)" + good +
                        R"(,{"kind":"update","table":"customers","columnnames":["id"],
      "columnvalues":[2],"oldkeys":{"keynames":["id"],"keytypes":["integer"],"keyvalues":[1]}},
      {"kind":"delete","table":"b.customers","oldkeys":{"keynames":["id"],"keyvalues":[7]}},
      {"kind":"message","prefix":"accrete","content":"block"}]})"),
            (Lines{"+ customers 1|a' at 2020-01-01T00:00:00Z",
                   "= customers 2|unchanged was 1 at 2020-01-01T00:00:00Z",
                   "- b.customers 7 at 2020-01-01T00:00:00Z", "mark 3"}));
  EXPECT_EQ(events.one(R"({"change":[]})"), "nothing");
  EXPECT_EQ(events.passed_over(), "1 empty transactions");
  // One bad change: nothing of its transaction is taken, and the layouts it said are said again.
  Events fresh(EventFormat::Wal2json, kConfig);
  const std::string bad = R"({"kind":"delete","table":"customers"})";
  EXPECT_NE(fresh.one(R"({"change":[)" + good + "," + bad + "]}").find("change 2: a delete of"),
            std::string::npos);
  EXPECT_EQ(fresh.one(R"({"change":[)" + good + "]}"), "+ customers 1|a'");
}

TEST(Wal2json, Faults) {
  refuses(
      EventFormat::Wal2json,
      {{"null", "expected one object"},
       {R"({"action":"X","table":"log"})", "\"action\" must be B, C, I, U, D, T or M, not \"X\""},
       {R"({"action":"I","table":"log"})", "a change of table \"log\" without its columns"},
       {R"({"action":"D","table":"customers"})", "give the table a primary key or REPLICA"},
       {R"({"action":"I","table":"log","columns":{}})", "must be lists"},
       {R"({"action":"I","table":"log","columns":[{"value":1}]})", "a column without its \"name\""},
       {R"({"action":"I","table":"log","columns":[{"name":"a"},{"name":"a"}]})",
        "column \"a\" is given twice"},
       {R"({"action":"I","table":"customers","columns":[]})", "lacks its key column \"id\""},
       {R"({"change":{}})", "\"change\" must be a list"},
       {R"({"change":[{"kind":"merge"}]})", "change 1: \"kind\" must be insert"},
       {R"({"change":[{"kind":"insert","table":"log"}]})", "\"columnnames\" and \"columnvalues\""},
       {R"({"change":[{"kind":"insert","table":"log","columnnames":["a"],"columnvalues":[]}]})",
        "one for each of"},
       {R"({"change":[{"kind":"insert","table":"log","columnnames":[],"columnvalues":[1]}]})",
        "more \"columnvalues\" than"}});
}

TEST(Canal, RowsOfAStatement) {
  Events events(EventFormat::Canal, kConfig);
  const std::string types = R"~("mysqlType":{"id":"bigint(20)","at":"datetime",
      "amount":"decimal","name":"varchar(9)","customer":"int unsigned"})~";
  EXPECT_EQ(
      events.read(R"({"database":"a","table":"orders","type":"INSERT","es":1500,"ts":9,"old":null,
      "data":[{"id":"1","at":"2020-01-01 00:00:00","amount":"1.50","name":"7","customer":"3"},
              {"id":"2","at":"0000-00-00 00:00:00","amount":null,"name":"","customer":"4"}],)" +
                  types + "}"),
      (Lines{"+ orders 1|2020-01-01T00:00:00Z|3|1.5|7' at 1970-01-01T00:00:01.500000Z",
             "+ orders 2|NULL|4|NULL|' at 1970-01-01T00:00:01.500000Z"}));
  EXPECT_EQ(events.read(R"({"table":"pairs","type":"UPDATE","data":[{"a":"1","b":"2"},
      {"a":"3","b":"4"}],"old":[{"b":"9"},{"c":"1"}]})"),
            (Lines{"= pairs 1'|2' was 1'|9'", "= pairs 3'|4'"}));
  EXPECT_EQ(events.one(R"({"table":"customers","type":"DELETE","data":[{"id":"1"}],
      "_tidb":{"commitTs":44}})"),
            "- customers 1' tx 44");
  EXPECT_EQ(events.one(R"({"table":"orders","type":"TRUNCATE","isDdl":true,"data":null})"),
            "truncate orders ");
}

TEST(Canal, OneBadRowTakesItsStatementAlong) {
  Events events(EventFormat::Canal, kConfig);
  EXPECT_NE(events.one(R"({"table":"customers","type":"INSERT","data":[{"id":"1"},{"no":"1"}]})")
                .find("lacks its key column"),
            std::string::npos);
  EXPECT_EQ(events.one(R"({"table":"customers","type":"INSERT","data":[{"id":"1"}]})"),
            "+ customers 1'");
}

TEST(Canal, EventsThatChangeNoRow) {
  Events events(EventFormat::Canal, kConfig);
  for (const char* event :
       {R"({"type":"ALTER","isDdl":true,"data":null,"sql":"alter …"})", R"({"type":"QUERY"})",
        R"({"type":"TIDB_WATERMARK","_tidb":{"watermarkTs":4}})", "null"}) {
    EXPECT_EQ(events.one(event), "nothing");
  }
  EXPECT_EQ(events.passed_over(), "1 schema changes, 1 statements, 1 tombstones, 1 watermarks");
}

TEST(Canal, Faults) {
  refuses(
      EventFormat::Canal,
      {{R"({"type":"MERGE"})", "it is \"MERGE\""},
       {R"({"table":"log","type":"INSERT","data":null})", "\"data\" must be a list of rows"},
       {R"({"table":"log","type":"INSERT","data":[1]})", "a row must be an object"},
       {R"({"table":"log","type":"INSERT","data":[{}],"old":{}})", "\"old\" must be a list"},
       {R"({"table":"pairs","type":"UPDATE","data":[{"a":1,"b":1}],"old":[]})", "fewer rows"},
       {R"({"table":"pairs","type":"UPDATE","data":[{"a":1,"b":1}],"old":[{},{}]})", "more rows"},
       {R"({"table":"log","type":"INSERT","data":[{"a":"x"}],"mysqlType":{"a":"int"}})",
        "column \"a\" \"x\" is no decimal number"},
       {R"({"table":"log","type":"INSERT","data":[{"a":"x"}],"mysqlType":[]})",
        "\"mysqlType\" must be an object"}});
}

}  // namespace
}  // namespace accrete::daemon
