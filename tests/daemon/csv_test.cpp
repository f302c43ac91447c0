// Table files: RFC 4180 records, rows of a schema, the two orders of transactions.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <zlib.h>

#include "daemon/csv_reader.h"
#include "daemon/row_source.h"
#include "source_text.h"

namespace accrete::daemon {
namespace {

using Cells = std::vector<std::vector<std::string>>;

/// All records; an error is a last record of one cell.
Cells read_all(const std::string& path) {
  Cells records;
  Result<CsvReader> reader = CsvReader::open(path);
  if (!reader) return {{reader.error().detail}};
  std::vector<std::string_view> cells;
  while (true) {
    const Result<bool> more = reader.value().next(cells);
    if (!more) {
      std::string detail = more.error().detail;
      records.push_back({detail.substr(detail.rfind('/') + 1)});
      return records;
    }
    if (!more.value()) return records;
    records.emplace_back(cells.begin(), cells.end());
  }
}

void write_gzip(const std::string& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

TEST(CsvReader, Records) {
  struct Case {
    std::string text;
    Cells records;
  };
  const std::vector<Case> cases = {
      {"", {}},
      {"\n\r\n\n", {}},
      {"a,b\n1,2\n", {{"a", "b"}, {"1", "2"}}},
      {"a,b\r\n1,2\r\n", {{"a", "b"}, {"1", "2"}}},
      {"a,b\n1,2", {{"a", "b"}, {"1", "2"}}},
      {"a,b\n1,2\r", {{"a", "b"}, {"1", "2"}}},
      {"\xEF\xBB\xBF"
       "a\n\xEF\xBB\xBF\n",
       {{"a"}, {"\xEF\xBB\xBF"}}},
      {"\xEF\xBB\xBF\"a\"\n", {{"a"}}},
      {",\n,,\n", {{"", ""}, {"", "", ""}}},
      {"\"\"\n\"\",\"\"\n", {{""}, {"", ""}}},
      {"\"a\"\"b\"\n", {{"a\"b"}}},
      {"\"\"\"\"\n", {{"\""}}},
      {"\"a,b\",\"c\nd\",\"e\r\nf\"\r\ng,h,i\r\n", {{"a,b", "c\nd", "e\r\nf"}, {"g", "h", "i"}}},
      {"a\n\n\"\n\n\"\nb\n", {{"a"}, {"\n\n"}, {"b"}}},
      {"x,\"y\"", {{"x", "y"}}},
      {" a , b \n", {{" a ", " b "}}},
      {"a\nb\"c\n", {{"a"}, {"f.csv:2: a quote of this record is never closed"}}},
      {"a\nb\"c\"\n",
       {{"a"},
        {"f.csv:2: a quote inside a cell that does not begin with one; quote "
         "the cell"}}},
      {"\"a\nb\"\n\"c\"d,\"\"\n",
       {{"a\nb"}, {"f.csv:3: text after a closing quote; double the quote"}}},
      {"a\n\n\"b\nc\n", {{"a"}, {"f.csv:3: a quote of this record is never closed"}}},
      {"a\nb\xFF\n",
       {{"a"},
        {"f.csv:2: the line is not UTF-8; convert the file, for example with "
         "iconv"}}},
  };
  const Folder folder;
  for (const Case& each : cases) {
    EXPECT_EQ(read_all(folder.write("f.csv", each.text)), each.records) << each.text;
  }
}

TEST(CsvReader, RandomRecordsSurviveQuotingCompressionAndTheBuffer) {
  const Folder folder;
  const std::vector<std::string> pieces = {"a", ",", "\"", "\n",   "\r\n",
                                           " ", "ü", "1",  "\"\"", "xyz"};
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    std::uint64_t state = seed * 0x9E3779B97F4A7C15ull;
    const auto below = [&state](std::uint64_t bound) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      return state % bound;
    };
    Cells records;
    std::string text;
    const std::string line_end = below(2) == 0 ? "\n" : "\r\n";
    const std::uint64_t columns = 1 + below(4);
    const std::uint64_t rows = below(200);
    for (std::uint64_t r = 0; r < rows; ++r) {
      std::vector<std::string>& record = records.emplace_back();
      for (std::uint64_t c = 0; c < columns; ++c) {
        std::string cell;
        // Now and then longer than the reader's buffer.
        const std::uint64_t length = below(500) == 0 ? 100'000 : below(5);
        for (std::uint64_t i = 0; i < length; ++i)
          cell += pieces[below(pieces.size())];
        const bool must = cell.empty() || cell.find_first_of(",\"\r\n") != std::string::npos;
        text += c == 0 ? "" : ",";
        if (must || below(3) == 0) {
          text += '"';
          for (const char character : cell)
            text += character == '"' ? "\"\"" : std::string(1, character);
          text += '"';
        } else {
          text += cell;
        }
        record.push_back(std::move(cell));
      }
      if (r + 1 < rows || below(2) == 0) text += line_end;
    }
    EXPECT_EQ(read_all(folder.write("plain.csv", text)), records) << seed;
    write_gzip(folder.path() + "/packed.csv.gz", text);
    EXPECT_EQ(read_all(folder.path() + "/packed.csv.gz"), records) << seed;
  }
}

TEST(CsvReader, DamagedFilesAreErrors) {
  const Folder folder;
  std::string text = "a,b\n";
  for (int i = 0; i < 100'000; ++i)
    text += std::to_string(i * 7919) + ",x\n";
  const std::string path = folder.path() + "/f.csv.gz";
  write_gzip(path, text);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const Cells records = read_all(path);
  EXPECT_NE(records.back()[0].find("the gzip file is damaged or cut off"), std::string::npos)
      << records.back()[0];
  EXPECT_LT(records.size(), 100'001u);
  EXPECT_EQ(CsvReader::open(folder.path() + "/none.csv").error().code, Errc::NotFound);
  const Cells large = read_all(folder.write("g.csv", "\"" + std::string(20u << 20, 'x')));
  EXPECT_NE(large.back()[0].find("is a quote never closed?"), std::string::npos);
}

constexpr const char* kConfig = R"(
[[table]]
name = "people"
key = "id"
columns = { name = "text" }
ignore = ["secret"]
[[table]]
name = "buys"
key = "id"
time = "at"
foreign_keys = { person = "people" }
[[table]]
name = "visits"
time = "at"
time_unit = "s"
)";

Schema schema() {
  Result<Config> config = parse_config(kConfig, "a.toml");
  EXPECT_TRUE(config) << (config ? "" : config.error().detail);
  return std::move(config).value().schema;
}

Lines csv(const Folder& folder, bool as_of_order, std::size_t rows_per_transaction = 256) {
  CsvOptions options;
  options.paths = {folder.path()};
  options.as_of_order = as_of_order;
  options.rows_per_transaction = rows_per_transaction;
  const Schema tables = schema();
  Lines lines = lines_of(open_csv(options, tables));
  for (std::string& line : lines) {
    if (const std::size_t at = line.find(folder.path()); at != std::string::npos) {
      line.erase(at, folder.path().size() + 1);
    }
  }
  return lines;
}

TEST(CsvSource, SnapshotOneTableAfterAnother) {
  const Folder folder;
  folder.write("people.csv", "id,secret,name,age\n1,s,42,1.5\n2,s,,\n3,s,\"x,y\",007\n");
  folder.write("buys.csv", "person,id,at\n1,10,2020-01-02\n9,11,\n");
  folder.write("other.csv", "anything\n");
  EXPECT_EQ(
      csv(folder, false, 2),
      (Lines{"#1", "mark 0", "layout people: id name age", "+ people 1|42'|1.5",
             "+ people 2|NULL|NULL", "#2", "+ people 3|x,y'|007'", "layout buys: person id at",
             "+ buys 1|10|2020-01-02T00:00:00Z", "#3", "+ buys 9|11|NULL", "mark 1"}));
}

TEST(CsvSource, AsOfOrderMergesByTimeTableAndFile) {
  const Folder folder;
  folder.write("people.csv", "id,name\n1,a\n2,b\n3,c\n");
  folder.write("buys.csv",
               "id,person,at\n10,1,1970-01-01 00:00:05\n11,1,1970-01-01 00:00:07\n"
               "12,2,1970-01-01 00:00:07\n");
  folder.write("visits.csv", "at,page\n5,x\n6,y\n7,z\n7,w\n9,v\n");
  EXPECT_EQ(csv(folder, true, 2), (Lines{"#1",
                                         "layout people: id name",
                                         "+ people 1|a'",
                                         "+ people 2|b'",
                                         "#2",
                                         "+ people 3|c'",
                                         "#3",
                                         "layout buys: id person at",
                                         "+ buys 10|1|1970-01-01T00:00:05Z",
                                         "layout visits: at page",
                                         "+ visits 1970-01-01T00:00:05Z|x'",
                                         "#4",
                                         "+ visits 1970-01-01T00:00:06Z|y'",
                                         "#5",
                                         "+ buys 11|1|1970-01-01T00:00:07Z",
                                         "+ buys 12|2|1970-01-01T00:00:07Z",
                                         "+ visits 1970-01-01T00:00:07Z|z'",
                                         "+ visits 1970-01-01T00:00:07Z|w'",
                                         "#6",
                                         "+ visits 1970-01-01T00:00:09Z|v'"}));
}

TEST(CsvSource, AsOfOrderSortsAndPutsRowsWithoutTimeFirst) {
  const Folder folder;
  folder.write("people.csv", "id,name\n1,a\n");
  folder.write("visits.csv", "at,page\n9,a\n5,b\n,c\n9,d\n-1,e\n5,f\n,g\n");
  EXPECT_EQ(csv(folder, true),
            (Lines{"#1", "layout people: id name", "+ people 1|a'", "layout visits: at page",
                   "+ visits NULL|c'", "+ visits NULL|g'", "#2", "+ visits 1969-12-31T23:59:59Z|e'",
                   "#3", "+ visits 1970-01-01T00:00:05Z|b'", "+ visits 1970-01-01T00:00:05Z|f'",
                   "#4", "+ visits 1970-01-01T00:00:09Z|a'", "+ visits 1970-01-01T00:00:09Z|d'"}));
}

/// Both orders carry the same rows, whatever the sizes, and as-of times never fall.
TEST(CsvSource, OrdersAgreeOnRandomTables) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Folder folder;
    std::string visits = "at,page\n";
    std::string buys = "id,person,at\n";
    std::uint64_t state = seed * 0x2545F4914F6CDD1Dull + 1;
    const auto below = [&state](std::uint64_t bound) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      return (state >> 33) % bound;
    };
    for (std::uint64_t i = 0; i < 300; ++i) {
      const std::string at = below(20) == 0 ? "" : std::to_string(below(2) == 0 ? i : below(300));
      visits += at + "," + std::to_string(i) + "\n";
      buys += std::to_string(i) + ",1," +
              (at.empty() ? at : "1970-01-01 00:0" + std::to_string(below(5)) + ":00") + "\n";
    }
    folder.write("visits.csv", visits);
    folder.write("buys.csv", buys);
    const auto rows = [](Lines lines) {
      std::erase_if(lines, [](const std::string& line) { return line[0] != '+'; });
      std::sort(lines.begin(), lines.end());
      return lines;
    };
    const Lines merged = csv(folder, true, 1 + below(50));
    EXPECT_EQ(rows(merged), rows(csv(folder, false, 1 + below(50)))) << seed;
    EXPECT_EQ(rows(merged).size(), 600u);
    std::string last;
    for (const std::string& line : merged) {
      const std::size_t at = line.find("1970-");
      if (at == std::string::npos) continue;
      const std::string time = line.substr(at, 20);
      EXPECT_LE(last, time) << seed;
      last = time;
    }
  }
}

TEST(CsvSource, ResumesAtTheSamePositions) {
  const Folder folder;
  folder.write("visits.csv", "at,page\n1,a\n1,b\n2,c\n");
  EXPECT_EQ(csv(folder, true), csv(folder, true));
  CsvOptions options;
  options.paths = {folder.path()};
  const Schema tables = schema();
  const std::string name = open_csv(options, tables).value()->name();
  EXPECT_EQ(name, open_csv(options, tables).value()->name());
  options.as_of_order = true;  // other positions: must not be taken for the same source
  EXPECT_NE(name, open_csv(options, tables).value()->name());
  options.as_of_order = false;
  options.rows_per_transaction = 2;
  EXPECT_NE(name, open_csv(options, tables).value()->name());
}

TEST(CsvSource, Faults) {
  struct Case {
    const char* file;
    const char* text;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"buys.csv", "id,person\n1,2\n", "buys.csv:1: the header lacks time column \"at\""},
      {"buys.csv", "id,Person,at\n1,2,\n",
       "the header lacks foreign-key column \"person\" of table \"buys\"; is it \"Person\"?"},
      {"people.csv", "name\nx\n", "the header lacks key column \"id\""},
      {"people.csv", "id,id\n1,2\n", "column \"id\" is in the header twice"},
      {"people.csv", "id,\n1,2\n", "a column without a name in the header"},
      {"people.csv", "", "the file is empty; its first line must name the columns"},
      {"people.csv", "id,name\n1,a\n2\n", "people.csv:3: 1 cells, the header names 2 columns"},
      {"visits.csv", "at,page\n1,a\nsoon,b\n", "visits.csv:3: column \"at\": "},
      {"visits.csv", "at,page\n1,a\n1.5,b\n", "visits.csv:3: column \"at\": "},
      {"unknown.csv", "id\n1\n", "no file of a table of the configuration was found"},
  };
  for (const bool as_of_order : {false, true}) {
    for (const Case& wrong : cases) {
      const Folder folder;
      folder.write(wrong.file, wrong.text);
      const Lines lines = csv(folder, as_of_order);
      ASSERT_FALSE(lines.empty());
      EXPECT_NE(lines.back().find(wrong.message), std::string::npos) << lines.back();
      EXPECT_EQ(lines.back().rfind("error ", 0), 0u);
    }
  }
}

TEST(CsvSource, NamedFilesMustBeTables) {
  const Folder folder;
  const Schema tables = schema();
  CsvOptions options;
  options.paths = {folder.write("visit.csv", "at\n1\n")};
  EXPECT_NE(lines_of(open_csv(options, tables))[0].find("did you mean \"visits\"?"),
            std::string::npos);
  options.paths = {folder.path() + "/none"};
  EXPECT_NE(lines_of(open_csv(options, tables))[0].find("there is no such file or folder"),
            std::string::npos);
  options.paths = {folder.path(), folder.write("visits.csv", "at\n1\n")};
  EXPECT_NE(lines_of(open_csv(options, tables))[0].find("give each table one file"),
            std::string::npos);
  std::vector<std::string> skipped;
  options.paths = {folder.path()};
  EXPECT_TRUE(open_csv(options, tables, &skipped));
  EXPECT_EQ(skipped, (std::vector<std::string>{folder.path() + "/visit.csv"}));
}

}  // namespace
}  // namespace accrete::daemon
