// Exact metrics over lists: ranks for AUROC, thresholds for average precision, one confusion pass
// for F1.
#include "models/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "models/mixer.h"
#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;
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

Metrics regression(std::span<const double> scores, std::span<const double> losses,
                   std::span<const double> labels) {
  double squares = 0;
  double spread = 0;
  const double centre = mean(labels);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    squares += (labels[i] - scores[i]) * (labels[i] - scores[i]);
    spread += (labels[i] - centre) * (labels[i] - centre);
  }
  return {{"mae", mean(losses)},
          {"rmse", std::sqrt(squares / static_cast<double>(scores.size()))},
          {"r2", spread > 0 ? 1 - squares / spread : nan}};
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

void Graded::add(const Output& output, double label) {
  scores_.push_back(score_of(kind_, output));
  losses_.push_back(loss_of(kind_, output, label));
  labels_.push_back(label);
}

Metrics Graded::metrics() const {
  if (labels_.empty()) return {};
  switch (kind_) {
    case TaskKind::Regression:
      return regression(scores_, losses_, labels_);
    case TaskKind::Multiclass:
      return {{"accuracy", accuracy(kind_, scores_, labels_)},
              {"macro_f1", macro_f1(scores_, labels_)},
              {"log_loss", mean(losses_)}};
    case TaskKind::Binary:
      break;
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
          {"accuracy", accuracy(kind_, scores_, labels_)}};
}

Prequential::Prequential(TaskKind kind, std::size_t window, double fading)
    : kind_(kind), window_(window), fading_(fading), ring_(kind) {
  ACCRETE_CHECK(window > 0);
  ACCRETE_CHECK(fading > 0 && fading <= 1);
}

void Prequential::add(const Output& output, double label) {
  const double loss = loss_of(kind_, output, label);
  const double score = score_of(kind_, output);
  if (ring_.size() < window_) {
    ring_.add(output, label);
  } else {
    ring_.scores_[next_] = score;
    ring_.losses_[next_] = loss;
    ring_.labels_[next_] = label;
  }
  next_ = (next_ + 1) % window_;
  ++count_;
  const double hit = kind_ != TaskKind::Regression && is_hit(kind_, score, label) ? 1 : 0;
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
  return {{"log_loss", loss}, {"accuracy", faded_hit_ / faded_weight_}};
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
  reader.require(ring.scores_.size() == size && ring.losses_.size() == size);
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
