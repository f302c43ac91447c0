// Pages of raw examples: filled, later narrowed, at last dropped.
#include "models/example_memory.h"

#include <algorithm>

namespace accrete::models {
namespace {

std::size_t bytes_of(const ExampleMemory::Page& page) {
  return (page.values.size() + page.means.size()) * sizeof(float);
}

template <class T>
void save_list(StateWriter& writer, const std::vector<T>& list) {
  writer.u64(list.size());
  writer.raw(list.data(), list.size() * sizeof(T));
}

template <class T>
std::vector<T> load_list(StateReader& reader) {
  std::vector<T> list(reader.count(sizeof(T)));
  reader.raw(list.data(), list.size() * sizeof(T));
  return list;
}

void narrow(std::vector<float>& values, std::size_t width, std::span<const std::uint32_t> keep) {
  std::vector<float> narrowed;
  narrowed.reserve(values.size() / width * keep.size());
  for (std::size_t begin = 0; begin < values.size(); begin += width) {
    for (const std::uint32_t column : keep) {
      narrowed.push_back(values[begin + column]);
    }
  }
  values = std::move(narrowed);
}

void save_page(StateWriter& writer, const ExampleMemory::Page& page) {
  writer.u32(page.width);
  save_list(writer, page.columns);
  save_list(writer, page.values);
  save_list(writer, page.means);
  writer.u64(page.ticks.size());
  for (const TickFacts& facts : page.ticks) {
    writer.u64(facts.position);
    for (const double v : {facts.seeds, facts.centre, facts.spread}) {
      writer.f64(v);
    }
  }
  save_list(writer, page.tick);
  save_list(writer, page.labels);
  save_list(writer, page.weights);
}

ExampleMemory::Page load_page(StateReader& reader) {
  ExampleMemory::Page page;
  page.width = reader.u32();
  page.columns = load_list<std::uint32_t>(reader);
  page.values = load_list<float>(reader);
  page.means = load_list<float>(reader);
  page.ticks.resize(reader.count(4 * sizeof(double)));
  for (TickFacts& facts : page.ticks) {
    facts.position = reader.u64();
    for (double* v : {&facts.seeds, &facts.centre, &facts.spread}) {
      *v = reader.f64();
    }
  }
  page.tick = load_list<std::uint32_t>(reader);
  page.labels = load_list<double>(reader);
  page.weights = load_list<double>(reader);
  const std::size_t rows = page.rows();
  reader.require(page.columns.empty() || page.columns.size() == page.width);
  reader.require(std::is_sorted(page.columns.begin(), page.columns.end()));
  reader.require(page.values.size() == rows * page.width && page.tick.size() == rows);
  reader.require(page.means.size() == page.ticks.size() * page.width);
  reader.require(page.weights.size() == rows && rows > 0);
  for (const std::uint32_t tick : page.tick) {
    reader.require(tick < page.ticks.size());
  }
  return page;
}

}  // namespace

std::int32_t ExampleMemory::Page::place(std::uint32_t source) const {
  if (columns.empty()) return source < width ? static_cast<std::int32_t>(source) : -1;
  const auto found = std::lower_bound(columns.begin(), columns.end(), source);
  const bool held = found != columns.end() && *found == source;
  return held ? static_cast<std::int32_t>(found - columns.begin()) : -1;
}

void ExampleMemory::append(const TickBlock& block) {
  const std::size_t count = block.labels.size();
  ACCRETE_CHECK(count > 0 && count <= page_rows && block.width >= width_);
  ACCRETE_CHECK(block.values.size() == count * block.width && block.means.size() == block.width);
  const bool fits =
      !pages_.empty() && block.width == width_ && pages_.back().rows() + count <= page_rows;
  width_ = block.width;
  if (!fits) {
    pages_.emplace_back();
    pages_.back().width = static_cast<std::uint32_t>(width_);
    trim();
  }
  Page& page = pages_.back();
  page.tick.insert(page.tick.end(), count, static_cast<std::uint32_t>(page.ticks.size()));
  page.ticks.push_back(block.facts);
  page.values.insert(page.values.end(), block.values.begin(), block.values.end());
  page.means.insert(page.means.end(), block.means.begin(), block.means.end());
  page.labels.insert(page.labels.end(), block.labels.begin(), block.labels.end());
  page.weights.insert(page.weights.end(), block.weights.begin(), block.weights.end());
  rows_ += count;
  bytes_ += (block.values.size() + block.means.size()) * sizeof(float);
}

void ExampleMemory::compact(Page& page) {
  std::vector<std::uint32_t> keep;
  for (const std::uint32_t column : shortlist_) {
    if (column < page.width) keep.push_back(column);
  }
  if (keep.empty() || keep.size() == page.width) return;
  bytes_ -= bytes_of(page);
  narrow(page.values, page.width, keep);
  narrow(page.means, page.width, keep);
  page.width = static_cast<std::uint32_t>(keep.size());
  page.columns = std::move(keep);
  bytes_ += bytes_of(page);
}

/// When a page was closed: the one that left the newest rows is narrowed, the oldest may go.
void ExampleMemory::trim() {
  std::size_t newer = 0;
  for (std::size_t p = pages_.size(); p-- > 0; newer += pages_[p].rows()) {
    if (newer < limits_.full_rows || !pages_[p].columns.empty()) continue;
    compact(pages_[p]);
  }
  std::size_t drop = 0;
  while (drop + 2 < pages_.size() &&
         (rows_ + page_rows > limits_.rows_max || bytes_ > limits_.bytes_max)) {
    rows_ -= pages_[drop].rows();
    bytes_ -= bytes_of(pages_[drop]);
    ++drop;
  }
  pages_.erase(pages_.begin(), pages_.begin() + static_cast<std::ptrdiff_t>(drop));
}

void ExampleMemory::save(StateWriter& writer) const {
  writer.u64(width_);
  save_list(writer, shortlist_);
  writer.u64(pages_.size());
  for (const Page& page : pages_) {
    save_page(writer, page);
  }
}

void ExampleMemory::load(StateReader& reader) {
  width_ = reader.u64();
  shortlist_ = load_list<std::uint32_t>(reader);
  reader.require(std::is_sorted(shortlist_.begin(), shortlist_.end()));
  const std::uint64_t count = reader.count(8 * sizeof(std::uint64_t));
  pages_.clear();
  rows_ = 0;
  bytes_ = 0;
  for (std::uint64_t p = 0; p < count && !reader.failed(); ++p) {
    pages_.push_back(load_page(reader));
    const Page& page = pages_.back();
    reader.require(page.columns.empty() ? page.width <= width_ : page.columns.back() < width_);
    rows_ += page.rows();
    bytes_ += bytes_of(page);
  }
}

}  // namespace accrete::models
