// Which rows of a table share a time stamp. In memory only what was looked up or changed since the
// last commit; the rest is in the store.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proto/result.h"
#include "store/state.h"

namespace accrete::daemon {

class StampIndex {
 public:
  /// Rows of one stamp beyond this are not told apart: the stamp stays crowded for ever.
  static constexpr std::size_t kRowsMax = 256;

  StampIndex(std::string prefix, store::State& state)
      : prefix_(std::move(prefix)), state_(&state) {}

  struct Stamp {
    std::vector<std::uint32_t> rows;  ///< ascending; empty when crowded
    bool crowded = false;
  };
  /// The reference is good until the next call of any function.
  const Stamp& at(std::int64_t time) { return entry(time).stamp; }
  void insert(std::int64_t time, std::uint32_t row);
  void erase(std::int64_t time, std::uint32_t row);

  void stage(store::State& state);
  std::size_t memory_bytes() const { return memory_bytes_; }
  /// First failed read since opening.
  const std::optional<Error>& failure() const { return failure_; }

 private:
  struct Entry {
    Stamp stamp;
    bool dirty = false;
  };
  Entry& entry(std::int64_t time);
  std::string key_of(std::int64_t time) const;

  std::string prefix_;
  store::State* state_;
  std::map<std::int64_t, Entry> entries_;
  std::size_t memory_bytes_ = 0;
  std::optional<Error> failure_;
};

}  // namespace accrete::daemon
