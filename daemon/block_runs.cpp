// Joining blocks that are too small or too many to be asked one by one.
#include "daemon/block_runs.h"

#include <algorithm>
#include <utility>

#include "proto/result.h"

namespace accrete::daemon {
namespace {

// Of a piece, that are rows of one instant: the last of them are cut short with the piece, and an
// instant that is cut short each time would be drawn too seldom.
constexpr std::size_t kRunsOfPiece = 4;

void join(BlockRun& run, BlockRun&& next) {
  run.blocks.insert(run.blocks.end(), next.blocks.begin(), next.blocks.end());
  run.examples += next.examples;
}

}  // namespace

std::vector<BlockRun> block_runs(const NetworkMemory& memory,
                                 const std::function<std::uint32_t(std::uint32_t)>& expert_of,
                                 const BlockRunOptions& options) {
  ACCRETE_CHECK(options.runs_max > 0);
  std::size_t filled = 0;
  for (std::uint32_t block = 0; block < memory.blocks(); ++block)
    filled += memory.size(block) > 0 ? 1U : 0U;
  const std::size_t blocks_min = (filled + options.runs_max - 1) / options.runs_max;
  const auto is_whole = [&](const BlockRun& run) {
    return run.blocks.size() >= blocks_min && run.examples >= options.examples_min;
  };
  std::vector<BlockRun> runs;
  for (std::uint32_t block = 0; block < memory.blocks(); ++block) {
    if (memory.size(block) == 0) continue;
    BlockRun next{expert_of(block), {block}, memory.size(block)};
    if (!runs.empty() && runs.back().expert == next.expert && !is_whole(runs.back())) {
      join(runs.back(), std::move(next));
    } else {
      runs.push_back(std::move(next));
    }
  }
  // What an expert has left over at its end is too little alone.
  std::vector<BlockRun> out;
  for (BlockRun& run : runs) {
    const bool joins = !out.empty() && out.back().expert == run.expert && !is_whole(run);
    if (joins) {
      join(out.back(), std::move(run));
    } else {
      out.push_back(std::move(run));
    }
  }
  return out;
}

void draw_of_blocks(const NetworkMemory& memory, const std::vector<std::uint32_t>& blocks,
                    std::size_t count, Rng& rng, std::vector<NetworkExample>& out) {
  if (blocks.empty() || count == 0) return;
  const std::size_t piece = std::max<std::size_t>(count / blocks.size(), 1);
  const std::size_t run = std::clamp<std::size_t>(piece / kRunsOfPiece, 1, NetworkMemory::kRunRows);
  const std::size_t pieces = (count + piece - 1) / piece;
  const std::size_t first = rng.below(blocks.size());
  for (std::size_t i = 0; i < pieces; ++i) {
    const std::uint32_t block = blocks[(first + i * blocks.size() / pieces) % blocks.size()];
    memory.draw_from(block, std::min(piece, count - i * piece), rng, out, run);
  }
}

}  // namespace accrete::daemon
