// What happened to the experts of a graph network.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/ids.h"

namespace accrete::daemon {

/// An expert was born in every layer, for the rows of a block; or two neighbours were merged to
/// make room for it, or were not, since some block's examples lost too much by it.
struct ExpertEvent {
  enum class Kind : std::uint8_t { Birth, Merge, Rollback };

  Kind kind = Kind::Birth;
  TimeUs at;                           ///< when the block had given enough examples
  std::uint32_t block = 0;             ///< that was to have an expert
  std::vector<std::uint32_t> parents;  ///< Birth, by layer: the expert it began as a copy of

  // Merge and Rollback.
  std::uint32_t first = 0;  ///< the pair is this and the next, as numbered until then
  /// Of the expert whose blocks' examples lost most, against the bound: its first block and the
  /// mean losses with two experts and with one.
  std::uint32_t worst_block = 0;
  double loss_before = 0;
  double loss_after = 0;
};

}  // namespace accrete::daemon
