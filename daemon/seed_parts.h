// Many seeds as batches that fit.
#pragma once

#include <algorithm>
#include <cstddef>

namespace accrete::daemon {

/// Calls each(first, count) for parts of `seeds` seeds, in order, of nearly the same size, all of
/// them at once to begin with. Where it says false there are too many: the rest goes on in parts of
/// half that size. A part of one seed must be taken. What it says decides all.
/// Cost: a refusal for each halving, not for each part.
template <class Each>
void in_parts(std::size_t seeds, Each each) {
  std::size_t most = seeds;
  for (std::size_t first = 0; first < seeds;) {
    const std::size_t left = seeds - first;
    const std::size_t parts = (left + most - 1) / most;
    const std::size_t count = (left + parts - 1) / parts;
    if (each(first, count)) {
      first += count;
    } else {
      most = std::max<std::size_t>(count / 2, 1);
    }
  }
}

}  // namespace accrete::daemon
