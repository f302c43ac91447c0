// Hedge with fixed share over candidates, weights updated in the log domain.
#include "models/mixer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;

// One wild label must not silence a candidate for good: with eta 0.5 a loss of 8 costs a weight a
// factor of 55, which fixed share makes good within a few updates.
constexpr double loss_max = 8;

constexpr double probability_min = 1e-6;

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
      break;
  }
  const bool known = label >= 0 && label < static_cast<double>(output.classes.size());
  return log_loss(known ? output.classes[static_cast<std::size_t>(label)] : 0);
}

Mixer::Mixer(TaskKind kind, std::size_t candidates, const MixerOptions& options)
    : kind_(kind),
      options_(options),
      weights_(candidates, 1.0 / static_cast<double>(candidates)),
      losses_(candidates, 0.0) {
  ACCRETE_CHECK(candidates > 0);
  ACCRETE_CHECK(options.eta >= 0 && options.share >= 0 && options.share <= 1);
}

void Mixer::combine(std::span<const Output> outputs, Output& mixed) const {
  ACCRETE_CHECK(outputs.size() == weights_.size());
  mixed.value = 0;
  mixed.variance = 0;
  mixed.classes.clear();
  if (kind_ == TaskKind::Multiclass) {
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const std::vector<double>& classes = outputs[k].classes;
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
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    mixed.value += weights_[k] * outputs[k].value;
  }
  double within = 0;
  double known = 0;
  double between = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
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
  ACCRETE_CHECK(outputs.size() == weights_.size());
  if (kind_ == TaskKind::Regression) {
    double mixture = 0;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      mixture += weights_[k] * outputs[k].value;
    }
    scale_count_ += 1;
    scale_ += (std::abs(label - mixture) - scale_) / scale_count_;
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    double loss = loss_of(kind_, outputs[k], label);
    if (kind_ == TaskKind::Regression && loss > 0) loss = scale_ > 0 ? loss / scale_ : loss_max;
    losses_[k] += std::min(loss, loss_max);
  }
  graded_ += 1;
}

void Mixer::settle() {
  if (graded_ == 0) return;
  std::vector<double> log_weights(weights_.size());
  for (std::size_t k = 0; k < weights_.size(); ++k) {
    log_weights[k] = std::log(weights_[k]) - options_.eta * losses_[k] / graded_;
  }
  const double top = *std::max_element(log_weights.begin(), log_weights.end());
  double total = 0;
  for (std::size_t k = 0; k < weights_.size(); ++k) {
    weights_[k] = std::exp(log_weights[k] - top);
    total += weights_[k];
  }
  const double uniform = 1.0 / static_cast<double>(weights_.size());
  for (double& weight : weights_) {
    weight = (1 - options_.share) * weight / total + options_.share * uniform;
  }
  std::fill(losses_.begin(), losses_.end(), 0.0);
  graded_ = 0;
}

void Mixer::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u8(static_cast<std::uint8_t>(kind_));
  writer.doubles(weights_);
  writer.doubles(losses_);
  writer.f64(graded_);
  writer.f64(scale_);
  writer.f64(scale_count_);
}

Status Mixer::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  std::vector<double> weights = reader.doubles();
  std::vector<double> losses = reader.doubles();
  reader.require(weights.size() == weights_.size() && losses.size() == losses_.size());
  const double graded = reader.f64();
  const double scale = reader.f64();
  const double scale_count = reader.f64();
  ACCRETE_DO(reader.finish("mixer"));
  weights_ = std::move(weights);
  losses_ = std::move(losses);
  graded_ = graded;
  scale_ = scale;
  scale_count_ = scale_count;
  return Ok{};
}

}  // namespace accrete::models
