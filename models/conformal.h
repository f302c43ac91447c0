// Prediction intervals whose coverage holds under drift: adaptive conformal inference, per task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/candidate.h"
#include "models/metrics.h"

namespace accrete::models {

struct ConformalOptions {
  double coverage = 0.9;
  std::size_t window = 1000;  ///< newest graded errors that quantiles are taken of
  double rate = 0.01;         ///< how far one miss or hit moves the level (gamma of the source)
};

/// Two sides, each missed (1 - coverage) / 2 of the time, so that skewed labels get skewed
/// intervals. An error is (label - value) / sqrt(variance), or label - value where the variance is
/// unknown. Per side and graded example, a = (1 - coverage) / 2:
///
///   level <- level + rate (a - missed)      bound = the (1 - level) quantile of the newest errors
///
/// A level below 0 asks for more than any error so far: the bound then is the greatest one, widened
/// in proportion. So while errors do not outgrow that, the share of misses tends to a whatever they
/// do, at a distance of about 1 / (rate T) after T examples. Before 20 errors the normal quantile
/// stands in.
/// Source: Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift", (2).
class AdaptiveConformal {
 public:
  explicit AdaptiveConformal(const ConformalOptions& options);

  /// Around one output. Unknown variance and fewer than 20 errors: no interval (NaN).
  /// Threads: const.
  Interval interval(const Output& output) const;
  /// The interval that was published with this output, and what came. Takes effect at settle().
  void grade(const Output& output, const Interval& published, double label);
  /// Bounds from all graded so far. Cost: window log window.
  void settle();

  void save(std::string& out) const;
  Status load(std::string_view bytes);

 private:
  struct Side {
    double level = 0;
    double bound = 0;  // in units of the error
  };
  double bound_of(const Side& side, const std::vector<double>& ascending) const;

  ConformalOptions options_;
  Side upper_;
  Side lower_;                  // of minus the error
  std::vector<double> errors_;  // at most window, next_ is overwritten next
  std::uint64_t graded_ = 0;
  bool dirty_ = false;
};

}  // namespace accrete::models
