// Learning and answering; graph_network_units.cpp says in what numbers, graph_network_replay.cpp
// remembers old blocks without their rows, graph_network_merge.cpp makes room for experts,
// graph_network_state.cpp keeps it.
#include "daemon/graph_network.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "daemon/clock.h"
#include "daemon/lagged_view.h"
#include "daemon/propagation.h"
#include "daemon/seed_parts.h"
#include "proto/hash.h"

namespace accrete::daemon {
namespace {

// Labels that must be there before the first step: they say the unit of numbers.
constexpr std::uint64_t kFirstLabels = 64;
constexpr std::size_t kLabelFanOut = 16;
constexpr std::size_t kSignalPairs = 1024;  // a path: a standard error of .04

/// A row has one outcome, and that is asked for; the rows that a list is of are in the graph.
bool shows_outcomes(const TaskPlan& plan) {
  return plan.kind != TaskKind::Ranking && !plan.column;
}

/// Numbers of classes say nothing as numbers.
bool tells_means(const TaskPlan& plan) {
  return shows_outcomes(plan) && plan.kind != TaskKind::Multiclass;
}

models::ExpertKind expert_kind(NetworkConfig::Experts experts) {
  return experts == NetworkConfig::Experts::Attention ? models::ExpertKind::Attention
                                                      : models::ExpertKind::Sage;
}

double old_expert_rate(NetworkConfig::OldExperts old) {
  switch (old) {
    case NetworkConfig::OldExperts::Freeze:
      return 0;
    case NetworkConfig::OldExperts::Slow:
      return 0.1;
    case NetworkConfig::OldExperts::All:
      break;
  }
  return 1;
}

/// Classes are kept and drawn evenly, rare ones as often as others; of the items of a list that
/// many link, many are to be listed, and how likely a flag is should be seen.
NetworkMemoryOptions memory_options(const NetworkConfig& config, const TaskPlan& plan,
                                    std::uint64_t seed) {
  NetworkMemoryOptions options;
  options.examples_max = config.memory;
  options.per_class = config.memory_per_class;
  options.told_over = config.replay != NetworkConfig::Replay::Rows;
  options.classes = plan.kind == TaskKind::Multiclass;
  options.lists = plan.kind == TaskKind::Ranking;
  if (!shows_outcomes(plan)) options.labels_max = models::LabelSignals::lags;
  options.means = tells_means(plan);
  options.seed = seed;
  return options;
}

}  // namespace

std::unique_ptr<GraphNetwork> GraphNetwork::make(const TaskPlan& plan, const TaskWorld& world,
                                                 std::uint64_t seed, Propagation* propagation) {
  if (world.network == nullptr) return nullptr;
  return std::unique_ptr<GraphNetwork>(new GraphNetwork(plan, world, seed, propagation));
}

GraphNetwork::GraphNetwork(const TaskPlan& plan, const TaskWorld& world, std::uint64_t seed,
                           Propagation* propagation)
    : name_(plan.name),
      kind_(models::learnt_as(plan.kind)),
      entity_(plan.entity),
      asks_rows_(plan.column.has_value()),
      ranks_(plan.kind == TaskKind::Ranking),
      on_heads_(world.network->config().on_heads && !asks_rows_ && kind_ != TaskKind::Multiclass),
      world_(*world.network),
      graph_(*world.graph),
      seed_(seed ^ hash64(plan.name)),
      memory_(memory_options(world_.config(), plan, seed_)),
      plan_(plan_network(*world.schema, plan.entity, world_.config().fan_out.size())),
      sampler_(*world.schema, plan_, *world.graph, world_.rows()),
      summary_(plan_, tells_means(plan)),
      pairs_(*world.schema, plan_, *world.graph, world_.rows()),
      signals_(kind_, {kSignalPairs}),
      propagation_(propagation),
      mixtures_(world_.config().fan_out.size(), seed_) {
  const NetworkConfig& config = world_.config();
  sampling_.fan_out.assign(config.fan_out.begin(), config.fan_out.end());
  sampling_.choice = config.uniform ? Choice::Uniform : Choice::Newest;
  sampling_.seed = seed_;
  sampling_.labels_max = kLabelFanOut;
  if (plan.column) sampling_.masked = {{plan.entity, *plan.column}};
  if (shows_outcomes(plan)) {
    sampling_.labels = this;
    sampling_.label_classes = kind_ == TaskKind::Multiclass;
  }
  // A balanced ridge says of an item nothing that fits how often it is chosen.
  if (!config.ridge || ranks_) return;
  const std::size_t base = propagation == nullptr ? 0 : propagation->ridge_columns();
  ridge_ = std::make_unique<NetworkRidge>(kind_, base, config.width);
}

void GraphNetwork::newest(std::uint32_t row, TimeUs at, std::size_t k, std::vector<LabelRow>& out) {
  outcomes_.clear();
  memory_.newest(row, at, k, outcomes_);
  for (const KnownLabel& outcome : outcomes_) {
    if (sampling_.label_classes) {
      out.push_back({0, outcome.known, static_cast<std::uint32_t>(outcome.label)});
    } else {
      out.push_back({static_cast<float>(in_units(outcome.label)), outcome.known});
    }
  }
}

std::vector<std::size_t> GraphNetwork::columns() const {
  std::vector<std::size_t> out;
  for (const TableId table : plan_.tables)
    out.push_back(world_.rows().width(table));
  out.push_back(LabelRow::kColumns);
  return out;
}

models::NetworkOptions GraphNetwork::options() const {
  const NetworkConfig& config = world_.config();
  models::NetworkOptions options;
  options.shape.layers = config.fan_out.size();
  options.shape.layer.kind = expert_kind(config.experts);
  options.shape.layer.width = config.width;
  options.shape.layer.relations = plan_.shapes();
  options.shape.columns = columns();
  options.shape.told = summary_.columns(plan_, world_.rows());
  options.routing.top = config.top;
  options.routing.force_own_block = true;
  options.routing.topology_gate = config.topology_gate;
  if (!config.block_loss) options.losses.block = 0;
  if (!config.graph_block_loss) options.losses.graph_block = 0;
  options.old_expert_rate = old_expert_rate(config.old_experts);
  options.freeze_shared = config.replay != NetworkConfig::Replay::Rows;
  options.seed = seed_;
  return options;
}

void GraphNetwork::learn(std::span<const std::uint32_t> rows, std::span<const double> labels,
                         TimeUs at, std::span<const double> starts) {
  ACCRETE_CHECK(starts.size() == (on_heads_ ? rows.size() : 0));
  std::size_t known = 0;
  std::size_t kept = 0;
  const std::uint64_t classes = classes_;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double label = labels[i];
    if (std::isnan(label)) continue;
    ++known;
    const std::uint32_t block = block_of(rows[i], at);
    const NetworkExample example{rows[i], label, at, block, on_heads_ ? starts[i] : 0};
    if (!is_left(block)) {
      memory_.add(example);
      ++kept;
    }
    if (ridge_ != nullptr) ridge_->add(example);
    ++labels_;
    const double off = label - mean_;
    mean_ += off / static_cast<double>(labels_);
    squares_ += off * (label - mean_);
    if (kind_ == TaskKind::Multiclass) {
      classes_ = std::max(classes_, static_cast<std::uint64_t>(label) + 1);
    }
  }
  compare_labels(rows, labels, at);
  if (asks_rows_ && classes_ > classes) world_.classes_came(classes_ - classes);
  owed_ = std::min(owed_ + kept * world_.config().passes, kOwedMax);
  dirty_ = dirty_ || known > 0;
  ridge_dirty_ = ridge_dirty_ || known > 0;
}

/// Blocks before the first expert's are its own, too.
std::uint32_t GraphNetwork::expert_of(std::uint32_t block) const {
  const auto after = std::ranges::upper_bound(first_blocks_, block);
  return after == first_blocks_.begin()
             ? 0
             : static_cast<std::uint32_t>(after - first_blocks_.begin()) - 1;
}

std::uint32_t GraphNetwork::block_of(std::uint32_t row, TimeUs at) {
  return asks_rows_ ? world_.rows().block(NodeId{entity_, row}) : world_.rows().block_at(at);
}

/// Neighbourhoods of the drawn examples, as they were `lag_us` before their times; ages are told as
/// of their times. The layers number blocks by their experts. False where there are too many nodes;
/// those of one example never are.
bool GraphNetwork::sample(Examples examples, std::size_t nodes_max, std::int64_t lag_us) {
  seeds_.clear();
  for (const NetworkExample& example : examples)
    seeds_.push_back({example.row, TimeUs{example.at.value - lag_us}});
  sampling_.nodes_max = examples.size() > 1 ? nodes_max : std::numeric_limits<std::size_t>::max();
  if (!sampler_.sample(seeds_, sampling_, batch_)) return false;
  constexpr std::int64_t kOldest = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t& age : batch_.age_us) {
    if (age != models::kAgeless) age = std::min(age, kOldest - lag_us) + lag_us;
  }
  summary_.write(
      plan_, seeds_, lag_us, memory_, [&](double label) { return in_units(label); }, batch_);
  for (std::size_t i = 0; i < examples.size(); ++i)
    batch_.block[i] = examples[i].block;
  data_blocks_ = batch_.block;
  for (std::uint32_t& block : batch_.block)
    block = expert_of(block);
  return true;
}

/// Columns and classes that came since the last call begin at zero.
void GraphNetwork::grow_inputs(models::ExpertNetwork<float>& network) const {
  const std::vector<std::size_t> columns = this->columns();
  for (std::size_t t = 0; t < columns.size(); ++t)
    network.grow_columns(t, columns[t]);
  const std::vector<std::size_t> told = summary_.columns(plan_, world_.rows());
  for (std::size_t s = 0; s < told.size(); ++s)
    network.grow_told(s, told[s]);
  for (std::size_t t = 0; t < plan_.tables.size(); ++t) {
    if (world_.rows().has_items(plan_.tables[t]))
      network.grow_items(t, world_.rows().items(plan_.tables[t]));
  }
  if (kind_ == TaskKind::Multiclass) network.grow_classes(classes_);
  if (sampling_.label_classes) network.grow_items(plan_.labels(), classes_);
}

void GraphNetwork::grow_inputs() {
  grow_inputs(*network_);
  if (averaged_ != nullptr) grow_inputs(*averaged_);
}

/// The network that learns, with the weights that answer: what is to take its place begins there.
models::ExpertNetwork<float> GraphNetwork::settled() const {
  models::ExpertNetwork<float> out = network_->copy();
  if (averaged_ != nullptr) out.take_values(*averaged_);
  return out;
}

void GraphNetwork::replace(models::ExpertNetwork<float> network) {
  if (averaged_ != nullptr) *averaged_ = network.copy_values();
  *network_ = std::move(network);
}

/// Enough labels, and for numbers a unit to tell them in.
bool GraphNetwork::ready() const {
  if (labels_ < kFirstLabels || memory_.size() == 0) return false;
  return kind_ != TaskKind::Regression || (squares_ > 0 && std::isfinite(squares_));
}

void GraphNetwork::train(TimeUs now) {
  const std::size_t batch = world_.config().batch;
  if (!world_.config().learns_at(now)) {
    owed_ = 0;
    return;
  }
  keep_unit();
  if (owed_ < batch || (network_ == nullptr && !ready())) return;
  const double begun = cpu_seconds();
  if (network_ == nullptr) begin();
  for (std::size_t i = 0; i < kStepsMax && owed_ >= batch; ++i) {
    give_birth_if_due(now);
    if (memory_.size() == 0) break;  // all of it was of blocks that are over
    step(now);
    owed_ -= batch;
  }
  training_cpu_seconds_ += cpu_seconds() - begun;
}

std::size_t GraphNetwork::nodes_max() const {
  return world_.config().activation_bytes_max / (sizeof(float) * world_.config().width);
}

bool GraphNetwork::is_there(std::uint32_t row, TimeUs now) const {
  return graph_.version(NodeId{entity_, row}, now).has_value();
}

/// As such rows are asked about while they wait; one that is gone is shown as it arrived.
void GraphNetwork::show_waiting(NetworkExample& example, TimeUs now) const {
  if (is_there(example.row, now)) example.at = shown_at_ ? shown_at_(example.row, now) : now;
}

void GraphNetwork::step(TimeUs now) {
  drawn_.clear();
  memory_.draw(world_.config().batch, Rng(seed_, steps_, Purpose::Training), drawn_);
  if (asks_rows_ && steps_ % 2 == 1) {
    for (NetworkExample& example : drawn_)
      show_waiting(example, now);
    compare_drawn(now);
  }
  std::ranges::stable_sort(drawn_, {}, &NetworkExample::at);
  LaggedView view{drawn_.size(), 0};
  // A row that is asked about a column of itself is there when it is asked.
  if (!asks_rows_) {
    view = choose_lagged(drawn_, memory_.oldest(), Rng(seed_ ^ 15, steps_, Purpose::Training));
  }
  StepParts parts;
  const auto learn_from = [&](Examples some, std::int64_t lag_us) {
    in_parts_of_instants(
        some.size(), [&](std::size_t i) { return some[i].at; }, {nodes_max(), nodes_a_seed_},
        [&](std::size_t first, std::size_t n) {
          return accumulate(some.subspan(first, n), lag_us, parts);
        });
  };
  learn_from(Examples(drawn_).first(view.first), 0);
  learn_from(Examples(drawn_).subspan(view.first), view.lag_us);
  nodes_a_seed_ = static_cast<double>(parts.nodes) / static_cast<double>(drawn_.size());
  if (mixtures_.blocks() > 0) add_pseudo_rows();
  network_->step();
  if (averaged_ != nullptr) averaged_->follow(*network_, world_.config().mean_steps);
  ++steps_;
  dirty_ = true;
}

/// Gradients of some of the drawn examples, unless they have too many nodes.
PartRead GraphNetwork::accumulate(Examples examples, std::int64_t lag_us, StepParts& parts) {
  if (!sample(examples, nodes_max(), lag_us)) return {std::min(sampler_.share_read(), kRefused)};
  targets_.clear();
  for (const NetworkExample& example : examples)
    targets_.push_back(target_of(example));
  grow_inputs();
  hide_rows(++parts.count);
  parts.nodes += batch_.nodes();
  const double part_of_step =
      static_cast<double>(examples.size()) / static_cast<double>(drawn_.size());
  network_->accumulate(batch_, targets_, part_of_step * real_share());
  return {1, batch_.nodes()};
}

/// Half of the rows show nothing in a training step, others in every step. Otherwise the network
/// learns outcomes by heart: what a row shows often says which row it is.
void GraphNetwork::hide_rows(std::uint64_t part) {
  Rng rng(seed_ ^ (2 * part), steps_, Purpose::Training);
  for (std::size_t t = 0; t < plan_.tables.size(); ++t) {
    models::RowMatrix<float>& rows = batch_.features[t];
    const models::SparseRows items = std::exchange(batch_.items[t], {});
    for (Eigen::Index i = 0; i < rows.rows(); ++i) {
      const bool hidden = rng.below(2) == 0;
      if (hidden) rows.row(i).setZero();
      if (items.rows() == 0) continue;
      const auto told = items.row(static_cast<std::size_t>(i));
      batch_.items[t].add_row(hidden ? told.first(0) : told);
    }
  }
}

/// Grown for all that there is: what somebody has asked meanwhile decides nothing.
bool GraphNetwork::is_full() {
  grow_inputs();
  const std::size_t experts = network_->experts();
  const std::size_t each = network_->memory_bytes() / experts;
  return experts >= world_.config().experts_max ||
         (experts + 1) * each > world_.config().weights_bytes_max;
}

/// Blocks in their order; one that stays too small has none.
void GraphNetwork::give_birth_if_due(TimeUs now) {
  std::uint32_t block = std::max(first_blocks_.back(), without_room_) + 1;
  for (; block < memory_.blocks(); ++block) {
    if (memory_.size(block) < kBirthExamples) continue;
    if (!is_full() || make_room(block, now)) give_birth(block, now);
    return;
  }
}

/// It grows on a copy, which takes the network's place unless it is clearly sharper: what the new
/// expert adds to a row's experts may do that. Then the block stays with the newest expert.
void GraphNetwork::give_birth(std::uint32_t block, TimeUs now) {
  BlockScores before = score_blocks(now, block);
  Rng rng(seed_ ^ 1, steps_, Purpose::Training);
  drawn_.clear();
  memory_.draw_from(block, kBirthExamples, rng, drawn_);
  first_blocks_.push_back(block);  // its rows are the new expert's from here on
  while (!sample(drawn_, kAnswerNodes * nodes_max()))
    drawn_.resize(drawn_.size() / 2);
  grow_inputs();
  models::ExpertNetwork<float> grown = settled();
  ExpertEvent event;
  event.at = now;
  event.block = block;
  event.first = static_cast<std::uint32_t>(grown.experts());
  for (const std::size_t parent : grown.grow(batch_))
    event.parents.push_back(static_cast<std::uint32_t>(parent));
  const bool kept = is_flat(grown, event);
  event.kind = kept ? ExpertEvent::Kind::Birth : ExpertEvent::Kind::Rollback;
  events_.push_back(std::move(event));
  if (!kept) {
    first_blocks_.pop_back();
    without_room_ = block;
    return;
  }
  metrics_.add(std::move(before));
  const std::uint32_t closed = static_cast<std::uint32_t>(first_blocks_.size()) - 2;
  if (world_.config().draws_rows()) fit_mixtures(closed, now);
  replace(std::move(grown));
  if (world_.config().old_experts == NetworkConfig::OldExperts::Freeze) {
    ExpertEvent freeze;
    freeze.kind = ExpertEvent::Kind::Freeze;
    freeze.at = now;
    freeze.first = closed;
    freeze.block = first_blocks_[closed];
    events_.push_back(std::move(freeze));
  }
  leave_rows(block);
}

void GraphNetwork::predict(std::span<const std::uint32_t> rows, TimeUs at, std::size_t stride,
                           std::span<models::Output> out, Trigger trigger,
                           std::span<const double> starts) {
  ACCRETE_CHECK(rows.empty() || out.size() > (rows.size() - 1) * stride);
  ACCRETE_CHECK(starts.size() == (on_heads_ ? rows.size() : 0));
  ACCRETE_CHECK(stride >= size());
  if (network_ == nullptr) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t k = 0; k < size(); ++k)
        out[i * stride + k] = unknown(on_heads_ ? starts[i] : 0);
    }
    return;
  }
  Counted counted = Counted::Nothing;
  if (trigger == Trigger::Request) counted = Counted::Mixtures;
  if (trigger == Trigger::Tick || trigger == Trigger::Arrival) counted = Counted::All;
  // Experts are chosen for few rows together, if at all.
  const bool bound = world_.config().batch_experts > 0;
  const std::size_t most = bound ? kBoundRows : rows.size();
  for (std::size_t first = 0; first < rows.size(); first += most) {
    const std::size_t count = std::min(most, rows.size() - first);
    drawn_.clear();
    for (std::size_t i = first; i < first + count; ++i)
      drawn_.push_back({rows[i], 0, at, block_of(rows[i], at), on_heads_ ? starts[i] : 0});
    score(drawn_, stride, out.subspan(first * stride), counted);
  }
}

void GraphNetwork::score(std::span<const NetworkExample> examples, std::size_t stride,
                         std::span<models::Output> out, Counted counted) {
  in_parts(examples.size(), [&](std::size_t first, std::size_t count) -> double {
    const auto some = examples.subspan(first, count);
    if (!sample(some, kAnswerNodes * nodes_max())) return 0;
    score_batch(some, stride, out.subspan(first * stride), counted);
    return 1;
  });
}

/// Answers to the seeds of batch_, which are these examples'.
void GraphNetwork::score_batch(std::span<const NetworkExample> examples, std::size_t stride,
                               std::span<models::Output> out, Counted counted) {
  grow_inputs();
  models::RowMatrix<float> scores;
  std::vector<models::RoutingStats> stats;
  const bool all = counted == Counted::All;
  answering().predict(batch_, scores, nullptr, all ? &stats : nullptr,
                      world_.config().batch_experts, &inputs_);
  if (all) metrics_.add(examples.front().at, examples.size(), first_blocks_, stats);
  if (counted != Counted::Nothing && mixtures_.blocks() > 1) count_by_mixtures(inputs_);
  if (models::room_bytes(inputs_) > world_.config().activation_bytes_max) inputs_.clear();
  const auto width = static_cast<std::size_t>(scores.cols());
  for (std::size_t i = 0; i < examples.size(); ++i)
    answer(std::span(scores.data() + i * width, width), examples[i].start, out[i * stride]);
  if (ridge_ != nullptr && stride > 1) answer_ridge(examples, stride, out.subspan(1));
}

Status GraphNetwork::tell(
    const std::function<Status(const ExpertEvent&, std::uint64_t count)>& told) {
  while (told_ < events_.size()) {
    ACCRETE_DO(told(events_[told_], events_past_ + told_ + 1));
    ++told_;
  }
  if (events_.size() > kEventsKept) {
    const std::size_t past = events_.size() - kEventsKept;
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(past));
    events_past_ += past;
    told_ -= past;
  }
  return Ok{};
}

std::size_t GraphNetwork::memory_bytes() const {
  return memory_.memory_bytes() + sampler_.memory_bytes() + batch_.room() +
         data_blocks_.capacity() * sizeof(data_blocks_[0]) + metrics_.memory_bytes() +
         models::room_bytes(inputs_) + signals_.memory_bytes() + mixtures_.memory_bytes() +
         (ridge_ == nullptr ? 0 : ridge_->memory_bytes()) +
         (network_ == nullptr ? 0 : network_->memory_bytes() + network_->room()) +
         (averaged_ == nullptr ? 0 : averaged_->memory_bytes());
}

}  // namespace accrete::daemon
