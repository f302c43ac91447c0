// Literal events of Debezium, Maxwell, wal2json and Canal, and what each must become. The files are
// beside the project (DATASET.md there names their sources); without them these tests are skipped.
#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "event_text.h"

namespace accrete::daemon {
namespace {

constexpr const char* kShop = R"(
[[table]]
name = "customers"
key = "id"
[[table]]
name = "products"
key = "id"
columns = { weight = "number" }
)";

/// Lines of text, those that begin with four blanks joined to the one before.
Lines wanted_lines(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("    ")) {
      lines.back() += line.substr(4);
    } else if (!line.empty()) {
      lines.push_back(line);
    }
  }
  return lines;
}

/// The events of a file of `cdc` become the lines of `expected`; one that ends in "…" is the
/// beginning of its line. Returns false where the file is not there.
bool becomes(Events& events, const std::string& file, const std::string& expected) {
  const std::string text = literal_events(file);
  if (text.empty()) return false;
  const Lines wanted = wanted_lines(expected);
  const Lines lines = events.all(text);
  EXPECT_EQ(lines.size(), wanted.size()) << file;
  for (std::size_t i = 0; i < std::min(lines.size(), wanted.size()); ++i) {
    const bool begins = wanted[i].ends_with("…");
    const std::size_t size = wanted[i].size() - (begins ? std::string("…").size() : 0);
    EXPECT_EQ(begins ? lines[i].substr(0, size) : lines[i], wanted[i].substr(0, size)) << file;
  }
  return true;
}

#define SKIP_UNLESS(there) \
  if (!(there)) GTEST_SKIP() << "no literal events beside the project (ACCRETE_DATA)"

constexpr const char* kDocuments = R"(
[[table]]
name = "customers"
key = "id"
[[table]]
name = "CUSTOMERS"
key = "ID"
)";

TEST(CdcFiles, DebeziumWithoutSchema) {
  Events events(EventFormat::Debezium, kShop);
  SKIP_UNLESS(becomes(events, "flinkcdc-debezium-json.jsonl", R"~(
1 + customers 102|user_2'|Shanghai'|123567891234'
2 + customers 101|user_1'|Shanghai'|123567891234'
3 + customers 103|user_3'|Shanghai'|123567891234'
4 + customers 104|user_4'|Shanghai'|123567891234'
5 + products 106|1|hammer'|16oz carpenter's hammer'|NULL|NULL|NULL
6 + products 105|0.875|hammer'|14oz carpenter's hammer'|red'|{"k1": "v1", "k2": "v2"}'|{"coo
    rdinates":[5,5],"type":"Point","srid":0}'
7 + products 109|22.2|spare tire'|24 inch spare tire'|NULL|NULL|NULL
8 + products 102|8.1|car battery'|12V car battery'|white'|{"key2": "value2"}'|{"coordinates"
    :[2,2],"type":"Point","srid":0}'
9 + products 101|3.14|scooter'|Small 2-wheel scooter'|red'|{"key1": "value1"}'|{"coordinates
    ":[1,1],"type":"Point","srid":0}'
10 + products 108|0.1|jacket'|water resistent black wind breaker'|NULL|NULL|NULL
11 + products 104|0.75|hammer'|12oz carpenter's hammer'|white'|{"key4": "value4"}'|{"coordin
    ates":[4,4],"type":"Point","srid":0}'
12 + products 107|5.3|rocks'|box of assorted rocks'|NULL|NULL|NULL
13 + products 103|0.8|12-pack drill bits'|12-pack of drill bits with sizes ranging from #40 
    to #3'|red'|{"key3": "value3"}'|{"coordinates":[3,3],"type":"Point","srid":0}'
14 = products 106|1|hammer'|18oz carpenter hammer'|NULL|NULL|NULL
15 = products 107|5.1|rocks'|box of assorted rocks'|NULL|NULL|NULL
16 + products 110|0.2|jacket'|water resistent white wind breaker'|NULL|NULL|NULL|1
17 + products 111|5.18|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
18 = products 110|0.5|jacket'|new water resistent white wind breaker'|NULL|NULL|NULL|1
19 = products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
20 - products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
)~"));
}

TEST(CdcFiles, DebeziumWithSchema) {
  Events events(EventFormat::Debezium, kShop);
  SKIP_UNLESS(becomes(events, "flinkcdc-debezium-json-with-schema.jsonl", R"~(
1 + customers 102|user_2'|Shanghai'|123567891234'
2 + customers 103|user_3'|Shanghai'|123567891234'
3 + customers 101|user_1'|Shanghai'|123567891234'
4 + customers 104|user_4'|Shanghai'|123567891234'
5 + products 108|0.1|jacket'|water resistent black wind breaker'|NULL|NULL|NULL
6 + products 107|5.3|rocks'|box of assorted rocks'|NULL|NULL|NULL
7 + products 106|1|hammer'|16oz carpenter's hammer'|NULL|NULL|NULL
8 + products 104|0.75|hammer'|12oz carpenter's hammer'|white'|{"key4": "value4"}'|{"coordina
    tes":[4,4],"type":"Point","srid":0}'
9 + products 103|0.8|12-pack drill bits'|12-pack of drill bits with sizes ranging from #40 t
    o #3'|red'|{"key3": "value3"}'|{"coordinates":[3,3],"type":"Point","srid":0}'
10 + products 105|0.875|hammer'|14oz carpenter's hammer'|red'|{"k1": "v1", "k2": "v2"}'|{"co
    ordinates":[5,5],"type":"Point","srid":0}'
11 + products 102|8.1|car battery'|12V car battery'|white'|{"key2": "value2"}'|{"coordinates
    ":[2,2],"type":"Point","srid":0}'
12 + products 101|3.14|scooter'|Small 2-wheel scooter'|red'|{"key1": "value1"}'|{"coordinate
    s":[1,1],"type":"Point","srid":0}'
13 + products 109|22.2|spare tire'|24 inch spare tire'|NULL|NULL|NULL
14 = products 107|5.1|rocks'|box of assorted rocks'|NULL|NULL|NULL
15 = products 106|1|hammer'|18oz carpenter hammer'|NULL|NULL|NULL
16 + products 110|0.2|jacket'|water resistent white wind breaker'|NULL|NULL|NULL|1
17 = products 110|0.5|jacket'|new water resistent white wind breaker'|NULL|NULL|NULL|1
18 + products 111|5.18|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
19 = products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
20 - products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
)~"));
}

TEST(CdcFiles, DebeziumDocuments) {
  Events events(EventFormat::Debezium, kDocuments);
  SKIP_UNLESS(becomes(events, "debezium-docs.jsonl", R"~(
1 error table "customers": column "id" identifies a row and is {"valu…
2 error table "customers": column "id" identifies a row and is {"valu…
3 error a delete of table "customers" without "before": give it a pri…
4 error no "op": not a change event of Debezium (a key, or a flattene…
5 error no "op": not a change event of Debezium (a key, or a flattene…
6 error no "op": not a change event of Debezium (a key, or a flattene…
7 error no "op": not a change event of Debezium (a key, or a flattene…
8 error no "op": not a change event of Debezium (a key, or a flattene…
9 error no "op": not a change event of Debezium (a key, or a flattene…
10 error no "op": not a change event of Debezium (a key, or a flatten…
11 + customers 1005|john'|doe'|john.doe@example.org' at 2019-06-05T10:11:08.470000Z tx 157
12 error no "op": not a change event of Debezium (a key, or a flatten…
13 error no "op": not a change event of Debezium (a key, or a flatten…
14 error no "op": not a change event of Debezium (a key, or a flatten…
15 error no "op": not a change event of Debezium (a key, or a flatten…
16 error no "op": not a change event of Debezium (a key, or a flatten…
17 error no "op": not a change event of Debezium (a key, or a flatten…
18 error no "op": not a change event of Debezium (a key, or a flatten…
19 error the event names no table
20 error no "op": not a change event of Debezium (a key, or a flatten…
21 + customers 1|Anne'|Kretchmar'|annek@noanswer.org' at 2019-05-28T08:58:24.863123Z tx 555
22 error no "op": not a change event of Debezium (a key, or a flatten…
23 error no "op": not a change event of Debezium (a key, or a flatten…
24 error no "op": not a change event of Debezium (a key, or a flatten…
25 + customers 1005|john'|doe'|john.doe@example.org' at 2019-06-05T10:11:08.470000Z
26 + customers 1|Anne'|Kretchmar'|annek@noanswer.org' at 2019-05-28T08:58:24Z
27 error no "op": not a change event of Debezium (a key, or a flatten…
28 error no "op": not a change event of Debezium (a key, or a flatten…
29 + CUSTOMERS 1001|Test Record' at 2026-05-29T01:15:00.692853Z tx 131072047
30 error no "op": not a change event of Debezium (a key, or a flatten…
31 nothing
32 error no "op": not a change event of Debezium (a key, or a flatten…
33 + customers 1004|Anne'|Kretchmar'|annek@noanswer.org' at 1970-01-01T00:00:00Z
34 error no "op": not a change event of Debezium (a key, or a flatten…
35 nothing
36 error no "op": not a change event of Debezium (a key, or a flatten…
37 + customers 1004|Anne'|Kretchmar'|annek@noanswer.org'
)~"));
  EXPECT_EQ(events.passed_over(), "1 schema changes, 1 tombstones");
}

TEST(CdcFiles, DebeziumMySqlTypes) {
  const std::string text = literal_events("debezium-mysql-schema-include.jsonl");
  SKIP_UNLESS(!text.empty());
  Events events(EventFormat::Debezium, R"(
[[table]]
name = "full_types"
key = "id"
columns = { decimal_c = "number" }
)");
  const std::size_t end = text.find('\n');
  EXPECT_TRUE(events.one(text.substr(0, end)).starts_with("+ full_types AQ=='|123.4567|"));
  const std::vector<std::pair<std::string, std::string>> cells = {
      {"tiny_c", "127"},
      {"int_un_c", "4294967295"},
      {"big_c", "9223372036854775807"},
      {"real_c", "123.102"},
      {"double_c", "404.4443"},
      {"decimal_c", "123.4567"},
      {"numeric_c", "346"},
      {"big_decimal_c", "3.45678921e-57"},
      {"bit1_c", "false"},
      {"date_c", "2020-07-17T00:00:00Z"},
      {"time_c", "64822000000"},
      {"datetime3_c", "2020-07-17T18:00:22.123000Z"},
      {"datetime6_c", "2020-07-17T18:00:22.123456Z"},
      {"timestamp_c", "2020-07-17T18:00:22Z"},
      {"blob_c", "EA=='"},
      {"set_c", "a,b'"},
      {"json_c", "{\"key1\": \"value1\"}'"},
      {"point_c", "{\"x\":1.0,\"y\":1.0,\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAPA/\",\"srid\":null}'"},
      {"varchar_len0_c", "'"},
  };
  for (const auto& [column, value] : cells)
    EXPECT_EQ(events.cell(column), value) << column;
  // Its schema block is that of another message: the decimal's scale is unknown.
  const std::string second = events.one(text.substr(end + 1, text.find('\n', end + 1) - end - 1));
  EXPECT_NE(second.find("column \"decimal_c\" is configured as a number, but \"EtaH\""),
            std::string::npos);
}

TEST(CdcFiles, Maxwell) {
  Events events(EventFormat::Maxwell, R"(
[[table]]
name = "e"
key = "id"
[[table]]
name = "test_datetime"
time = "dtcol"
)");
  SKIP_UNLESS(becomes(events, "maxwell-docs.jsonl", R"~(
1 + e 1|4.2341|2016-10-21 05:33:37.523000'|I am a creature of light.' at 2016-10-21T12:33:
    37Z tx 23396 ends
2 nothing
3 nothing
4 + test_datetime NULL
5 error unknown table "test_sets"
)~"));
  EXPECT_EQ(events.passed_over(), "2 schema changes");
}

TEST(CdcFiles, Canal) {
  Events events(EventFormat::Canal, kShop);
  SKIP_UNLESS(becomes(events, "flinkcdc-canal-json.jsonl", R"~(
1 + customers 103|user_3'|Shanghai'|123567891234'
2 + customers 104|user_4'|Shanghai'|123567891234'
3 + customers 102|user_2'|Shanghai'|123567891234'
4 + customers 101|user_1'|Shanghai'|123567891234'
5 + products 107|5.3|rocks'|box of assorted rocks'|NULL|NULL|NULL
6 + products 108|0.1|jacket'|water resistent black wind breaker'|NULL|NULL|NULL
7 + products 103|0.8|12-pack drill bits'|12-pack of drill bits with sizes ranging from #40
     to #3'|red'|{"key3": "value3"}'|{"coordinates":[3,3],"type":"Point","srid":0}'
8 + products 105|0.875|hammer'|14oz carpenter's hammer'|red'|{"k1": "v1", "k2": "v2"}'|{"c
    oordinates":[5,5],"type":"Point","srid":0}'
9 + products 109|22.2|spare tire'|24 inch spare tire'|NULL|NULL|NULL
10 + products 101|3.14|scooter'|Small 2-wheel scooter'|red'|{"key1": "value1"}'|{"coordina
    tes":[1,1],"type":"Point","srid":0}'
11 + products 106|1|hammer'|16oz carpenter's hammer'|NULL|NULL|NULL
12 + products 102|8.1|car battery'|12V car battery'|white'|{"key2": "value2"}'|{"coordinat
    es":[2,2],"type":"Point","srid":0}'
13 + products 104|0.75|hammer'|12oz carpenter's hammer'|white'|{"key4": "value4"}'|{"coord
    inates":[4,4],"type":"Point","srid":0}'
14 = products 107|5.1|rocks'|box of assorted rocks'|NULL|NULL|NULL
15 = products 106|1|hammer'|18oz carpenter hammer'|NULL|NULL|NULL
16 + products 111|5.18|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
17 + products 110|0.2|jacket'|water resistent white wind breaker'|NULL|NULL|NULL|1
18 = products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
19 - products 111|5.17|scooter'|Big 2-wheel scooter '|NULL|NULL|NULL|1
20 = products 110|0.5|jacket'|new water resistent white wind breaker'|NULL|NULL|NULL|1
)~"));
}

// Rows of ten of its tables; the others are said to be unknown.
TEST(CdcFiles, Wal2jsonVersion2) {
  Events events(EventFormat::Wal2json, R"(
[[table]]
name = "actions"
key = "a"
[[table]]
name = "test_wal2json_5"
key = ["b", "c", "d"]
[[table]]
name = "table_decimal"
[[table]]
name = "w2j_pk_with_pk"
key = ["b", "d", "e"]
[[table]]
name = "w2j_truncate"
key = "a"
[[table]]
name = "w2j_rename_pk"
key = "a"
[[table]]
name = "w2j_position"
key = "a"
[[table]]
name = "w2j_type_oid"
key = "a"
[[table]]
name = "table_integer"
[[table]]
name = "table_without_pk"
)");
  events.leave_out({" nothing", "unknown table"});
  SKIP_UNLESS(becomes(events, "wal2json-v2.jsonl", R"~(
4 + actions 1 tx begin 2
7 = actions 2 was 1 tx begin 3
10 - actions 2 tx begin 4
13 truncate actions  tx begin 5
18 + actions 1 tx begin 7
31 = actions 2 was 1 tx begin 13
44 - actions 2 tx begin 19
57 truncate actions  tx begin 25
64 = actions 2 was 1 tx begin 28
69 truncate actions  tx begin 30
81 + w2j_truncate 1|foo@bar.com' tx begin 34
84 truncate w2j_truncate  tx begin 35
87 + w2j_truncate 2|foo@bar.com' tx begin 36
99 + w2j_truncate 1|foo@bar.com' tx begin 40
102 truncate w2j_truncate  tx begin 41
105 + w2j_truncate 2|foo@bar.com' tx begin 42
117 + w2j_truncate 1|foo@bar.com' tx begin 46
122 + w2j_truncate 2|foo@bar.com' tx begin 48
134 + w2j_truncate 1|foo@bar.com' tx begin 52
139 + w2j_truncate 2|foo@bar.com' tx begin 54
179 error table "table_without_pk" has no key, so it takes inserts only
238 + test_wal2json_5 1|2|3'|1|3.540'|876.563|1.23|teste     '|testando'|um texto longo'|0
    01110010101010'|Sat Nov 02 17:30:52 2013'|02-04-2013'|true|{ "a": 123 }'|'Old' 'Parr''
     tx begin 98
241 = test_wal2json_5 1|2|3'|1|3.540'|-876.563|1.23|teste     '|testando'|um texto longo'|
    001110010101010'|Sat Nov 02 17:30:52 2013'|02-04-2013'|true|{ "a": 123 }'|'Old' 'Parr'
    ' tx begin 99
247 + test_wal2json_5 1|2|3|1|3.54|876.563|1.23|teste     '|testando'|um texto longo'|0011
    10010101010'|Sat Nov 02 17:30:52 2013'|02-04-2013'|true|{ "a": 123 }'|'Old' 'Parr'' tx
     begin 101
250 = test_wal2json_5 1|2|3|1|3.54|-876.563|1.23|teste     '|testando'|um texto longo'|001
    110010101010'|Sat Nov 02 17:30:52 2013'|02-04-2013'|true|{ "a": 123 }'|'Old' 'Parr'' t
    x begin 102
257 + table_without_pk 1|1|2|3|3.54|876.563|1.23|teste     '|testando'|um texto longo'|001
    110010101010'|Sat Nov 02 17:30:52 2013'|02-04-2013'|true|{ "a": 123 }'|'Old' 'Parr'' t
    x begin 104
282 + table_integer 1|32767|2147483647|9223372036854775807 tx begin 110
283 + table_integer 2|-32768|-2147483648|-9223372036854775808 tx begin 110
284 + table_decimal NULL|NULL|NULL tx begin 110
285 + table_decimal NULL|NULL|NULL tx begin 110
286 + table_decimal NULL|NULL|NULL tx begin 110
287 + table_decimal 123.456|123456789.012345|1234567890987654400 tx begin 110
288 + table_decimal -123.456|-123456789.012345|-1234567890987654400 tx begin 110
291 + table_integer 1|32767|2147483647|9223372036854775807 tx begin 111
292 + table_integer 2|-32768|-2147483648|-9223372036854775808 tx begin 111
293 + table_decimal NULL|NULL|NULL tx begin 111
294 + table_decimal NULL|NULL|NULL tx begin 111
295 + table_decimal NULL|NULL|NULL tx begin 111
296 + table_decimal 123.456|123456789.012345|1234567890987654400 tx begin 111
297 + table_decimal -123.456|-123456789.012345|-1234567890987654400 tx begin 111
300 + w2j_pk_with_pk Sun Apr 26 16:23:59 2020'|true|4.56|123|Melanosuchus Niger' tx begin 112
303 = w2j_pk_with_pk Sun Apr 26 16:23:59 2020'|false|4.56|456|Panthera Onca' was Sun Apr 2
    6 16:23:59 2020'|true|4.56 tx begin 113
306 - w2j_pk_with_pk Sun Apr 26 16:23:59 2020'|false|4.56|NULL|NULL tx begin 114
325 + w2j_position 1|2 tx begin 121
328 = w2j_position 1|3 tx begin 122
335 + w2j_position 5|NULL|6 tx begin 125
338 = w2j_position 5|unchanged|7 tx begin 126
341 + w2j_position 1|2|NULL tx begin 127
344 = w2j_position 1|3|unchanged tx begin 128
351 + w2j_position 5|NULL|6 tx begin 131
354 = w2j_position 5|unchanged|7 tx begin 132
357 + w2j_rename_pk 123|Sun Apr 26 16:23:59 2020'|Melanosuchus Niger'|true|4.56 tx begin 133
360 = w2j_rename_pk 123|Sun Apr 26 16:23:59 2020'|Melanosuchus Niger'|true|8.76 tx begin 134
365 + w2j_rename_pk 456|Mon Dec 07 15:56:59 2020'|Panthera Onca'|NULL|4.44|false tx begin 136
368 = w2j_rename_pk 456|Mon Dec 07 15:56:59 2020'|Panthera Onca'|unchanged|2.718|false tx 
    begin 137
371 + w2j_rename_pk 789|Sun Apr 04 10:33:04 2021'|Chrysocyon brachyurus'|NULL|20.3|true tx
     begin 138
372 error table "w2j_rename_pk": the row lacks its key column "a"
373 error table "w2j_rename_pk": the row lacks its key column "a"
397 error table "w2j_rename_pk": the row lacks its key column "a"
400 error table "w2j_rename_pk": the row lacks its key column "a"
403 error table "w2j_rename_pk": the row lacks its key column "a"
455 + w2j_type_oid 1|true tx begin 163
458 = w2j_type_oid 3|true was 1 tx begin 164
461 - w2j_type_oid 3|NULL tx begin 165
464 + w2j_type_oid 1|true tx begin 166
467 = w2j_type_oid 3|true was 1 tx begin 167
470 - w2j_type_oid 3|NULL tx begin 168
510 error table "table_without_pk" has no key, so it takes inserts only
)~"));
  EXPECT_EQ(events.passed_over(), "10 messages, 388 transaction marks");
  EXPECT_EQ(events.left_out(" nothing"), 398u);
  EXPECT_EQ(events.left_out("unknown table"), 64u);
}

}  // namespace
}  // namespace accrete::daemon
