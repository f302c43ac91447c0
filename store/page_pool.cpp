// Loading, charging, writing and dropping pages.
#include "store/page_pool.h"

#include <algorithm>
#include <utility>

#include "store/keys.h"

namespace accrete::store {
namespace {

// Below this a rewrite costs no more than an append: RocksDB's own overhead dominates.
constexpr std::size_t kSmallPageBytes = 128;

// While everything over budget is dirty, a load must not sweep all pages in vain.
constexpr std::size_t kStepsPerLoad = 32;

}  // namespace

std::size_t PagePool::add_table(Section section, std::string prefix, Make make) {
  tables_.push_back({section, std::move(prefix), make, {}, {}, 0});
  return tables_.size() - 1;
}

void PagePool::set_stored_pages(std::size_t table, std::uint32_t count) {
  tables_[table].stored_pages = count;
}

std::string PagePool::key(const Table& table, std::uint32_t position) const {
  std::string out = table.prefix;
  put_be<std::uint32_t>(out, position);
  return out;
}

Page* PagePool::load(std::size_t table_number, std::uint32_t position) {
  Table& table = tables_[table_number];
  if (position >= table.pages.size()) {
    const std::size_t before = table.pages.capacity();
    table.pages.resize(position + std::size_t{1});
    slot_bytes_ += (table.pages.capacity() - before) * sizeof(table.pages[0]);
  }
  std::unique_ptr<Page>& slot = table.pages[position];
  if (slot == nullptr) {
    if (used_bytes_ > budget_bytes_) shrink(kStepsPerLoad);
    slot = table.make();
    if (position < table.stored_pages) read(table, position, *slot);
    charge(*slot);
  }
  slot->recent_ = true;
  return health_ ? slot.get() : nullptr;
}

void PagePool::read(const Table& table, std::uint32_t position, Page& page) {
  const Result<bool> found = state_->get(table.section, key(table, position), buffer_);
  if (!found) {
    if (health_) health_ = found.error();
    return;
  }
  if (!found.value()) return;
  if (!page.decode(buffer_)) {
    if (health_) health_ = Error{Errc::Corruption, "a stored page of the graph does not decode"};
    return;
  }
  page.operations_.clear();
  page.rewrite_ = false;
  page.stored_ = true;
  // Which part is base is not stored; counting all of it as base delays one rewrite at most.
  page.base_bytes_ = static_cast<std::uint32_t>(buffer_.size());
}

void PagePool::charge(Page& page) {
  const std::size_t bytes = page.bytes() + page.operations_.capacity();
  used_bytes_ += bytes;
  used_bytes_ -= page.charged_bytes_;
  page.charged_bytes_ = static_cast<std::uint32_t>(bytes);
}

void PagePool::changed(std::size_t table, std::uint32_t position, Page& page) {
  if (!page.dirty_) {
    page.dirty_ = true;
    tables_[table].dirty.push_back(position);
    dirty_bytes_ += 64;  // key and framing
  }
  dirty_bytes_ += 8;  // an operation, roughly; a rewrite is counted when it is staged
  charge(page);
}

void PagePool::stage() {
  for (Table& table : tables_) {
    std::sort(table.dirty.begin(), table.dirty.end());
    for (const std::uint32_t position : table.dirty) {
      Page& page = *table.pages[position];
      const std::size_t appended = page.appended_bytes_ + page.operations_.size();
      const bool whole = !page.stored_ || page.rewrite_ ||
                         appended > std::max<std::size_t>(page.base_bytes_, kSmallPageBytes);
      if (whole) {
        buffer_.clear();
        page.encode(buffer_);
        state_->put(table.section, key(table, position), buffer_);
        page.base_bytes_ = static_cast<std::uint32_t>(buffer_.size());
        page.appended_bytes_ = 0;
      } else {
        state_->append(table.section, key(table, position), page.operations_);
        page.appended_bytes_ = static_cast<std::uint32_t>(appended);
      }
    }
  }
}

void PagePool::committed() {
  for (Table& table : tables_) {
    for (const std::uint32_t position : table.dirty) {
      Page& page = *table.pages[position];
      page.stored_ = true;
      page.dirty_ = false;
      page.rewrite_ = false;
      page.operations_ = std::string();  // give the buffer back: most pages rest for a while
      charge(page);
      table.stored_pages = std::max(table.stored_pages, position + 1);
    }
    table.dirty = std::vector<std::uint32_t>();
  }
  dirty_bytes_ = 0;
  std::size_t slots = 0;
  for (const Table& table : tables_)
    slots += table.pages.size();
  shrink(2 * slots + 2 * tables_.size());
}

/// Drop clean pages that were not used since the hand last passed, until the budget holds.
void PagePool::shrink(std::size_t steps) {
  for (; steps > 0 && used_bytes_ > budget_bytes_; --steps) {
    Table& table = tables_[hand_table_];
    if (hand_position_ >= table.pages.size()) {
      hand_position_ = 0;
      hand_table_ = (hand_table_ + 1) % tables_.size();
      continue;
    }
    std::unique_ptr<Page>& slot = table.pages[hand_position_++];
    if (slot == nullptr || slot->dirty_) continue;
    if (slot->recent_) {
      slot->recent_ = false;
      continue;
    }
    used_bytes_ -= slot->charged_bytes_;
    slot.reset();
  }
}

}  // namespace accrete::store
