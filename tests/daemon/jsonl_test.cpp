// JSON rows: values, operations, transactions, layouts, and what is refused.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/row_source.h"
#include "source_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kConfig = R"(
[[table]]
name = "orders"
key = "id"
time = "at"
foreign_keys = { customer = "customers" }
ignore = ["note"]
[[table]]
name = "customers"
key = ["shop", "id"]
[[table]]
name = "events"
time = "at"
time_unit = "ms"
)";

Schema schema() {
  std::string text = kConfig;
  text.replace(text.find("customer = "), 11, "\"shop,customer\" = ");
  Result<Config> config = parse_config(text, "a.toml");
  EXPECT_TRUE(config) << (config ? "" : config.error().detail);
  return std::move(config).value().schema;
}

Lines jsonl(const std::string& text) {
  const Folder folder;
  const Schema tables = schema();
  Lines lines = lines_of(open_jsonl(folder.write("rows.jsonl", text), tables));
  for (std::string& line : lines) {
    if (const std::size_t at = line.find(folder.path()); at != std::string::npos) {
      line.erase(at, folder.path().size() + 1);
    }
  }
  return lines;
}

TEST(JsonlSource, ValuesAndLayouts) {
  EXPECT_EQ(
      jsonl(R"({"table":"events","row":{"at":1500,"n":1.5,"ok":true,"who":null,"text":"42"}})"
            "\n\n"
            R"({"row":{"text":"ü\n","tags":["a",1],"at":"2020-01-02T03:04:05Z"},"table":"events"})"
            "\r\n"
            R"({"table":"events","row":{"big":18446744073709551615,"n":-7,"at":null}})"),
      (Lines{"#1", "layout events: at n ok who text",
             "+ events 1970-01-01T00:00:01.500000Z|1.5|true|NULL|42'", "#2",
             "layout events: at n ok who text tags",
             "+ events 2020-01-02T03:04:05Z|NULL|NULL|NULL|ü\n'|[\"a\",1]'", "#3",
             "layout events: at n ok who text tags big",
             "+ events NULL|-7|NULL|NULL|NULL|NULL|18446744073709551615'"}));
}

TEST(JsonlSource, Operations) {
  EXPECT_EQ(
      jsonl(R"({"table":"orders","row":{"id":1,"customer":7,"at":"2020-01-01","note":"x"}})"
            "\n"
            R"({"table":"orders","op":"update","row":{"id":1,"customer":8},"time":"2020-01-03"})"
            "\n"
            R"({"table":"orders","op":"update","row":{"id":2},"old_key":{"id":1}})"
            "\n"
            R"({"table":"orders","op":"update","row":{"id":[2]},"old_key":{"id":[1,2,3,4,5]}})"
            "\n"
            R"({"table":"orders","op":"delete","row":{"id":2}})"
            "\n"
            R"({"table":"orders","op":"truncate"})"
            "\n"),
      (Lines{"#1", "layout orders: id at shop customer", "+ orders 1|2020-01-01T00:00:00Z|NULL|7",
             "#2", "= orders 1|unchanged|unchanged|8 at 2020-01-03T00:00:00Z", "#3",
             "= orders 2|unchanged|unchanged|unchanged was 1", "#4",
             "= orders [2]'|unchanged|unchanged|unchanged was [1,2,3,4,5]'", "#5",
             "- orders 2|NULL|NULL|NULL", "#6", "truncate orders "}));
}

TEST(JsonlSource, TransactionsAreRunsOfTheSameTx) {
  const auto row = [](int n, const std::string& tx) {
    return "{\"table\":\"events\",\"row\":{\"n\":" + std::to_string(n) + ",\"at\":1}" +
           (tx.empty() ? "" : ",\"tx\":" + tx) + "}\n";
  };
  const Lines lines = jsonl(row(1, "5") + row(2, "5") + row(3, "") + row(4, "") + row(5, "\"5\"") +
                            row(6, "5") + row(7, "6"));
  Lines shape;
  for (const std::string& line : lines) {
    if (line[0] == '#') shape.push_back(line);
    if (line[0] == '+') shape.back() += " " + line.substr(line.rfind('|') + 1);
  }
  EXPECT_EQ(shape, (Lines{"#1 1 2", "#2 3", "#3 4", "#4 5", "#5 6", "#6 7"}));
}

TEST(JsonlSource, AfterABadLineTheNextOneIsRead) {
  const Folder folder;
  const std::string good = R"({"table":"events","row":{"at":1},"tx":1})";
  const std::string path =
      folder.write("rows.jsonl", good + "\nnonsense\n" + good + "\n{\"table\":\"events\"");
  const Schema tables = schema();
  const Result<std::unique_ptr<RowSource>> source = open_jsonl(path, tables);
  ASSERT_TRUE(source);
  SourceTransaction transaction;
  Result<bool> more = source.value()->next(transaction);
  ASSERT_FALSE(more);
  EXPECT_NE(more.error().detail.find("rows.jsonl:2: no JSON"), std::string::npos);
  more = source.value()->next(transaction);
  ASSERT_FALSE(more);
  EXPECT_NE(more.error().detail.find("rows.jsonl:4: no JSON"), std::string::npos);
  more = source.value()->next(transaction);
  ASSERT_TRUE(more);
  EXPECT_TRUE(more.value());
  EXPECT_EQ(transaction.rows, 2u);  // both good lines, one transaction
  EXPECT_EQ(transaction.position, 1u);
  more = source.value()->next(transaction);
  ASSERT_TRUE(more);
  EXPECT_FALSE(more.value());
}

TEST(JsonlSource, Faults) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[1]", "rows.jsonl:1: expected one object { … } a line"},
      {"{} {}", "rows.jsonl:1: no JSON"},
      {"{\"table\":\"events\",\"row\":{\"n\":\"\xFF\"}}", "rows.jsonl:1: no JSON"},
      {"{\"row\":{}}", "\"table\" is missing"},
      {"{\"table\":1}", "\"table\" must be a text"},
      {"{\"table\":\"event\",\"row\":{}}", "unknown table \"event\"; did you mean \"events\"?"},
      {"{\"table\":\"events\",\"raw\":{}}", "unknown member \"raw\"; did you mean \"row\"?"},
      {"{\"table\":\"events\",\"row\":[1]}", "\"row\" must be an object"},
      {"{\"table\":\"events\",\"op\":\"upsert\",\"row\":{}}",
       "\"op\" must be insert, update, delete or truncate"},
      {"{\"table\":\"events\",\"row\":{\"a\":1,\"a\":2}}", "\"a\" is given twice"},
      {"{\"table\":\"events\",\"row\":{\"at\":\"soon\"}}",
       "column \"at\": \"soon\" is no time, expected text such as"},
      {"{\"table\":\"events\",\"row\":{\"at\":true}}", "column \"at\": \"true\" is no time"},
      {"{\"table\":\"events\",\"row\":{\"at\":1600000000000000}}",
       "table \"events\": column \"at\": 1600000000000000 is outside the years 0001 to 9999 with "
       "time_unit = \"ms\"; should it be \"us\"?"},
      {"{\"table\":\"events\",\"row\":{\"at\":9223372036854775807}}",
       "years 0001 to 9999 with time_unit = \"ms\""},
      {"{\"table\":\"events\",\"op\":\"delete\",\"row\":{\"at\":1}}",
       "table \"events\" has no key, so it takes inserts only"},
      {"{\"table\":\"customers\",\"row\":{\"id\":1}}", "the row lacks its key column \"shop\""},
      {"{\"table\":\"customers\",\"row\":{\"id\":null,\"shop\":1}}",
       "the row lacks its key column \"id\""},
      {"{\"table\":\"customers\",\"op\":\"update\",\"row\":{\"id\":1,\"shop\":1},"
       "\"old_key\":{\"id\":2}}",
       "\"old_key\" belongs to an update and names every key column"},
      {"{\"table\":\"orders\",\"row\":{\"id\":1},\"old_key\":{\"id\":2}}",
       "\"old_key\" belongs to an update"},
      {"{\"table\":\"orders\",\"op\":\"truncate\",\"row\":{\"id\":1}}", "a truncate has no row"},
      {"{\"table\":\"orders\",\"row\":{\"id\":1},\"time\":\"x\"}", "\"time\" must be a time"},
      {"{\"table\":\"orders\",\"row\":{\"id\":1},\"tx\":[1]}", "\"tx\" must be a number or text"},
  };
  for (const auto& [line, message] : cases) {
    const Lines lines = jsonl(line + "\n");
    ASSERT_EQ(lines.size(), 1u) << line;
    EXPECT_NE(lines[0].find(message), std::string::npos) << lines[0];
  }
  const Schema tables = schema();
  EXPECT_EQ(open_jsonl("/nowhere/rows.jsonl", tables).error().code, Errc::NotFound);
}

TEST(JsonlSource, AMisspeltColumnIsToldAtTheFirstNewRow) {
  const auto lines_after = [](const std::string& more) {
    return jsonl("{\"table\":\"orders\",\"row\":{\"id\":1,\"shop\":3," + more + "}}\n");
  };
  for (const char* typo : {"custmer", "customre", "customers", "cuxtomer"}) {
    const Lines lines = lines_after("\"" + std::string(typo) + "\":2");
    ASSERT_EQ(lines.size(), 1u) << typo;
    EXPECT_NE(lines[0].find("rows.jsonl:1: table \"orders\": the row lacks foreign-key column "
                            "\"customer\"; is it \"" +
                            std::string(typo) + "\"? (if not, say \"customer\" with null)"),
              std::string::npos)
        << lines[0];
  }
  // A row may leave out what is NULL, and names that differ otherwise are other columns.
  for (const char* other : {"\"buyer\":2", "\"customer_name\":\"x\"", "\"customer2\":2",
                            "\"note\":1", "\"customer\":null,\"custmer\":2"}) {
    EXPECT_EQ(lines_after(other).size(), 3u) << other;
  }
  EXPECT_EQ(jsonl(R"({"table":"orders","op":"update","row":{"id":1,"custmer":2}})").size(), 3u);
  EXPECT_EQ(jsonl(R"({"table":"orders","op":"delete","row":{"id":1}})").size(), 3u);
  const Lines lines = jsonl(R"({"table":"orders","row":{"id":1,"customer":2}}
{"table":"orders","row":{"id":2,"custmer":2}})");
  EXPECT_EQ(lines.back(), "+ orders 2|NULL|NULL|NULL|2") << "it is known by now";
}

TEST(JsonlSource, DoubtsAboutColumnsThatNoRowNames) {
  const Folder folder;
  const Schema tables = schema();
  const auto doubts = [&](const std::string& text) {
    auto source = open_jsonl(folder.write("rows.jsonl", text), tables);
    EXPECT_TRUE(source);
    SourceTransaction transaction;
    for (auto more = source.value()->next(transaction); more && more.value();)
      more = source.value()->next(transaction);
    return source.value()->doubts();
  };
  EXPECT_EQ(
      doubts(R"({"table":"events","row":{"attime":1}}
{"table":"events","row":{"attime":2}}
{"table":"orders","row":{"id":1,"shop":1,"customer_id":7,"at":"2024-01-01"}})"),
      (Lines{"table \"orders\": none of 1 new rows has foreign-key column \"customer\"; is it "
             "\"customer_id\"?",
             "table \"events\": none of 2 new rows has time column \"at\"; is it \"attime\"?"}));
  EXPECT_EQ(doubts(R"({"table":"events","row":{"n":1}}
{"table":"events","row":{"at":null}}
{"table":"customers","row":{"id":1,"shop":1}}
{"table":"orders","op":"update","row":{"id":1}})"),
            Lines{});
}

}  // namespace
}  // namespace accrete::daemon
