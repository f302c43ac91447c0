// JSON rows, one object a line, as a source of transactions.
#include <array>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/event_cells.h"
#include "daemon/event_reader.h"
#include "daemon/json_tree.h"
#include "daemon/row_source.h"
#include "daemon/row_writer.h"
#include "proto/codec.h"
#include "proto/hash.h"
#include "proto/limits.h"
#include "proto/time.h"
#include "proto/value.h"

namespace accrete::daemon {
namespace {

constexpr std::array<std::pair<std::string_view, Op>, 4> kOps = {{{"insert", Op::Insert},
                                                                  {"update", Op::Update},
                                                                  {"delete", Op::Delete},
                                                                  {"truncate", Op::Truncate}}};

Error wrong(std::string detail) {
  return {Errc::Malformed, std::move(detail)};
}

/// Native rows: {"table":…,"op":…,"row":{…},"tx":…}.
class NativeReader final : public EventReader {
 public:
  explicit NativeReader(const Schema& schema) : uses_(schema), writer_(schema) {}

  Status read(std::string_view event, SourceTransaction& out, Transaction& in) override {
    change_.clear();
    texts_.clear();
    in.clear();
    table_ = row_ = old_key_ = nullptr;
    ACCRETE_TRY(const Json* object, tree_.parse(event));
    if (!object->is(Json::Kind::Object)) return wrong("expected one object { … } a line");
    for (const Json& member : *object)
      ACCRETE_DO(read_member(member, in.id));
    if (table_ == nullptr) return wrong("\"table\" is missing");
    ACCRETE_TRY(const TableId id, writer_.find_table(table_->text()));
    if (row_ != nullptr) ACCRETE_DO(read_object(*row_, id, change_.row));
    if (old_key_ != nullptr) ACCRETE_DO(read_object(*old_key_, id, change_.old_key));
    return writer_.write(id, change_, out);
  }

 private:
  Status read_member(const Json& member, std::string& tx) {
    const std::string_view name = member.name();
    if (name == "table") {
      table_ = &member;
      return member.is(Json::Kind::Text) ? Status(Ok{}) : wrong("\"table\" must be a text");
    }
    if (name == "op") return read_op(member);
    if (name == "row" || name == "old_key") {
      (name == "row" ? row_ : old_key_) = &member;
      if (member.is(Json::Kind::Object)) return Ok{};
      return wrong("\"" + std::string(name) + "\" must be an object of column names and values");
    }
    if (name == "time") return read_time(member);
    if (name == "tx") {
      if (!member.is(Json::Kind::Number) && !member.is(Json::Kind::Text)) {
        return wrong("\"tx\" must be a number or text");
      }
      tx = json_of(member);
      return Ok{};
    }
    const std::string near = nearest_name(name, {"table", "op", "row", "old_key", "time", "tx"});
    return wrong("unknown member \"" + std::string(name) + "\"" +
                 (near.empty() ? "; known are table, op, row, old_key, time and tx"
                               : "; did you mean \"" + near + "\"?"));
  }

  Status read_op(const Json& member) {
    for (const auto& [name, op] : kOps) {
      if (!member.is(Json::Kind::Text) || name != member.text()) continue;
      change_.op = op;
      return Ok{};
    }
    return wrong("\"op\" must be insert, update, delete or truncate");
  }

  Status read_time(const Json& member) {
    ACCRETE_TRY(const Value value, plain_value(member, false, texts_));
    change_.time = value_time(value, TimeUnit::Microseconds);
    if (change_.time) return Ok{};
    return wrong("\"time\" must be a time such as \"2026-01-31T12:00:00Z\"");
  }

  Status read_object(const Json& object, TableId table, std::vector<NamedValue>& out) {
    for (const Json& cell : object) {
      const bool exact = uses_.of(table, cell.name()) == ColumnUse::Identity;
      Result<Value> value = plain_value(cell, exact, texts_);
      if (!value) {
        return wrong("column \"" + std::string(cell.name()) + "\": " + value.error().detail);
      }
      out.push_back({cell.name(), value.value()});
    }
    return Ok{};
  }

  ColumnUses uses_;
  RowWriter writer_;
  JsonTree tree_;
  const Json* table_ = nullptr;
  const Json* row_ = nullptr;
  const Json* old_key_ = nullptr;
  std::deque<std::string> texts_;  // a deque, for values view them
  NamedChange change_;
};

class JsonlSource final : public RowSource {
 public:
  JsonlSource(std::string path, std::unique_ptr<EventReader> reader)
      : path_(std::move(path)), reader_(std::move(reader)) {
    if (path_ != "-") {
      std::error_code fault;
      file_.open(path_, std::ios::binary);
      const std::uintmax_t size = std::filesystem::file_size(path_, fault);
      bytes_total_ = fault ? 0 : size;
    }
  }

  bool good() const { return path_ == "-" || file_.is_open(); }

  std::string name() const override {
    std::error_code fault;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path_, fault);
    const std::string name = "jsonl:" + (fault || path_ == "-" ? path_ : whole.string());
    return name.size() <= limits::name_bytes_max ? name : "jsonl:" + std::to_string(hash64(name));
  }

  Result<bool> next(SourceTransaction& out) override {
    // A row without "tx" is whole by itself: whoever types rows sees each of them go.
    if (!open_.ends.empty() && open_tx_.empty()) return give(out);
    while (read_line()) {
      if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
      Transaction in;
      clear(row_);
      if (Status read = reader_->read(line_, row_, in); !read) {
        return Error{read.error().code,
                     path_ + ":" + std::to_string(line_number_) + ": " + read.error().detail};
      }
      if (row_.ends.empty()) {
        if (in.ends && !open_.ends.empty() && in.id == open_tx_) return give(out);
        continue;
      }
      if (!open_.ends.empty() && in.id == open_tx_) {
        ACCRETE_DO(join());
        continue;
      }
      const bool complete = !open_.ends.empty();
      if (complete) give(out);
      std::swap(open_, row_);
      std::swap(open_tx_, in.id);
      if (complete) return true;
      if (open_tx_.empty()) return give(out);
    }
    if (input().bad()) return Error{Errc::Unavailable, path_ + ": reading failed"};
    if (open_.ends.empty()) return false;
    return give(out);
  }

  Progress progress() const override { return {rows_, bytes_done_, bytes_total_}; }

 private:
  std::istream& input() { return path_ == "-" ? std::cin : file_; }

  static void clear(SourceTransaction& transaction) {
    transaction.bytes.clear();
    transaction.ends.clear();
    transaction.rows = 0;
  }

  /// Hand the open transaction to the caller and begin with nothing.
  bool give(SourceTransaction& out) {
    std::swap(out, open_);
    clear(open_);
    open_tx_.clear();
    out.position = ++position_;
    rows_ += out.rows;
    return true;
  }

  /// Add the line just read to the open transaction.
  Status join() {
    const std::size_t before = open_.bytes.size();
    if (before + row_.bytes.size() > std::numeric_limits<std::uint32_t>::max()) {
      return Error{Errc::Exhausted, path_ + ":" + std::to_string(line_number_) + ": transaction " +
                                        open_tx_ + " is larger than 4 GiB; give its rows several"};
    }
    open_.bytes += row_.bytes;
    for (const std::uint32_t end : row_.ends) {
      open_.ends.push_back(static_cast<std::uint32_t>(before + end));
    }
    open_.rows += row_.rows;
    return Ok{};
  }

  bool read_line() {
    if (!std::getline(input(), line_)) return false;
    ++line_number_;
    bytes_done_ += line_.size() + 1;
    return true;
  }

  std::string path_;
  std::unique_ptr<EventReader> reader_;
  std::ifstream file_;
  std::string line_;
  SourceTransaction row_;   // of the line just read
  SourceTransaction open_;  // being collected
  std::string open_tx_;
  std::uint64_t line_number_ = 0;
  std::uint64_t bytes_done_ = 0;
  std::uint64_t bytes_total_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<EventReader> open_reader(EventFormat format, const Schema& schema) {
  switch (format) {
    case EventFormat::Native:
      break;
  }
  return std::make_unique<NativeReader>(schema);
}

Result<std::unique_ptr<RowSource>> open_jsonl(const std::string& path, const Schema& schema,
                                              EventFormat format) {
  auto source = std::make_unique<JsonlSource>(path, open_reader(format, schema));
  if (!source->good()) {
    return Error{Errc::NotFound,
                 path + ": cannot be opened; name a readable file, or - for " + "standard input"};
  }
  return std::unique_ptr<RowSource>(std::move(source));
}

}  // namespace accrete::daemon
