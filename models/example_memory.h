// The newest learnt examples as raw numbers, bounded in rows and bytes: what the heads of a panel
// are fitted on anew when the columns they use change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/state_bytes.h"

namespace accrete::models {

/// What the examples of one tick share.
struct TickFacts {
  std::uint64_t position = 0;  ///< examples learnt when the tick was complete
  double seeds = 0;            ///< rows of the population, labelled or not
  double centre = 0;           ///< of the labels of earlier ticks, faded
  double spread = 1;           ///< the same for their deviation
};

struct MemoryLimits {
  std::size_t rows_max = 32'768;      ///< newest examples that are kept
  std::size_t bytes_max = 96u << 20;  ///< of their numbers; fewer rows when they are wide
  std::size_t full_rows = 2048;       ///< newest examples that keep every column
};

/// One piece of a tick, as it is learnt.
struct TickBlock {
  TickFacts facts;
  std::size_t width = 0;
  std::vector<float> values;  ///< rows × width, NaN = missing
  std::vector<float> means;   ///< of the tick's population, by column; NaN = nobody has a value
  std::vector<double> labels;
  std::vector<double> weights;
};

/// Pages of about page_rows examples, oldest first. A page that is no longer among the newest keeps
/// only the short list of its columns; an example does not hold (as opposed to miss) the others.
class ExampleMemory {
 public:
  static constexpr std::size_t page_rows = 256;

  struct Page {
    std::uint32_t width = 0;             // columns stored
    std::vector<std::uint32_t> columns;  // which; empty: all, in order
    std::vector<float> values;           // examples × width
    std::vector<float> means;            // ticks × width
    std::vector<TickFacts> ticks;
    std::vector<std::uint32_t> tick;  // of each example
    std::vector<double> labels;
    std::vector<double> weights;

    std::size_t rows() const { return labels.size(); }
    std::span<const float> row(std::size_t i) const { return {values.data() + i * width, width}; }
    std::span<const float> tick_means(std::size_t i) const {
      return {means.data() + tick[i] * std::size_t{width}, width};
    }
    const TickFacts& facts(std::size_t i) const { return ticks[tick[i]]; }
    /// Where this page stores column `source`; -1: it does not hold it.
    std::int32_t place(std::uint32_t source) const;
  };

  explicit ExampleMemory(const MemoryLimits& limits) : limits_(limits) {}

  /// Checks: at most page_rows examples, one or more; width never shrinks.
  void append(const TickBlock& block);
  /// Columns that pages keep when they leave the newest rows; ascending, not empty.
  void set_shortlist(std::vector<std::uint32_t> columns) { shortlist_ = std::move(columns); }

  std::span<const Page> pages() const { return pages_; }
  std::size_t rows() const { return rows_; }
  std::size_t width() const { return width_; }
  std::size_t bytes() const { return bytes_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  void compact(Page& page);
  void trim();

  MemoryLimits limits_;
  std::vector<Page> pages_;
  std::vector<std::uint32_t> shortlist_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;  // of values and means
  std::size_t width_ = 0;
};

}  // namespace accrete::models
