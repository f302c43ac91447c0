// Old blocks without their rows: mixtures in their stead, and rows drawn from these.
#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/graph_network.h"
#include "daemon/seed_parts.h"

namespace accrete::daemon {
namespace {

// Of a block and layer, that a mixture is fitted to: neighbours come on top of the examples.
constexpr std::size_t kMixtureRows = 4096;
constexpr std::size_t kMixtureAsked = 16;  // nodes of a batch, by layer, that mixtures are asked of

/// kMixtureRows of all rows that come, each as likely as any other; all of fewer, in their order.
/// Source: Vitter 1985, "Random sampling with a reservoir", algorithm R.
struct Gathered {
  explicit Gathered(const Rng& draws) : rng(draws) {}

  Rng rng;
  std::vector<float> numbers;
  std::size_t rows = 0;
  std::size_t seen = 0;

  void add(const models::RowMatrix<float>& from, std::size_t row) {
    const auto width = static_cast<std::size_t>(from.cols());
    const float* const begin = from.data() + row * width;
    ++seen;
    if (rows < kMixtureRows) {
      numbers.insert(numbers.end(), begin, begin + width);
      ++rows;
      return;
    }
    const std::size_t place = rng.below(seen);
    if (place >= kMixtureRows) return;
    std::copy_n(begin, width, numbers.begin() + static_cast<std::ptrdiff_t>(place * width));
  }
  models::RowMatrix<float> matrix(std::size_t width) const {
    models::RowMatrix<float> out(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(width));
    std::ranges::copy(numbers, out.data());
    return out;
  }
};

}  // namespace

/// Of each of an expert's blocks, as the network stands.
void GraphNetwork::fit_mixtures(std::uint32_t expert, TimeUs now) {
  for (const BlockRun& run : runs_of_blocks({kMixtureExamplesMin, NetworkMixtures::kBlocksMax})) {
    if (run.expert == expert) fit_mixture(run, now);
  }
}

/// What each gate reads of a block's rows, what the head reads of those with a class. Rows of which
/// a column is asked are shown in both ways.
void GraphNetwork::fit_mixture(const BlockRun& run, TimeUs now) {
  Rng rng(seed_ ^ 7 ^ std::uint64_t{run.blocks.front()} << 32, steps_, Purpose::Training);
  std::vector<NetworkExample> examples;
  // Those that are drawn come back: of few, more would be the same again.
  draw_of_blocks(memory_, run.blocks, std::min(kMixtureExamples, 2 * run.examples), rng, examples);
  for (std::size_t i = 0; asks_rows_ && i < examples.size(); i += 2)
    show_waiting(examples[i], now);
  std::ranges::stable_sort(examples, {}, &NetworkExample::at);
  grow_inputs();
  std::vector<Gathered> gates;
  for (std::size_t l = 0; l < mixtures_.layers(); ++l)
    gates.emplace_back(Rng(rng.next(), l, Purpose::Training));
  static_assert(kMixtureExamples <= kMixtureRows);  // so of these none is left out
  Gathered head(rng);
  std::vector<Gathered> told;
  HeadRows read;
  in_pieces(examples, [&](Examples piece) {
    models::RowMatrix<float> scores;
    std::vector<models::RowMatrix<float>> inputs;
    answering().predict(batch_, scores, nullptr, nullptr, 0, &inputs);
    for (std::size_t l = 0; l < gates.size(); ++l) {
      for (std::size_t v = 0; v < static_cast<std::size_t>(inputs[l].rows()); ++v) {
        if (run.spans(data_blocks_[v])) gates[l].add(inputs[l], v);
      }
    }
    if (kind_ != TaskKind::Multiclass || world_.config().keeps_rows()) return;  // heads read rows
    told.resize(batch_.told.size(), Gathered(rng));
    for (std::size_t i = 0; i < piece.size(); ++i) {
      head.add(inputs.back(), i);
      for (std::size_t s = 0; s < told.size(); ++s)
        told[s].add(batch_.told[s], i);
      read.classes.push_back(static_cast<std::uint32_t>(piece[i].label));
    }
  });
  const std::size_t width = world_.config().width;
  std::vector<models::RowMatrix<float>> rows;
  rows.reserve(gates.size());
  for (const Gathered& gate : gates)
    rows.push_back(gate.matrix(width));
  read.vectors = head.matrix(width);
  for (std::size_t s = 0; s < told.size(); ++s)
    read.told.push_back(told[s].matrix(static_cast<std::size_t>(batch_.told[s].cols())));
  mixtures_.add(run.blocks.front(), rows, read);
}

/// An expert was born for `block`: what is kept of the rows of those before it.
void GraphNetwork::leave_rows(std::uint32_t block) {
  if (!world_.config().keeps_rows()) {
    memory_.forget_before(block);
  } else if (world_.config().draws_rows()) {
    memory_.close_before(block);
  }
}

/// A block of which no row is kept: a value that comes late is not learnt.
bool GraphNetwork::is_left(std::uint32_t block) const {
  return !world_.config().keeps_rows() && !first_blocks_.empty() && block < first_blocks_.back() &&
         experts() > 1;
}

/// Of the losses of a step where no old row is kept: what comes is to be learnt in few steps, so it
/// has as much as the newest of kept blocks has at most.
double GraphNetwork::real_share() const {
  constexpr double kOfWhatComes = 0.5;
  return mixtures_.blocks() == 0 || world_.config().keeps_rows() ? 1 : kOfWhatComes;
}

void GraphNetwork::add_pseudo_rows() {
  NetworkMixtures::Drawn drawn =
      mixtures_.draw(world_.config().batch, Rng(seed_ ^ 9, steps_, Purpose::Training));
  for (models::PseudoRows& gate : drawn.gates) {
    for (std::uint32_t& block : gate.blocks)
      block = expert_of(block);
  }
  // What the head reads moves as gates learn, so real rows are better where there are any.
  const bool real = world_.config().keeps_rows();
  if (real) drawn.head = {};
  network_->accumulate_pseudo(drawn.gates, {std::move(drawn.head.vectors), drawn.head.classes},
                              drawn.head.told, real ? 1 : 1 - real_share());
}

/// Of the nodes of batch_ whose block has a mixture, some by each layer, of all alike: whether the
/// likeliest mixture is their block's by what the layer's gate reads. One mixture is no choice.
void GraphNetwork::count_by_mixtures(std::span<const models::RowMatrix<float>> inputs) {
  const std::uint32_t oldest = mixtures_.oldest();
  const std::uint32_t open = first_blocks_.back();  // the newest expert's, of which rows are kept
  for (std::size_t l = 0; l < mixtures_.layers(); ++l) {
    std::vector<std::size_t> old;
    for (std::size_t v = 0; v < static_cast<std::size_t>(inputs[l].rows()); ++v) {
      if (oldest <= data_blocks_[v] && data_blocks_[v] < open) old.push_back(v);
    }
    const std::size_t count = std::min(old.size(), kMixtureAsked);
    if (count == 0) continue;
    for (std::size_t i = 0; i < count; ++i)
      old[i] = old[i * old.size() / count];
    models::RowMatrix<float> rows(static_cast<Eigen::Index>(count), inputs[l].cols());
    for (std::size_t i = 0; i < count; ++i)
      rows.row(static_cast<Eigen::Index>(i)) = inputs[l].row(static_cast<Eigen::Index>(old[i]));
    const std::vector<std::uint32_t> likeliest = mixtures_.likeliest(l, rows);
    std::uint64_t own = 0;
    for (std::size_t i = 0; i < count; ++i)
      if (likeliest[i] == mixtures_.standing_for(data_blocks_[old[i]])) ++own;
    metrics_.add_by_mixtures(l, count, own);
  }
}

}  // namespace accrete::daemon
