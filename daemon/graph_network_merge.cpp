// Room for one more expert: two become one, unless examples of some blocks would lose by it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "daemon/block_runs.h"
#include "daemon/graph_network.h"
#include "daemon/seed_parts.h"
#include "models/flatness.h"

namespace accrete::daemon {

/// Of a block, or of neighbours that are asked for together: some examples, and what the network
/// makes of them.
struct BlockSample {
  BlockRun run;
  std::vector<NetworkExample> examples;
  double loss = 0;        // mean
  models::ExpertUse use;  // of all that memory has of the run
};

namespace {

// Examples of a block that judge a merge. They are the same before and after, so what they say of
// its harm varies far less than their losses do. Of many blocks fewer each, and of more than
// kSamplesMax those next to each other are one sample, so that a merge costs no more.
constexpr std::size_t kSampleExamples = 128;
constexpr std::size_t kSampleExamplesMin = 32;
constexpr std::size_t kSamplesMax = 128;
constexpr std::size_t kSampledExamples = kSampleExamplesMin * kSamplesMax;
// As many as the samples of a full layer of 16 experts cost.
constexpr std::size_t kDistilSteps = 16;
// Of the rate of training, at first; then falling. Adam's first steps are as long as its rate,
// however little there is to learn, and of twins there is nothing.
constexpr double kDistilRate = 0.2;
// What a loss may rise by in any case: a share of next to nothing is nothing.
constexpr double kRiseSlack = 1e-3;
// Of memory, on which two networks' flatness is compared.
constexpr std::size_t kFlatExamples = 256;
// A rise of less than this share of the loss counts as that: of two networks that are both flat
// neither is clearly sharper.
constexpr double kFlatShare = 0.02;
constexpr double kFarBeyond = std::numeric_limits<double>::infinity();

/// Blocks as they are numbered when experts `first` and first + 1 are one.
void number_merged(std::uint32_t first, models::GraphBatch& batch) {
  for (std::uint32_t& block : batch.block)
    block -= block > first ? 1 : 0;
}

/// Two neighbours, and what examples of both say of the experts.
struct Pair {
  std::uint32_t first = 0;
  models::ExpertUse use;
};

/// The pair most alike on its own examples, of those with examples that are not refused and without
/// the newest expert. Ties: the lower.
std::optional<Pair> most_alike(std::span<const BlockSample> samples, std::size_t experts,
                               std::span<const std::uint32_t> refused) {
  std::optional<Pair> best;
  double most = 0;
  for (std::uint32_t first = 0; first + std::size_t{2} < experts; ++first) {
    if (std::ranges::find(refused, first) != refused.end()) continue;
    models::ExpertUse both;
    for (const BlockSample& sample : samples) {
      if (sample.run.expert == first || sample.run.expert == first + 1) both.add(sample.use, 1);
    }
    if (both.layers.empty()) continue;
    const double likeness = both.likeness(first, first + 1);
    if (best && likeness <= most) continue;
    most = likeness;
    best = {first, std::move(both)};
  }
  return best;
}

}  // namespace

std::vector<BlockRun> GraphNetwork::runs_of_blocks(const BlockRunOptions& options) const {
  return block_runs(
      memory_, [this](std::uint32_t block) { return expert_of(block); }, options);
}

/// Blocks of an expert with examples.
std::vector<std::uint32_t> GraphNetwork::blocks_of(std::uint32_t expert) const {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t block = 0; block < memory_.blocks(); ++block) {
    if (expert_of(block) == expert && memory_.size(block) > 0) blocks.push_back(block);
  }
  return blocks;
}

/// Calls each(examples) with their neighbourhoods in batch_, in parts where these are too large.
void GraphNetwork::in_pieces(Examples examples, const std::function<void(Examples)>& each) {
  in_parts(examples.size(), [&](std::size_t first, std::size_t count) {
    const Examples some = examples.subspan(first, count);
    if (!sample(some, nodes_max())) return false;
    each(some);
    return true;
  });
}

/// Sum of the losses of batch_, which is of these examples.
double GraphNetwork::loss_sum(const models::ExpertNetwork<float>& network, Examples examples) {
  targets_.clear();
  for (const NetworkExample& example : examples)
    targets_.push_back(target_of(example));
  return network.loss(batch_, targets_) * static_cast<double>(examples.size());
}

std::vector<BlockSample> GraphNetwork::sample_blocks() {
  Rng rng(seed_ ^ 3, steps_, Purpose::Training);
  std::vector<BlockSample> samples;
  for (BlockRun& run : runs_of_blocks({kSampleExamplesMin, kSamplesMax}))
    samples.push_back({std::move(run), {}, 0, {}});
  const std::size_t each = std::clamp(kSampledExamples / std::max<std::size_t>(samples.size(), 1),
                                      kSampleExamplesMin, kSampleExamples);
  for (BlockSample& own : samples) {
    draw_of_blocks(memory_, own.run.blocks, each, rng, own.examples);
    const auto drawn = static_cast<double>(own.examples.size());
    in_pieces(own.examples, [&](Examples examples) {
      own.loss += loss_sum(answering(), examples) / drawn;
      own.use.add(answering().use(batch_), static_cast<double>(own.run.examples) / drawn);
    });
  }
  return samples;
}

/// The merged expert learns to say what the two said, on examples of theirs and of all blocks.
void GraphNetwork::distil(models::ExpertNetwork<float>& merged, std::uint32_t first) {
  const std::size_t count = world_.config().batch;
  std::vector<NetworkExample> examples;
  models::RowMatrix<float> wanted;
  merged.learn_only(first);
  const std::vector<std::uint32_t> blocks = blocks_of(first);
  const std::vector<std::uint32_t> blocks_of_next = blocks_of(first + 1);
  Rng rng(seed_ ^ 5, steps_, Purpose::Training);
  for (std::size_t i = 0; i < kDistilSteps; ++i) {
    examples.clear();
    draw_of_blocks(memory_, blocks, count / 4, rng, examples);
    draw_of_blocks(memory_, blocks_of_next, count / 4, rng, examples);
    memory_.draw(count - examples.size(), Rng(rng.next(), i, Purpose::Training), examples);
    in_pieces(examples, [&](Examples piece) {
      answering().predict(batch_, wanted);
      number_merged(first, batch_);
      merged.accumulate_towards(
          batch_, wanted, static_cast<double>(piece.size()) / static_cast<double>(examples.size()));
    });
    merged.step(kDistilRate * static_cast<double>(kDistilSteps - i) / kDistilSteps);
  }
  merged.learn_all();
}

/// Whether no sample loses more than the bound with event.first merged. Tells in the event of the
/// one that comes nearest to it or is farthest beyond.
bool GraphNetwork::judge(const models::ExpertNetwork<float>& merged,
                         std::span<const BlockSample> samples, ExpertEvent& event) {
  const double allowed = 1 + world_.config().merge_rise_max.value_or(0);
  std::optional<double> worst;
  for (const BlockSample& sample : samples) {
    double loss = 0;
    in_pieces(sample.examples, [&](Examples examples) {
      number_merged(event.first, batch_);
      loss += loss_sum(merged, examples) / static_cast<double>(sample.examples.size());
    });
    const bool finite = std::isfinite(loss);
    const double beyond = finite ? loss - allowed * sample.loss - kRiseSlack : kFarBeyond;
    if (worst && beyond <= *worst) continue;
    worst = beyond;
    event.worst_block = sample.run.blocks.front();
    event.loss_before = sample.loss;
    event.loss_after = loss;
  }
  return worst && *worst <= 0;
}

/// The largest rise of the mean loss of these examples around the network, which keeps its bits.
double GraphNetwork::rise_of(models::ExpertNetwork<float>& network, Examples examples) {
  const auto visit = [&](const models::VisitParameter<float>& each) { network.visit(each); };
  const auto loss = [&] {
    double sum = 0;
    in_pieces(examples, [&](Examples piece) { sum += loss_sum(network, piece); });
    return sum / static_cast<double>(examples.size());
  };
  return models::flatness_rise<float>(visit, loss, {}, Rng(seed_ ^ 11, steps_, Purpose::Measure));
}

/// Whether a network that may take this one's place is not clearly sharper. Cost: 19 answers to
/// kFlatExamples.
bool GraphNetwork::is_flat(models::ExpertNetwork<float>& candidate, ExpertEvent& event) {
  const std::optional<double> bound = world_.config().flatness_rise;
  if (!bound) return true;
  std::vector<NetworkExample> examples;
  memory_.draw(kFlatExamples, Rng(seed_ ^ 13, steps_, Purpose::Measure), examples);
  double loss = 0;
  in_pieces(examples, [&](Examples piece) {
    loss += loss_sum(answering(), piece) / static_cast<double>(examples.size());
  });
  event.rise_before = rise_of(answering(), examples);
  event.rise_after = rise_of(candidate, examples);
  const double allowed = (1 + *bound) * std::max(event.rise_before, kFlatShare * loss);
  event.sharper = !(event.rise_after <= allowed);
  return !event.sharper;
}

/// Whether two experts became one, so that `block` may have one of its own. Cost: two passes over
/// samples of all blocks and kDistilSteps steps of training.
bool GraphNetwork::make_room(std::uint32_t block, TimeUs now) {
  if (!world_.config().merge_rise_max) return false;
  if (refused_.size() + 2 >= experts()) {  // this block goes without; the next may find them alike
    refused_.clear();
    without_room_ = block;
    return false;
  }
  grow_inputs();  // no row is folded until the end, so the merged network needs no further columns
  const std::vector<BlockSample> samples = sample_blocks();
  const std::optional<Pair> pair = most_alike(samples, experts(), refused_);
  if (!pair) {  // where no rows are kept there is none for ever: to look at every step is for
                // nothing
    without_room_ = block;
    return false;
  }
  ExpertEvent event;
  event.at = now;
  event.block = block;
  event.first = pair->first;
  models::ExpertNetwork<float> merged = settled();
  merged.merge(pair->first, pair->use);
  distil(merged, pair->first);
  const bool kept = judge(merged, samples, event) && is_flat(merged, event);
  event.kind = kept ? ExpertEvent::Kind::Merge : ExpertEvent::Kind::Rollback;
  events_.push_back(event);
  if (!kept) {
    refused_.push_back(pair->first);
    without_room_ = block;
    return false;
  }
  replace(std::move(merged));
  first_blocks_.erase(first_blocks_.begin() + pair->first + 1);
  refused_.clear();
  return true;
}

}  // namespace accrete::daemon
