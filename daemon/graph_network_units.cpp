// In which numbers a graph network learns labels and says answers.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>
#include <utility>

#include "daemon/graph_network.h"

namespace accrete::daemon {
namespace {

constexpr double kFarOut = 100;  // of labels, in units in which deviations are about 1
constexpr double kProbabilityMin = 1e-3;
// A unit that is off by less changes nothing of note: labels are learnt by their absolute error.
constexpr double kUnitOff = 2;

}  // namespace

/// A number as the network sees it; what is far out tells no more than that.
double GraphNetwork::in_units(double label) const {
  return std::clamp((label - centre_) / unit_, -kFarOut, kFarOut);
}

/// The network's first weights, and for numbers the unit of the labels so far.
void GraphNetwork::begin() {
  take_unit();
  network_ = std::make_unique<models::ExpertNetwork<float>>(kind_, options());
  if (world_.config().mean_steps > 0)
    averaged_ = std::make_unique<models::ExpertNetwork<float>>(network_->copy_values());
  first_blocks_ = {memory_.blocks() - 1};
}

void GraphNetwork::take_unit() {
  if (kind_ != TaskKind::Regression) return;
  centre_ = mean_;
  unit_ = std::sqrt(squares_ / static_cast<double>(labels_));
}

/// The first labels may be of a quiet time: whenever labels have doubled, a unit that is far off is
/// taken anew, and the head says the same numbers in it. Sums of a ridge would still be told in the
/// old one, so beside one the unit stays.
void GraphNetwork::keep_unit() {
  if (network_ == nullptr || kind_ != TaskKind::Regression || ridge_ != nullptr) return;
  if (labels_ < unit_due_) return;
  unit_due_ = 2 * std::bit_floor(labels_);
  dirty_ = true;
  const double spread = std::sqrt(squares_ / static_cast<double>(labels_));
  if (!std::isfinite(spread) || (spread < kUnitOff * unit_ && unit_ < kUnitOff * spread)) return;
  const double old_unit = unit_;
  const double old_centre = centre_;
  take_unit();
  say_in_unit(*network_, old_unit, old_centre);
  if (averaged_ != nullptr) say_in_unit(*averaged_, old_unit, old_centre);
}

/// Means of labels that the head is told are in the unit, too: what they add follows by itself, but
/// for the centre that they are told from.
void GraphNetwork::say_in_unit(models::ExpertNetwork<float>& network, double old_unit,
                               double old_centre) const {
  const auto times = static_cast<float>(old_unit / unit_);
  const auto moved = static_cast<float>((old_centre - centre_) / unit_);
  const auto is_mean = [](std::string_view name, Eigen::Index row) {
    return name == SeedSummary::kLabelSource &&
           static_cast<std::size_t>(row) < SeedSummary::kLabelMeans;
  };
  float by_means = 0;
  network.visit([&](std::string_view name, const models::Parameter<float>& parameter) {
    for (Eigen::Index row = 0; row < parameter.value.rows() && is_mean(name, row); ++row)
      by_means += parameter.value(row, 0);
  });
  network.visit([&](std::string_view name, models::Parameter<float>& parameter) {
    if (!name.starts_with("head.") || name.starts_with("head.norm")) return;
    for (Eigen::Index row = 0; row < parameter.value.rows(); ++row)
      if (!is_mean(name, row)) parameter.value.row(row) *= times;
    if (name == "head.bias") {
      parameter.value.array() += (on_heads_ ? 0 : moved) - by_means * moved;
    }
    ++parameter.version;
  });
}

/// What the head's score is added to before the loss and in answers: a logit. Numbers are learnt as
/// differences to what is known, so that however far out that is, the network can agree.
double GraphNetwork::score_of(double start) const {
  if (!on_heads_ || kind_ == TaskKind::Regression) return 0;
  const double p = std::clamp(start, kProbabilityMin, 1 - kProbabilityMin);
  return std::log(p / (1 - p));
}

models::Target GraphNetwork::target_of(const NetworkExample& example) const {
  double value = example.label;
  if (kind_ == TaskKind::Regression) {
    const double known = on_heads_ ? example.start : centre_;
    value = std::clamp((value - known) / unit_, -kFarOut, kFarOut);
  }
  return {value, 1, score_of(example.start)};
}

void GraphNetwork::answer(std::span<const float> scores, double start, models::Output& out) const {
  out = models::Output{};
  switch (kind_) {
    case TaskKind::Binary:
      out.value = 1 / (1 + std::exp(-(scores[0] + score_of(start))));
      return;
    case TaskKind::Regression:
      out.value = (on_heads_ ? start : centre_) + unit_ * scores[0];
      return;
    default:
      break;
  }
  double sum = 0;
  const float most = *std::ranges::max_element(scores);
  for (const float score : scores) {
    out.classes.push_back(std::exp(static_cast<double>(score - most)));
    sum += out.classes.back();
  }
  for (double& share : out.classes)
    share /= sum;
}

/// What is said before anything is learnt.
models::Output GraphNetwork::unknown(double start) const {
  models::Output out;
  if (kind_ == TaskKind::Binary) out.value = 0.5;
  if (kind_ == TaskKind::Regression) out.value = mean_;
  if (on_heads_) out.value = start;
  return out;
}

}  // namespace accrete::daemon
