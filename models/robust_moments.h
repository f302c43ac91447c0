// What one number may do to the moments of those before it.
#pragma once

#include <algorithm>
#include <cmath>

namespace accrete::models {

/// x, moved towards the mean where it lies beyond anything that was seen: a cell of 1e9 for
/// "unknown" must not make all others look alike. What is left of it raises a variance of `count`
/// numbers (sum of squares about the mean: `squares`) by a sixteenth at most, or to what 32
/// deviations do: so of numbers that are a thousand times larger from now on some hundreds are
/// enough to be believed. The first numbers are believed, up to 1e150. Checks: x is finite.
inline double within_reach(double x, double mean, double squares, double count) {
  constexpr double kBelieved = 16;
  constexpr double kReach = 32;  // deviations
  constexpr double kLargest = 1e150;
  if (count >= kBelieved && squares > 0) {
    const double deviation = std::sqrt(squares / count);
    const double reach = deviation * std::max(kReach, std::sqrt(count) / 4);
    if (std::isfinite(reach)) x = std::clamp(x, mean - reach, mean + reach);
  }
  return std::clamp(x, -kLargest, kLargest);
}

}  // namespace accrete::models
