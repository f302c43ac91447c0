// Many seeds as batches that fit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace accrete::daemon {

/// The most that a refusal says would fit: a part is taken only by 1.
inline constexpr double kRefused = 0.99;

/// How large the next parts are where one of `count` seeds was too large and a share of it would
/// fit; 0: nobody knows.
inline std::size_t smaller_part(std::size_t count, double share) {
  const std::size_t half = count / 2;
  const auto fits = static_cast<std::size_t>(share * static_cast<double>(count));
  return std::max<std::size_t>(share > 0 ? std::min(half, fits) : half, 1);
}

/// Calls each(first, count) for parts of `seeds` seeds, in order, of nearly the same size, all of
/// them at once to begin with. Where it says less than 1 (false) there are too many: the rest goes
/// on in parts of half that size, or of the share that it says would fit, if that is less. A part
/// of one seed must be taken. What it says decides all. `most`: of the first part.
/// Cost: at most a refusal for each halving, not for each part.
template <class Each>
void in_parts(std::size_t seeds, std::size_t most, Each each) {
  for (std::size_t first = 0; first < seeds;) {
    const std::size_t left = seeds - first;
    const std::size_t parts = (left + most - 1) / most;
    const std::size_t count = (left + parts - 1) / parts;
    const double fits = each(first, count);
    if (fits >= 1) {
      first += count;
    } else {
      most = smaller_part(count, fits);
    }
  }
}
template <class Each>
void in_parts(std::size_t seeds, Each each) {
  in_parts(seeds, seeds, each);
}

/// The same for seeds in the order of their times, which are at(i). What lies around an instant's
/// seeds overlaps, so parts are of whole instants; only one that is too large by itself is cut.
template <class At, class Each>
void in_parts_of_instants(std::size_t seeds, At at, Each each) {
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < seeds; ++i) {
    if (i == 0 || at(i) != at(i - 1)) begins.push_back(i);
  }
  const std::size_t instants = begins.size();
  begins.push_back(seeds);
  in_parts(instants, [&](std::size_t first, std::size_t count) -> double {
    const std::size_t begin = begins[first];
    const std::size_t size = begins[first + count] - begin;
    const double fits = each(begin, size);
    if (fits >= 1 || count > 1) return fits;
    in_parts(size, smaller_part(size, fits),
             [&](std::size_t i, std::size_t n) { return each(begin + i, n); });
    return 1;
  });
}

}  // namespace accrete::daemon
