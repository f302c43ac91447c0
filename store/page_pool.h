// Pages of the graph under one memory budget: loaded when touched, written when dirty, dropped by
// second chance when clean.
//
// On disk a page is a base followed by the operations since then (see families.cpp): an epoch
// appends what was done to the page, and rewrites it whole once the operations outweigh the base.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"
#include "store/state.h"

namespace accrete::store {

/// What a page has to know; the pool keeps the books.
class Page {
 public:
  Page() = default;
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  virtual ~Page() = default;

  /// Rebuild from stored bytes; false if they do not decode. Called once, on a new page.
  virtual bool decode(std::string_view bytes) = 0;
  /// The whole page; operations appended later continue from here.
  virtual void encode(std::string& out) = 0;
  /// Bytes in RAM, the object itself included. Cost: O(1).
  virtual std::size_t bytes() const = 0;

  /// Operations since the last commit, appended by whoever changes the page.
  std::string& operations() { return operations_; }
  /// The change cannot be said as an operation: write the page whole.
  void rewrite() { rewrite_ = true; }

 private:
  friend class PagePool;
  std::string operations_;
  std::uint32_t base_bytes_ = 0;      ///< stored base
  std::uint32_t appended_bytes_ = 0;  ///< stored operations after it
  std::uint32_t charged_bytes_ = 0;   ///< what the pool counts for this page
  bool stored_ = false;
  bool rewrite_ = false;
  bool dirty_ = false;
  bool recent_ = false;
};

/// All pages of a graph. One table of pages for each table (node versions) and relation
/// (adjacency); a page is named by its table of pages and its position there.
class PagePool {
 public:
  using Make = std::unique_ptr<Page> (*)();

  explicit PagePool(State& state) : state_(&state) {}

  /// New table of pages, stored under `prefix` + position (4 bytes, big-endian).
  std::size_t add_table(Section section, std::string prefix, Make make);

  /// Positions below this may be stored; others need no look-up.
  void set_stored_pages(std::size_t table, std::uint32_t count);

  /// The page, loaded if need be; nullptr if that failed (health() says why). Valid until the next
  /// call: loading may drop any clean page.
  Page* load(std::size_t table, std::uint32_t position);

  /// Where a page's pointer is; nullptr if it was never loaded. Neither loads nor counts as a use.
  const std::unique_ptr<Page>* place(std::size_t table, std::uint32_t position) const {
    const std::vector<std::unique_ptr<Page>>& pages = tables_[table].pages;
    return position < pages.size() ? &pages[position] : nullptr;
  }

  /// Say that a loaded page was changed: it is charged and written at the next stage().
  void changed(std::size_t table, std::uint32_t position, Page& page);

  void stage();
  void committed();

  void set_budget(std::size_t bytes) { budget_bytes_ = bytes; }
  std::size_t memory_bytes() const { return used_bytes_ + slot_bytes_; }
  std::size_t dirty_bytes() const { return dirty_bytes_; }
  const Status& health() const { return health_; }

 private:
  struct Table {
    Section section;
    std::string prefix;
    Make make;
    std::vector<std::unique_ptr<Page>> pages;
    std::vector<std::uint32_t> dirty;
    std::uint32_t stored_pages = 0;
  };
  std::string key(const Table& table, std::uint32_t position) const;
  void read(const Table& table, std::uint32_t position, Page& page);
  void charge(Page& page);
  void shrink(std::size_t steps);

  State* state_;
  std::vector<Table> tables_;
  std::size_t budget_bytes_ = 0;
  std::size_t used_bytes_ = 0;
  std::size_t slot_bytes_ = 0;
  std::size_t dirty_bytes_ = 0;
  std::size_t hand_table_ = 0;
  std::size_t hand_position_ = 0;
  std::string buffer_;
  Status health_ = Ok{};
};

}  // namespace accrete::store
