// One row at a time: a line search for the mean, a rank-one update for the covariance.
#include "models/online_logistic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include <Eigen/Cholesky>

#include "models/feature_scale.h"
#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr std::uint8_t state_version = 1;
constexpr std::uint64_t fade_rows = 100;
constexpr std::uint64_t first_scale_rows = 8;
constexpr double refresh_growth = 0.1;
constexpr double probability_min = 0.001;
constexpr double prior_slack = 0.05;  // of the prior may be missing after a refresh
constexpr double intercept_prior = 0.1;
constexpr int line_steps_max = 30;  // two or three in practice; more for a row of great weight
constexpr double line_precision = 1e-8;

double sigmoid(double score) {
  const double tail = std::exp(-std::abs(score));
  return score >= 0 ? 1 / (1 + tail) : tail / (1 + tail);
}

/// The score f' with f' = f + reach (label - sigmoid(f')): between f and the explicit step.
double implicit_score(double f, double reach, double label) {
  const double far = f + reach * (label - sigmoid(f));
  const double low = std::min(f, far);
  const double high = std::max(f, far);
  double score = f;
  for (int i = 0; i < line_steps_max; ++i) {
    const double p = sigmoid(score);
    const double gap = score - f - reach * (label - p);
    const double next = std::clamp(score - gap / (1 + reach * p * (1 - p)), low, high);
    const bool done = std::abs(next - score) < line_precision;
    score = next;
    if (done) break;
  }
  return score;
}

class Kalman final : public OnlineLogistic {
 public:
  explicit Kalman(OnlineLogisticOptions options) : options_(std::move(options)) {
    ACCRETE_CHECK(options_.half_life >= 0 && options_.lambda > 0 && options_.clip > 0);
    pin_block_sizes();
    covariance_ = MatrixXd::Constant(1, 1, 1 / intercept_prior);
    mean_ = VectorXd::Constant(1, options_.start);
  }

  std::string_view name() const override { return options_.name; }
  void predict(const Input& input, Output& output) const override;
  void learn(const Input& input, double label, double weight) override;
  void mirror() override { mean_ = -mean_; }
  void save(std::string& out) const override;
  Status load(std::string_view bytes) override;

 private:
  void standardise(std::span<const double> features, VectorXd& z) const;
  void refresh();
  void tighten(const VectorXd& divide);
  void grow(Index columns);
  void fade();
  double prior(Index column) const {
    return column == 0 ? intercept_prior : options_.lambda * static_cast<double>(mean_.size());
  }

  OnlineLogisticOptions options_;
  FeatureScale scale_;
  VectorXd mean_;
  MatrixXd covariance_;  // all of it
  std::uint64_t rows_ = 0;
  std::uint64_t rows_at_refresh_ = 0;
  VectorXd z_;      // of the row being learnt; no state
  VectorXd image_;  // P z; no state
};

void Kalman::standardise(std::span<const double> features, VectorXd& z) const {
  z.setZero(mean_.size());
  z[0] = 1;
  const auto width = std::min<std::size_t>(features.size(), static_cast<std::size_t>(z.size()) - 1);
  for (std::size_t j = 0; j < width; ++j) {
    if (!std::isfinite(features[j])) continue;
    z[static_cast<Index>(j) + 1] = scale_.standardise(j, features[j], options_.clip);
  }
}

void Kalman::predict(const Input& input, Output& output) const {
  VectorXd z;
  standardise(input.features, z);
  const VectorXd image = covariance_ * z;
  const double spread = 1 + std::numbers::pi / 8 * std::max(0.0, z.dot(image));
  output.value =
      std::clamp(sigmoid(mean_.dot(z) / std::sqrt(spread)), probability_min, 1 - probability_min);
  output.variance = 0;
  output.classes.clear();
}

void Kalman::learn(const Input& input, double label, double weight) {
  ACCRETE_CHECK(weight > 0 && (label == 0 || label == 1));
  const std::size_t width = std::min(input.features.size(), options_.features_max);
  const bool wider = width > scale_.width();
  if (wider) scale_.grow(width);
  scale_.observe(input.features.first(width));
  ++rows_;
  const double due = (1 + refresh_growth) * static_cast<double>(rows_at_refresh_);
  if (wider || (rows_ >= first_scale_rows && static_cast<double>(rows_) >= due)) refresh();

  standardise(input.features, z_);
  image_.noalias() = covariance_ * z_;
  const double reach = std::max(0.0, z_.dot(image_));
  const double score = implicit_score(mean_.dot(z_), weight * reach, label);
  const double p = sigmoid(score);
  mean_ += weight * (label - p) * image_;
  const double curvature = weight * p * (1 - p);
  const double shrink = -curvature / (1 + curvature * reach);
  for (Index c = 0; c < image_.size(); ++c) {
    covariance_.col(c) += (shrink * image_[c]) * image_;
  }
  if (rows_ % fade_rows == 0) fade();
}

/// The precision fades to the prior. Also without forgetting: an inverse taken anew is symmetric
/// and free of the rounding of a hundred updates.
void Kalman::fade() {
  const Index K = mean_.size();
  MatrixXd precision = covariance_.llt().solve(MatrixXd::Identity(K, K));
  const double f =
      options_.half_life > 0 ? std::exp2(-static_cast<double>(fade_rows) / options_.half_life) : 1;
  precision *= f;
  for (Index k = 0; k < K; ++k) {
    precision(k, k) += (1 - f) * prior(k);
  }
  const MatrixXd inverse = precision.llt().solve(MatrixXd::Identity(K, K));
  covariance_ = (inverse + inverse.transpose()) / 2;
}

void Kalman::grow(Index columns) {
  const Index old = mean_.size();
  if (columns <= old) return;
  mean_.conservativeResize(columns);
  mean_.tail(columns - old).setZero();
  covariance_.conservativeResize(columns, columns);
  covariance_.rightCols(columns - old).setZero();
  covariance_.bottomRows(columns - old).setZero();
  for (Index k = old; k < columns; ++k) {
    covariance_(k, k) = 1 / prior(k);
  }
}

/// Freeze the moments of now. With z'_j = a z_j + c the same scores need w'_j = w_j / a and
/// w'_0 = w_0 - sum c w_j / a: a linear map, applied to the mean and to both sides of P.
void Kalman::refresh() {
  const std::vector<ColumnMap> maps = scale_.freeze();
  const Index known = mean_.size();
  VectorXd divide = VectorXd::Ones(known);
  VectorXd shift = VectorXd::Zero(known);
  for (Index k = 1; k < known; ++k) {
    const ColumnMap& map = maps[static_cast<std::size_t>(k) - 1];
    if (map.scale == 0) continue;  // asleep before or now: its weight never acted
    divide[k] = 1 / map.scale;
    shift[k] = -map.shift / map.scale;
  }
  mean_[0] += shift.dot(mean_);
  mean_.array() *= divide.array();
  const VectorXd mixed = covariance_ * shift;
  covariance_.row(0) += mixed.transpose();
  const VectorXd first = covariance_ * shift;
  covariance_.col(0) += first;
  covariance_ = divide.asDiagonal() * covariance_ * divide.asDiagonal();
  tighten(divide);
  rows_at_refresh_ = rows_;
  grow(static_cast<Index>(scale_.width()) + 1);
}

/// A column that varies more than it did has a weight that is larger by as much, and a prior that
/// is looser by the square: what is missing of the full prior is put back, and the mean follows.
void Kalman::tighten(const VectorXd& divide) {
  VectorXd missing = VectorXd::Zero(mean_.size());
  for (Index k = 1; k < mean_.size(); ++k) {
    missing[k] = prior(k) * std::max(0.0, 1 - 1 / (divide[k] * divide[k]));
  }
  if ((missing.array() < prior_slack * prior(1)).all()) return;
  const Index K = mean_.size();
  MatrixXd precision = covariance_.llt().solve(MatrixXd::Identity(K, K));
  const VectorXd image = precision * mean_;
  precision.diagonal() += missing;
  const MatrixXd inverse = precision.llt().solve(MatrixXd::Identity(K, K));
  covariance_ = (inverse + inverse.transpose()) / 2;
  mean_ = covariance_ * image;
}

void Kalman::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  scale_.save(writer);
  save_vector(writer, mean_);
  save_matrix(writer, covariance_);
  writer.u64(rows_);
  writer.u64(rows_at_refresh_);
}

Status Kalman::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  FeatureScale scale;
  scale.load(reader);
  VectorXd mean = load_vector(reader);
  MatrixXd covariance = load_matrix(reader);
  const std::uint64_t rows = reader.u64();
  const std::uint64_t rows_at_refresh = reader.u64();
  reader.require(mean.size() == static_cast<Index>(scale.width()) + 1);
  reader.require(covariance.rows() == mean.size() && covariance.cols() == mean.size());
  ACCRETE_DO(reader.finish(name()));
  scale_ = std::move(scale);
  mean_ = std::move(mean);
  covariance_ = std::move(covariance);
  rows_ = rows;
  rows_at_refresh_ = rows_at_refresh;
  return Ok{};
}

}  // namespace

std::unique_ptr<OnlineLogistic> make_online_logistic(const OnlineLogisticOptions& options) {
  return std::make_unique<Kalman>(options);
}

}  // namespace accrete::models
