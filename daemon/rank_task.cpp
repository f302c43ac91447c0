// Predicting, grading and learning of ranked lists.
#include "daemon/rank_task.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "daemon/learners.h"
#include "models/ranked_list.h"
#include "proto/json_text.h"

namespace accrete::daemon {
namespace {

constexpr std::uint32_t kNoItem = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kNumbersBytes = Shortlist::kItemsMax * Shortlist::kNumbers * sizeof(float);
constexpr std::size_t kExamplesMax = 64;
// Lists that are scored and published together: one with its numbers takes 15 KB.
constexpr std::size_t kListsScored = 512;
// Heads besides the network, in the order of names().
constexpr std::size_t kHeads = 4;
constexpr std::size_t kLogit = 3;
// What items share evenly by popularity: no item of the list is impossible.
constexpr double kEvenShare = 0.01;
constexpr double kOthersShare = 0.1;
// Of an item's usual share, that the network may be wrong by: none becomes impossible.
constexpr double kDoubt = 0.1;

void normalise(std::vector<double>& shares) {
  double sum = 0;
  for (const double share : shares)
    sum += share;
  for (double& share : shares)
    share /= sum;
}

models::ChoiceLogitOptions choice_options() {
  models::ChoiceLogitOptions options;
  options.width = Shortlist::kNumbers;
  return options;
}

/// Losses of lists are a few nats, and differ by tenths.
models::MixerOptions list_mixer_options() {
  models::MixerOptions options;
  options.eta = 1;
  return options;
}

}  // namespace

/// The numbers of a pair as explanations name them.
class RankTask::PairNumbers final : public FeatureSource {
 public:
  explicit PairNumbers(RankTask& task) : task_(task) {}

  void observe(std::span<const Value>) override {}
  void mature(std::span<const std::uint32_t>, std::span<const double>, TimeUs) override {}
  std::size_t width() override { return Shortlist::kNumbers; }
  void compute(NodeId entity, TimeUs at, std::vector<double>& out) override {
    out = task_.feature_values(entity.row, at);
  }
  std::vector<std::string> names() override {
    return {Shortlist::names().begin(), Shortlist::names().end()};
  }
  std::size_t memory_bytes() const override { return 0; }
  void stage(store::State&) override {}
  Status load(store::State&) override { return Ok{}; }

 private:
  RankTask& task_;
};

/// The short lists of several entities at one instant, and what is said of them.
struct RankTask::Scored {
  std::vector<std::uint32_t> rows;
  std::vector<Shortlist::Pool> pools;
  std::vector<models::Output> outputs;  // rows × (candidates + 1), the mixture last
};

/// What an entity linked.
struct RankTask::Outcome {
  std::vector<std::uint32_t> items;
  std::string text;
  std::vector<bool> right;  // of the items of its short list
  std::size_t missed = 0;   // items that are not on it
};

RankTask::RankTask(TaskPlan plan, const TaskWorld& world, const TaskLimits& limits)
    : TickTask(std::move(plan), world, limits),
      shortlist_(plan_, world_, limits.learners_bytes_max / 4),
      choice_(choice_options()),
      network_(GraphNetwork::make(plan_, world, limits.seed)),
      names_{"popularity", "own-past", "own-latest", "choice-logit"},
      numbers_(std::make_unique<PairNumbers>(*this)) {
  if (network_ != nullptr) std::ranges::copy(network_->names(), std::back_inserter(names_));
  mixer_ = std::make_unique<models::Mixer>(models::learnt_as(plan_.kind), names_.size(),
                                           list_mixer_options());
  weigh_network();
  metrics_.assign(names_.size() + 1, models::Prequential(plan_.kind, kMetricsWindow));
}

RankTask::~RankTask() = default;

Status RankTask::row_folded(const FoldedRow& row, store::State&, const Emit&, FoldSink&) {
  touch(row.row);
  return Ok{};
}

std::span<const ExpertEvent> RankTask::expert_events() const {
  return network_ == nullptr ? std::span<const ExpertEvent>() : network_->events();
}

FeatureSource& RankTask::features() {
  return *numbers_;
}

std::vector<double> RankTask::feature_values(std::uint32_t row, TimeUs at) {
  Scored scored;
  shortlist_.begin();
  score({&row, 1}, at, Trigger::Query, scored);
  const std::vector<double>& said = scored.outputs.back().classes;
  if (said.empty()) return std::vector<double>(Shortlist::kNumbers);
  const std::size_t best = models::best_of(said, 1).front();
  const auto first = scored.pools.front().numbers.begin() +
                     static_cast<std::ptrdiff_t>(best * Shortlist::kNumbers);
  return {first, first + static_cast<std::ptrdiff_t>(Shortlist::kNumbers)};
}

void RankTask::ask_heads(const Shortlist::Pool& pool, std::span<models::Output> outputs) const {
  std::vector<double>& popular = outputs[0].classes;
  std::vector<double>& past = outputs[1].classes;
  std::vector<double>& latest = outputs[2].classes;
  for (const Shortlist::Item& item : pool.items)
    popular.push_back(item.popularity + kEvenShare);
  normalise(popular);
  for (std::size_t i = 0; i < pool.items.size(); ++i) {
    const Shortlist::Item& item = pool.items[i];
    past.push_back(item.own_links + kOthersShare * popular[i]);
    const double place = item.own_rank > 0 ? std::exp2(1 - static_cast<double>(item.own_rank)) : 0;
    latest.push_back(place + kOthersShare * popular[i]);
  }
  normalise(past);
  normalise(latest);
  outputs[kLogit].classes.resize(pool.items.size());
  choice_.predict(pool.numbers, outputs[kLogit].classes);
}

/// How much likelier the network finds an item for this entity than for anybody, times what the
/// logit says of it (on heads), or popularity. The network's own share of an item is that of all it
/// has learnt from, of which much is long ago; the quotient is not. Items that it does not know
/// keep what they have.
void RankTask::ask_network(TimeUs at, Trigger trigger, Scored& scored) {
  const std::size_t each = network_->size();
  const std::size_t per_row = names_.size() + 1;
  const std::size_t base = world_.network->config().on_heads ? kLogit : 0;
  double links = 0;
  for (const std::uint64_t count : class_links_)
    links += static_cast<double>(count);
  std::vector<models::Output> answers(scored.rows.size() * each);
  network_->predict(scored.rows, at, each, answers, trigger);
  for (std::size_t i = 0; i < scored.rows.size(); ++i) {
    const auto outputs = std::span(scored.outputs).subspan(i * per_row, per_row);
    for (std::size_t a = 0; a < each; ++a) {
      const std::vector<double>& said = answers[i * each + a].classes;
      std::vector<double>& told = outputs[kHeads + a].classes;
      told = outputs[base].classes;
      if (told.empty()) continue;
      for (std::size_t p = 0; p < told.size(); ++p) {
        const std::uint32_t item = scored.pools[i].items[p].row;
        const std::uint32_t number = item < class_of_.size() ? class_of_[item] : 0;
        if (number == 0 || number > said.size()) continue;
        const double usual = static_cast<double>(class_links_[number - 1]) / links;
        told[p] *= (said[number - 1] + kDoubt * usual) / ((1 + kDoubt) * usual);
      }
      normalise(told);
    }
  }
}

void RankTask::score(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                     Scored& scored) {
  const std::size_t per_row = names_.size() + 1;
  scored.rows.assign(rows.begin(), rows.end());
  scored.pools.resize(rows.size());
  scored.outputs.assign(rows.size() * per_row, {});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    shortlist_.make(rows[i], at, scored.pools[i]);
    if (scored.pools[i].items.empty()) continue;
    ask_heads(scored.pools[i], std::span(scored.outputs).subspan(i * per_row, kHeads));
  }
  if (network_ != nullptr) ask_network(at, trigger, scored);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto outputs = std::span(scored.outputs).subspan(i * per_row, per_row);
    mixer_->combine(outputs.first(names_.size()), outputs.back());
  }
}

Status RankTask::publish(const Scored& scored, TimeUs at, Trigger trigger, const Emit& emit) {
  const std::size_t per_row = names_.size() + 1;
  const bool asked = trigger == Trigger::Request || trigger == Trigger::Query;
  for (std::size_t i = 0; i < scored.rows.size(); ++i) {
    const auto outputs = std::span(scored.outputs).subspan(i * per_row, per_row);
    const auto& items = scored.pools[i].items;
    const std::vector<double>& mixed = outputs.back().classes;
    const std::vector<std::uint32_t> order = models::best_of(mixed, plan_.places);
    const std::string key = entity_key(scored.rows[i], at);
    Prediction prediction;
    prediction.task = plan_.name;
    prediction.kind = plan_.kind;
    prediction.trigger = trigger;
    prediction.entity_key = key;
    prediction.as_of = at;
    prediction.model = labels_ + steps_of(network_.get());
    std::vector<std::string> listed;
    listed.reserve(order.size());
    for (const std::uint32_t p : order)
      listed.push_back(shortlist_.name(items[p].row, at));
    for (std::size_t r = 0; r < order.size(); ++r)
      prediction.classes.push_back({listed[r], mixed[order[r]]});
    if (!order.empty()) prediction.score = mixed[order.front()];
    std::vector<std::string> firsts;
    for (std::size_t c = 0; c < names_.size() && asked && !order.empty(); ++c) {
      const std::uint32_t first = models::best_of(outputs[c].classes, 1).front();
      firsts.push_back(shortlist_.name(items[first].row, at));
    }
    for (std::size_t c = 0; c < names_.size(); ++c) {
      const double first = order.empty() ? 0 : outputs[c].classes[order.front()];
      prediction.candidates.push_back({names_[c], first});
      if (!firsts.empty()) prediction.candidates.back().label = firsts[c];
    }
    ACCRETE_DO(emit(prediction));
  }
  return Ok{};
}

Status RankTask::tell_of(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                         const Emit& emit) {
  return in_pieces(rows, at, trigger, emit, [](const Scored&, std::size_t) {});
}

/// Score and publish; `scored` sees each piece and where it begins.
Status RankTask::in_pieces(std::span<const std::uint32_t> rows, TimeUs at, Trigger trigger,
                           const Emit& emit,
                           const std::function<void(const Scored&, std::size_t)>& scored) {
  shortlist_.begin();
  Scored piece;
  for (std::size_t first = 0; first < rows.size(); first += kListsScored) {
    const std::size_t count = std::min(kListsScored, rows.size() - first);
    score(rows.subspan(first, count), at, trigger, piece);
    scored(piece, first);
    ACCRETE_DO(publish(piece, at, trigger, emit));
  }
  return Ok{};
}

/// Lists that may be learnt from between two ticks.
std::size_t RankTask::taught_max() const {
  const std::size_t fitting = limits_.learners_bytes_max / 2 / kNumbersBytes;
  return std::min(limits_.taught_rows_max, std::max<std::size_t>(fitting, 64));
}

/// What was said of lists, as it waits for the outcome, items as they were ranked: so shares that
/// are alike as floats stay in the order that was published. `taught`: positions in the piece.
PendingBatch RankTask::kept(const Scored& scored, TimeUs at, Trigger trigger,
                            std::vector<std::uint32_t> taught) const {
  PendingBatch batch = begin_batch(at, trigger);
  batch.rows = scored.rows;
  batch.taught = std::move(taught);
  batch.classes = 0;
  for (const Shortlist::Pool& pool : scored.pools)
    batch.classes = std::max(batch.classes, static_cast<std::uint32_t>(pool.items.size()));
  batch.width = batch.classes * Shortlist::kNumbers;
  const std::size_t per_row = names_.size() + 1;
  auto next = batch.taught.begin();
  for (std::size_t i = 0; i < scored.rows.size(); ++i) {
    const auto outputs = std::span(scored.outputs).subspan(i * per_row, per_row);
    const Shortlist::Pool& pool = scored.pools[i];
    const std::vector<std::uint32_t> order =
        models::best_of(outputs.back().classes, pool.items.size());
    for (const std::uint32_t p : order)
      batch.items.push_back(pool.items[p].row);
    batch.items.resize((i + 1) * batch.classes, kNoItem);
    for (std::size_t c = 0; c < per_row; ++c) {
      for (const std::uint32_t p : order)
        batch.shares.push_back(static_cast<float>(outputs[c].classes[p]));
      batch.shares.resize((i * per_row + c + 1) * batch.classes, 0.0F);
    }
    if (next == batch.taught.end() || *next != i) continue;
    ++next;
    const std::size_t end = batch.features.size() + batch.width;
    for (const std::uint32_t p : order) {
      const auto numbers =
          std::span(pool.numbers).subspan(p * Shortlist::kNumbers, Shortlist::kNumbers);
      batch.features.insert(batch.features.end(), numbers.begin(), numbers.end());
    }
    batch.features.resize(end, 0.0F);
  }
  return batch;
}

Status RankTask::tick_population(TimeUs at, const Emit& emit) {
  shortlist_.count(at);
  learners_dirty_ = true;
  const std::vector<std::uint32_t> rows = population(at);
  const std::vector<std::uint32_t> drawn = draw(rows.size(), taught_max(), at);
  const bool keeps = !rows.empty() && !sheds(rows.size());
  auto next = drawn.begin();
  return in_pieces(rows, at, Trigger::Tick, emit, [&](const Scored& piece, std::size_t first) {
    std::vector<std::uint32_t> taught;
    for (; next != drawn.end() && *next < first + piece.rows.size(); ++next)
      taught.push_back(*next - static_cast<std::uint32_t>(first));
    if (!keeps) return;
    PendingBatch batch = kept(piece, at, Trigger::Tick, std::move(taught));
    batch.population = static_cast<std::uint32_t>(rows.size());
    pending_.push(std::move(batch));
  });
}

Status RankTask::request(std::span<const std::uint32_t> rows, TimeUs at, store::State&,
                         const Emit& emit) {
  const bool keeps = !rows.empty() && !sheds(rows.size());
  return in_pieces(rows, at, Trigger::Request, emit, [&](const Scored& piece, std::size_t) {
    if (keeps) pending_.push(kept(piece, at, Trigger::Request, {}));
  });
}

/// Whether a batch is one that kept() made.
bool RankTask::fits(const PendingBatch& batch) const {
  const std::size_t lists = batch.rows.size() * batch.classes;
  return batch.classes <= Shortlist::kItemsMax && batch.items.size() == lists &&
         batch.shares.size() == lists * (names_.size() + 1) &&
         batch.width == batch.classes * Shortlist::kNumbers;
}

RankTask::Outcome RankTask::outcome_of(const PendingBatch& batch, std::size_t i) {
  Outcome outcome;
  std::set<std::uint32_t> linked;
  for (const Shortlist::Linked& link : shortlist_.outcome(batch.rows[i], batch.at)) {
    outcome.items.push_back(link.row);
    linked.insert(link.row);
    outcome.text += outcome.text.empty() ? '[' : ',';
    json_text::append_string(outcome.text, link.text);
  }
  if (!outcome.text.empty()) outcome.text += ']';
  const auto listed = std::span(batch.items).subspan(i * batch.classes, batch.classes);
  for (const std::uint32_t item : listed) {
    if (item == kNoItem) break;
    outcome.right.push_back(linked.contains(item));
  }
  const auto found = std::count(outcome.right.begin(), outcome.right.end(), true);
  outcome.missed = outcome.items.size() - static_cast<std::size_t>(found);
  return outcome;
}

Status RankTask::mature(TimeUs at, store::State& state, FoldSink& sink) {
  while (!pending_.empty() && pending_.next_due() <= at) {
    ACCRETE_TRY(const PendingBatch batch, pending_.pop(state));
    if (batch.due > frozen_after_) continue;
    if (!fits(batch)) {
      return Error{Errc::Corruption,
                   "task \"" + plan_.name + "\": waiting predictions are not of its candidates"};
    }
    std::vector<Outcome> outcomes;
    for (std::size_t i = 0; i < batch.rows.size(); ++i) {
      outcomes.push_back(outcome_of(batch, i));
      if (!outcomes.back().items.empty()) grade(batch, i, outcomes.back(), sink);
    }
    if (batch.trigger == Trigger::Tick) learn(batch, outcomes);
    // The pieces of a tick are one instant, as its requests are.
    if (pending_.empty() || pending_.next_at() != batch.at) settle(batch.due);
  }
  if (network_ != nullptr) {
    network_->train(at);
    network_->settle_ridge(at);
  }
  return Ok{};
}

void RankTask::grade(const PendingBatch& batch, std::size_t i, const Outcome& outcome,
                     FoldSink& sink) {
  const std::size_t per_row = names_.size() + 1;
  const std::size_t listed = outcome.right.size();
  std::vector<models::Output> outputs(per_row);
  std::vector<models::RankedGrade> ranked;
  for (std::size_t c = 0; c < per_row; ++c) {
    const auto said = std::span(batch.shares).subspan((i * per_row + c) * batch.classes, listed);
    outputs[c].classes.assign(said.begin(), said.end());
    ranked.push_back(
        models::grade_list(outputs[c].classes, outcome.right, outcome.missed, plan_.places));
  }
  const std::string key = entity_key(batch.rows[i], batch.at);
  const auto links = static_cast<double>(outcome.items.size());
  if (batch.trigger == Trigger::Tick) {
    // Of an item that is not listed all candidates say the same, nothing.
    for (std::size_t p = 0; p < listed; ++p) {
      if (outcome.right[p]) mixer_->grade({outputs.data(), names_.size()}, static_cast<double>(p));
    }
    drift_.grade(ranked.back().loss);
    const std::size_t every = metrics_step(batch.population);
    for (std::size_t c = 0; c < per_row && i % every == 0; ++c)
      metrics_[c].add(ranked[c]);
    sink.label({&plan_, batch.at, key, links, outcome.text});
  }
  sink.graded({&plan_,
               batch.at,
               batch.trigger,
               {outputs.data(), names_.size()},
               &outputs.back(),
               {},
               links,
               batch.due,
               mixer_->weights(),
               ranked});
}

void RankTask::learn(const PendingBatch& batch, std::span<const Outcome> outcomes) {
  for (std::size_t t = 0; t < batch.taught.size(); ++t) {
    const std::vector<bool>& right = outcomes[batch.taught[t]].right;
    const auto numbers = std::span(batch.features).subspan(t * batch.width, batch.width);
    choice_.learn(numbers.first(right.size() * Shortlist::kNumbers), right);
  }
  if (network_ != nullptr) teach_network(batch, outcomes);
  for (const Outcome& outcome : outcomes)
    labels_ += outcome.items.empty() ? 0u : 1u;
  learners_dirty_ = true;
}

/// All of an instant is graded and learnt.
void RankTask::settle(TimeUs known) {
  choice_.settle();
  if (network_ != nullptr) network_->compare_lists();
  weigh_network();
  mixer_->settle();
  drift_.settle(known, labels_);
  learners_dirty_ = true;
}

/// The network is first behind the heads.
void RankTask::weigh_network() {
  if (network_ != nullptr) set_network_prior(network_->prior(), kHeads, *mixer_);
}

/// Each link of an outcome is an example of its own, up to so many.
void RankTask::teach_network(const PendingBatch& batch, std::span<const Outcome> outcomes) {
  std::vector<std::uint32_t> rows;
  std::vector<double> labels;
  for (const std::uint32_t i : batch.taught) {
    const auto& items = outcomes[i].items;
    for (const std::uint32_t item : std::span(items).first(std::min(items.size(), kExamplesMax))) {
      if (item >= class_of_.size()) class_of_.resize(item + std::size_t{1}, 0);
      if (class_of_[item] == 0 && classes_.size() < kNetworkItems) {
        classes_.push_back(item);
        class_links_.push_back(0);
        class_of_[item] = static_cast<std::uint32_t>(classes_.size());
      }
      if (class_of_[item] == 0) continue;
      rows.push_back(batch.rows[i]);
      labels.push_back(class_of_[item] - 1);
      ++class_links_[class_of_[item] - 1];
    }
  }
  network_->learn(rows, labels, batch.at);
}

std::size_t RankTask::memory_bytes() const {
  return queues_bytes() + shortlist_.memory_bytes() +
         (network_ == nullptr ? 0 : network_->memory_bytes()) +
         (classes_.capacity() + class_of_.capacity()) * sizeof(std::uint32_t) +
         class_links_.capacity() * sizeof(std::uint64_t);
}

}  // namespace accrete::daemon
