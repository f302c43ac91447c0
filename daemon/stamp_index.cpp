// Rows by time stamp.
#include "daemon/stamp_index.h"

#include <algorithm>
#include <span>
#include <utility>

#include "proto/bytes.h"
#include "store/keys.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::size_t entry_bytes = 128;  // of the map's node and the vector's block

}  // namespace

std::string StampIndex::key_of(std::int64_t time) const {
  std::string key = prefix_;
  store::put_be(key, static_cast<std::uint64_t>(time));
  return key;
}

StampIndex::Entry& StampIndex::entry(std::int64_t time) {
  const auto [found, is_new] = entries_.try_emplace(time);
  if (!is_new) return found->second;
  memory_bytes_ += entry_bytes;
  auto stored = state_->get(Section::Blobs, key_of(time));
  if (!stored) {
    if (!failure_) failure_ = stored.error();
    return found->second;
  }
  if (!stored.value()) return found->second;
  ByteReader reader(*stored.value());
  found->second.stamp.crowded = reader.get<std::uint8_t>() != 0;
  found->second.stamp.rows = reader.get_all<std::uint32_t>();
  if (!reader.done() && !failure_) {
    failure_ = Error{Errc::Corruption, "the rows of a time stamp do not decode"};
  }
  return found->second;
}

void StampIndex::insert(std::int64_t time, std::uint32_t row) {
  Entry& at = entry(time);
  if (at.stamp.crowded) return;
  at.dirty = true;
  auto& rows = at.stamp.rows;
  rows.insert(std::upper_bound(rows.begin(), rows.end(), row), row);
  if (rows.size() <= kRowsMax) return;
  at.stamp.crowded = true;
  rows.clear();
}

void StampIndex::erase(std::int64_t time, std::uint32_t row) {
  Entry& at = entry(time);
  if (at.stamp.crowded) return;
  at.dirty = true;
  std::erase(at.stamp.rows, row);
}

void StampIndex::stage(store::State& state) {
  for (const auto& [time, entry] : entries_) {
    if (!entry.dirty) continue;
    if (entry.stamp.rows.empty() && !entry.stamp.crowded) {
      state.erase(Section::Blobs, key_of(time));
      continue;
    }
    std::string bytes;
    ByteWriter writer(bytes);
    writer.put(static_cast<std::uint8_t>(entry.stamp.crowded));
    writer.put_all(std::span(entry.stamp.rows));
    state.put(Section::Blobs, key_of(time), bytes);
  }
  // What is staged is read back after the commit, which follows at once.
  entries_.clear();
  memory_bytes_ = 0;
}

}  // namespace accrete::daemon
