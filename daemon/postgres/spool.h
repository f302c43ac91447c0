// A snapshot on disk: its transactions, written whole before the first of them is sent.
//
// A snapshot can be read only while the session that exported it lives; a second one sees other
// rows. So it is copied first: a crash while it is written leaves nothing behind it in the daemon,
// and it is begun again; a crash while it is sent finds the same transactions under the same
// positions. The database's session ends after the copy, however long the daemon learns.
//
// File: "ACCSNAP1", consistent point (8 bytes), then for each transaction the number of records
// (4), the number of bytes (8), the end offset of each record (4 each), the bytes. Little-endian.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/postgres/pgoutput.h"
#include "daemon/row_source.h"
#include "proto/result.h"

namespace accrete::daemon::postgres {

class SpoolWriter {
 public:
  /// Replaces what is at `path`. Errors: Unavailable.
  static Result<SpoolWriter> create(const std::string& path, Lsn consistent_point);
  SpoolWriter(SpoolWriter&& other) noexcept;
  SpoolWriter& operator=(SpoolWriter&&) = delete;
  ~SpoolWriter();

  /// Errors: Unavailable (disk full, say).
  Status add(const SourceTransaction& transaction);
  /// On return the whole file is on disk under `path`, and the one being written is gone.
  Status finish(const std::string& path);

 private:
  SpoolWriter(std::string path, int file) : path_(std::move(path)), file_(file) {}
  Status write_out();

  std::string path_;
  int file_;
  std::string buffer_;
};

class SpoolReader {
 public:
  /// Errors: NotFound; Corruption for a file that is none.
  static Result<SpoolReader> open(const std::string& path);
  SpoolReader(SpoolReader&& other) noexcept;
  SpoolReader& operator=(SpoolReader&&) = delete;
  ~SpoolReader();

  Lsn consistent_point() const { return consistent_point_; }
  /// The next transaction (positions 1, 2, …); false at the end. Errors: Corruption.
  Result<bool> next(SourceTransaction& out);

 private:
  explicit SpoolReader(int file) : file_(file) {}
  Result<bool> read(void* to, std::size_t size);

  int file_;
  Lsn consistent_point_ = 0;
  std::uint64_t position_ = 0;
};

}  // namespace accrete::daemon::postgres
