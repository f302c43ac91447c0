// How well a graph network knows the blocks of the past, and what an answer of it came from.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

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

/// Counts a row of `age_us` among what was read.
void count(std::int64_t age_us, NetworkEvidence::Read& read) {
  ++read.rows;
  if (age_us == models::kAgeless) return;
  read.newest_us = read.newest_us == models::kAgeless ? age_us : std::min(read.newest_us, age_us);
  read.oldest_us = std::max(read.oldest_us, age_us);
}

}  // namespace

/// The draw is the block's own and the same each time, so that a block's scores differ by what the
/// network has learnt and forgotten since, as long as its examples stay: of a block that is open
/// they become more, so that its scores would compare different samples.
BlockScores GraphNetwork::score_blocks(TimeUs at, std::uint32_t end) {
  BlockScores row;
  row.at = at;
  row.experts = static_cast<std::uint32_t>(experts());
  if (network_ == nullptr) return row;
  std::vector<std::uint32_t> blocks;  // newest first
  for (std::uint32_t b = std::min(end, memory_.blocks());
       b-- > 0 && blocks.size() < NetworkMetrics::kBlocksMax;) {
    if (memory_.size(b) >= kExamplesMin) blocks.push_back(b);
  }
  std::vector<NetworkExample> examples;
  std::vector<models::Output> outputs;
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    Rng rng(seed_, *block, Purpose::Measure);
    examples.clear();
    memory_.draw_from(*block, std::min(memory_.size(*block), kScoredExamples), rng, examples);
    outputs.assign(examples.size(), {});
    score(examples, 1, outputs, Counted::Nothing);
    models::Graded graded(kind_);
    for (std::size_t i = 0; i < examples.size(); ++i)
      graded.add(outputs[i], examples[i].label);
    const models::Metrics metrics = graded.metrics();
    const char* loss = kind_ == TaskKind::Regression ? "mae" : "log_loss";
    row.scores.push_back({*block, value_of(metrics, headline(kind_)), value_of(metrics, loss)});
  }
  return row;
}

Eigen::MatrixXd GraphNetwork::block_shares() const {
  ACCRETE_CHECK(kind_ != TaskKind::Regression);
  const std::uint64_t classes = kind_ == TaskKind::Binary ? 2 : classes_;
  const std::size_t experts = std::max<std::size_t>(first_blocks_.size(), 1);
  Eigen::MatrixXd shares =
      Eigen::MatrixXd::Zero(static_cast<Eigen::Index>(classes), static_cast<Eigen::Index>(experts));
  for (std::uint32_t block = 0; block < memory_.blocks(); ++block) {
    if (memory_.size(block) == 0) continue;
    double* const counts = shares.col(static_cast<Eigen::Index>(expert_of(block))).data();
    memory_.count_labels(block, std::span(counts, classes));
  }
  for (Eigen::Index k = 0; k < shares.rows(); ++k) {
    const double sum = shares.row(k).sum();
    if (sum > 0) shares.row(k) /= sum;
  }
  return shares;
}

std::optional<NetworkEvidence> GraphNetwork::evidence(std::uint32_t row, TimeUs at) {
  if (network_ == nullptr) return std::nullopt;
  const NetworkExample asked{row, 0, at, block_of(row, at), 0};
  sample(Examples(&asked, 1), std::numeric_limits<std::size_t>::max());
  grow_inputs();
  NetworkEvidence out;
  models::RowMatrix<float> scores;
  answering().predict(batch_, scores, nullptr, &out.layers);
  out.experts = first_blocks_;
  out.adds = std::nan("");
  if (on_heads_) {
    const double score = static_cast<double>(scores(0, 0));
    out.adds = kind_ == TaskKind::Regression ? unit_ * score : score;
  }
  std::vector<NetworkEvidence::Read> read(plan_.tables.size() + 1);
  for (std::size_t t = 0; t < plan_.tables.size(); ++t)
    read[t].table = plan_.tables[t];
  std::set<std::pair<std::uint16_t, std::uint32_t>> seen;  // a row may be several nodes
  for (std::size_t node = batch_.seeds(); node < batch_.nodes(); ++node) {
    // Outcomes that say the same show the same row, yet are one each.
    const bool outcome = batch_.table[node] == plan_.labels();
    if (!outcome && !seen.emplace(batch_.table[node], batch_.row[node]).second) continue;
    count(batch_.age_us[node], read[batch_.table[node]]);
  }
  std::erase_if(read, [](const NetworkEvidence::Read& one) { return one.rows == 0; });
  out.read = std::move(read);
  return out;
}

}  // namespace accrete::daemon
