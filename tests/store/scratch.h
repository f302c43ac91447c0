// A folder of its own for each test, gone afterwards, and a database in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "store/database.h"

namespace accrete::store {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "accrete-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return path_; }

  DatabaseOptions options() const {
    DatabaseOptions out;
    out.path = path_;
    out.block_cache_bytes = 8u << 20;
    out.memtable_bytes = 4u << 20;
    out.sync = false;
    return out;
  }

 private:
  std::string path_;
};

/// The value, or a failed test and a crash that names the error.
template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().detail;
  return std::move(result).value();
}

inline void must(const Status& status) {
  if (!status) ADD_FAILURE() << status.error().detail;
}

inline std::unique_ptr<Database> open_database(const Scratch& scratch) {
  return must(Database::open(scratch.options()));
}

}  // namespace accrete::store
