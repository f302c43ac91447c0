// As of when a labelled row is shown to those who learn to answer about rows that wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "proto/ids.h"
#include "proto/result.h"
#include "proto/rng.h"
#include "store/state.h"

namespace accrete::daemon {

/// As of when a labelled row is shown at `now`: never later.
using ShownAt = std::function<TimeUs(std::uint32_t row, TimeUs now)>;

/// A row that waits is asked about while nobody knows its value, so what comes of the value (a
/// refund of what was returned) does not lie around it yet. A row that is learnt from must look the
/// same. One whose value came later is shown as of a time at which it waited, each such time as
/// likely as any other. Of one that brought its value nobody knows when it would have been known:
/// it is shown as if it had waited as long as one of those that did; where none ever did, as it is
/// now, as rows are asked about that wait for ever.
///
/// Drawn by seed and row. Kept: 9 bytes a labelled row, and 256 waits. Threads: the fold's.
class ShownTimes {
 public:
  ShownTimes(std::string key_prefix, std::uint64_t seed)
      : prefix_(std::move(key_prefix)), seed_(seed) {}

  /// The value of a row that arrived at `at` is known at `known`; not later: it brought it.
  void settled(std::uint32_t row, TimeUs at, TimeUs known);
  void forget(std::uint32_t row);
  /// See above; of a row without a value: `now`.
  TimeUs of(std::uint32_t row, TimeUs now) const;

  std::size_t memory_bytes() const;
  void stage(store::State& state);
  /// Errors: Corruption, Unavailable.
  Status load(store::State& state);

 private:
  static constexpr std::size_t kPageRows = 512;  // values come of rows that came together
  static constexpr std::size_t kWaitsMax = 256;
  static constexpr std::uint64_t kShown = 0x7368'6f77'6e00'0000;
  enum class Kind : std::uint8_t { None, Brought, Waited };
  struct Page {
    std::vector<std::int64_t> at_us;  // Brought: of the arrival; Waited: as of then it is shown
    std::vector<Kind> kinds;          // kPageRows of both, or none
    bool dirty = false;
  };
  Page& page_of(std::uint32_t row);
  /// Which rows a fit takes is drawn by seed and row, too: these are other numbers.
  Rng draws(std::uint32_t row) const { return Rng(seed_ ^ kShown, row, Purpose::Sample); }

  std::string prefix_;
  std::uint64_t seed_;
  std::vector<Page> pages_;
  std::vector<std::uint64_t> waits_us_;  // a uniform draw of all, > 0
  std::uint64_t waits_seen_ = 0;
  bool position_dirty_ = false;
};

}  // namespace accrete::daemon
