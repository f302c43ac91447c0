// Softmax over a list, its gradient and its curvature.
#include "models/choice_logit.h"

#include <algorithm>
#include <cmath>

#include <Eigen/Dense>

#include "models/state_bytes.h"

namespace accrete::models {
namespace {

constexpr std::uint8_t state_version = 1;
constexpr double variance_min = 1e-12;

using Matrix = Eigen::Map<Eigen::MatrixXd>;
using Vector = Eigen::Map<Eigen::VectorXd>;

void softmax(std::span<double> scores) {
  if (scores.empty()) return;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) {
    score = std::exp(score - top);
    sum += score;
  }
  for (double& score : scores)
    score /= sum;
}

}  // namespace

ChoiceLogit::ChoiceLogit(const ChoiceLogitOptions& options)
    : options_(options),
      weights_(options.width, 0.0),
      squares_(options.width, 0.0),
      curvature_(options.width * options.width, 0.0),
      gradient_(options.width, 0.0),
      fresh_(options.width * options.width, 0.0) {
  ACCRETE_CHECK(options.width > 0 && options.lambda > 0);
}

void ChoiceLogit::predict(std::span<const float> items, std::span<double> probabilities) const {
  const std::size_t width = options_.width;
  ACCRETE_CHECK(items.size() == probabilities.size() * width);
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    double score = 0;
    for (std::size_t k = 0; k < width; ++k)
      score += weights_[k] * static_cast<double>(items[i * width + k]);
    probabilities[i] = score;
  }
  softmax(probabilities);
}

void ChoiceLogit::learn(std::span<const float> items, const std::vector<bool>& chosen) {
  const std::size_t width = options_.width;
  ACCRETE_CHECK(items.size() == chosen.size() * width);
  const auto count = static_cast<double>(std::count(chosen.begin(), chosen.end(), true));
  if (count == 0) return;
  std::vector<double> probabilities(chosen.size());
  predict(items, probabilities);
  std::vector<double> means(width, 0.0);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    for (std::size_t k = 0; k < width; ++k)
      means[k] += static_cast<double>(items[i * width + k]);
  }
  for (double& mean : means)
    mean /= static_cast<double>(chosen.size());
  std::vector<double> squares(width, 0.0);
  Eigen::MatrixXd rows(static_cast<Eigen::Index>(width), static_cast<Eigen::Index>(chosen.size()));
  Eigen::VectorXd said(static_cast<Eigen::Index>(chosen.size()));
  Eigen::VectorXd wrong(static_cast<Eigen::Index>(chosen.size()));
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto column = static_cast<Eigen::Index>(i);
    for (std::size_t k = 0; k < width; ++k) {
      const double gap = static_cast<double>(items[i * width + k]) - means[k];
      squares[k] += gap * gap;
      rows(static_cast<Eigen::Index>(k), column) = gap;
    }
    said(column) = probabilities[i];
    wrong(column) = probabilities[i] - (chosen[i] ? 1 / count : 0.0);
  }
  for (std::size_t k = 0; k < width; ++k)
    squares_[k] += squares[k] / static_cast<double>(chosen.size());
  lists_ += 1;
  taught_ += 1;
  const auto size = static_cast<Eigen::Index>(width);
  Vector(gradient_.data(), size) += rows * wrong;
  const Eigen::VectorXd mean = rows * said;
  Matrix fresh(fresh_.data(), size, size);
  fresh += rows * said.asDiagonal() * rows.transpose();
  fresh -= mean * mean.transpose();
}

/// Of the numbers within their lists; 0: it never varied.
std::vector<double> ChoiceLogit::deviations() const {
  std::vector<double> out;
  for (const double squares : squares_) {
    const double variance = squares / lists_;
    out.push_back(variance > variance_min ? std::sqrt(variance) : 0);
  }
  return out;
}

void ChoiceLogit::settle() {
  if (taught_ == 0) return;
  const auto size = static_cast<Eigen::Index>(options_.width);
  const double kept = options_.half_life > 0 ? std::exp2(-1 / options_.half_life) : 1.0;
  Matrix curvature(curvature_.data(), size, size);
  Matrix fresh(fresh_.data(), size, size);
  curvature = kept * curvature + fresh;
  // In units of the deviations; a number that never varied keeps its weight, zero.
  const std::vector<double> units = deviations();
  Eigen::VectorXd inverse(size);
  for (Eigen::Index k = 0; k < size; ++k) {
    const double unit = units[static_cast<std::size_t>(k)];
    inverse(k) = unit > 0 ? 1 / unit : 0;
  }
  Eigen::MatrixXd system = inverse.asDiagonal() * curvature * inverse.asDiagonal();
  system.diagonal().array() += options_.lambda;
  // The weights are where older lists and the prior want them: only what is new pulls.
  Eigen::VectorXd step = system.ldlt().solve(-inverse.cwiseProduct(Vector(gradient_.data(), size)));
  const double length = step.norm();
  if (std::isfinite(length)) {
    if (length > options_.step_max) step *= options_.step_max / length;
    Vector(weights_.data(), size) += inverse.cwiseProduct(step);
  }
  std::fill(gradient_.begin(), gradient_.end(), 0.0);
  std::fill(fresh_.begin(), fresh_.end(), 0.0);
  taught_ = 0;
}

void ChoiceLogit::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u64(options_.width);
  writer.f64(lists_);
  writer.f64(taught_);
  for (const auto* values : {&weights_, &squares_, &curvature_, &gradient_, &fresh_})
    writer.doubles(*values);
}

Status ChoiceLogit::load(std::string_view bytes) {
  StateReader reader(bytes);
  ChoiceLogit read(options_);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u64() == options_.width);
  read.lists_ = reader.f64();
  read.taught_ = reader.f64();
  for (auto* values :
       {&read.weights_, &read.squares_, &read.curvature_, &read.gradient_, &read.fresh_}) {
    const std::size_t expected = values->size();
    *values = reader.doubles();
    reader.require(values->size() == expected);
  }
  ACCRETE_DO(reader.finish("choices"));
  *this = std::move(read);
  return Ok{};
}

}  // namespace accrete::models
