// RFC 4180 records from a plain or gzip file.
#include "daemon/csv_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <simdjson.h>
#include <zlib.h>

#include "proto/limits.h"

namespace accrete::daemon {
namespace {

// Large enough that a read costs nothing beside the parsing, small enough for the second-level
// cache to keep most of it.
constexpr std::size_t kBufferBytes = 256u << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

const char* find(const char* begin, const char* end, char wanted) {
  return static_cast<const char*>(
      std::memchr(begin, wanted, static_cast<std::size_t>(end - begin)));
}

}  // namespace

void CsvReader::Close::operator()(gzFile_s* file) const {
  gzclose(file);
}

CsvReader::CsvReader(std::string path, gzFile_s* file)
    : path_(std::move(path)), file_(file), buffer_(kBufferBytes) {}

Result<CsvReader> CsvReader::open(const std::string& path) {
  gzFile_s* file = gzopen(path.c_str(), "rb");  // also reads what is not compressed
  if (file == nullptr) {
    return Error{Errc::NotFound,
                 path + ": cannot be opened: " + std::generic_category().message(errno)};
  }
  gzbuffer(file, static_cast<unsigned>(kBufferBytes));
  return CsvReader(path, file);
}

std::uint64_t CsvReader::bytes_done() const {
  const z_off_t offset = gzoffset(file_.get());
  return offset < 0 ? 0 : static_cast<std::uint64_t>(offset);
}

Error CsvReader::malformed(std::string_view detail) const {
  return {Errc::Malformed, path_ + ":" + std::to_string(line_) + ": " + std::string(detail)};
}

Status CsvReader::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ > limits::row_bytes_max) {
    return malformed("the record is longer than " + std::to_string(limits::row_bytes_max) +
                     " bytes; is a quote never closed?");
  }
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  const int got =
      gzread(file_.get(), buffer_.data() + end_, static_cast<unsigned>(buffer_.size() - end_));
  int fault = Z_OK;
  std::string_view message = gzerror(file_.get(), &fault);
  if (fault == Z_ERRNO) {
    return Error{Errc::Unavailable,
                 path_ + ": reading failed: " + std::generic_category().message(errno)};
  }
  if (got < 0 || fault != Z_OK) {
    if (message.starts_with(path_ + ": ")) message.remove_prefix(path_.size() + 2);
    return Error{Errc::Malformed, path_ + ": the gzip file is damaged or cut off (" +
                                      std::string(message) + "); fetch it again"};
  }
  end_ += static_cast<std::size_t>(got);
  drained_ = got == 0;
  if (!started_ && (end_ >= kByteOrderMark.size() || drained_)) {
    started_ = true;
    if (std::string_view(buffer_.data(), end_).starts_with(kByteOrderMark)) {
      begin_ = kByteOrderMark.size();
    }
  }
  return Ok{};
}

/// The input has ended: what is left is the last record, if anything is.
Result<bool> CsvReader::after_input(bool quoted) {
  if (quoted) return malformed("a quote of this record is never closed");
  record_end_ = end_;
  next_begin_ = end_;
  return begin_ < end_;
}

/// Set record_end_ and next_begin_ for the record at begin_. An odd number of quotes so far means
/// that a line end belongs to a cell.
Result<bool> CsvReader::find_record() {
  line_ = next_line_;
  quotes_ = false;
  bool open = false;
  std::size_t scanned = 0;  // bytes of the record already looked at
  while (true) {
    const char* from = buffer_.data() + begin_ + scanned;
    const char* stop = buffer_.data() + end_;
    const char* line_end = started_ && from < stop ? find(from, stop, '\n') : nullptr;
    const char* looked = line_end == nullptr ? stop : line_end;
    for (const char* quote = find(from, looked, '"'); quote != nullptr;
         quote = find(quote + 1, looked, '"')) {
      open = !open;
      quotes_ = true;
    }
    if (line_end != nullptr) {
      ++next_line_;
      scanned = static_cast<std::size_t>(line_end - buffer_.data()) - begin_ + 1;
      if (open) continue;
      record_end_ = begin_ + scanned - 1;
      next_begin_ = begin_ + scanned;
      return true;
    }
    if (drained_) return after_input(open);
    const bool was_started = started_;
    scanned = end_ - begin_;
    ACCRETE_DO(fill());
    if (!was_started) scanned = 0;  // a byte order mark may have been dropped
    if (!was_started) open = quotes_ = false;
  }
}

void CsvReader::split_plain(std::vector<std::string_view>& cells) const {
  const char* cell = buffer_.data() + begin_;
  const char* stop = buffer_.data() + record_end_;
  while (true) {
    const char* comma = find(cell, stop, ',');
    const char* cell_end = comma == nullptr ? stop : comma;
    cells.emplace_back(cell, static_cast<std::size_t>(cell_end - cell));
    if (comma == nullptr) return;
    cell = comma + 1;
  }
}

/// The same with quotes; doubled quotes are undone in place, which only ever shortens a cell.
Status CsvReader::split_quoted(std::vector<std::string_view>& cells) {
  char* at = buffer_.data() + begin_;
  char* stop = buffer_.data() + record_end_;
  while (true) {
    char* cell = at;
    char* cell_end = at;
    if (at < stop && *at == '"') {
      ++at;
      while (true) {
        ACCRETE_CHECK(at < stop);  // find_record() saw the quotes close
        if (*at != '"') {
          *cell_end++ = *at++;
        } else if (at + 1 < stop && at[1] == '"') {
          *cell_end++ = '"';
          at += 2;
        } else {
          break;
        }
      }
      ++at;
      if (at < stop && *at != ',') return malformed("text after a closing quote; double the quote");
    } else {
      while (at < stop && *at != ',') {
        if (*at == '"') {
          return malformed("a quote inside a cell that does not begin with one; quote the cell");
        }
        ++at;
      }
      cell_end = at;
    }
    cells.emplace_back(cell, static_cast<std::size_t>(cell_end - cell));
    if (at == stop) return Ok{};
    ++at;
  }
}

Result<bool> CsvReader::next(std::vector<std::string_view>& cells) {
  while (true) {
    cells.clear();
    begin_ = next_begin_;
    ACCRETE_TRY(const bool found, find_record());
    if (!found) return false;
    if (record_end_ > begin_ && buffer_[record_end_ - 1] == '\r') --record_end_;
    if (record_end_ == begin_) continue;
    if (!simdjson::validate_utf8(buffer_.data() + begin_, record_end_ - begin_)) {
      return malformed("the line is not UTF-8; convert the file, for example with iconv");
    }
    if (quotes_) {
      ACCRETE_DO(split_quoted(cells));
    } else {
      split_plain(cells);
    }
    return true;
  }
}

}  // namespace accrete::daemon
