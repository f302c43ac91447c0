// Which examples stay, and which are drawn; network_memory_state.cpp keeps them.
#include "daemon/network_memory.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "proto/hash.h"

namespace accrete::daemon {
namespace {

constexpr double kInstantDecay = 0.7;

}  // namespace

NetworkMemory::NetworkMemory(const NetworkMemoryOptions& options)
    : options_(options), labels_now_max_(options.labels_max) {
  ACCRETE_CHECK(options.labels_max > 1);
}

std::uint64_t NetworkMemory::hash_of(const Stored& example) const {
  Rng rng(options_.seed ^ example.row, static_cast<std::uint64_t>(example.at_us),
          Purpose::Training);
  const std::uint64_t hash = rng.next();
  if (!options_.lists) return hash;
  // Links of one list share row and instant: with one hash they would all stay or all go.
  return Rng(hash, std::bit_cast<std::uint64_t>(example.label), Purpose::Training).next();
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
  change(block, static_cast<std::size_t>(place - examples.begin()));
  examples.insert(place, {example.row, example.label, example.at.value, example.start});
  ++size_;
  dirty_ = true;
  if (options_.per_class > 0 && block < over_) close(block);
  // A tenth more than may stay, so that a shrink is paid for by what came since the last.
  if (size_ > options_.examples_max + options_.examples_max / 10) shrink();
}

void NetworkMemory::close_before(std::uint32_t block) {
  if (options_.per_class == 0) return;
  const std::uint32_t end = std::min(block, blocks());
  for (std::uint32_t b = over_; b < end; ++b)
    close(b);
  over_ = std::max(over_, block);
  dirty_ = true;
}

void NetworkMemory::forget_before(std::uint32_t block) {
  for (std::uint32_t b = 0; b < std::min(block, blocks()); ++b) {
    if (blocks_[b].empty()) continue;
    change(b, 0);
    size_ -= blocks_[b].size();
    blocks_[b] = {};
  }
  drop_empty_end();
  dirty_ = true;
}

/// So that blocks() follows from what is stored.
void NetworkMemory::drop_empty_end() {
  while (!blocks_.empty() && blocks_.back().empty())
    blocks_.pop_back();
}

/// Leave at most examples_max, taken from the largest blocks: none has more than the quota, and
/// one that had no more lost none. Where not even one a block fits, the oldest blocks are emptied.
void NetworkMemory::shrink() {
  std::vector<std::size_t> sizes;  // of blocks that keep some, newest first
  for (std::uint32_t b = blocks(); b-- > 0;) {
    if (blocks_[b].empty()) continue;
    if (sizes.size() == options_.examples_max) {
      change(b, 0);
      blocks_[b].clear();
    } else {
      sizes.push_back(blocks_[b].size());
    }
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
  for (std::uint32_t b = 0; b < blocks(); ++b) {
    auto& block = blocks_[b];
    if (block.size() > quota) {
      change(b, 0);
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
  drop_empty_end();
}

/// Examples of a block from this place on are others than those that are stored.
void NetworkMemory::change(std::uint32_t block, std::size_t from) {
  const auto [known, is_new] = changed_.try_emplace(block, from);
  if (!is_new) known->second = std::min(known->second, from);
  dirty_ = true;
}

/// The block is over: of each label, the examples of smallest hash stay.
void NetworkMemory::close(std::uint32_t number) {
  std::vector<Stored>& block = blocks_[number];
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
  const std::size_t gone = std::erase_if(block, goes);
  if (gone > 0) change(number, 0);
  size_ -= gone;
}

void NetworkMemory::know(std::uint32_t row, double label, TimeUs known) {
  if (row >= labels_.size()) labels_.resize(row + std::size_t{1});
  Labels& own = labels_[row];
  if (own.size() >= labels_now_max_) {
    const std::size_t go = std::max<std::size_t>(labels_now_max_ / 4, 1);
    own.erase(own.begin(), own.begin() + static_cast<std::ptrdiff_t>(go));
    labels_kept_ -= go;
  }
  own.push_back({label, known});
  ++labels_kept_;
  touched_.insert(row / kPageRows);
  if (labels_kept_ > options_.all_labels_max) halve_labels();
  if (!options_.means) return;
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

void NetworkMemory::halve_labels() {
  if (labels_now_max_ <= 2) return;
  labels_now_max_ = std::max<std::size_t>(labels_now_max_ / 2, 2);
  dirty_ = true;
  for (std::size_t row = 0; row < labels_.size(); ++row) {
    Labels& own = labels_[row];
    if (own.size() <= labels_now_max_) continue;
    labels_kept_ -= own.size() - labels_now_max_;
    own = Labels(own.end() - static_cast<std::ptrdiff_t>(labels_now_max_), own.end());
    touched_.insert(static_cast<std::uint32_t>(row / kPageRows));
  }
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
                              std::vector<NetworkExample>& out, std::size_t run_max) const {
  const auto& examples = blocks_[block];
  ACCRETE_CHECK(!examples.empty() && run_max > 0);
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
    const std::size_t run = std::min(rows, run_max);
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

}  // namespace accrete::daemon
