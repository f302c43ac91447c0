// Which of a training step's examples are shown as their surroundings were earlier.
//
// Asked about soon after its rows came, a network learns only from fresh ones. Who has been silent
// for long (a driver who pauses, a source that is down, a fold that is frozen) would then be asked
// about in a way that training never saw. So some instants are shown without what came last; ages
// are told as of the instant, so that the network sees how long nothing was heard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/network_memory.h"
#include "proto/rng.h"

namespace accrete::daemon {

struct LaggedView {
  static constexpr std::uint64_t kOneOf = 4;  ///< instants
  static constexpr double kMost = 1.0 / 8;    ///< lag, of the span of the examples that are kept

  std::size_t first = 0;    ///< of the step's examples: these and those behind are lagged
  std::int64_t lag_us = 0;  ///< the same for all of a step; small ones are more likely
};

/// Moves the instants that are lagged behind the others; both stay in their order. `oldest`: time
/// of the oldest example that is kept. Checks: examples are in the order of their times.
LaggedView choose_lagged(std::vector<NetworkExample>& examples, TimeUs oldest, Rng rng);

}  // namespace accrete::daemon
