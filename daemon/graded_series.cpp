// Collecting and merging.
#include "daemon/graded_series.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <utility>

#include "models/mixer.h"
#include "proto/time.h"

namespace accrete::daemon {
namespace {

using Json = nlohmann::ordered_json;
using Point = GradedSeries::Point;

void add_to(std::vector<double>& sums, const std::vector<double>& more) {
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] += more[i];
}

Point empty_point(std::size_t outputs) {
  Point point;
  point.losses.assign(outputs, 0.0);
  point.hits.assign(outputs, 0.0);
  point.wins.assign(outputs, 0.0);
  point.weights.assign(outputs - 1, 0.0);
  return point;
}

bool is_hit(const models::Output& output, double label) {
  const auto best = std::max_element(output.classes.begin(), output.classes.end());
  return best != output.classes.end() &&
         static_cast<double>(best - output.classes.begin()) == label;
}

}  // namespace

void GradedSeries::Point::take(const Point& next) {
  at = next.at;
  count += next.count;
  blocks += next.blocks;
  pairs += next.pairs;
  add_to(losses, next.losses);
  add_to(hits, next.hits);
  add_to(wins, next.wins);
  add_to(weights, next.weights);
}

Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  std::array<char, 32> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.6g", value);
  double out = value;
  std::from_chars(text.data(), text.data() + size, out);
  return out;
}

const char* headline(TaskKind kind) {
  constexpr std::array<const char*, 4> kNames{"auroc", "mae", "accuracy", "map"};  // as TaskKind
  return kNames[static_cast<std::size_t>(kind)];
}

GradedSeries::GradedSeries(TaskKind kind, std::size_t outputs)
    : kind_(kind), outputs_(outputs), open_(empty_point(outputs)) {
  ACCRETE_CHECK(outputs > 0);
  scores_.resize(kind == TaskKind::Binary ? outputs : 0);
}

void GradedSeries::add(const GradedPrediction& graded) {
  if (graded.trigger != Trigger::Tick && graded.trigger != Trigger::Arrival) return;
  ACCRETE_CHECK(graded.outputs.size() + 1 == outputs_ &&
                graded.weights.size() == graded.outputs.size() && graded.known >= open_.at);
  ACCRETE_CHECK(kind_ != TaskKind::Ranking || graded.ranked.size() == outputs_);
  const bool instant_ended = graded.known != open_.at && open_.count >= kBlockMin;
  if (instant_ended || open_.count == kBlockMax) close();
  open_.at = graded.known;
  ++open_.count;
  for (std::size_t c = 0; c < outputs_; ++c) {
    const models::Output& output = c + 1 < outputs_ ? graded.outputs[c] : *graded.mixed;
    if (kind_ == TaskKind::Ranking) {
      open_.losses[c] += graded.ranked[c].loss;
      open_.hits[c] += graded.ranked[c].average_precision;
      continue;
    }
    open_.losses[c] += models::loss_of(kind_, output, graded.label);
    if (kind_ == TaskKind::Multiclass) open_.hits[c] += is_hit(output, graded.label) ? 1 : 0;
    if (kind_ == TaskKind::Binary) scores_[c].push_back(output.value);
  }
  if (kind_ == TaskKind::Binary) labels_.push_back(graded.label);
  for (std::size_t c = 0; c < graded.weights.size(); ++c)
    open_.weights[c] += graded.weights[c];
}

/// The open block with its pairs counted.
Point GradedSeries::closed_block() const {
  Point block = open_;
  block.blocks = 1;
  if (kind_ != TaskKind::Binary) return block;
  const auto positives = static_cast<double>(
      std::count_if(labels_.begin(), labels_.end(), [](double label) { return label > 0.5; }));
  block.pairs = positives * (static_cast<double>(labels_.size()) - positives);
  for (std::size_t c = 0; c < outputs_ && block.pairs > 0; ++c) {
    // Half a pair is the smallest difference, so the rounding gives back the count itself.
    block.wins[c] = std::round(2 * block.pairs * models::auroc(scores_[c], labels_)) / 2;
  }
  return block;
}

void GradedSeries::close() {
  points_.add(closed_block());
  const TimeUs at = open_.at;
  open_ = empty_point(outputs_);
  open_.at = at;
  labels_.clear();
  for (auto& scores : scores_)
    scores.clear();
}

std::vector<Point> GradedSeries::points() const {
  return open_.count == 0 ? points_.points()
                          : points_.with(closed_block(), open_.count < kBlockMin);
}

Json GradedSeries::json(const std::vector<std::string>& candidates) const {
  ACCRETE_CHECK(candidates.size() + 1 == outputs_);
  Json series = Json::array();
  for (const Point& point : points()) {
    const auto count = static_cast<double>(point.count);
    const auto by_name = [&](const std::vector<double>& sums, double divisor) {
      Json values = Json::object();
      for (std::size_t c = 0; c < sums.size(); ++c) {
        values[c < candidates.size() ? candidates[c] : "mixture"] = rounded(sums[c] / divisor);
      }
      return values;
    };
    Json entry;
    entry["at"] = format_time(point.at);
    entry["count"] = point.count;
    if (kind_ == TaskKind::Binary) {
      entry["metric"] = by_name(point.wins, point.pairs);
    } else {
      entry["metric"] = by_name(kind_ == TaskKind::Regression ? point.losses : point.hits, count);
    }
    if (kind_ != TaskKind::Regression) entry["log_loss"] = by_name(point.losses, count);
    entry["weights"] = by_name(point.weights, count);
    series.push_back(std::move(entry));
  }
  return series;
}

}  // namespace accrete::daemon
