// Transactions of a row source as lines of text, and files for it to read.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/row_source.h"
#include "proto/codec.h"
#include "proto/value.h"

namespace accrete::daemon {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string pattern = testing::TempDir() + "accrete-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

inline std::string text_of(const std::vector<Value>& values) {
  std::string out;
  for (const Value& value : values) {
    if (!out.empty()) out += '|';
    out += value.kind == ValueKind::Unchanged ? "unchanged" : value_text(value);
    if (value.kind == ValueKind::Text) out += '\'';  // tells 42' from 42
  }
  return out;
}

/// `layouts` maps hashes to tables as they are declared; a row of an undeclared one fails.
inline std::string text_of(const Record& record, std::map<std::uint64_t, std::string>& layouts) {
  switch (record.kind) {
    case RecordKind::Layout: {
      layouts[record.layout.hash()] = record.layout.table;
      std::string text = "layout " + record.layout.table + ":";
      for (const std::string& column : record.layout.columns)
        text += " " + column;
      return text;
    }
    case RecordKind::Change: {
      const auto table = layouts.find(record.change.layout);
      EXPECT_NE(table, layouts.end()) << "a row before its layout";
      if (table == layouts.end()) return "?";
      const char* ops[] = {"+ ", "= ", "- ", "truncate "};
      std::string text = ops[static_cast<std::size_t>(record.change.op)] + table->second + " " +
                         text_of(record.change.cells);
      if (!record.change.old_key.empty()) text += " was " + text_of(record.change.old_key);
      if (record.change.change_time) {
        text += " at " + value_text(Value::of_time(*record.change.change_time));
      }
      return text;
    }
    case RecordKind::Mark:
      return "mark " + std::to_string(static_cast<int>(record.mark.kind));
    case RecordKind::Request:
      break;
  }
  return "request";
}

/// Every record as a line, a line `#position` before each transaction. Stops at an error, whose
/// detail is the last line.
inline std::vector<std::string> lines_of(RowSource& source) {
  std::vector<std::string> lines;
  std::map<std::uint64_t, std::string> layouts;
  SourceTransaction transaction;
  std::uint64_t rows = 0;
  while (true) {
    const Result<bool> more = source.next(transaction);
    if (!more) {
      lines.push_back("error " + more.error().detail);
      return lines;
    }
    if (!more.value()) break;
    lines.push_back("#" + std::to_string(transaction.position));
    std::uint64_t changes = 0;
    std::size_t begin = 0;
    for (const std::uint32_t end : transaction.ends) {
      Record record;
      const std::string bytes = transaction.bytes.substr(begin, end - begin);
      const Status decoded = decode_record(bytes, record);
      EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().detail);
      if (record.kind == RecordKind::Change) ++changes;
      lines.push_back(text_of(record, layouts));
      begin = end;
    }
    EXPECT_EQ(changes, transaction.rows);
    EXPECT_EQ(begin, transaction.bytes.size());
    rows += transaction.rows;
  }
  EXPECT_EQ(source.progress().rows, rows);
  return lines;
}

inline std::vector<std::string> lines_of(const Result<std::unique_ptr<RowSource>>& source) {
  if (!source) return {"error " + source.error().detail};
  return lines_of(*source.value());
}

using Lines = std::vector<std::string>;

}  // namespace accrete::daemon
