// RFC 4180 records from a plain or gzip file, streaming: quotes, doubled quotes, line breaks inside
// quotes, CRLF, a byte order mark, a last line without end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

struct gzFile_s;  // zlib's, named here so that its header stays in csv_reader.cpp

namespace accrete::daemon {

class CsvReader {
 public:
  /// Errors: NotFound if the file cannot be opened.
  static Result<CsvReader> open(const std::string& path);

  /// The next record; false at the end. Views stay valid until the next call. Empty lines are
  /// skipped, as every spreadsheet does.
  /// Errors: Malformed with file:line for a misplaced or unclosed quote, bytes that are not UTF-8,
  ///         a record over row_bytes_max or a damaged gzip file; Unavailable on I/O failure.
  /// Cost:   no allocation once the buffers have grown; about 10 ns a cell.
  Result<bool> next(std::vector<std::string_view>& cells);

  /// Line on which the last record began, from 1.
  std::uint64_t line() const { return line_; }
  /// Bytes read of the file, compressed where it is.
  std::uint64_t bytes_done() const;
  const std::string& path() const { return path_; }
  /// `file:line: detail` for the last record.
  Error malformed(std::string_view detail) const;

 private:
  struct Close {
    void operator()(gzFile_s* file) const;
  };

  CsvReader(std::string path, gzFile_s* file);
  Status fill();
  Result<bool> find_record();
  Result<bool> after_input(bool quoted);
  Status split_quoted(std::vector<std::string_view>& cells);
  void split_plain(std::vector<std::string_view>& cells) const;

  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;       // of what is not yet consumed
  std::size_t end_ = 0;         // of what has been read
  std::size_t record_end_ = 0;  // of the current record, without its line end
  std::size_t next_begin_ = 0;  // after the current record
  bool quotes_ = false;         // the current record has some
  bool drained_ = false;        // the file is read to its end
  bool started_ = false;        // the byte order mark has been looked for
  std::uint64_t line_ = 0;
  std::uint64_t next_line_ = 1;
};

}  // namespace accrete::daemon
