// How a network's memory is kept: examples by pages of a block, labels by pages of rows, so that a
// commit writes what changed.
#include <algorithm>
#include <cmath>

#include "daemon/network_memory.h"
#include "proto/bytes.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::size_t kPageExamples = 512;
constexpr std::size_t kExampleBytes = 28;
constexpr const char* kExamples = "examples/";
constexpr const char* kLabels = "labels/";

/// Keys are in the order of their numbers.
std::string key_of(std::string key, std::uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8)
    key.push_back(static_cast<char>((number >> shift) & 0xFF));
  return key;
}

/// The number that begins so many bytes before a key's end. 0: the key is too short.
std::uint32_t number_at(std::string_view key, std::size_t before_end) {
  if (key.size() < before_end) return 0;
  std::uint32_t number = 0;
  for (const char byte : key.substr(key.size() - before_end, sizeof number))
    number = number << 8 | static_cast<std::uint8_t>(byte);
  return number;
}

}  // namespace

/// Pages from the first example on that changed.
void NetworkMemory::stage_block(std::uint32_t block, std::size_t from, const std::string& prefix,
                                store::State& state) {
  const std::span<const Stored> examples =
      block < blocks_.size() ? std::span<const Stored>(blocks_[block]) : std::span<const Stored>();
  const auto pages =
      static_cast<std::uint32_t>((examples.size() + kPageExamples - 1) / kPageExamples);
  const std::string key = key_of(prefix + kExamples, block);
  for (auto page = static_cast<std::uint32_t>(from / kPageExamples); page < pages; ++page) {
    std::string bytes;
    ByteWriter writer(bytes);
    const std::size_t first = page * kPageExamples;
    const std::size_t count = std::min(kPageExamples, examples.size() - first);
    for (const Stored& example : examples.subspan(first, count)) {
      writer.put(example.row);
      writer.put(example.label);
      writer.put(example.at_us);
      writer.put(example.start);
    }
    state.put(Section::Blobs, key_of(key, page), bytes);
  }
  for (std::uint32_t page = pages; page < pages_[block]; ++page)
    state.erase(Section::Blobs, key_of(key, page));
  pages_[block] = pages;
}

void NetworkMemory::stage(const std::string& prefix, store::State& state) {
  if (dirty_) {
    // A block that changed may be gone again.
    if (!changed_.empty())
      pages_.resize(std::max(pages_.size(), changed_.rbegin()->first + std::size_t{1}));
    for (const auto& [block, from] : changed_)
      stage_block(block, from, prefix, state);
    changed_.clear();
    std::string bytes;
    ByteWriter writer(bytes);
    writer.put(over_);
    writer.put(static_cast<std::uint64_t>(size_));
    writer.put(static_cast<std::uint64_t>(labels_now_max_));
    state.put(Section::Blobs, prefix + "examples", bytes);
    dirty_ = false;
  }
  for (const std::uint32_t page : touched_) {
    std::string bytes;
    ByteWriter writer(bytes);
    const std::size_t end =
        std::min<std::size_t>(labels_.size(), (page + std::size_t{1}) * kPageRows);
    for (std::size_t row = std::size_t{page} * kPageRows; row < end; ++row) {
      writer.put(static_cast<std::uint32_t>(labels_[row].size()));
      for (const KnownLabel& known : labels_[row]) {
        writer.put(known.known.value);
        writer.put(known.label);
      }
    }
    state.put(Section::Labels, key_of(prefix + kLabels, page), bytes);
  }
  touched_.clear();
  if (!instants_dirty_) return;
  std::string bytes;
  ByteWriter writer(bytes);
  writer.put(static_cast<std::uint64_t>(instants_.size()));
  for (const Instant& instant : instants_) {
    writer.put(instant.known_us);
    writer.put(instant.sum);
    writer.put(instant.count);
  }
  state.put(Section::Blobs, prefix + "instants", bytes);
  instants_dirty_ = false;
}

Status NetworkMemory::load_instants(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto count = reader.get<std::uint64_t>();
  bool sound = reader.ok() && count <= kInstantsMax;
  for (std::uint64_t i = 0; i < count && sound && reader.ok(); ++i) {
    Instant& instant = instants_.emplace_back();
    instant.known_us = reader.get<std::int64_t>();
    instant.sum = reader.get<double>();
    instant.count = reader.get<double>();
    sound = std::isfinite(instant.sum) && instant.count > 0;
  }
  if (sound && reader.done() && std::ranges::is_sorted(instants_, {}, &Instant::known_us))
    return Ok{};
  return Error{Errc::Corruption, "stored means of a network's labels do not decode"};
}

Status NetworkMemory::load_examples(std::string_view position, const std::string& prefix,
                                    const store::State& state) {
  const Error corrupt{Errc::Corruption, "stored examples of a network do not decode"};
  ByteReader reader(position);
  over_ = reader.get<std::uint32_t>();
  const auto size = reader.get<std::uint64_t>();
  labels_now_max_ = reader.get<std::uint64_t>();
  if (!reader.done() || labels_now_max_ < 2 || labels_now_max_ > options_.labels_max)
    return corrupt;
  bool decoded = true;
  ACCRETE_DO(state.scan(Section::Blobs, prefix + kExamples,
                        [&](std::string_view key, std::string_view value) {
                          decoded = load_page(number_at(key, 8), number_at(key, 4), value);
                          return decoded;
                        }));
  if (!decoded || size_ != size) return corrupt;
  for (const auto& block : blocks_)
    if (!std::ranges::is_sorted(block, {}, &Stored::at_us)) return corrupt;
  return Ok{};
}

/// The next page of a block. Pages come in their order.
bool NetworkMemory::load_page(std::uint32_t block, std::uint32_t page, std::string_view bytes) {
  if (bytes.empty() || bytes.size() % kExampleBytes != 0) return false;
  if (bytes.size() > kPageExamples * kExampleBytes) return false;
  if (block >= blocks_.size()) {
    blocks_.resize(block + std::size_t{1});
    pages_.resize(blocks_.size());
  }
  auto& examples = blocks_[block];
  if (examples.size() != page * kPageExamples) return false;
  ByteReader reader(bytes);
  while (!reader.done()) {
    Stored& example = examples.emplace_back();
    example.row = reader.get<std::uint32_t>();
    example.label = reader.get<double>();
    example.at_us = reader.get<std::int64_t>();
    example.start = reader.get<double>();
    ++size_;
  }
  pages_[block] = page + 1;
  return true;
}

bool NetworkMemory::load_labels(std::size_t row, std::string_view bytes) {
  ByteReader reader(bytes);
  for (const std::size_t end = row + kPageRows; row < end && !reader.done(); ++row) {
    const auto count = reader.get<std::uint32_t>();
    if (!reader.ok() || count > labels_now_max_) return false;
    if (row >= labels_.size()) labels_.resize(row + 1);
    Labels& own = labels_[row];
    for (std::uint32_t i = 0; i < count; ++i) {
      const TimeUs known{reader.get<std::int64_t>()};
      own.push_back({reader.get<double>(), known});
    }
    labels_kept_ += count;
    if (!reader.ok() || !std::ranges::is_sorted(own, {}, &KnownLabel::known)) return false;
  }
  return reader.done();
}

Status NetworkMemory::load(const std::string& prefix, store::State& state) {
  ACCRETE_TRY(const auto examples, state.get(Section::Blobs, prefix + "examples"));
  if (examples) ACCRETE_DO(load_examples(*examples, prefix, state));
  ACCRETE_TRY(const auto instants, state.get(Section::Blobs, prefix + "instants"));
  if (instants) ACCRETE_DO(load_instants(*instants));
  bool decoded = true;
  ACCRETE_DO(state.scan(Section::Labels, prefix + kLabels,
                        [&](std::string_view key, std::string_view value) {
                          decoded = load_labels(std::size_t{number_at(key, 4)} * kPageRows, value);
                          return decoded;
                        }));
  if (!decoded) return Error{Errc::Corruption, "stored labels of a network do not decode"};
  return Ok{};
}

}  // namespace accrete::daemon
