// Key -> row of one table: an exact-as-can-be hash cache in RAM in front of the keys section.
//
// A key of up to 15 bytes is its own identity; a longer one is known by 120 bits of its XXH3-128
// (two of 10^9 long keys collide with probability 4e-19, far below that of a wrong bit in RAM).
// The cache has two generations: a key that is used again moves to the young one, and when the
// budget is reached the old one is dropped. Until that happens the index is complete: it knows
// that a key is new without asking RocksDB.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "store/state.h"

namespace accrete::store {

/// 16 bytes that stand for a key.
struct KeyIdentity {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const KeyIdentity&, const KeyIdentity&) = default;
};
KeyIdentity identity_of(std::string_view key);

/// Open addressing in 64 shards, so that growing never stops the fold for long.
class RowCache {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFFu;

  std::uint32_t find(const KeyIdentity& identity) const;
  /// Start reading the slot where a search for this identity begins.
  void prefetch(const KeyIdentity& identity) const;
  /// Checks: the identity is not there yet.
  void insert(const KeyIdentity& identity, std::uint32_t row);
  void clear();
  std::size_t bytes() const { return bytes_; }

  template <class Visit>
  void each(const Visit& visit) const {
    for (const Shard& shard : shards_) {
      for (const Slot& slot : shard.slots) {
        if (slot.row != kNone) visit(slot.identity(), slot.row);
      }
    }
  }

 private:
  struct Slot {  // 20 bytes: 64-bit members would pad it to 24
    std::array<std::uint32_t, 4> words{};
    std::uint32_t row = kNone;

    KeyIdentity identity() const {
      return {(std::uint64_t{words[0]} << 32) | words[1],
              (std::uint64_t{words[2]} << 32) | words[3]};
    }
  };
  struct Shard {
    std::vector<Slot> slots;  ///< a power of two, at most 3/4 full
    std::uint32_t used = 0;
  };
  static constexpr std::size_t kShards = 64;
  static void place(std::vector<Slot>& slots, const KeyIdentity& identity, std::uint64_t hash,
                    std::uint32_t row);

  std::array<Shard, kShards> shards_;
  std::size_t bytes_ = 0;
};

class KeyIndex {
 public:
  KeyIndex(State& state, TableId table) : state_(&state), table_(table) {}

  /// Fill the cache from the store until `bytes_max`; complete if everything fitted.
  Status warm(std::size_t bytes_max);

  /// Row of a key, committed or not. Errors: those of State::get.
  Result<std::optional<std::uint32_t>> find(std::string_view key);
  /// find() without the store and without remembering the use.
  std::optional<std::uint32_t> cached(std::string_view key) const;
  void prefetch(std::string_view key) const { young_.prefetch(identity_of(key)); }
  /// Checks: find() said nullopt.
  void insert(std::string_view key, std::uint32_t row);

  void stage();
  void committed();
  /// Make room: called between epochs, when nothing is pending.
  void rotate(std::uint32_t rows);

  bool complete() const { return complete_; }
  std::size_t memory_bytes() const {
    return young_.bytes() + old_.bytes() + pending_bytes_.capacity() +
           pending_.capacity() * sizeof(Pending);
  }
  std::size_t dirty_bytes() const { return pending_bytes_.size() + 24 * pending_.size(); }

 private:
  struct Pending {
    std::size_t begin;
    std::uint32_t size;
    std::uint32_t row;
  };
  std::string_view pending_key(const Pending& p) const {
    return std::string_view(pending_bytes_).substr(p.begin, p.size);
  }

  State* state_;
  TableId table_;
  RowCache young_;
  RowCache old_;
  bool complete_ = true;
  std::string pending_bytes_;  ///< keys since the last commit, back to back
  std::vector<Pending> pending_;
  std::string buffer_;
};

}  // namespace accrete::store
