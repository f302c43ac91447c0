// How well a graph network knows the blocks of the past.
#include <algorithm>
#include <cmath>
#include <string_view>

#include "daemon/graded_series.h"
#include "daemon/graph_network.h"
#include "models/metrics.h"

namespace accrete::daemon {
namespace {

// Of fewer, a measure is chance. Not more: [network] memory_per_class leaves a block few.
constexpr std::size_t kExamplesMin = 8;

double value_of(const models::Metrics& metrics, std::string_view name) {
  const auto found = std::ranges::find(metrics, name, &models::Metrics::value_type::first);
  return found == metrics.end() ? std::nan("") : found->second;
}

}  // namespace

/// The draw is the block's own and the same each time, so that a block's scores differ by what the
/// network has learnt and forgotten since, as long as its examples stay.
BlockScores GraphNetwork::score_blocks(TimeUs at) {
  BlockScores row;
  row.at = at;
  row.experts = static_cast<std::uint32_t>(experts());
  if (network_ == nullptr) return row;
  std::vector<std::uint32_t> blocks;  // newest first
  for (std::uint32_t b = memory_.blocks(); b-- > 0 && blocks.size() < NetworkMetrics::kBlocksMax;) {
    if (memory_.size(b) >= kExamplesMin) blocks.push_back(b);
  }
  std::vector<NetworkExample> examples;
  std::vector<models::Output> outputs;
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    Rng rng(seed_, *block, Purpose::Measure);
    examples.clear();
    memory_.draw_from(*block, std::min(memory_.size(*block), kScoredExamples), rng, examples);
    outputs.assign(examples.size(), {});
    score(examples, 1, outputs, nullptr);
    models::Graded graded(kind_);
    for (std::size_t i = 0; i < examples.size(); ++i)
      graded.add(outputs[i], examples[i].label);
    const models::Metrics metrics = graded.metrics();
    const char* loss = kind_ == TaskKind::Regression ? "mae" : "log_loss";
    row.scores.push_back({*block, value_of(metrics, headline(kind_)), value_of(metrics, loss)});
  }
  return row;
}

}  // namespace accrete::daemon
