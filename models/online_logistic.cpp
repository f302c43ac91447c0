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
constexpr double probability_min = 0.001;
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

MatrixXd inverse_of(const MatrixXd& precision) {
  const Index K = precision.rows();
  const MatrixXd inverse = precision.llt().solve(MatrixXd::Identity(K, K));
  return (inverse + inverse.transpose()) / 2;
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
  if (width > scale_.width()) scale_.grow(width);
  scale_.observe(input.features.first(width));
  ++rows_;
  const auto known = static_cast<std::uint64_t>(mean_.size() - 1);
  const bool early = known > 0 && rows_ < first_scale_rows;
  if (!early && is_freeze_due(scale_, {rows_at_refresh_, known}, known)) refresh();

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
  covariance_ = inverse_of(precision);
}

/// Freeze the moments of now. With z' = T z the rows so far are worth T D T' in the new scale, D
/// being the precision without the prior; the prior is put back as it is there. (Carried along, it
/// would vouch for nothing where a deviation grew by orders of magnitude: rounding noise that turns
/// into a signal.)
void Kalman::refresh() {
  const std::vector<ColumnMap> maps = scale_.freeze();
  const Index known = mean_.size();
  MatrixXd precision = covariance_.llt().solve(MatrixXd::Identity(known, known));
  const VectorXd pull = precision * mean_;
  for (Index k = 0; k < known; ++k) {
    precision(k, k) -= prior(k);
  }
  // T is a diagonal and a first column: T D T' takes K² steps.
  VectorXd scale = VectorXd::Ones(known);
  VectorXd shift = VectorXd::Zero(known);
  for (Index k = 1; k < known; ++k) {
    const ColumnMap& column = maps[static_cast<std::size_t>(k) - 1];
    scale[k] = column.scale;
    shift[k] = column.shift;
  }
  const Index K = static_cast<Index>(scale_.width()) + 1;
  MatrixXd carried = MatrixXd::Zero(K, K);
  // From the left, then from the right: where a shift is large, what nearly cancels meets first.
  MatrixXd left = scale.asDiagonal() * precision;
  left += shift * precision.row(0);
  carried.topLeftCorner(known, known) = left * scale.asDiagonal();
  carried.topLeftCorner(known, known) += left.col(0) * shift.transpose();
  VectorXd carried_pull = VectorXd::Zero(K);
  carried_pull.head(known) = scale.cwiseProduct(pull) + pull[0] * shift;
  mean_.resize(K);  // the prior depends on the number of columns
  for (Index k = 0; k < K; ++k) {
    carried(k, k) += prior(k);
  }
  covariance_ = inverse_of(carried);
  mean_ = covariance_ * carried_pull;
  rows_at_refresh_ = rows_;
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
  reader.require(mean.size() >= 1 && mean.size() <= static_cast<Index>(scale.width()) + 1);
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
