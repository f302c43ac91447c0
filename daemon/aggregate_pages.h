// States of one kind by key, in pages: flat in memory, and in the store only what changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/result.h"
#include "store/state.h"

namespace accrete::daemon {

/// What all pages of a fold may take together.
struct PageBudget {
  std::size_t bytes = 0;
  std::size_t bytes_max = 0;
};

/// A state is `stride` doubles; the first one is 0 iff the state is empty, and then all are 0.
///
/// Room: a page that would exceed the budget is refused, and from then on every new page of this
/// kind until reset(). So whether a key has a state depends on the order of keys alone, never on
/// what was removed meanwhile, and a state that exists saw all its rows.
class AggregatePages {
 public:
  static constexpr std::size_t kPageBytes = 16u << 10;

  /// `prefix` names the pages in the store. `budget` outlives this.
  AggregatePages(std::string prefix, std::size_t stride, PageBudget& budget);
  ~AggregatePages();
  AggregatePages(AggregatePages&& other) noexcept;
  AggregatePages& operator=(AggregatePages&&) = delete;

  std::size_t stride() const { return stride_; }
  /// Forget everything; states have this size from now on.
  void reset(std::size_t stride);

  /// nullptr: never touched. The pointer is good until reset().
  const double* find(std::uint32_t key) const;
  /// The state of a key, to be changed; nullptr if there is no room for it.
  double* touch(std::uint32_t key);
  bool full() const { return full_; }

  /// Stage what changed since the last call.
  void stage(store::State& state);
  /// Read back what was staged under this prefix with this stride. Errors: Corruption, Unavailable.
  Status load(store::State& state, bool full);

 private:
  struct Page {
    std::unique_ptr<double[]> states;
    bool dirty = false;
    bool stored = false;
  };
  std::size_t page_bytes() const { return per_page_ * stride_ * sizeof(double); }
  std::string key_of(std::size_t page) const;
  void drop();
  Status decode(std::size_t number, std::string_view bytes);

  std::string prefix_;
  std::size_t stride_;
  std::size_t per_page_;
  PageBudget* budget_;
  std::vector<Page> pages_;
  std::vector<std::size_t> dirty_;
  bool full_ = false;
  bool was_reset_ = false;
};

}  // namespace accrete::daemon
