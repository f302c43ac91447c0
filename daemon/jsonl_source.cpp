// Change events, one a line, as a source of transactions.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/event_reader.h"
#include "daemon/feed_place.h"
#include "daemon/row_source.h"
#include "proto/hash.h"
#include "proto/limits.h"

namespace accrete::daemon {
namespace {

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
    if (!open_.ends.empty() && (open_tx_.empty() || open_ends_)) return give(out);
    while (read_line()) {
      lines_ = joined_hash(lines_, hash64(line_));
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
      row_.input = std::exchange(lines_, 0);
      if (!open_.ends.empty() && in.id == open_tx_) {
        ACCRETE_DO(join());
        if (in.ends) return give(out);
        continue;
      }
      const bool complete = !open_.ends.empty();
      if (complete) give(out);
      std::swap(open_, row_);
      std::swap(open_tx_, in.id);
      open_ends_ = in.ends;
      if (complete) return true;
      if (open_tx_.empty() || open_ends_) return give(out);
    }
    if (input().bad()) return Error{Errc::Unavailable, path_ + ": reading failed"};
    if (open_.ends.empty()) return false;
    return give(out);
  }

  Progress progress() const override { return {rows_, bytes_done_, bytes_total_}; }

  std::string passed_over() const override {
    std::string text;
    for (const auto& [kind, count] : reader_->passed_over())
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
    return text;
  }

  std::vector<std::string> doubts() const override { return reader_->never_named(); }

 private:
  std::istream& input() { return path_ == "-" ? std::cin : file_; }

  static void clear(SourceTransaction& transaction) {
    transaction.bytes.clear();
    transaction.ends.clear();
    transaction.rows = 0;
    transaction.input = 0;
  }

  /// Hand the open transaction to the caller and begin with nothing.
  bool give(SourceTransaction& out) {
    std::swap(out, open_);
    clear(open_);
    open_tx_.clear();
    open_ends_ = false;
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
    open_.input = joined_hash(open_.input, row_.input);
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
  bool open_ends_ = false;   // no more of it comes
  std::uint64_t lines_ = 0;  // fingerprint of those since the last row, bad ones too
  std::uint64_t line_number_ = 0;
  std::uint64_t bytes_done_ = 0;
  std::uint64_t bytes_total_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace

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
