// Change events through a reader, as lines of text; and the literal events beside the project.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/config.h"
#include "daemon/event_reader.h"
#include "source_text.h"

namespace accrete::daemon {

inline Schema schema_of(const std::string& text) {
  Result<Config> config = parse_config(text, "a.toml");
  EXPECT_TRUE(config) << (config ? "" : config.error().detail);
  return std::move(config).value().schema;
}

/// Reads events one by one and keeps what layouts have said.
class Events {
 public:
  Events(EventFormat format, const std::string& config)
      : schema_(schema_of(config)), reader_(open_reader(format, schema_)) {}

  /// The records of one event, a line each, layouts left out; " tx ID" behind an event of a
  /// transaction, " ends" behind its last; "nothing" and "error …" for what has no records.
  Lines read(const std::string& event) {
    SourceTransaction out;
    Transaction in;
    const Status read = reader_->read(event, out, in);
    if (!read) {
      EXPECT_TRUE(out.ends.empty() && out.bytes.empty() && out.rows == 0) << event;
      return {"error " + read.error().detail};
    }
    Lines lines;
    std::size_t begin = 0;
    for (const std::uint32_t end : out.ends) {
      Record record;
      const std::string bytes = out.bytes.substr(begin, end - begin);
      begin = end;
      EXPECT_TRUE(decode_record(bytes, record)) << event;
      if (record.kind == RecordKind::Layout) columns_[record.layout.hash()] = record.layout.columns;
      const std::string text = text_of(record, tables_);
      if (record.kind != RecordKind::Layout) lines.push_back(text);
      if (record.kind == RecordKind::Change) keep_cells(record.change);
    }
    if (lines.empty()) lines.push_back("nothing");
    if (!in.id.empty()) lines.back() += " tx " + in.id + (in.ends ? " ends" : "");
    return lines;
  }

  /// One event of one record.
  std::string one(const std::string& event) {
    const Lines lines = read(event);
    EXPECT_EQ(lines.size(), 1u) << event;
    return lines.back();
  }

  /// Lines with one of these texts in them are counted by all() instead of returned.
  void leave_out(const Lines& texts) {
    for (const std::string& text : texts)
      left_out_[text] = 0;
  }
  std::size_t left_out(const std::string& text) const { return left_out_.at(text); }

  /// Every line of `text`, with its number in front.
  Lines all(const std::string& text) {
    Lines lines;
    std::istringstream in(text);
    int number = 0;
    for (std::string event; std::getline(in, event);) {
      ++number;
      for (const std::string& line : read(event))
        add(std::to_string(number) + " " + line, lines);
    }
    return lines;
  }

  /// The text of a cell of the last row, by its column's name.
  std::string cell(const std::string& column) const {
    const auto at = cells_.find(column);
    return at == cells_.end() ? "(none)" : at->second;
  }

  std::string passed_over() const {
    std::string text;
    for (const auto& [kind, count] : reader_->passed_over())
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
    return text;
  }

 private:
  void add(std::string line, Lines& lines) {
    for (auto& [text, count] : left_out_) {
      if (line.find(text) == std::string::npos) continue;
      ++count;
      return;
    }
    lines.push_back(std::move(line));
  }

  void keep_cells(const Change& change) {
    cells_.clear();
    const std::vector<std::string>& columns = columns_[change.layout];
    for (std::size_t i = 0; i < change.cells.size(); ++i)
      cells_[columns.at(i)] = text_of(std::vector<Value>{change.cells[i]});
  }

  Schema schema_;
  std::unique_ptr<EventReader> reader_;
  std::map<std::uint64_t, std::string> tables_;
  std::map<std::uint64_t, std::vector<std::string>> columns_;
  std::map<std::string, std::string> cells_;
  std::map<std::string, std::size_t> left_out_;
};

/// The text of a file of literal events; "" where the data are not there.
inline std::string literal_events(const std::string& name) {
  const char* data = std::getenv("ACCRETE_DATA");
  const std::filesystem::path folder =
      data != nullptr ? std::filesystem::path(data)
                      : std::filesystem::path(ACCRETE_SOURCE_DIR).parent_path() / "shared" / "data";
  std::ifstream file(folder / "cdc" / name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace accrete::daemon
