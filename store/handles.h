// The RocksDB objects behind Database, for the files of store/ only.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/slice.h>

#include "proto/result.h"
#include "store/database.h"

namespace accrete::store {

/// Column families; what each holds is in store/README.md.
enum class Family : std::uint8_t {
  Meta,  ///< its name carries the format: "accrete-1"
  Log,
  Keys,
  Nodes,
  Adjacency,
  Segments,
  Labels,
  Blobs,
  Predictions,
  Latest,
  Subscribers,
  Dead,
};
inline constexpr std::size_t kFamilies = 12;

struct Database::Handles {
  std::unique_ptr<rocksdb::DB> db;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies> families{};
  rocksdb::ColumnFamilyHandle* unused_default = nullptr;  ///< RocksDB insists on having one
  std::shared_ptr<rocksdb::Cache> cache;
  std::string path;
  bool sync = true;

  rocksdb::ColumnFamilyHandle* family(Family which) const {
    return families[static_cast<std::size_t>(which)];
  }
};

inline rocksdb::Slice slice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}
inline std::string_view view(const rocksdb::Slice& bytes) {
  return {bytes.data(), bytes.size()};
}

/// `doing` says what failed. Corruption and InvalidArgument become Corruption, NotFound stays, all
/// else (I/O, busy, space) is Unavailable.
Error to_error(const rocksdb::Status& status, std::string_view doing);

inline Status to_status(const rocksdb::Status& status, std::string_view doing) {
  if (status.ok()) return Ok{};
  return to_error(status, doing);
}

/// Smallest key after every key with this prefix; empty when there is none (all 0xFF).
std::string prefix_end(std::string_view prefix);

/// Names of keys in Family::Meta.
namespace meta {
inline constexpr std::string_view kCursor = "cursor";
inline constexpr std::string_view kLogEnd = "log.end";
inline constexpr std::string_view kDeadEnd = "dead.end";
inline constexpr std::string_view kPredictionEnd = "prediction.end";
inline constexpr std::string_view kSource = "source/";  ///< + number as 4 bytes
inline constexpr std::string_view kMemory = "memory/";  ///< + source as 4 bytes, position as 8
}  // namespace meta

}  // namespace accrete::store
