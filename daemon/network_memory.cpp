#include "daemon/network_memory.h"

#include <algorithm>
#include <cmath>

#include "proto/bytes.h"
#include "proto/hash.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::uint32_t kPageRows = 64;
constexpr std::size_t kRunRows = 64;  // of one instant, drawn together

std::string page_key(const std::string& prefix, std::uint32_t page) {
  std::string key = prefix + "labels/";
  for (int shift = 24; shift >= 0; shift -= 8)
    key.push_back(static_cast<char>((page >> shift) & 0xFF));
  return key;
}

std::uint32_t page_of(std::string_view key) {
  std::uint32_t page = 0;
  for (const char byte : key.substr(key.size() - 4))
    page = page << 8 | static_cast<std::uint8_t>(byte);
  return page;
}

}  // namespace

NetworkMemory::NetworkMemory(std::size_t examples_max, std::uint64_t seed)
    : examples_max_(examples_max), seed_(seed) {}

std::uint64_t NetworkMemory::hash_of(const Stored& example) const {
  return Rng(seed_ ^ example.row, static_cast<std::uint64_t>(example.at_us), Purpose::Training)
      .next();
}

std::size_t NetworkMemory::size(std::uint32_t block) const {
  return block < blocks_.size() ? blocks_[block].size() : 0;
}

void NetworkMemory::add(std::uint32_t row, double label, TimeUs at, std::uint32_t block) {
  ACCRETE_CHECK(block + std::size_t{1} >= blocks_.size());
  if (block >= blocks_.size()) blocks_.resize(block + std::size_t{1});
  blocks_[block].push_back({row, label, at.value});
  ++size_;
  dirty_ = true;
  // A tenth more than may stay, so that a shrink is paid for by what came since the last.
  if (size_ > examples_max_ + examples_max_ / 10) shrink();
}

/// Leave examples_max_, taken from the largest blocks: the same number in each that has so many.
void NetworkMemory::shrink() {
  std::vector<std::size_t> sizes;
  for (const auto& block : blocks_)
    sizes.push_back(block.size());
  std::ranges::sort(sizes);
  std::size_t left = examples_max_;
  std::size_t quota = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    quota = left / (sizes.size() - i);
    left -= std::min(sizes[i], quota);
  }
  size_ = 0;
  std::vector<std::uint64_t> hashes;
  for (auto& block : blocks_) {
    if (block.size() > quota) {
      hashes.clear();
      for (const Stored& example : block)
        hashes.push_back(hash_of(example));
      const auto nth = hashes.begin() + static_cast<std::ptrdiff_t>(quota);
      std::ranges::nth_element(hashes, nth);
      const std::uint64_t bound = *nth;
      std::erase_if(block, [&](const Stored& example) { return hash_of(example) >= bound; });
    }
    size_ += block.size();
  }
  // More blocks than examples: the oldest give up theirs.
  for (std::size_t b = 0; size_ > examples_max_; ++b) {
    size_ -= blocks_[b].size();
    blocks_[b].clear();
  }
}

void NetworkMemory::know(std::uint32_t row, double label, TimeUs known) {
  if (row >= labels_.size()) labels_.resize(row + std::size_t{1});
  Labels& own = labels_[row];
  if (own.size() >= kLabelsMax) own.erase(own.begin(), own.begin() + kLabelsMax / 4);
  own.push_back({label, known});
  touched_.insert(row / kPageRows);
}

void NetworkMemory::newest(std::uint32_t row, TimeUs at, std::size_t k,
                           std::vector<KnownLabel>& out) const {
  if (row >= labels_.size()) return;
  const Labels& own = labels_[row];
  auto end = std::ranges::upper_bound(own, at, {}, &KnownLabel::known);
  for (; k > 0 && end != own.begin(); --k) {
    --end;
    out.push_back(*end);
  }
}

void NetworkMemory::draw_from(std::uint32_t block, std::size_t count, Rng& rng,
                              std::vector<NetworkExample>& out) const {
  const auto& examples = blocks_[block];
  ACCRETE_CHECK(!examples.empty());
  while (count > 0) {
    const std::size_t first = rng.below(examples.size());
    const std::int64_t at = examples[first].at_us;
    for (std::size_t i = first, run = 0;
         i < examples.size() && examples[i].at_us == at && count > 0 && run < kRunRows;
         ++i, ++run, --count) {
      out.push_back({examples[i].row, examples[i].label, TimeUs{at}, block});
    }
  }
}

void NetworkMemory::draw(std::size_t count, Rng rng, std::vector<NetworkExample>& out) const {
  ACCRETE_CHECK(size_ > 0);
  std::vector<std::uint32_t> filled;
  for (std::uint32_t block = 0; block < blocks_.size(); ++block) {
    if (!blocks_[block].empty()) filled.push_back(block);
  }
  const std::uint32_t newest = filled.back();
  const std::size_t fresh =
      filled.size() == 1 ? count : std::min(count / 2, count * 4 * blocks_[newest].size() / size_);
  if (fresh > 0) draw_from(newest, fresh, rng, out);
  filled.pop_back();
  for (std::size_t left = count - fresh; left > 0;) {
    const std::size_t piece = std::min<std::size_t>(left, kRunRows);
    draw_from(filled[rng.below(filled.size())], piece, rng, out);
    left -= piece;
  }
}

std::size_t NetworkMemory::memory_bytes() const {
  std::size_t bytes = labels_.capacity() * sizeof(Labels);
  for (const auto& block : blocks_)
    bytes += block.capacity() * sizeof(Stored);
  for (const Labels& own : labels_)
    bytes += own.capacity() * sizeof(KnownLabel);
  return bytes;
}

void NetworkMemory::stage(const std::string& prefix, store::State& state) {
  if (dirty_) {
    std::string bytes;
    ByteWriter writer(bytes);
    writer.put(static_cast<std::uint64_t>(blocks_.size()));
    for (const auto& block : blocks_) {
      writer.put(static_cast<std::uint64_t>(block.size()));
      for (const Stored& example : block) {
        writer.put(example.row);
        writer.put(example.label);
        writer.put(example.at_us);
      }
    }
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
    state.put(Section::Labels, page_key(prefix, page), bytes);
  }
  touched_.clear();
}

Status NetworkMemory::load_examples(std::string_view bytes) {
  const Error corrupt{Errc::Corruption, "stored examples of a network do not decode"};
  constexpr std::size_t kExampleBytes = 20;
  ByteReader reader(bytes);
  const auto blocks = reader.get<std::uint64_t>();
  if (blocks > bytes.size()) return corrupt;
  blocks_.resize(blocks);
  for (auto& block : blocks_) {
    const auto count = reader.get<std::uint64_t>();
    if (!reader.ok() || count > bytes.size() / kExampleBytes) return corrupt;
    for (std::uint64_t i = 0; i < count; ++i) {
      Stored& example = block.emplace_back();
      example.row = reader.get<std::uint32_t>();
      example.label = reader.get<double>();
      example.at_us = reader.get<std::int64_t>();
    }
    size_ += block.size();
  }
  if (!reader.done()) return corrupt;
  return Ok{};
}

Status NetworkMemory::load(const std::string& prefix, store::State& state) {
  ACCRETE_TRY(const auto examples, state.get(Section::Blobs, prefix + "examples"));
  if (examples) ACCRETE_DO(load_examples(*examples));
  Status decoded = Ok{};
  ACCRETE_DO(state.scan(
      Section::Labels, prefix + "labels/", [&](std::string_view key, std::string_view value) {
        ByteReader reader(value);
        const std::size_t first = std::size_t{page_of(key)} * kPageRows;
        for (std::size_t row = first; row < first + kPageRows && reader.ok() && !reader.done();
             ++row) {
          if (row >= labels_.size()) labels_.resize(row + 1);
          const auto count = reader.get<std::uint32_t>();
          for (std::uint32_t i = 0; i < count && count <= kLabelsMax && reader.ok(); ++i) {
            const TimeUs known{reader.get<std::int64_t>()};
            labels_[row].push_back({reader.get<double>(), known});
          }
        }
        if (!reader.done()) {
          decoded = Error{Errc::Corruption, "stored labels of a network do not decode"};
        }
        return bool(decoded);
      }));
  return decoded;
}

}  // namespace accrete::daemon
