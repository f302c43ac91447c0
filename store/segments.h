// Sealed runs of edges: encoded in RocksDB, a few of them decoded in RAM.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "store/graph.h"
#include "store/state.h"

namespace accrete::store {

struct SegmentKey {
  RelationId relation;
  std::uint32_t parent = 0;
  std::uint32_t id = 0;
  friend bool operator==(const SegmentKey&, const SegmentKey&) = default;
};

class SegmentStore {
 public:
  SegmentStore(State& state, std::size_t cache_bytes);

  /// Edges in time order; empty when reading failed (health() says why). Valid until the next call.
  const std::vector<Edge>& load(const SegmentKey& key);
  void store(const SegmentKey& key, const std::vector<Edge>& edges);

  void stage();
  void committed();

  std::size_t memory_bytes() const {
    return cached_bytes_ + dirty_bytes_ + kEntryBytes * dirty_.size();
  }
  std::size_t dirty_bytes() const { return dirty_bytes_; }
  const Status& health() const { return health_; }

 private:
  struct Cached {
    SegmentKey key;
    bool valid = false;
    std::vector<Edge> edges;
  };
  Cached& slot(const SegmentKey& key);
  static constexpr std::size_t kEntryBytes = 128;  // a map node with its strings, heap included

  State* state_;
  std::vector<Cached> cache_;                 // direct-mapped, a power of two
  std::map<std::string, std::string> dirty_;  // stored key -> bytes, not yet committed
  std::size_t cached_bytes_ = 0;
  std::size_t dirty_bytes_ = 0;
  std::string buffer_;
  Status health_ = Ok{};
};

}  // namespace accrete::store
