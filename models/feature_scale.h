// Online standardisation: moments that always learn, and a frozen copy of them that is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/recursive_ridge.h"
#include "models/state_bytes.h"

namespace accrete::models {

/// Mean and variance of the present values of each feature (Welford; of a wild one what is within
/// reach, robust_moments.h), frozen by freeze().
/// A feature that has not varied by then is asleep: it standardises to 0.
class FeatureScale {
 public:
  std::size_t width() const { return live_.size(); }
  std::uint64_t rows() const { return rows_; }

  /// New features; every row so far counts as missing them.
  void grow(std::size_t width) {
    live_.resize(width);
    frozen_.resize(width);
  }
  /// Account one row of up to width() values; values that are not finite are missing.
  void observe(std::span<const double> features);

  /// Share of rows that miss feature j, in [0, 1].
  double missing_share(std::size_t j) const {
    return rows_ == 0 ? 0 : 1 - static_cast<double>(live_[j].count) / static_cast<double>(rows_);
  }

  /// Use the moments of now. Returns for each feature how an old standardised value becomes a new
  /// one: new = scale old + shift (the intercept's part, for rows that do not miss it).
  std::vector<ColumnMap> freeze();

  /// Whether feature j is awake in the frozen moments.
  bool varies(std::size_t j) const { return frozen_[j].deviation != 0; }
  /// (x - mean) / deviation, clipped to ±clip; 0 while asleep. Checks: x is finite.
  double standardise(std::size_t j, double x, double clip) const;

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  struct Moments {
    std::uint64_t count = 0;
    double mean = 0;
    double squares = 0;
  };
  struct Frozen {
    double mean = 0;
    double deviation = 0;  // 0: asleep
    double known = 0;      // 1 once a value has been seen
  };
  std::uint64_t rows_ = 0;
  std::vector<Moments> live_;
  std::vector<Frozen> frozen_;
};

/// What a scale was frozen from.
struct FrozenFrom {
  std::uint64_t rows = 0;
  std::uint64_t width = 0;
};

/// Whether a head over so many columns should freeze its scale anew: the rows have grown by a tenth
/// or the features by an eighth, and an eighth of a row a column has come, so that what solving
/// costs, columns³, is a few times what learning those rows cost. Columns that come one by one, as
/// words do, wait for each other.
bool is_freeze_due(const FeatureScale& scale, const FrozenFrom& last, std::size_t columns);

}  // namespace accrete::models
