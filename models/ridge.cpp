// The ridge candidate: scales, missing values, growth and classes around RecursiveRidge.
#include "models/ridge.h"

#include <algorithm>
#include <cmath>

#include "models/feature_scale.h"
#include "models/recursive_ridge.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr std::uint8_t state_version = 1;

// Rows learnt in one Woodbury block: large enough that P is read once for many rows.
constexpr std::size_t block_rows = 64;

// A feature that is missing less often than this tells nothing by being missing.
constexpr double missing_share_min = 0.02;

constexpr double intercept_prior = 1e-3;
constexpr double probability_min = 0.001;
constexpr Index no_column = 0;  // column 0 is the intercept, so no feature has it

class Ridge final : public Candidate {
 public:
  Ridge(TaskKind kind, const RidgeOptions& options)
      : kind_(kind), options_(options), solver_(kind == TaskKind::Multiclass ? 0 : 1) {
    ACCRETE_CHECK(options.lambda > 0 && options.clip > 0 && options.features_max > 0);
    resolve();
  }

  std::string_view name() const override { return "ridge"; }
  void predict(const Input& input, Output& output) const override;
  void learn(const Input& input, double label, double weight) override;
  void settle() override { flush(); }
  void save(std::string& out) const override;
  Status load(std::string_view bytes) override;

 private:
  struct Pending {
    std::vector<double> features;
    double label = 0;
    double weight = 0;
  };
  struct Columns {
    Index value = no_column;
    Index absent = no_column;
  };

  void standardise(std::span<const double> features, Eigen::Ref<VectorXd> row) const;
  bool refresh_due() const;
  void refresh();
  void resolve();
  void flush();
  bool load_pending(StateReader& reader, std::vector<Pending>& pending) const;

  TaskKind kind_;
  RidgeOptions options_;
  FeatureScale scale_;
  std::vector<Columns> columns_;  // of each feature that has them; in order of appearance
  RecursiveRidge solver_;
  std::vector<Pending> pending_;
  std::uint64_t rows_at_refresh_ = 0;
  std::uint64_t width_at_refresh_ = 0;
  double residual_ = 0;  // prequential sum of squares, regression only
  double weight_ = 0;    // of the rows in residual_
};

void Ridge::standardise(std::span<const double> features, Eigen::Ref<VectorXd> row) const {
  row.setZero();
  row[0] = 1;
  for (std::size_t j = 0; j < columns_.size(); ++j) {
    const double x = j < features.size() ? features[j] : std::nan("");
    if (std::isfinite(x)) {
      row[columns_[j].value] = scale_.standardise(j, x, options_.clip);
    } else if (columns_[j].absent != no_column) {
      row[columns_[j].absent] = 1;
    }
  }
}

void Ridge::predict(const Input& input, Output& output) const {
  VectorXd row(solver_.columns());
  standardise(input.features, row);
  output.value = 0;
  output.variance = 0;
  output.classes.clear();
  const MatrixXd& weights = solver_.weights();
  if (kind_ != TaskKind::Multiclass) {
    output.value = weights.col(0).dot(row);
    if (kind_ == TaskKind::Binary && weights.isZero(0)) {
      output.value = 0.5;  // nothing learnt yet
    } else if (kind_ == TaskKind::Binary) {
      output.value = std::clamp(output.value, probability_min, 1 - probability_min);
    } else if (weight_ > 0) {
      output.variance = residual_ / weight_ * (1 + solver_.leverage(row));
    }
    return;
  }
  double total = 0;
  for (Index c = 0; c < weights.cols(); ++c) {
    output.classes.push_back(std::max(weights.col(c).dot(row), probability_min));
    total += output.classes.back();
  }
  for (double& p : output.classes) {
    p /= total;
  }
}

void Ridge::learn(const Input& input, double label, double weight) {
  ACCRETE_CHECK(weight > 0 && std::isfinite(label));
  if (kind_ == TaskKind::Multiclass) {
    ACCRETE_CHECK(label >= 0 && label < static_cast<double>(classes_max));
    const auto outputs = static_cast<Index>(label) + 1;
    if (outputs > solver_.outputs()) solver_.grow_outputs(outputs);
  }
  const std::size_t width = std::min(input.features.size(), options_.features_max);
  if (width > scale_.width()) scale_.grow(width);
  const auto features = input.features.first(width);
  scale_.observe(features);
  pending_.push_back({{features.begin(), features.end()}, label, weight});
  if (pending_.size() == block_rows) flush();
}

bool Ridge::refresh_due() const {
  return is_freeze_due(scale_, {rows_at_refresh_, width_at_refresh_}, columns_.size());
}

/// Freeze the moments of now, give new features and newly missing ones their columns, re-express
/// what was learnt, and solve once with the full prior.
void Ridge::refresh() {
  const std::vector<ColumnMap> by_feature = scale_.freeze();
  std::vector<ColumnMap> maps(static_cast<std::size_t>(solver_.columns()));
  for (std::size_t j = 0; j < columns_.size(); ++j) {
    ColumnMap& map = maps[static_cast<std::size_t>(columns_[j].value)];
    map = by_feature[j];
    map.absent = columns_[j].absent;
  }
  solver_.map_columns(maps);
  std::vector<Index> like;
  const auto room = [&] {
    return static_cast<std::size_t>(solver_.columns()) + like.size() <= options_.features_max;
  };
  const auto next = [&] { return solver_.columns() + static_cast<Index>(like.size()); };
  const std::size_t old_width = columns_.size();
  for (std::size_t j = old_width; j < scale_.width() && room(); ++j) {
    columns_.push_back({next(), no_column});
    like.push_back(-1);
  }
  for (std::size_t j = 0; j < columns_.size() && room(); ++j) {
    if (columns_[j].absent != no_column || scale_.missing_share(j) <= missing_share_min) continue;
    columns_[j].absent = next();
    // Rows learnt before a feature existed all missed it, as the intercept's 1 says; of an older
    // feature they nearly all had it, or its indicator would be there already.
    like.push_back(j >= old_width ? 0 : -1);
  }
  solver_.grow_columns(like);
  width_at_refresh_ = scale_.width();
  rows_at_refresh_ = scale_.rows();
  resolve();
}

void Ridge::resolve() {
  const Index K = solver_.columns();
  // The prior grows with the number of columns: redundant columns share one effect, and a fixed
  // precision would let their number buy freedom.
  VectorXd prior = VectorXd::Constant(K, options_.lambda * static_cast<double>(K));
  prior[0] = intercept_prior;
  solver_.solve(prior);
}

void Ridge::flush() {
  if (pending_.empty()) return;
  if (refresh_due()) refresh();
  const auto N = static_cast<Index>(pending_.size());
  MatrixXd rows(solver_.columns(), N);
  MatrixXd targets = MatrixXd::Zero(solver_.outputs(), N);
  VectorXd weights(N);
  for (Index i = 0; i < N; ++i) {
    const Pending& example = pending_[static_cast<std::size_t>(i)];
    standardise(example.features, rows.col(i));
    weights[i] = example.weight;
    if (kind_ == TaskKind::Multiclass) {
      targets(static_cast<Index>(example.label), i) = 1;
    } else {
      targets(0, i) = example.label;
    }
  }
  const double residual = solver_.learn(rows, targets, weights);
  if (kind_ == TaskKind::Regression) {
    residual_ += residual;
    weight_ += weights.sum();
  }
  pending_.clear();
}

void Ridge::save(std::string& out) const {
  StateWriter writer(out);
  writer.u8(state_version);
  writer.u8(static_cast<std::uint8_t>(kind_));
  scale_.save(writer);
  writer.u64(columns_.size());
  for (const Columns& c : columns_) {
    writer.u32(static_cast<std::uint32_t>(c.value));
    writer.u32(static_cast<std::uint32_t>(c.absent));
  }
  solver_.save(writer);
  writer.u64(pending_.size());
  for (const Pending& example : pending_) {
    writer.doubles(example.features);
    writer.f64(example.label);
    writer.f64(example.weight);
  }
  writer.u64(rows_at_refresh_);
  writer.u64(width_at_refresh_);
  writer.f64(residual_);
  writer.f64(weight_);
}

bool Ridge::load_pending(StateReader& reader, std::vector<Pending>& pending) const {
  const std::uint64_t count = reader.count(3 * sizeof(double));
  reader.require(count < block_rows);
  for (std::uint64_t i = 0; i < count && !reader.failed(); ++i) {
    Pending example;
    example.features = reader.doubles();
    example.label = reader.f64();
    example.weight = reader.f64();
    reader.require(example.features.size() <= options_.features_max && example.weight > 0);
    if (kind_ == TaskKind::Multiclass) {
      reader.require(example.label >= 0 && example.label < static_cast<double>(classes_max));
    }
    pending.push_back(std::move(example));
  }
  return !reader.failed();
}

Status Ridge::load(std::string_view bytes) {
  StateReader reader(bytes);
  reader.require(reader.u8() == state_version);
  reader.require(reader.u8() == static_cast<std::uint8_t>(kind_));
  Ridge fresh(kind_, options_);
  fresh.scale_.load(reader);
  fresh.columns_.resize(reader.count(2 * sizeof(std::uint32_t)));
  for (Columns& c : fresh.columns_) {
    c.value = static_cast<Index>(reader.u32());
    c.absent = static_cast<Index>(reader.u32());
  }
  fresh.solver_.load(reader, options_.features_max + 1, classes_max);
  for (const Columns& c : fresh.columns_) {
    reader.require(c.value > 0 && c.value < fresh.solver_.columns());
    reader.require(c.absent >= 0 && c.absent < fresh.solver_.columns());
  }
  reader.require(fresh.columns_.size() <= fresh.scale_.width());
  reader.require(kind_ == TaskKind::Multiclass || fresh.solver_.outputs() == 1);
  load_pending(reader, fresh.pending_);
  for (const Pending& example : fresh.pending_) {
    reader.require(example.features.size() <= fresh.scale_.width());
    reader.require(kind_ != TaskKind::Multiclass ||
                   example.label < static_cast<double>(fresh.solver_.outputs()));
  }
  fresh.rows_at_refresh_ = reader.u64();
  fresh.width_at_refresh_ = reader.u64();
  fresh.residual_ = reader.f64();
  fresh.weight_ = reader.f64();
  ACCRETE_DO(reader.finish(name()));
  scale_ = std::move(fresh.scale_);
  columns_ = std::move(fresh.columns_);
  solver_ = std::move(fresh.solver_);
  pending_ = std::move(fresh.pending_);
  rows_at_refresh_ = fresh.rows_at_refresh_;
  width_at_refresh_ = fresh.width_at_refresh_;
  residual_ = fresh.residual_;
  weight_ = fresh.weight_;
  return Ok{};
}

}  // namespace

std::unique_ptr<Candidate> make_ridge(TaskKind kind, const RidgeOptions& options) {
  return std::make_unique<Ridge>(kind, options);
}

}  // namespace accrete::models
