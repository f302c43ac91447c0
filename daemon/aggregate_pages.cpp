// Pages of states: allocation under a budget, bytes on disk.
#include "daemon/aggregate_pages.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "proto/bytes.h"
#include "store/keys.h"

namespace accrete::daemon {
namespace {

using store::Section;

/// A power of two, so that a key finds its page by a shift; one state may be larger than a page.
std::size_t states_per_page(std::size_t stride) {
  const std::size_t fit = AggregatePages::kPageBytes / (stride * sizeof(double));
  return std::bit_floor(std::max<std::size_t>(fit, 1));
}

}  // namespace

AggregatePages::AggregatePages(std::string prefix, std::size_t stride, PageBudget& budget)
    : prefix_(std::move(prefix)),
      stride_(stride),
      per_page_(states_per_page(stride)),
      budget_(&budget) {}

AggregatePages::AggregatePages(AggregatePages&& other) noexcept
    : prefix_(std::move(other.prefix_)),
      stride_(other.stride_),
      per_page_(other.per_page_),
      budget_(other.budget_),
      pages_(std::exchange(other.pages_, {})),
      dirty_(std::move(other.dirty_)),
      full_(other.full_),
      was_reset_(other.was_reset_) {}

AggregatePages::~AggregatePages() {
  drop();
}

void AggregatePages::drop() {
  for (Page& page : pages_) {
    if (page.states != nullptr) budget_->bytes -= page_bytes();
    page.states.reset();
    page.dirty = false;
  }
  dirty_.clear();
}

void AggregatePages::reset(std::size_t stride) {
  drop();
  stride_ = stride;
  per_page_ = states_per_page(stride);
  full_ = false;
  was_reset_ = true;
}

const double* AggregatePages::find(std::uint32_t key) const {
  const std::size_t number = key / per_page_;
  if (number >= pages_.size() || pages_[number].states == nullptr) return nullptr;
  return pages_[number].states.get() + (key % per_page_) * stride_;
}

double* AggregatePages::touch(std::uint32_t key) {
  const std::size_t number = key / per_page_;
  if (number >= pages_.size()) {
    if (full_) return nullptr;
    pages_.resize(number + 1);
  }
  Page& page = pages_[number];
  if (page.states == nullptr) {
    full_ = full_ || budget_->bytes + page_bytes() > budget_->bytes_max;
    if (full_) return nullptr;
    page.states = std::make_unique<double[]>(per_page_ * stride_);
    budget_->bytes += page_bytes();
  }
  if (!page.dirty) {
    page.dirty = true;
    dirty_.push_back(number);
  }
  return page.states.get() + (key % per_page_) * stride_;
}

std::string AggregatePages::key_of(std::size_t page) const {
  std::string key = prefix_;
  store::put_be(key, static_cast<std::uint32_t>(page));
  return key;
}

void AggregatePages::stage(store::State& state) {
  if (was_reset_) {
    for (std::size_t number = 0; number < pages_.size(); ++number) {
      Page& page = pages_[number];
      if (!page.stored || page.states != nullptr) continue;
      state.erase(Section::Blobs, key_of(number));
      page.stored = false;
    }
    was_reset_ = false;
  }
  std::sort(dirty_.begin(), dirty_.end());
  for (const std::size_t number : dirty_) {
    Page& page = pages_[number];
    std::string bytes;
    ByteWriter writer(bytes);
    writer.put(static_cast<std::uint32_t>(stride_));
    for (std::size_t i = 0; i < per_page_; ++i) {
      const double* from = page.states.get() + i * stride_;
      if (from[0] == 0) continue;
      writer.put(static_cast<std::uint32_t>(i));
      bytes.append(reinterpret_cast<const char*>(from), stride_ * sizeof(double));
    }
    state.put(Section::Blobs, key_of(number), bytes);
    page.dirty = false;
    page.stored = true;
  }
  dirty_.clear();
}

Status AggregatePages::decode(std::size_t number, std::string_view bytes) {
  const Error corrupt{Errc::Corruption, "a page of aggregates does not decode"};
  const std::size_t state_bytes = stride_ * sizeof(double);
  if (bytes.size() < sizeof(std::uint32_t)) return corrupt;
  ByteReader reader(bytes.substr(0, sizeof(std::uint32_t)));
  if (reader.get<std::uint32_t>() != stride_) return corrupt;
  bytes.remove_prefix(sizeof(std::uint32_t));
  if (number >= pages_.size()) pages_.resize(number + 1);
  Page& page = pages_[number];
  page.states = std::make_unique<double[]>(per_page_ * stride_);
  page.stored = true;
  budget_->bytes += page_bytes();
  while (!bytes.empty()) {
    if (bytes.size() < sizeof(std::uint32_t) + state_bytes) return corrupt;
    const auto i = ByteReader(bytes).get<std::uint32_t>();
    if (i >= per_page_) return corrupt;
    std::memcpy(page.states.get() + i * stride_, bytes.data() + sizeof(i), state_bytes);
    bytes.remove_prefix(sizeof(i) + state_bytes);
  }
  return Ok{};
}

Status AggregatePages::load(store::State& state, bool full) {
  full_ = full;
  Status decoded = Ok{};
  ACCRETE_DO(state.scan(Section::Blobs, prefix_, [&](std::string_view key, std::string_view value) {
    decoded = key.size() == prefix_.size() + sizeof(std::uint32_t)
                  ? decode(store::get_be<std::uint32_t>(key, prefix_.size()), value)
                  : Status(Error{Errc::Corruption, "a page of aggregates has no number"});
    return bool(decoded);
  }));
  return decoded;
}

}  // namespace accrete::daemon
