// The key cache and its store.
#include "store/key_index.h"

#include <algorithm>
#include <cstring>

#include "proto/hash.h"
#include "store/keys.h"

namespace accrete::store {
namespace {

constexpr std::size_t kExactBytes = 15;

std::uint64_t hash_of(const KeyIdentity& identity) {
  std::uint64_t z = identity.high ^ (identity.low * 0x9E37'79B9'7F4A'7C15ull);
  z = (z ^ (z >> 32)) * 0xD6E8'FEB8'6659'FD93ull;
  return z ^ (z >> 32);
}

std::string stored_key(TableId table, std::string_view key) {
  std::string out;
  out.reserve(2 + key.size());
  put_be<std::uint16_t>(out, table.value);
  out += key;
  return out;
}

}  // namespace

KeyIdentity identity_of(std::string_view key) {
  if (key.size() <= kExactBytes) {
    std::array<char, 16> bytes{};
    std::memcpy(bytes.data(), key.data(), key.size());
    bytes[15] = static_cast<char>(key.size());
    const std::string_view all(bytes.data(), bytes.size());
    return {get_be<std::uint64_t>(all), get_be<std::uint64_t>(all, 8)};
  }
  const Hash128 hash = hash128(key);
  return {hash.high, hash.low | 0xFF};  // no exact identity ends in 0xFF
}

std::uint32_t RowCache::find(const KeyIdentity& identity) const {
  const std::uint64_t hash = hash_of(identity);
  const std::vector<Slot>& slots = shards_[hash >> 58].slots;
  if (slots.empty()) return kNone;
  const std::size_t mask = slots.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots[at];
    if (slot.row == kNone) return kNone;
    if (slot.identity() == identity) return slot.row;
  }
}

void RowCache::prefetch(const KeyIdentity& identity) const {
  const std::uint64_t hash = hash_of(identity);
  const std::vector<Slot>& slots = shards_[hash >> 58].slots;
  if (!slots.empty()) __builtin_prefetch(&slots[hash & (slots.size() - 1)]);
}

void RowCache::place(std::vector<Slot>& slots, const KeyIdentity& identity, std::uint64_t hash,
                     std::uint32_t row) {
  const std::size_t mask = slots.size() - 1;
  std::size_t at = hash & mask;
  while (slots[at].row != kNone)
    at = (at + 1) & mask;
  slots[at].words = {
      static_cast<std::uint32_t>(identity.high >> 32), static_cast<std::uint32_t>(identity.high),
      static_cast<std::uint32_t>(identity.low >> 32), static_cast<std::uint32_t>(identity.low)};
  slots[at].row = row;
}

void RowCache::insert(const KeyIdentity& identity, std::uint32_t row) {
  const std::uint64_t hash = hash_of(identity);
  Shard& shard = shards_[hash >> 58];
  if (4 * (shard.used + std::size_t{1}) > 3 * shard.slots.size()) {
    std::vector<Slot> larger(std::max<std::size_t>(8, 2 * shard.slots.size()));
    for (const Slot& slot : shard.slots) {
      if (slot.row == kNone) continue;
      const KeyIdentity moved = slot.identity();
      place(larger, moved, hash_of(moved), slot.row);
    }
    bytes_ += (larger.size() - shard.slots.size()) * sizeof(Slot);
    shard.slots = std::move(larger);
  }
  place(shard.slots, identity, hash, row);
  ++shard.used;
}

void RowCache::clear() {
  shards_ = {};
  bytes_ = 0;
}

Status KeyIndex::warm(std::size_t bytes_max) {
  bool damaged = false;
  const std::string prefix = stored_key(table_, {});
  ACCRETE_DO(state_->scan(Section::Keys, prefix, [&](std::string_view key, std::string_view row) {
    if (row.size() != 4) {
      damaged = true;
      return false;
    }
    if (young_.bytes() >= bytes_max) {
      complete_ = false;
      return false;
    }
    young_.insert(identity_of(key.substr(prefix.size())), get_be<std::uint32_t>(row));
    return true;
  }));
  if (damaged) return Error{Errc::Corruption, "a stored key of the graph does not decode"};
  return Ok{};
}

Result<std::optional<std::uint32_t>> KeyIndex::find(std::string_view key) {
  using Found = std::optional<std::uint32_t>;
  const KeyIdentity identity = identity_of(key);
  std::uint32_t row = young_.find(identity);
  if (row != RowCache::kNone) return Found(row);
  row = old_.find(identity);
  if (row == RowCache::kNone) {
    if (complete_) return Found{};
    ACCRETE_TRY(const bool found, state_->get(Section::Keys, stored_key(table_, key), buffer_));
    if (!found) return Found{};
    if (buffer_.size() != 4) {
      return Error{Errc::Corruption, "a stored key of the graph does not decode"};
    }
    row = get_be<std::uint32_t>(buffer_);
  }
  young_.insert(identity, row);
  return Found(row);
}

std::optional<std::uint32_t> KeyIndex::cached(std::string_view key) const {
  const KeyIdentity identity = identity_of(key);
  std::uint32_t row = young_.find(identity);
  if (row == RowCache::kNone) row = old_.find(identity);
  return row == RowCache::kNone ? std::nullopt : std::optional(row);
}

void KeyIndex::insert(std::string_view key, std::uint32_t row) {
  young_.insert(identity_of(key), row);
  pending_.push_back({pending_bytes_.size(), static_cast<std::uint32_t>(key.size()), row});
  pending_bytes_ += key;
}

void KeyIndex::stage() {
  // In key order: neighbours in the memtable are found from one another, not from the top.
  const auto by_key = [this](const Pending& a, const Pending& b) {
    return pending_key(a) < pending_key(b);
  };
  if (!std::is_sorted(pending_.begin(), pending_.end(), by_key)) {
    std::sort(pending_.begin(), pending_.end(), by_key);
  }
  std::string key;
  std::string row;
  for (const Pending& pending : pending_) {
    key.clear();
    put_be<std::uint16_t>(key, table_.value);
    key += pending_key(pending);
    row.clear();
    put_be<std::uint32_t>(row, pending.row);
    state_->put(Section::Keys, key, row);
  }
}

void KeyIndex::committed() {
  pending_.clear();
  pending_bytes_.clear();
}

void KeyIndex::rotate(std::uint32_t rows) {
  if (complete_) {
    // The first time there is no old generation to drop: keep the newer half of all rows.
    complete_ = false;
    old_.clear();
    young_.each([&](const KeyIdentity& identity, std::uint32_t row) {
      if (row >= rows / 2) old_.insert(identity, row);
    });
    young_.clear();
    return;
  }
  old_ = std::move(young_);
  young_.clear();
}

}  // namespace accrete::store
