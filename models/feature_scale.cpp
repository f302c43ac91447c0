// Welford's moments and the affine map between two frozen scales.
#include "models/feature_scale.h"

#include <algorithm>
#include <cmath>

#include "models/robust_moments.h"

namespace accrete::models {
namespace {

// Below this share of its mean a deviation is rounding, not variation: features are kept as floats,
// and one that only its last bits move would learn weights that mean nothing.
constexpr double deviation_min = 1e-6;

constexpr double rows_growth = 0.1;
constexpr double width_growth = 0.125;
constexpr double rows_of_column = 0.125;

}  // namespace

void FeatureScale::observe(std::span<const double> features) {
  ACCRETE_CHECK(features.size() <= live_.size());
  ++rows_;
  for (std::size_t j = 0; j < features.size(); ++j) {
    if (!std::isfinite(features[j])) continue;
    Moments& m = live_[j];
    const double x = within_reach(features[j], m.mean, m.squares, static_cast<double>(m.count));
    ++m.count;
    const double gap = x - m.mean;
    m.mean += gap / static_cast<double>(m.count);
    m.squares += gap * (x - m.mean);
  }
}

std::vector<ColumnMap> FeatureScale::freeze() {
  std::vector<ColumnMap> maps(width());
  for (std::size_t j = 0; j < width(); ++j) {
    const Moments& m = live_[j];
    Frozen& old = frozen_[j];
    Frozen now;
    now.mean = m.mean;
    now.known = m.count > 0 ? 1 : 0;
    now.deviation = m.count > 0 ? std::sqrt(m.squares / static_cast<double>(m.count)) : 0;
    const bool varies = std::isfinite(now.deviation) && now.deviation > 1e-150 &&
                        now.deviation > deviation_min * std::abs(now.mean);
    if (!varies) now.deviation = 0;
    maps[j].scale = varies ? old.deviation / now.deviation : 0;
    maps[j].shift = varies && old.known > 0 ? (old.mean - now.mean) / now.deviation : 0;
    old = now;
  }
  return maps;
}

double FeatureScale::standardise(std::size_t j, double x, double clip) const {
  const Frozen& scale = frozen_[j];
  if (scale.deviation == 0) return 0;
  return std::clamp((x - scale.mean) / scale.deviation, -clip, clip);
}

bool is_freeze_due(const FeatureScale& scale, const FrozenFrom& last, std::size_t columns) {
  const auto rows = static_cast<double>(scale.rows());
  const auto rows_before = static_cast<double>(last.rows);
  const auto width_before = static_cast<double>(last.width);
  if (rows - rows_before < rows_of_column * static_cast<double>(columns)) return false;
  return rows >= (1 + rows_growth) * rows_before ||
         static_cast<double>(scale.width()) >=
             width_before + std::max(1.0, width_growth * width_before);
}

void FeatureScale::save(StateWriter& writer) const {
  writer.u64(rows_);
  writer.u64(live_.size());
  for (std::size_t j = 0; j < live_.size(); ++j) {
    writer.u64(live_[j].count);
    for (const double v : {live_[j].mean, live_[j].squares, frozen_[j].mean, frozen_[j].deviation,
                           frozen_[j].known}) {
      writer.f64(v);
    }
  }
}

void FeatureScale::load(StateReader& reader) {
  rows_ = reader.u64();
  const std::uint64_t width = reader.count(6 * sizeof(double));
  live_.assign(width, {});
  frozen_.assign(width, {});
  for (std::size_t j = 0; j < width; ++j) {
    live_[j].count = reader.u64();
    for (double* v : {&live_[j].mean, &live_[j].squares, &frozen_[j].mean, &frozen_[j].deviation,
                      &frozen_[j].known}) {
      *v = reader.f64();
    }
  }
}

}  // namespace accrete::models
