// Pages of node versions. Stored bytes are a sequence of put operations, base and later ones alike:
// row (1 byte), time difference (zigzag varint), ordinal difference (zigzag varint) * 2 + deleted.
#include "store/node_page.h"

#include <algorithm>

#include "store/keys.h"

namespace accrete::store {

bool NodePage::decode(std::string_view bytes) {
  ByteReader in(bytes);
  while (!in.done()) {
    const std::uint32_t row = in.byte();
    last_from_ =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(last_from_) + unzigzag(in.varint()));
    const std::uint64_t word = in.varint();
    last_ordinal_ += unzigzag(word >> 1);
    if (!in.ok() || last_ordinal_ == 0) return false;
    insert(row, {last_from_, (last_ordinal_ << 1) | (word & 1)});
  }
  return true;
}

void NodePage::write(std::uint32_t row, const Stored& stored, std::string& out) {
  const std::uint64_t ordinal = stored.ordinal_deleted >> 1;
  out.push_back(static_cast<char>(static_cast<std::uint8_t>(row)));
  put_varint(out, zigzag(static_cast<std::uint64_t>(stored.from) -
                         static_cast<std::uint64_t>(last_from_)));
  put_varint(out, (zigzag(ordinal - last_ordinal_) << 1) | (stored.ordinal_deleted & 1));
  last_from_ = stored.from;
  last_ordinal_ = ordinal;
}

void NodePage::encode(std::string& out) {
  last_from_ = 0;
  last_ordinal_ = 0;
  for (std::uint32_t row = 0; row < kRows; ++row) {
    if (newest_[row].ordinal_deleted == 0) continue;
    if (const Older* older = find(row)) {
      for (const Stored& stored : older->versions)
        write(row, stored, out);
    }
    write(row, newest_[row], out);
  }
}

void NodePage::put(std::uint32_t row, const Version& version) {
  ACCRETE_CHECK(version.ordinal.value > 0 && version.ordinal.value < (std::uint64_t{1} << 61));
  const Stored stored{version.from.value,
                      (version.ordinal.value << 1) | (version.deleted ? 1u : 0u)};
  write(row, stored, operations());
  insert(row, stored);
}

void NodePage::insert(std::uint32_t row, const Stored& stored) {
  Stored& newest = newest_[row];
  if (newest.ordinal_deleted == 0) {
    newest = stored;
    return;
  }
  Older* older = find(row);
  if (older == nullptr) {
    const auto place = std::lower_bound(older_.begin(), older_.end(), row,
                                        [](const Older& a, std::uint32_t r) { return a.row < r; });
    heap_bytes_ -= older_.capacity() * sizeof(Older);
    older = &*older_.insert(place, Older{static_cast<std::uint8_t>(row), {}});
    heap_bytes_ += older_.capacity() * sizeof(Older);
  }
  std::vector<Stored>& versions = older->versions;
  heap_bytes_ -= versions.capacity() * sizeof(Stored);
  if (stored.from >= newest.from) {
    versions.push_back(newest);
    newest = stored;
  } else {
    const auto place =
        std::upper_bound(versions.begin(), versions.end(), stored.from,
                         [](std::int64_t from, const Stored& b) { return from < b.from; });
    versions.insert(place, stored);
  }
  heap_bytes_ += versions.capacity() * sizeof(Stored);
}

NodePage::Older* NodePage::find(std::uint32_t row) {
  const auto found = std::lower_bound(older_.begin(), older_.end(), row,
                                      [](const Older& a, std::uint32_t r) { return a.row < r; });
  return found != older_.end() && found->row == row ? &*found : nullptr;
}

const NodePage::Older* NodePage::find(std::uint32_t row) const {
  const auto found = std::lower_bound(older_.begin(), older_.end(), row,
                                      [](const Older& a, std::uint32_t r) { return a.row < r; });
  return found != older_.end() && found->row == row ? &*found : nullptr;
}

Version NodePage::to_version(const Stored& stored) {
  return {TimeUs{stored.from}, Ordinal{stored.ordinal_deleted >> 1},
          (stored.ordinal_deleted & 1) != 0};
}

std::optional<Version> NodePage::at(std::uint32_t row, TimeUs as_of) const {
  const Stored& newest = newest_[row];
  if (newest.ordinal_deleted == 0) return std::nullopt;
  if (newest.from <= as_of.value) return to_version(newest);
  const Older* older = find(row);
  if (older == nullptr) return std::nullopt;
  const auto next =
      std::upper_bound(older->versions.begin(), older->versions.end(), as_of.value,
                       [](std::int64_t time, const Stored& b) { return time < b.from; });
  if (next == older->versions.begin()) return std::nullopt;
  return to_version(*(next - 1));
}

std::optional<Version> NodePage::newest(std::uint32_t row) const {
  if (newest_[row].ordinal_deleted == 0) return std::nullopt;
  return to_version(newest_[row]);
}

std::optional<Version> NodePage::before(std::uint32_t row, Ordinal ordinal, TimeUs from) const {
  const std::uint64_t end = ordinal.value << 1;
  Stored best;
  const auto look = [&](const Stored& stored) {
    if (stored.ordinal_deleted < end && stored.from <= from.value &&
        stored.ordinal_deleted > best.ordinal_deleted) {
      best = stored;
    }
  };
  look(newest_[row]);
  if (const Older* older = find(row)) {
    for (const Stored& stored : older->versions)
      look(stored);
  }
  if (best.ordinal_deleted == 0) return std::nullopt;
  return to_version(best);
}

void NodePage::list(std::uint32_t row, std::vector<Version>& out) const {
  if (newest_[row].ordinal_deleted == 0) return;
  if (const Older* older = find(row)) {
    for (const Stored& stored : older->versions)
      out.push_back(to_version(stored));
  }
  out.push_back(to_version(newest_[row]));
}

}  // namespace accrete::store
