// Drawing and keeping the times that labelled rows are shown as of.
#include "daemon/shown_times.h"

#include <algorithm>

#include "proto/bytes.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using store::Section;

/// at + draw, where draw is less than what lies between `at` and a later time.
TimeUs later(TimeUs at, std::uint64_t draw) {
  return TimeUs{static_cast<std::int64_t>(static_cast<std::uint64_t>(at.value) + draw)};
}

std::uint64_t between(TimeUs from, TimeUs to) {
  return static_cast<std::uint64_t>(to.value) - static_cast<std::uint64_t>(from.value);
}

}  // namespace

ShownTimes::Page& ShownTimes::page_of(std::uint32_t row) {
  const std::size_t number = row / kPageRows;
  if (number >= pages_.size()) {
    pages_.resize(number + 1);
    position_dirty_ = true;
  }
  Page& page = pages_[number];
  if (page.kinds.empty()) {
    page.at_us.assign(kPageRows, 0);
    page.kinds.assign(kPageRows, Kind::None);
  }
  page.dirty = true;
  return page;
}

void ShownTimes::settled(std::uint32_t row, TimeUs at, TimeUs known) {
  Page& page = page_of(row);
  const std::size_t place = row % kPageRows;
  if (known <= at) {
    page.kinds[place] = Kind::Brought;
    page.at_us[place] = at.value;
    return;
  }
  const std::uint64_t wait = between(at, known);
  page.kinds[place] = Kind::Waited;
  page.at_us[place] = later(at, draws(row).below(wait)).value;
  // Source: Vitter 1985, "Random sampling with a reservoir", algorithm R.
  position_dirty_ = true;
  ++waits_seen_;
  if (waits_us_.size() < kWaitsMax) {
    waits_us_.push_back(wait);
    return;
  }
  const std::uint64_t slot =
      Rng(seed_ ^ kShown ^ 1, waits_seen_, Purpose::Sample).below(waits_seen_);
  if (slot < kWaitsMax) waits_us_[slot] = wait;
}

void ShownTimes::forget(std::uint32_t row) {
  const std::size_t number = row / kPageRows;
  if (number >= pages_.size() || pages_[number].kinds.empty()) return;
  if (pages_[number].kinds[row % kPageRows] == Kind::None) return;
  page_of(row).kinds[row % kPageRows] = Kind::None;
}

TimeUs ShownTimes::of(std::uint32_t row, TimeUs now) const {
  const std::size_t number = row / kPageRows;
  if (number >= pages_.size() || pages_[number].kinds.empty()) return now;
  const Page& page = pages_[number];
  const TimeUs at{page.at_us[row % kPageRows]};
  switch (page.kinds[row % kPageRows]) {
    case Kind::None:
      return now;
    case Kind::Waited:
      return std::min(at, now);
    case Kind::Brought:
      break;
  }
  if (waits_us_.empty() || at >= now) return now;
  Rng rng = draws(row);
  const std::uint64_t wait = waits_us_[rng.below(waits_us_.size())];
  const std::uint64_t drawn = rng.below(wait);
  return drawn < between(at, now) ? later(at, drawn) : now;
}

std::size_t ShownTimes::memory_bytes() const {
  std::size_t bytes = pages_.capacity() * sizeof(Page);
  for (const Page& page : pages_)
    bytes += page.at_us.size() * sizeof(std::int64_t) + page.kinds.size();
  return bytes;
}

void ShownTimes::stage(store::State& state) {
  std::string bytes;
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    if (!pages_[p].dirty) continue;
    bytes.clear();
    ByteWriter writer(bytes);
    writer.put_all(std::span<const std::int64_t>(pages_[p].at_us));
    writer.put_all(std::span<const Kind>(pages_[p].kinds));
    state.put(Section::Blobs, prefix_ + std::to_string(p), bytes);
    pages_[p].dirty = false;
  }
  if (!position_dirty_) return;
  bytes.clear();
  ByteWriter writer(bytes);
  writer.put(static_cast<std::uint64_t>(pages_.size()));
  writer.put(waits_seen_);
  writer.put_all(std::span<const std::uint64_t>(waits_us_));
  state.put(Section::Blobs, prefix_ + "position", bytes);
  position_dirty_ = false;
}

Status ShownTimes::load(store::State& state) {
  const Error corrupt{Errc::Corruption, "stored " + prefix_ + "* does not decode"};
  std::string bytes;
  ACCRETE_TRY(const bool stored, state.get(Section::Blobs, prefix_ + "position", bytes));
  if (!stored) return Ok{};
  ByteReader position(bytes);
  const auto pages = position.get<std::uint64_t>();
  waits_seen_ = position.get<std::uint64_t>();
  waits_us_ = position.get_all<std::uint64_t>();
  if (!position.done() || pages > ~0u / kPageRows + 1 || waits_us_.size() > kWaitsMax ||
      waits_us_.size() > waits_seen_ || std::ranges::count(waits_us_, 0u) > 0) {
    return corrupt;
  }
  pages_.resize(pages);
  for (std::size_t p = 0; p < pages_.size(); ++p) {
    ACCRETE_TRY(const bool there, state.get(Section::Blobs, prefix_ + std::to_string(p), bytes));
    if (!there) continue;  // none of its rows has a value
    ByteReader reader(bytes);
    pages_[p].at_us = reader.get_all<std::int64_t>();
    pages_[p].kinds = reader.get_all<Kind>();
    if (!reader.done() || pages_[p].at_us.size() != kPageRows ||
        pages_[p].kinds.size() != kPageRows ||
        std::ranges::any_of(pages_[p].kinds, [](Kind kind) { return kind > Kind::Waited; })) {
      return corrupt;
    }
  }
  return Ok{};
}

}  // namespace accrete::daemon
