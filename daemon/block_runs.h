// Which data blocks of a graph network's memory are asked for together: each alone, as a rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "daemon/network_memory.h"
#include "proto/rng.h"

namespace accrete::daemon {

/// Neighbours that have examples and belong to one expert.
struct BlockRun {
  std::uint32_t expert = 0;
  std::vector<std::uint32_t> blocks;  ///< ascending
  std::size_t examples = 0;

  /// Whether a block lies within it, with examples or not.
  bool spans(std::uint32_t block) const {
    return blocks.front() <= block && block <= blocks.back();
  }
};

struct BlockRunOptions {
  std::size_t examples_min = 1;  ///< of a run: what fewer say of a block is chance
  std::size_t runs_max = 1;      ///< for one expert; for more, about so many and one an expert
};

/// All blocks with examples, each in one run, in their order. A run has one block, or more where
/// these are too small or too many; of an expert without `examples_min` it is all there is.
/// `expert_of`: of a block; never falls. Cost: linear in blocks.
std::vector<BlockRun> block_runs(const NetworkMemory& memory,
                                 const std::function<std::uint32_t(std::uint32_t)>& expert_of,
                                 const BlockRunOptions& options);

/// Appends `count` examples of these blocks, as many of each; of more blocks than that one of
/// blocks evenly apart, by the generator which. Of a block each example is nearly as likely as any
/// other. None of no blocks. Checks: each has an example.
void draw_of_blocks(const NetworkMemory& memory, const std::vector<std::uint32_t>& blocks,
                    std::size_t count, Rng& rng, std::vector<NetworkExample>& out);

}  // namespace accrete::daemon
