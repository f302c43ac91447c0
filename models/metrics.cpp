// Exact metrics over lists: ranks for AUROC, thresholds for average precision, one confusion pass
// for F1.
#include "models/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>

#include "models/mixer.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 2;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool positive(double label) {
  return label > 0.5;
}

std::vector<std::size_t> descending(std::span<const double> scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  return order;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// What the graded list holds as the prediction: probability, value, or the best class (-1: none).
double score_of(TaskKind kind, const Output& output) {
  if (kind != TaskKind::Multiclass) return output.value;
  if (output.classes.empty()) return -1;
  const auto best = std::max_element(output.classes.begin(), output.classes.end());
  return static_cast<double>(best - output.classes.begin());
}

bool is_hit(TaskKind kind, double score, double label) {
  if (kind == TaskKind::Binary) return (score >= 0.5) == positive(label);
  return score == label;
}

double accuracy(TaskKind kind, std::span<const double> scores, std::span<const double> labels) {
  double hits = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    hits += is_hit(kind, scores[i], labels[i]) ? 1 : 0;
  }
  return hits / static_cast<double>(scores.size());
}

double macro_f1(std::span<const double> scores, std::span<const double> labels) {
  struct Count {
    double hits = 0;
    double predicted = 0;
    double actual = 0;
  };
  std::map<double, Count> classes;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] >= 0) classes[scores[i]].predicted += 1;
    classes[labels[i]].actual += 1;
    if (scores[i] == labels[i]) classes[labels[i]].hits += 1;
  }
  double sum = 0;
  for (const auto& [index, count] : classes) {
    sum += 2 * count.hits / (count.predicted + count.actual);
  }
  return sum / static_cast<double>(classes.size());
}

double squared_error(std::span<const double> scores, std::span<const double> labels) {
  double squares = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    squares += (labels[i] - scores[i]) * (labels[i] - scores[i]);
  }
  return squares;
}

double r2(std::span<const double> scores, std::span<const double> labels) {
  double spread = 0;
  const double centre = mean(labels);
  for (const double label : labels) {
    spread += (label - centre) * (label - centre);
  }
  return spread > 0 ? 1 - squared_error(scores, labels) / spread : nan;
}

/// Minus the mean log density under N(score, variance), where the variance is known.
double gaussian_nll(std::span<const double> scores, std::span<const double> variances,
                    std::span<const double> labels) {
  double sum = 0;
  double count = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!(variances[i] > 0)) continue;
    const double gap = labels[i] - scores[i];
    sum += 0.5 * (std::log(2 * std::numbers::pi * variances[i]) + gap * gap / variances[i]);
    count += 1;
  }
  return count > 0 ? sum / count : nan;
}

struct Coverage {
  double share = nan;
  double width = nan;
};

Coverage coverage(std::span<const double> lows, std::span<const double> highs,
                  std::span<const double> labels) {
  double inside = 0;
  double width = 0;
  double count = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (std::isnan(lows[i]) || std::isnan(highs[i])) continue;
    inside += lows[i] <= labels[i] && labels[i] <= highs[i] ? 1 : 0;
    width += highs[i] - lows[i];
    count += 1;
  }
  return count > 0 ? Coverage{inside / count, width / count} : Coverage{};
}

}  // namespace

double auroc(std::span<const double> scores, std::span<const double> labels) {
  ACCRETE_CHECK(scores.size() == labels.size());
  const std::vector<std::size_t> order = descending(scores);
  // Twice the number of (positive, negative) pairs in the right order: whole numbers, so exact.
  double twice_wins = 0;
  double positives = 0;
  double negatives = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    double tied_positives = 0;
    double tied_negatives = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      (positive(labels[order[end]]) ? tied_positives : tied_negatives) += 1;
    }
    twice_wins += tied_negatives * (2 * positives + tied_positives);
    positives += tied_positives;
    negatives += tied_negatives;
    begin = std::max(end, begin + 1);  // a NaN equals nothing, not even itself
  }
  return positives > 0 && negatives > 0 ? twice_wins / (2 * positives * negatives) : nan;
}

double average_precision(std::span<const double> scores, std::span<const double> labels) {
  ACCRETE_CHECK(scores.size() == labels.size());
  const std::vector<std::size_t> order = descending(scores);
  double sum = 0;
  double positives = 0;
  double seen = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    double tied_positives = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      tied_positives += positive(labels[order[end]]) ? 1 : 0;
    }
    end = std::max(end, begin + 1);
    positives += tied_positives;
    seen += static_cast<double>(end - begin);
    sum += tied_positives * positives / seen;
    begin = end;
  }
  return positives > 0 ? sum / positives : nan;
}

double expected_calibration_error(std::span<const double> probabilities,
                                  std::span<const double> hits, std::size_t bins) {
  ACCRETE_CHECK(probabilities.size() == hits.size() && bins > 0);
  std::vector<double> gaps(bins, 0.0);  // sum of hits minus probabilities
  const auto width = static_cast<double>(bins);
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const double p = std::clamp(probabilities[i], 0.0, 1.0);
    const auto bin = std::min(bins - 1, static_cast<std::size_t>(p * width));
    gaps[bin] += hits[i] - p;
  }
  double sum = 0;
  for (const double gap : gaps) {
    sum += std::abs(gap);
  }
  return hits.empty() ? nan : sum / static_cast<double>(hits.size());
}

void Graded::resize(std::size_t size) {
  scores_.resize(size);
  losses_.resize(size);
  labels_.resize(size);
  if (kind_ != TaskKind::Binary) certainties_.resize(size);
  if (kind_ != TaskKind::Regression && kind_ != TaskKind::Ranking) return;
  lows_.resize(size);
  highs_.resize(size);
}

void Graded::put(std::size_t i, const Output& output, double label, const Interval& interval) {
  scores_[i] = score_of(kind_, output);
  losses_[i] = loss_of(kind_, output, label);
  labels_[i] = label;
  if (kind_ == TaskKind::Multiclass) {
    const bool known = !output.classes.empty();
    certainties_[i] = known ? output.classes[static_cast<std::size_t>(scores_[i])] : 0;
  } else if (kind_ == TaskKind::Regression) {
    certainties_[i] = output.variance;
    lows_[i] = interval.low;
    highs_[i] = interval.high;
  }
}

void Graded::add(const Output& output, double label, const Interval& interval) {
  resize(size() + 1);
  put(size() - 1, output, label, interval);
}

void Graded::put(std::size_t i, const RankedGrade& grade) {
  scores_[i] = grade.average_precision;
  losses_[i] = grade.loss;
  labels_[i] = grade.ndcg;
  certainties_[i] = grade.precision;
  lows_[i] = grade.recall;
  highs_[i] = grade.considered;
}

void Graded::add(const RankedGrade& grade) {
  ACCRETE_CHECK(kind_ == TaskKind::Ranking);
  resize(size() + 1);
  put(size() - 1, grade);
}

Metrics Graded::metrics() const {
  if (labels_.empty()) return {};
  if (kind_ == TaskKind::Ranking) {
    return {
        {"map", mean(scores_)},  {"ndcg", mean(labels_)},      {"precision", mean(certainties_)},
        {"recall", mean(lows_)}, {"considered", mean(highs_)}, {"log_loss", mean(losses_)}};
  }
  if (kind_ == TaskKind::Regression) {
    const Coverage intervals = coverage(lows_, highs_, labels_);
    const double mean_square =
        squared_error(scores_, labels_) / static_cast<double>(scores_.size());
    return {{"mae", mean(losses_)},        {"rmse", std::sqrt(mean_square)},
            {"r2", r2(scores_, labels_)},  {"nll", gaussian_nll(scores_, certainties_, labels_)},
            {"coverage", intervals.share}, {"width", intervals.width}};
  }
  std::vector<double> hits;
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    const bool multiclass = kind_ == TaskKind::Multiclass;
    hits.push_back((multiclass ? scores_[i] == labels_[i] : positive(labels_[i])) ? 1 : 0);
  }
  if (kind_ == TaskKind::Multiclass) {
    return {{"accuracy", accuracy(kind_, scores_, labels_)},
            {"macro_f1", macro_f1(scores_, labels_)},
            {"log_loss", mean(losses_)},
            {"ece", expected_calibration_error(certainties_, hits)}};
  }
  double brier = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    const double gap = scores_[i] - (positive(labels_[i]) ? 1 : 0);
    brier += gap * gap;
  }
  return {{"auroc", auroc(scores_, labels_)},
          {"average_precision", average_precision(scores_, labels_)},
          {"log_loss", mean(losses_)},
          {"brier", brier / static_cast<double>(scores_.size())},
          {"accuracy", accuracy(kind_, scores_, labels_)},
          {"ece", expected_calibration_error(scores_, hits)}};
}

Prequential::Prequential(TaskKind kind, std::size_t window, double fading)
    : kind_(kind), window_(window), fading_(fading), ring_(kind) {
  ACCRETE_CHECK(window > 0);
  ACCRETE_CHECK(fading > 0 && fading <= 1);
}

template <class... What>
void Prequential::keep(const What&... graded) {
  if (ring_.size() < window_) {
    ring_.add(graded...);
  } else {
    ring_.put(next_, graded...);
  }
  next_ = (next_ + 1) % window_;
  ++count_;
}

void Prequential::add(const Output& output, double label, const Interval& interval) {
  keep(output, label, interval);
  const bool hit = kind_ != TaskKind::Regression && is_hit(kind_, score_of(kind_, output), label);
  fade(loss_of(kind_, output, label), hit ? 1 : 0);
}

void Prequential::add(const RankedGrade& grade) {
  keep(grade);
  fade(grade.loss, grade.average_precision);
}

void Prequential::fade(double loss, double hit) {
  faded_loss_ = fading_ * faded_loss_ + loss;
  faded_hit_ = fading_ * faded_hit_ + hit;
  faded_weight_ = fading_ * faded_weight_ + 1;
}

Metrics Prequential::sliding() const {
  return ring_.metrics();
}

Metrics Prequential::fading() const {
  if (count_ == 0) return {};
  const double loss = faded_loss_ / faded_weight_;
  if (kind_ == TaskKind::Regression) return {{"mae", loss}};
  const char* hits = kind_ == TaskKind::Ranking ? "map" : "accuracy";
  return {{"log_loss", loss}, {hits, faded_hit_ / faded_weight_}};
}

void Prequential::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.u64(window_);
  writer.u64(count_);
  writer.u64(next_);
  writer.f64(faded_loss_);
  writer.f64(faded_hit_);
  writer.f64(faded_weight_);
  writer.doubles(ring_.scores_);
  writer.doubles(ring_.losses_);
  writer.doubles(ring_.labels_);
  writer.doubles(ring_.certainties_);
  writer.doubles(ring_.lows_);
  writer.doubles(ring_.highs_);
}

Status Prequential::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  reader.require(reader.u64() == window_);
  const std::uint64_t count = reader.u64();
  const std::uint64_t next = reader.u64();
  const double faded_loss = reader.f64();
  const double faded_hit = reader.f64();
  const double faded_weight = reader.f64();
  Graded ring(kind_);
  ring.scores_ = reader.doubles();
  ring.losses_ = reader.doubles();
  ring.labels_ = reader.doubles();
  const std::size_t size = ring.labels_.size();
  ring.certainties_ = reader.doubles();
  ring.lows_ = reader.doubles();
  ring.highs_ = reader.doubles();
  reader.require(ring.scores_.size() == size && ring.losses_.size() == size);
  reader.require(ring.certainties_.size() == (kind_ == TaskKind::Binary ? 0 : size));
  const bool bounded = kind_ == TaskKind::Regression || kind_ == TaskKind::Ranking;
  reader.require(ring.lows_.size() == (bounded ? size : 0));
  reader.require(ring.highs_.size() == ring.lows_.size());
  reader.require(size == std::min<std::uint64_t>(count, window_) && next == count % window_);
  ACCRETE_DO(reader.finish("metrics"));
  count_ = count;
  next_ = next;
  faded_loss_ = faded_loss;
  faded_hit_ = faded_hit;
  faded_weight_ = faded_weight;
  ring_ = std::move(ring);
  return Ok{};
}

}  // namespace accrete::models
