// Which examples stay, which are drawn, and how both are kept.
#include "daemon/network_memory.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "proto/bytes.h"
#include "proto/hash.h"

namespace accrete::daemon {
namespace {

using store::Section;

constexpr std::uint32_t kPageRows = 64;
constexpr std::size_t kRunRows = 64;  // of one instant, drawn together
constexpr double kInstantDecay = 0.7;

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

NetworkMemory::NetworkMemory(const NetworkMemoryOptions& options) : options_(options) {
  ACCRETE_CHECK(options.labels_max > 1);
}

std::uint64_t NetworkMemory::hash_of(const Stored& example) const {
  return Rng(options_.seed ^ example.row, static_cast<std::uint64_t>(example.at_us),
             Purpose::Training)
      .next();
}

std::size_t NetworkMemory::size(std::uint32_t block) const {
  return block < blocks_.size() ? blocks_[block].size() : 0;
}

TimeUs NetworkMemory::oldest() const {
  ACCRETE_CHECK(size_ > 0);
  TimeUs out = kTimeMax;
  for (const auto& block : blocks_)
    if (!block.empty()) out = std::min(out, TimeUs{block.front().at_us});
  return out;
}

void NetworkMemory::add(const NetworkExample& example) {
  const std::uint32_t block = example.block;
  if (block >= blocks_.size()) {
    if (!options_.told_over) close_before(block);
    blocks_.resize(block + std::size_t{1});
  }
  auto& examples = blocks_[block];
  const auto place = std::ranges::upper_bound(examples, example.at.value, {}, &Stored::at_us);
  examples.insert(place, {example.row, example.label, example.at.value, example.start});
  ++size_;
  dirty_ = true;
  if (options_.per_class > 0 && block < over_) close(examples);
  // A tenth more than may stay, so that a shrink is paid for by what came since the last.
  if (size_ > options_.examples_max + options_.examples_max / 10) shrink();
}

void NetworkMemory::close_before(std::uint32_t block) {
  if (options_.per_class == 0) return;
  const std::size_t end = std::min<std::size_t>(block, blocks_.size());
  for (std::size_t b = over_; b < end; ++b)
    close(blocks_[b]);
  over_ = std::max(over_, block);
  dirty_ = true;
}

void NetworkMemory::forget_before(std::uint32_t block) {
  for (std::size_t b = 0; b < std::min<std::size_t>(block, blocks_.size()); ++b) {
    size_ -= blocks_[b].size();
    blocks_[b] = {};
  }
  dirty_ = true;
}

/// Leave at most examples_max, taken from the largest blocks: none has more than the quota, and
/// one that had no more lost none. Where not even one a block fits, the oldest blocks are emptied.
void NetworkMemory::shrink() {
  std::vector<std::size_t> sizes;  // of blocks that keep some, newest first
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
    if (sizes.size() == options_.examples_max) block->clear();
    if (!block->empty()) sizes.push_back(block->size());
  }
  std::ranges::sort(sizes);
  std::size_t left = options_.examples_max;
  std::size_t quota = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    quota = left / (sizes.size() - i);
    if (sizes[i] > quota) break;  // so are all that follow: they share what is left
    left -= sizes[i];
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
}

/// The block is over: of each label, the examples of smallest hash stay.
void NetworkMemory::close(std::vector<Stored>& block) {
  std::map<double, std::vector<std::uint64_t>> hashes;
  const auto label_of = [&](const Stored& example) { return options_.classes ? example.label : 0; };
  for (const Stored& example : block)
    hashes[label_of(example)].push_back(hash_of(example));
  for (auto& [label, of_label] : hashes) {
    if (of_label.size() <= options_.per_class) continue;
    std::ranges::nth_element(of_label,
                             of_label.begin() + static_cast<std::ptrdiff_t>(options_.per_class));
    of_label.resize(options_.per_class + 1);  // the last is the least of those that go
  }
  const auto goes = [&](const Stored& example) {
    const auto& of_label = hashes[label_of(example)];
    return of_label.size() > options_.per_class && hash_of(example) >= of_label.back();
  };
  size_ -= std::erase_if(block, goes);
}

void NetworkMemory::know(std::uint32_t row, double label, TimeUs known) {
  if (row >= labels_.size()) labels_.resize(row + std::size_t{1});
  Labels& own = labels_[row];
  if (own.size() >= options_.labels_max) {
    const std::size_t go = std::max<std::size_t>(options_.labels_max / 4, 1);
    own.erase(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(go));
  }
  own.push_back({label, known});
  touched_.insert(row / kPageRows);
  if (instants_.empty() || instants_.back().known_us < known.value) {
    Instant next{known.value, 0, 0};
    if (!instants_.empty()) {
      next.sum = kInstantDecay * instants_.back().sum;
      next.count = kInstantDecay * instants_.back().count;
    }
    if (instants_.size() >= kInstantsMax)
      instants_.erase(instants_.begin(), instants_.begin() + kInstantsMax / 4);
    instants_.push_back(next);
  }
  instants_.back().sum += label;
  instants_.back().count += 1;
  instants_dirty_ = true;
}

std::optional<double> NetworkMemory::typical(TimeUs at) const {
  const auto next = std::ranges::upper_bound(instants_, at.value, {}, &Instant::known_us);
  if (next == instants_.begin()) return std::nullopt;
  const Instant& newest = *std::prev(next);
  return newest.sum / newest.count;
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
  if (options_.classes) {
    draw_classes(block, count, rng, out);
    return;
  }
  while (count > 0) {
    const std::size_t start = rng.below(examples.size());
    const std::int64_t at = examples[start].at_us;
    const auto begin = std::ranges::lower_bound(examples, at, {}, &Stored::at_us);
    const auto end = std::ranges::upper_bound(examples, at, {}, &Stored::at_us);
    const auto first = static_cast<std::size_t>(begin - examples.begin());
    const auto rows = static_cast<std::size_t>(end - begin);
    // A run shows as many examples as it has rows: to show each example as often as any other, a
    // long run is taken less often, and it goes around its instant.
    const std::size_t run = std::min(rows, kRunRows);
    if (rng.below(run) != 0) continue;
    for (std::size_t i = 0; i < run && count > 0; ++i, --count) {
      const Stored& example = examples[first + (start - first + i) % rows];
      out.push_back(told(example, block));
    }
  }
}

void NetworkMemory::draw_classes(std::uint32_t block, std::size_t count, Rng& rng,
                                 std::vector<NetworkExample>& out) const {
  std::map<double, std::vector<std::uint32_t>> classes;
  const auto& examples = blocks_[block];
  for (std::uint32_t i = 0; i < examples.size(); ++i)
    classes[examples[i].label].push_back(i);
  std::vector<const std::vector<std::uint32_t>*> each;
  each.reserve(classes.size());
  for (const auto& [label, places] : classes)
    each.push_back(&places);
  for (; count > 0; --count) {
    const auto& places = *each[rng.below(each.size())];
    const Stored& example = examples[places[rng.below(places.size())]];
    out.push_back(told(example, block));
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

void NetworkMemory::count_labels(std::uint32_t block, std::span<double> counts) const {
  ACCRETE_CHECK(block < blocks_.size());
  for (const Stored& example : blocks_[block]) {
    const auto label = static_cast<std::size_t>(example.label);
    ACCRETE_CHECK(label < counts.size());
    ++counts[label];
  }
}

void NetworkMemory::sample_all(std::size_t most, std::vector<NetworkExample>& out) const {
  const std::size_t every = std::max<std::size_t>((size_ + most - 1) / most, 1);
  std::size_t place = 0;
  for (std::uint32_t block = 0; block < blocks_.size(); ++block) {
    for (const Stored& example : blocks_[block])
      if (place++ % every == 0) out.push_back(told(example, block));
  }
}

std::size_t NetworkMemory::memory_bytes() const {
  std::size_t bytes = labels_.capacity() * sizeof(Labels) + instants_.capacity() * sizeof(Instant);
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
    writer.put(over_);
    writer.put(static_cast<std::uint64_t>(blocks_.size()));
    for (const auto& block : blocks_) {
      writer.put(static_cast<std::uint64_t>(block.size()));
      for (const Stored& example : block) {
        writer.put(example.row);
        writer.put(example.label);
        writer.put(example.at_us);
        writer.put(example.start);
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

Status NetworkMemory::load_examples(std::string_view bytes) {
  const Error corrupt{Errc::Corruption, "stored examples of a network do not decode"};
  constexpr std::size_t kExampleBytes = 28;
  ByteReader reader(bytes);
  over_ = reader.get<std::uint32_t>();
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
      example.start = reader.get<double>();
    }
    if (!std::ranges::is_sorted(block, {}, &Stored::at_us)) return corrupt;
    size_ += block.size();
  }
  if (!reader.done()) return corrupt;
  return Ok{};
}

bool NetworkMemory::load_labels(std::size_t row, std::string_view bytes) {
  ByteReader reader(bytes);
  for (const std::size_t end = row + kPageRows; row < end && !reader.done(); ++row) {
    const auto count = reader.get<std::uint32_t>();
    if (!reader.ok() || count > options_.labels_max) return false;
    if (row >= labels_.size()) labels_.resize(row + 1);
    Labels& own = labels_[row];
    for (std::uint32_t i = 0; i < count; ++i) {
      const TimeUs known{reader.get<std::int64_t>()};
      own.push_back({reader.get<double>(), known});
    }
    if (!reader.ok() || !std::ranges::is_sorted(own, {}, &KnownLabel::known)) return false;
  }
  return reader.done();
}

Status NetworkMemory::load(const std::string& prefix, store::State& state) {
  ACCRETE_TRY(const auto examples, state.get(Section::Blobs, prefix + "examples"));
  if (examples) ACCRETE_DO(load_examples(*examples));
  ACCRETE_TRY(const auto instants, state.get(Section::Blobs, prefix + "instants"));
  if (instants) ACCRETE_DO(load_instants(*instants));
  bool decoded = true;
  ACCRETE_DO(state.scan(Section::Labels, prefix + "labels/",
                        [&](std::string_view key, std::string_view value) {
                          decoded = load_labels(std::size_t{page_of(key)} * kPageRows, value);
                          return decoded;
                        }));
  if (!decoded) return Error{Errc::Corruption, "stored labels of a network do not decode"};
  return Ok{};
}

}  // namespace accrete::daemon
