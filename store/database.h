// The one RocksDB behind everything: column families, format stamp, epochs. No other file outside
// store/ names RocksDB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "proto/result.h"

namespace accrete::store {

struct DatabaseOptions {
  std::string path;
  std::size_t block_cache_bytes = 128u << 20;
  std::size_t memtable_bytes = 128u << 20;  ///< all column families together
  bool sync = true;        ///< false only where nothing must survive (backtest in a scratch folder)
  bool read_only = false;  ///< for `log verify` and inspection
};

/// Opens, stamps and closes the database; shared by Log, State, Graph and PredictionLog, which
/// must not outlive it.
class Database {
 public:
  /// Open or create.
  /// Errors:  Corruption if the folder holds something that is not ours or a newer format ("written
  ///          by format 7, this accreted reads 1…3; use that version or another store.path") and
  ///          leaves it untouched; Unavailable if another process holds the lock or I/O fails.
  static Result<std::unique_ptr<Database>> open(const DatabaseOptions& options);
  ~Database();

  /// Bytes of all files; bytes of memtables and caches. For metrics and the memory cap.
  std::uint64_t disk_bytes() const;
  std::uint64_t memory_bytes() const;

  struct Handles;  ///< RocksDB objects; defined in store/handles.h, private to store/
  Handles& handles() { return *handles_; }

 private:
  explicit Database(std::unique_ptr<Handles> handles);
  std::unique_ptr<Handles> handles_;
};

}  // namespace accrete::store
