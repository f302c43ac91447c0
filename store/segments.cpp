// Segment bytes: count, then for each edge time difference (varint, never negative), child
// difference (zigzag) * 2 + ended, and for ended ones end - time (zigzag).
#include "store/segments.h"

#include <algorithm>
#include <bit>

#include "store/keys.h"

namespace accrete::store {
namespace {

constexpr std::size_t kUsualSegmentBytes = 1024 * sizeof(Edge);

std::string stored_key(const SegmentKey& key) {
  std::string out;
  put_be<std::uint16_t>(out, key.relation.value);
  put_be<std::uint32_t>(out, key.parent);
  put_be<std::uint32_t>(out, key.id);
  return out;
}

void encode(const std::vector<Edge>& edges, std::string& out) {
  put_varint(out, edges.size());
  std::uint64_t last_time = static_cast<std::uint64_t>(kTimeMin.value);
  std::uint64_t last_child = 0;
  for (const Edge& edge : edges) {
    const auto time = static_cast<std::uint64_t>(edge.time.value);
    const bool ended = edge.end != kTimeMax;
    put_varint(out, time - last_time);
    put_varint(out, (zigzag(edge.child - last_child) << 1) | (ended ? 1u : 0u));
    if (ended) put_varint(out, zigzag(static_cast<std::uint64_t>(edge.end.value) - time));
    last_time = time;
    last_child = edge.child;
  }
}

bool decode(std::string_view bytes, std::vector<Edge>& out) {
  ByteReader in(bytes);
  const std::uint64_t count = in.varint();
  if (count > in.left()) return false;
  out.resize(count);
  std::uint64_t time = static_cast<std::uint64_t>(kTimeMin.value);
  std::uint64_t child = 0;
  for (Edge& edge : out) {
    time += in.varint();
    const std::uint64_t word = in.varint();
    child += unzigzag(word >> 1);
    edge.time = TimeUs{static_cast<std::int64_t>(time)};
    edge.child = static_cast<std::uint32_t>(child);
    edge.end = kTimeMax;
    if ((word & 1) != 0) {
      edge.end = TimeUs{static_cast<std::int64_t>(time + unzigzag(in.varint()))};
    }
  }
  return in.ok() && in.done();
}

}  // namespace

SegmentStore::SegmentStore(State& state, std::size_t cache_bytes)
    : state_(&state),
      cache_(std::clamp<std::size_t>(std::bit_floor(cache_bytes / kUsualSegmentBytes), 4, 4096)) {}

SegmentStore::Cached& SegmentStore::slot(const SegmentKey& key) {
  std::uint64_t hash = (std::uint64_t{key.parent} << 32 | key.id) * 0x9E37'79B9'7F4A'7C15ull;
  hash ^= (hash >> 29) + key.relation.value;
  return cache_[(hash * 0xD6E8'FEB8'6659'FD93ull >> 32) & (cache_.size() - 1)];
}

const std::vector<Edge>& SegmentStore::load(const SegmentKey& key) {
  Cached& cached = slot(key);
  if (cached.valid && cached.key == key) return cached.edges;
  cached.key = key;
  cached.valid = true;
  cached_bytes_ -= cached.edges.capacity() * sizeof(Edge);
  cached.edges.clear();
  const std::string name = stored_key(key);
  const auto dirty = dirty_.find(name);
  std::string_view bytes;
  if (dirty != dirty_.end()) {
    bytes = dirty->second;
  } else {
    const Result<bool> found = state_->get(Section::Segments, name, buffer_);
    if (!found && health_) health_ = found.error();
    if (found && found.value()) bytes = buffer_;
  }
  if (!decode(bytes, cached.edges)) {
    cached.valid = false;
    cached.edges.clear();
    if (health_) health_ = Error{Errc::Corruption, "a stored segment of the graph does not decode"};
  }
  cached_bytes_ += cached.edges.capacity() * sizeof(Edge);
  return cached.edges;
}

void SegmentStore::store(const SegmentKey& key, const std::vector<Edge>& edges) {
  std::string& bytes = dirty_[stored_key(key)];
  dirty_bytes_ -= bytes.empty() ? 0 : bytes.size() + 32;
  bytes.clear();
  encode(edges, bytes);
  bytes.shrink_to_fit();
  dirty_bytes_ += bytes.size() + 32;  // key and framing
  Cached& cached = slot(key);
  if (cached.key == key) cached.valid = false;
}

void SegmentStore::stage() {
  for (const auto& [key, bytes] : dirty_)
    state_->put(Section::Segments, key, bytes);
}

void SegmentStore::committed() {
  dirty_.clear();
  dirty_bytes_ = 0;
}

}  // namespace accrete::store
