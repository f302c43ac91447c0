// What happened to the experts of a graph network.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/ids.h"

namespace accrete::daemon {

/// An expert was born in every layer, for the rows of a block.
struct ExpertEvent {
  TimeUs at;  ///< when the block had given enough examples
  std::uint32_t block = 0;
  std::vector<std::uint32_t> parents;  ///< by layer: the expert it began as a copy of
};

}  // namespace accrete::daemon
