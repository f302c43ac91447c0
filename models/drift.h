// Drift detectors over a stream of losses: has their mean changed, and when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::models {

/// A change of the mean, as the detector that found it sees it.
struct Shift {
  double before = 0;         ///< mean of the numbers before the change
  double after = 0;          ///< mean of those since
  std::uint64_t window = 0;  ///< how many those are; the change was so long ago

  bool operator==(const Shift&) const = default;
};

struct AdwinOptions {
  double delta = 0.002;              ///< nominal probability of a false alarm per look
  std::size_t buckets_per_size = 5;  ///< of 1, 2, 4, … numbers each, before two are merged
  std::uint64_t look_every = 32;     ///< numbers between two looks for a cut
  std::uint64_t side_min = 5;        ///< numbers on either side of a cut
};

/// ADWIN2: a window of the newest numbers that shrinks when two of its parts differ in mean by more
/// than chance (Bernstein's bound, with the variance and the range of the window) allows. Numbers
/// are kept in buckets of powers of two, so n of them cost O(log n) memory; cuts fall between
/// buckets. The paper's numbers lie in [0, 1]; with the range of the window in place of 1 the
/// cuts are the same in any unit, but δ is nominal: a bound needs a range that is known before.
/// Source: Bifet and Gavaldà 2007, "Learning from time-changing data with adaptive windowing",
/// section 4.
class Adwin {
 public:
  explicit Adwin(const AdwinOptions& options = {});

  /// One number. A shift: the mean has changed, up or down, where the cut is clearest; of the part
  /// before as much was dropped as the bound asks for. Checks: it is finite. Cost: O(1), O(log n)
  /// every look_every numbers.
  std::optional<Shift> add(double x);
  std::uint64_t size() const { return count_; }
  double mean() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : 0; }
  std::uint64_t changes() const { return changes_; }

  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  struct Bucket {
    std::uint64_t count = 0;
    double sum = 0;
    double squares = 0;  // of the distances to the bucket's mean
    double lowest = 0;
    double highest = 0;
  };
  void compress();
  std::optional<Shift> clearest_cut() const;
  double variance() const;
  double range() const;

  AdwinOptions options_;
  std::vector<Bucket> buckets_;  // newest first, counts never fall
  std::uint64_t seen_ = 0;
  std::uint64_t count_ = 0;
  double sum_ = 0;
  std::uint64_t changes_ = 0;
};

struct PageHinkleyOptions {
  double slack = 0.2;  ///< rise of the mean that is tolerated, in standard deviations
  /// Sum of standardised excess that raises the alarm. A rise by one deviation is found after 50
  /// numbers. Losses are skewed: at 20 exponential ones raise a false alarm every 12,000 numbers,
  /// at 40 none in 10^6.
  double threshold = 40;
  std::uint64_t warm = 30;  ///< numbers before the first alarm
};

/// Page-Hinkley for a rise of the mean, on numbers standardised by their own running moments, so
/// that one threshold fits every loss. After an alarm it begins anew.
/// Source: Page 1954, "Continuous inspection schemes"; Hinkley 1971.
class PageHinkley {
 public:
  explicit PageHinkley(const PageHinkleyOptions& options = {}) : options_(options) {}

  /// One number. A shift: the mean has risen, since where the sum was lowest. Checks: it is finite.
  /// Cost: O(1).
  std::optional<Shift> add(double x);
  std::uint64_t changes() const { return changes_; }

  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  PageHinkleyOptions options_;
  std::uint64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
  double excess_ = 0;  // sum of standardised distances above the mean plus slack
  double lowest_ = 0;
  std::uint64_t lowest_count_ = 0;  // numbers up to there
  double lowest_mean_ = 0;          // and their mean
  std::uint64_t changes_ = 0;
};

}  // namespace accrete::models
