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

/// What came of some seeds together.
struct PartRead {
  double fits = 0;        ///< 1: they were taken; less: as in_parts() is told
  std::size_t nodes = 0;  ///< of those that were taken
};

/// How many nodes may come together, and how many a seed brings in the mean; 0: nobody knows.
struct PartRoom {
  std::size_t nodes_max = 0;
  double nodes_a_seed = 0;
};

/// The same for seeds in the order of their times, which are at(i). What lies around an instant's
/// seeds overlaps, so parts are of whole instants; only one that is too large by itself is cut.
/// A part is as large as fits where seeds bring what they do in the mean, or what those before them
/// brought if that is more: to refuse is to have read in vain. Where nobody knows, it is all, and
/// an instant is tried whole.
template <class At, class Each>
void in_parts_of_instants(std::size_t seeds, At at, const PartRoom& room, Each each) {
  constexpr double kFilled = 0.8;  // later instants tend to bring more
  std::vector<std::size_t> begins;
  for (std::size_t i = 0; i < seeds; ++i) {
    if (i == 0 || at(i) != at(i - 1)) begins.push_back(i);
  }
  const std::size_t instants = begins.size();
  begins.push_back(seeds);
  const double filled = kFilled * static_cast<double>(room.nodes_max);
  double brought = 0;  // by a seed of the part before
  std::size_t most = instants;
  for (std::size_t first = 0; first < instants;) {
    const double expected = std::max(brought, room.nodes_a_seed);
    const auto size = [&](std::size_t count) { return begins[first + count] - begins[first]; };
    std::size_t count = 1;
    while (count < std::min(most, instants - first) &&
           expected * static_cast<double>(size(count + 1)) <= filled)
      ++count;
    const PartRead read = each(begins[first], size(count));
    if (read.fits < 1 && count > 1) {
      most = smaller_part(count, read.fits);
      continue;
    }
    std::size_t nodes = read.nodes;
    if (read.fits < 1) {
      in_parts(size(1), smaller_part(size(1), read.fits), [&](std::size_t i, std::size_t n) {
        const PartRead some = each(begins[first] + i, n);
        nodes += some.nodes;
        return some.fits;
      });
    }
    brought = static_cast<double>(nodes) / static_cast<double>(size(count));
    first += count;
    most = instants;
  }
}

}  // namespace accrete::daemon
