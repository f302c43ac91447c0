// Debezium events: envelopes, logical types, and every trap of the format.
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/exact_number.h"
#include "event_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kConfig = R"(
[[table]]
name = "orders"
key = "id"
time = "at"
time_unit = "us"
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
name = "prices"
key = "price"
)";

Events debezium() {
  return Events(EventFormat::Debezium, kConfig);
}

std::string source(const std::string& table, const std::string& more = "") {
  return R"("source":{"table":")" + table + R"(","schema":"public")" + more + "}";
}

/// A schema block whose before and after have these fields, and a payload.
std::string typed(const std::string& fields, const std::string& payload) {
  const auto image = [&](const char* name) {
    return R"({"type":"struct","fields":[)" + fields + R"(],"field":")" + name + "\"}";
  };
  return R"({"schema":{"type":"struct","fields":[)" + image("before") + "," + image("after") +
         R"(]},"payload":)" + payload + "}";
}

/// The one column v of table log, whose field has a logical type.
std::string typed_value(const std::string& logical, const std::string& value,
                        const std::string& more = "") {
  return typed(R"({"type":"x","field":"v","name":")" + logical + "\"" + more + "}",
               R"({"op":"c","after":{"v":)" + value + "}," + source("log") + "}");
}

TEST(Debezium, Operations) {
  Events events = debezium();
  const std::string at = R"(,"ts_ms":1500)";
  EXPECT_EQ(events.one(R"({"op":"c","before":null,"after":{"id":1,"customer":7,"at":1000000},)" +
                       source("orders", at + R"(,"txId":555)") + "}"),
            "+ orders 1|1970-01-01T00:00:01Z|7|NULL at 1970-01-01T00:00:01.500000Z tx 555");
  EXPECT_EQ(events.one(R"({"op":"r","after":{"id":2},)" + source("orders", R"(,"txId":5)") + "}"),
            "+ orders 2|NULL|NULL|NULL");  // a snapshot's rows do not wait for each other
  EXPECT_EQ(events.one(R"({"op":"u","after":{"id":2,"amount":1.5},)" +
                       source("orders", R"(,"ts_us":"1500001","ts_ms":"1")") + "}"),
            "= orders 2|unchanged|unchanged|1.5 at 1970-01-01T00:00:01.500001Z");
  EXPECT_EQ(events.one(R"({"op":"d","before":{"id":2},"after":null,)" + source("orders") + "}"),
            "- orders 2|NULL|NULL|NULL");
  EXPECT_EQ(events.one(R"({"op":"t",)" + source("orders") + "}"), "truncate orders ");
  EXPECT_EQ(
      events.one(R"({"op":"c","after":{"id":1},"source":{"table":"customers","schema":"b"}})"),
      "+ b.customers 1");
}

TEST(Debezium, EventsThatChangeNoRowAreCounted) {
  Events events = debezium();
  for (const char* event :
       {"null", R"({"schema":null,"payload":null})", R"({"ts_ms":1})",
        R"({"ddl":"ALTER …","source":{},"tableChanges":[]})",
        R"({"op":"m","source":{},"message":{"prefix":"other","content":"!"}})"}) {
    EXPECT_EQ(events.one(event), "nothing") << event;
  }
  EXPECT_EQ(events.passed_over(), "1 heartbeats, 1 messages, 1 schema changes, 2 tombstones");
}

TEST(Debezium, TransactionsAreToldByTheirNumberAlone) {
  Events events = debezium();
  EXPECT_EQ(events.one(R"({"status":"BEGIN","id":"571:53195829","ts_ms":1,"event_count":null})"),
            "nothing tx 571");
  EXPECT_EQ(events.one(R"({"op":"c","after":{"id":1},)" + source("customers", R"(,"txId":9)") +
                       R"(,"transaction":{"id":"571:53195832","total_order":"1"}})"),
            "+ customers 1 tx 571");
  EXPECT_EQ(events.one(R"({"status":"END","id":"571:53195999","event_count":1})"),
            "nothing tx 571 ends");
  const std::string gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23";
  EXPECT_EQ(events.one(R"({"op":"c","after":{"id":1},)" +
                       source("customers", R"(,"gtid":")" + gtid + "\"") + "}"),
            "+ customers 1 tx " + gtid);
}

TEST(Debezium, MessagesMarkBlocks) {
  Events events = debezium();
  const auto message = [](const std::string& content, const std::string& time) {
    return R"({"op":"m","source":{)" + time + R"(},"message":{"prefix":"accrete","content":")" +
           content + "\"}}";
  };
  EXPECT_EQ(events.one(message("YmxvY2s=", R"("ts_ms":5)")), "mark 3");
  EXPECT_NE(events.one(message("YmxvY2s=", "")).find("needs the time"), std::string::npos);
  EXPECT_NE(events.one(message("YmxvY2tz", R"("ts_ms":5)")).find("message \"blocks\""),
            std::string::npos);
}

TEST(Debezium, CloudEvents) {
  Events events = debezium();
  const std::string head = R"({"specversion":"1.0","id":"name:s;lsn:1;txId:565",
      "iodebeziumop":"u","iodebeziumtable":"customers","iodebeziumschema":"public",
      "iodebeziumtsms":"1000","iodebeziumtxid":"565:12",)";
  const std::string data = R"({"before":null,"after":{"id":3,"name":"x"}})";
  EXPECT_EQ(events.one(head + R"("data":)" + data + "}"),
            "= customers 3|x' at 1970-01-01T00:00:01Z tx 565");
  EXPECT_EQ(events.one(head + R"("data":{"schema":{"fields":[{"field":"after","fields":[
                {"field":"name","name":"io.debezium.time.Date"},{"field":"id"}]}]},"payload":
                {"before":null,"after":{"id":3,"name":1}}}})"),
            "= customers 3|1970-01-02T00:00:00Z at 1970-01-01T00:00:01Z tx 565");
  EXPECT_EQ(events.one(R"({"specversion":"1.0","data":null})"), "nothing");
}

TEST(Debezium, FlattenedRows) {
  Events events = debezium();
  const std::string table = R"(,"__table":"customers"})";
  EXPECT_EQ(events.one(R"({"id":1,"payload":{"a":1},"schema":"s","__op":"c")" + table),
            "+ customers 1|{\"a\":1}'|s'");
  EXPECT_EQ(
      events.one(R"({"id":1,"op":"left","__op":"u","__source_ts_ms":1000,"__txId":4)" + table),
      "= customers 1|unchanged|unchanged|left' at 1970-01-01T00:00:01Z tx 4");
  EXPECT_EQ(events.one(R"({"id":1,"payload":null,"__deleted":"true")" + table),
            "- customers 1|NULL|NULL|NULL");
  EXPECT_NE(events.one(R"({"id":1,"__deleted":"false")" + table).find("without \"__op\""),
            std::string::npos);
  EXPECT_NE(events.one(R"({"id":1,"__op":"c"})").find("without \"__table\""), std::string::npos);
}

TEST(Debezium, TimesOfEveryType) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"io.debezium.time.Date", "-1"},
      {"org.apache.kafka.connect.data.Date", "-1"},
      {"io.debezium.time.Timestamp", "-86400000"},
      {"org.apache.kafka.connect.data.Timestamp", "-86400000"},
      {"io.debezium.time.MicroTimestamp", "-86400000000"},
      {"io.debezium.time.NanoTimestamp", "-86400000000000"},
      {"io.debezium.time.ZonedTimestamp", R"("1969-12-31T02:00:00+02:00")"},
      {"io.debezium.time.IsoTimestamp", R"("1969-12-31T00:00:00Z")"},
      {"io.debezium.time.IsoDate", R"("1969-12-31")"},
  };
  Events events = debezium();
  for (const auto& [logical, value] : cases) {
    EXPECT_EQ(events.one(typed_value(logical, value)), "+ log 1969-12-31T00:00:00Z") << logical;
    EXPECT_EQ(events.one(typed_value(logical, "null")), "+ log NULL") << logical;
    EXPECT_NE(events.one(typed_value(logical, R"("soon")")).find("\"v\" \"soon\" is no value of"),
              std::string::npos);
  }
  // One nanosecond before 1970 is in the microsecond before it.
  EXPECT_EQ(events.one(typed_value("io.debezium.time.NanoTimestamp", "-1")),
            "+ log 1969-12-31T23:59:59.999999Z");
  EXPECT_NE(events.one(typed_value("io.debezium.time.MicroTimestamp", "9223372036825200000"))
                .find("outside the years"),
            std::string::npos);
  for (const char* number : {"Time", "MicroTime", "NanoTime", "MicroDuration"}) {
    EXPECT_EQ(events.one(typed_value("io.debezium.time." + std::string(number), "77")), "+ log 77");
  }
  for (const char* text : {"ZonedTime", "Interval"}) {
    EXPECT_EQ(events.one(typed_value("io.debezium.time." + std::string(text), R"("10:00Z")")),
              "+ log 10:00Z'");
  }
}

TEST(Debezium, Decimals) {
  Events events = debezium();
  const auto decimal = [&](const std::string& value, const std::string& scale) {
    return events.one(typed_value("org.apache.kafka.connect.data.Decimal", value,
                                  R"(,"parameters":{"scale":")" + scale + "\"}"));
  };
  EXPECT_EQ(decimal(R"("BBo=")", "2"), "+ log 10.5");
  EXPECT_EQ(decimal(R"("Jws=")", "2"), "+ log 99.95");
  EXPECT_EQ(decimal(R"("/w==")", "2"), "+ log -0.01");
  EXPECT_EQ(decimal(R"("AP//////////")", "0"), "+ log 18446744073709551616");  // nearest
  EXPECT_NE(decimal(R"("BBo=")", "many").find("without \"scale\""), std::string::npos);
  EXPECT_NE(decimal(R"("BBo=")", "1001").find("scale is -1000 to 1000"), std::string::npos);
  EXPECT_NE(decimal(R"("B")", "2").find("no base64"), std::string::npos);
  EXPECT_NE(decimal(R"("")", "2").find("1 to 256 bytes, not 0"), std::string::npos);
  EXPECT_EQ(events.one(typed_value("io.debezium.data.VariableScaleDecimal",
                                   R"({"scale":3,"value":"AQ=="})")),
            "+ log 0.001");
  EXPECT_NE(events.one(typed_value("io.debezium.data.VariableScaleDecimal", R"({"value":"AQ=="})"))
                .find("is no value of type"),
            std::string::npos);
}

TEST(Debezium, AKeyLosesNoDigit) {
  Events events = debezium();
  const auto key = [&](const std::string& text) {
    return events.one(R"({"op":"d","before":{"price":)" + text + "}," + source("prices") + "}");
  };
  EXPECT_EQ(key("1.10"), "- prices 1.1");
  EXPECT_EQ(key("12345678901234567.25"), "- prices 12345678901234567.25'");
  EXPECT_EQ(key("1234567890123456789012"), "- prices 1234567890123456789012'");
  EXPECT_EQ(key("0.1000000000000000055"), "- prices 0.1000000000000000055'");
  EXPECT_EQ(key("12.5e-1"), "- prices 1.25");
  EXPECT_NE(key("{\"a\":1}").find("identifies a row and is {\"a\":1}"), std::string::npos);
  // The same number by the other way of writing it is the same key.
  EXPECT_EQ(
      events.one(typed(R"({"field":"price","name":"org.apache.kafka.connect.data.Decimal",
                                 "parameters":{"scale":"2"}})",
                       R"({"op":"c","after":{"price":"ERA9P1Bbu40="},)" + source("prices") + "}")),
      "+ prices 12295500404125684.61'");
}

TEST(Debezium, DecimalsWithoutASchemaAreRefusedWhereANumberIsMeant) {
  Events events = debezium();
  const auto amount = [&](const std::string& value) {
    return events.one(R"({"op":"u","after":{"id":1,"amount":)" + value + "}," + source("orders") +
                      "}");
  };
  EXPECT_EQ(amount(R"("10.50")"), "= orders 1|unchanged|unchanged|10.5");
  const std::string refused = amount(R"("BBo=")");
  EXPECT_NE(refused.find("column \"amount\" is configured as a number, but \"BBo=\""),
            std::string::npos);
  EXPECT_NE(refused.find("decimal.handling.mode=string"), std::string::npos);
}

TEST(Debezium, ValuesThatWereNotLogged) {
  Events events = debezium();
  const std::string marker = R"("__debezium_unavailable_value")";
  EXPECT_EQ(events.one(R"({"op":"u","after":{"id":1,"name":)" + marker + "}," +
                       source("customers") + "}"),
            "= customers 1|unchanged");
  EXPECT_EQ(events.one(R"({"op":"d","before":{"id":1,"name":)" + marker + "}," +
                       source("customers") + "}"),
            "- customers 1|NULL");
  for (const char* event :
       {R"({"op":"c","after":{"id":1,"name":)", R"({"op":"u","after":{"id":)"}) {
    EXPECT_EQ(events.one(event + marker + "}," + source("customers") + "}").rfind("error", 0), 0u);
  }
}

TEST(Debezium, AMovedKeyIsToldByBefore) {
  Events events(EventFormat::Debezium, "[[table]]\nname = \"t\"\nkey = [\"a\", \"b\"]\n");
  const auto update = [&](const std::string& before) {
    return events.one(R"({"op":"u","before":)" + before + R"(,"after":{"a":1,"b":2},)" +
                      source("t") + "}");
  };
  EXPECT_EQ(update(R"({"a":1,"b":1})"), "= t 1|2 was 1|1");
  EXPECT_EQ(update(R"({"a":1,"b":2})"), "= t 1|2");
  EXPECT_EQ(update(R"({"a":"1","b":2.0})"), "= t 1|2");  // the same key, other types
  EXPECT_EQ(update(R"({"a":0,"b":null})"), "= t 1|2");   // half a key moves nothing
  EXPECT_EQ(update(R"({"a":0})"), "= t 1|2");
}

TEST(Debezium, Faults) {
  Events events = debezium();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"nonsense", "no JSON"},
      {R"({"op":"c","op":"d"})", "member \"op\" is given twice"},
      {R"({"op":"c","after":{"id":1,"id":2},"source":{"table":"log"}})", "\"id\" is given twice"},
      {R"({"op":"c","source":{"table":"log","table":"orders"}})", "\"table\" is given twice"},
      {R"({"op":"x","source":{"table":"log"}})", "\"op\" must be c, r, u, d, t or m, not \"x\""},
      {R"({"op":"c","after":{"id":1}})", "no \"source\""},
      {R"({"op":"c","after":{"id":1},"source":{}})", "the event names no table"},
      {R"({"op":"c","after":{"id":1},"source":{"table":"lag"}})", "did you mean \"log\"?"},
      {R"({"op":"c","after":null,"source":{"table":"log"}})", "op \"c\" of table \"log\" without"},
      {R"({"op":"d","before":null,"source":{"table":"orders"}})", "REPLICA IDENTITY"},
      {R"({"op":"u","after":{"v":1},"source":{"table":"log"}})", "has no key"},
      {R"({"op":"c","after":[1],"source":{"table":"log"}})", "must be objects"},
      {R"({"op":"c","after":{"v":1e999},"source":{"table":"log"}})",
       "column \"v\" 1e999 is beyond"},
      {R"({"schema":{},"payload":{"id":1004}})", "no \"op\": not a change event"},
  };
  for (const auto& [event, message] : cases) {
    const std::string line = events.one(event);
    EXPECT_NE(line.find(message), std::string::npos) << line;
  }
  EXPECT_EQ(events.one(R"({"op":"c","after":{"w":1},)" + source("log") + "}"), "+ log 1");
}

TEST(Debezium, DecimalText) {
  using namespace std::string_literals;
  EXPECT_EQ(decimal_text("\x80"s, 0), "-128");
  EXPECT_EQ(decimal_text("\0\x80"s, 1), "12.8");
  EXPECT_EQ(decimal_text("\xFF\x9C"s, 2), "-1");
  EXPECT_EQ(decimal_text("\x64"s, -2), "10000");
  EXPECT_EQ(decimal_text("\0"s, -5), "0");
  EXPECT_EQ(decimal_text("\x01\0\0\0\0\0\0\0\0"s, 4), "1844674407370955.1616");
  for (int n = -70000; n <= 70000; n += 7) {
    const std::string bytes = {static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                               static_cast<char>(n)};
    EXPECT_EQ(decimal_text(bytes, 0), std::to_string(n));
  }
}

}  // namespace
}  // namespace accrete::daemon
