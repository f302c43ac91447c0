// Hedge with fixed share over candidates, weights updated in the log domain.
#include "models/mixer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 5;

// One wild label must not silence a candidate for good: with eta 0.5 a loss of 8, alone in its
// settle, costs a weight a factor of 55, which fixed share makes good within a few updates.
constexpr double loss_max = 8;

constexpr double probability_min = 1e-6;

// A candidate that says never or always must not outvote all others by an infinite logit.
constexpr double pooled_min = 1e-3;

// A settle counts as so many at most: labels of one time are not independent of each other.
constexpr double count_max = 4;

// Prior of the plain mean of the families against all single candidates.
constexpr double mean_prior = 0.5;

double logit(double probability) {
  const double p = std::clamp(probability, pooled_min, 1 - pooled_min);
  return std::log(p / (1 - p));
}

/// Share of each candidate in the mean of the families' means; empty if there is no family.
std::vector<double> mean_shares(std::span<const int> families) {
  std::vector<double> shares;
  int top = -1;
  for (const int family : families) {
    top = std::max(top, family);
  }
  std::vector<double> sizes(static_cast<std::size_t>(top + 1), 0.0);
  for (const int family : families) {
    if (family >= 0) sizes[static_cast<std::size_t>(family)] += 1;
  }
  const auto count = static_cast<double>(
      std::count_if(sizes.begin(), sizes.end(), [](double size) { return size > 0; }));
  for (const int family : families) {
    if (count == 0) return {};
    shares.push_back(family < 0 ? 0 : 1 / (count * sizes[static_cast<std::size_t>(family)]));
  }
  return shares;
}

double log_loss(double probability) {
  return -std::log(std::clamp(probability, probability_min, 1 - probability_min));
}

}  // namespace

double loss_of(TaskKind kind, const Output& output, double label) {
  switch (kind) {
    case TaskKind::Binary:
      return log_loss(label > 0.5 ? output.value : 1 - output.value);
    case TaskKind::Regression:
      return std::abs(label - output.value);
    case TaskKind::Multiclass:
    case TaskKind::Ranking:  // one right item of a list
      break;
  }
  const bool known = label >= 0 && label < static_cast<double>(output.classes.size());
  return log_loss(known ? output.classes[static_cast<std::size_t>(label)] : 0);
}

Mixer::Mixer(TaskKind kind, std::size_t candidates, const MixerOptions& options)
    : kind_(kind), options_(options), totals_(candidates, 0.0), before_(candidates, 0.0) {
  ACCRETE_CHECK(candidates > 0);
  ACCRETE_CHECK(options.eta >= 0 && options.share >= 0 && options.share <= 1);
  ACCRETE_CHECK(options.labels >= 0);
  ACCRETE_CHECK(options.families.empty() || options.families.size() == candidates);
  if (kind != TaskKind::Multiclass) mean_ = mean_shares(options.families);
  const double rest = mean_.empty() ? 1 : 1 - mean_prior;
  prior_.assign(candidates, rest / static_cast<double>(candidates));
  if (!mean_.empty()) prior_.push_back(mean_prior);
  even_ = prior_;
  start_ = prior_;
  experts_ = prior_;
  losses_.assign(experts_.size(), 0.0);
  spread();
}

void Mixer::set_prior(std::size_t k, double share) {
  ACCRETE_CHECK(k < totals_.size() && share > 0 && share < 1);
  if (prior_.size() == 1) return;
  // From the even one each time: products of many steps would depend on the steps.
  const double others = (1 - share) / (1 - even_[k]);
  for (std::size_t e = 0; e < even_.size(); ++e)
    prior_[e] = even_[e] * others;
  prior_[k] = share;
  if (rounds_ > 0 || graded_ > 0) return;
  start_ = prior_;
  experts_ = prior_;
  spread();
}

/// Candidates' weights from the experts'.
void Mixer::spread() {
  weights_.assign(experts_.begin(), experts_.begin() + static_cast<std::ptrdiff_t>(totals_.size()));
  for (std::size_t k = 0; k < mean_.size(); ++k) {
    weights_[k] += experts_.back() * mean_[k];
  }
}

double Mixer::pool(std::span<const Output> outputs, std::span<const double> weights) const {
  double sum = 0;
  double said = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const double value = outputs[k].value;
    if (!std::isfinite(value)) continue;  // it failed and said nothing: the others speak for it
    sum += weights[k] * (kind_ == TaskKind::Binary ? logit(value) : value);
    said += weights[k];
  }
  if (said > 0) sum /= said;
  return kind_ == TaskKind::Binary ? 1 / (1 + std::exp(-sum)) : sum;
}

double Mixer::excess(std::size_t k) const {
  ACCRETE_CHECK(k < totals_.size());
  const auto lost = [&](std::size_t candidate) { return totals_[candidate] - before_[candidate]; };
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t other = 0; other < totals_.size(); ++other) {
    if (other != k) best = std::min(best, lost(other));
  }
  return rounds_ > 0 && best > 0 && best < lost(k) ? lost(k) / best - 1 : 0;
}

void Mixer::restart_excess() {
  before_ = totals_;
}

Regret Mixer::regret() const {
  const auto best = std::min_element(totals_.begin(), totals_.end());
  Regret regret;
  regret.mixture = mixture_total_;
  regret.best = *best;
  regret.candidate = static_cast<std::size_t>(best - totals_.begin());
  regret.rounds = rounds_;
  regret.by_labels = options_.labels > 0;
  if (rounds_ == 0) return regret;
  if (options_.eta <= 0 || options_.share >= 1) {
    regret.bound = std::numeric_limits<double>::infinity();
    return regret;
  }
  // A candidate's weight never falls below (1 - share) times what its loss leaves of it.
  const double kept = static_cast<double>(rounds_ - 1) * -std::log1p(-options_.share);
  const double start = -std::log(start_[regret.candidate]);
  regret.bound = (start + kept) / options_.eta + gap_total_;
  return regret;
}

void Mixer::combine(std::span<const Output> outputs, Output& mixed) const {
  ACCRETE_CHECK(outputs.size() == weights_.size());
  mixed.value = 0;
  mixed.variance = 0;
  mixed.classes.clear();
  if (kind_ == TaskKind::Multiclass) {
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const std::vector<double>& classes = outputs[k].classes;
      if (!std::ranges::all_of(classes, [](double p) { return std::isfinite(p); })) continue;
      if (classes.size() > mixed.classes.size()) mixed.classes.resize(classes.size(), 0.0);
      for (std::size_t c = 0; c < classes.size(); ++c) {
        mixed.classes[c] += weights_[k] * classes[c];
      }
    }
    // Candidates that know no class yet said nothing: the others speak for them.
    const double total = std::accumulate(mixed.classes.begin(), mixed.classes.end(), 0.0);
    if (total > 0) {
      for (double& p : mixed.classes) {
        p /= total;
      }
    }
    return;
  }
  mixed.value = pool(outputs, weights_);
  if (kind_ == TaskKind::Binary) return;
  double within = 0;
  double known = 0;
  double between = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!std::isfinite(outputs[k].value)) continue;
    const double gap = outputs[k].value - mixed.value;
    between += weights_[k] * gap * gap;
    if (outputs[k].variance > 0) {
      within += weights_[k] * outputs[k].variance;
      known += weights_[k];
    }
  }
  if (known > 0) mixed.variance = within / known + between;
}

void Mixer::grade(std::span<const Output> outputs, double label) {
  ACCRETE_CHECK(outputs.size() == totals_.size());
  Output mixed;
  combine(outputs, mixed);
  if (kind_ == TaskKind::Regression) {
    scale_count_ += 1;
    scale_ += (std::abs(label - mixed.value) - scale_) / scale_count_;
  }
  const auto scaled = [&](const Output& output) {
    double loss = loss_of(kind_, output, label);
    if (kind_ == TaskKind::Regression && loss > 0) loss = scale_ > 0 ? loss / scale_ : loss_max;
    return std::isfinite(loss) ? std::min(loss, loss_max) : loss_max;
  };
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    losses_[k] += scaled(outputs[k]);
  }
  if (!mean_.empty()) {
    Output mean;
    mean.value = pool(outputs, mean_);
    losses_.back() += scaled(mean);
  }
  mixture_ += scaled(mixed);
  graded_ += 1;
}

double Mixer::count_of_settle() const {
  if (options_.labels <= 0) return 1;
  return std::clamp(std::sqrt(graded_ / options_.labels), 1.0, count_max);
}

void Mixer::settle() {
  if (graded_ == 0) return;
  const double count = count_of_settle();
  for (std::size_t k = 0; k < totals_.size(); ++k) {
    totals_[k] += count * losses_[k] / graded_;
  }
  mixture_total_ += count * mixture_ / graded_;
  std::vector<double> log_weights(experts_.size());
  double mean_loss = 0;
  for (std::size_t k = 0; k < experts_.size(); ++k) {
    log_weights[k] = std::log(experts_[k]) - options_.eta * count * losses_[k] / graded_;
    mean_loss += experts_[k] * losses_[k] / graded_;
  }
  const double top = *std::max_element(log_weights.begin(), log_weights.end());
  double total = 0;
  for (std::size_t k = 0; k < experts_.size(); ++k) {
    experts_[k] = std::exp(log_weights[k] - top);
    total += experts_[k];
  }
  ++rounds_;
  // Clipping a loss is not convex: where it lifts the mixture above the mean, that counts.
  if (options_.eta > 0) {
    gap_total_ +=
        count * std::max(mean_loss, mixture_ / graded_) + (top + std::log(total)) / options_.eta;
  }
  for (std::size_t k = 0; k < experts_.size(); ++k) {
    experts_[k] = (1 - options_.share) * experts_[k] / total + options_.share * prior_[k];
  }
  std::fill(losses_.begin(), losses_.end(), 0.0);
  mixture_ = 0;
  graded_ = 0;
  spread();
}

void Mixer::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.doubles(start_);
  writer.doubles(experts_);
  writer.doubles(losses_);
  writer.doubles(totals_);
  writer.doubles(before_);
  writer.f64(mixture_);
  writer.f64(mixture_total_);
  writer.f64(gap_total_);
  writer.u64(rounds_);
  writer.f64(graded_);
  writer.f64(scale_);
  writer.f64(scale_count_);
}

Status Mixer::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  std::vector<double> start = reader.doubles();
  std::vector<double> experts = reader.doubles();
  std::vector<double> losses = reader.doubles();
  std::vector<double> totals = reader.doubles();
  std::vector<double> before = reader.doubles();
  reader.require(start.size() == start_.size() && experts.size() == experts_.size());
  reader.require(losses.size() == losses_.size());
  reader.require(totals.size() == totals_.size() && before.size() == totals_.size());
  const double mixture = reader.f64();
  const double mixture_total = reader.f64();
  const double gap_total = reader.f64();
  const std::uint64_t rounds = reader.u64();
  const double graded = reader.f64();
  const double scale = reader.f64();
  const double scale_count = reader.f64();
  ACCRETE_DO(reader.finish("mixer"));
  start_ = std::move(start);
  experts_ = std::move(experts);
  losses_ = std::move(losses);
  totals_ = std::move(totals);
  before_ = std::move(before);
  mixture_ = mixture;
  mixture_total_ = mixture_total;
  gap_total_ = gap_total;
  rounds_ = rounds;
  graded_ = graded;
  scale_ = scale;
  scale_count_ = scale_count;
  spread();
  return Ok{};
}

}  // namespace accrete::models
