// The frozen way from a raw row to a row of the design.
#include "models/panel_design.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/column_choice.h"

namespace accrete::models {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// A difference to the tick's mean that varies less than this share of the column does not vary: the
// column is the same for the whole tick, up to the rounding of a float.
constexpr double relative_min = 1e-4;

// A label of e^50 is no label: a bad extrapolation must stay a number.
constexpr double logarithm_max = 50;

/// Weighted mean and deviation, in one pass over numbers of order one.
struct Moments {
  double weight = 0;
  double mean = 0;
  double squares = 0;

  void add(double x, double w) {
    weight += w;
    const double gap = x - mean;
    mean += weight > 0 ? gap * w / weight : 0;
    squares += w * gap * (x - mean);
  }
  double deviation() const { return weight > 0 ? std::sqrt(std::max(squares, 0.0) / weight) : 0; }
};

}  // namespace

double LabelScale::target(double label) const {
  return ((logarithmic ? std::log1p(std::max(label, 0.0)) : label) - centre) / spread;
}

double LabelScale::label(double target) const {
  const double value = target * spread + centre;
  return logarithmic ? std::expm1(std::min(value, logarithm_max)) : value;
}

void LabelScale::save(StateWriter& writer) const {
  writer.u8(logarithmic ? 1 : 0);
  writer.f64(centre);
  writer.f64(spread);
}

void LabelScale::load(StateReader& reader) {
  logarithmic = reader.u8() != 0;
  centre = reader.f64();
  spread = reader.f64();
  reader.require(spread > 0);
}

double PanelDesign::clipped(std::uint32_t source, double x) const {
  return source < low_.size() ? std::clamp(x, low_[source], high_[source]) : x;
}

std::vector<std::uint32_t> PanelDesign::choose(const ExampleMemory& memory, const LabelScale& scale,
                                               const DesignOptions& options) {
  const std::vector<ColumnMoments> moments = column_moments(memory, scale, options);
  clip_ = options.clip;
  seeds_min_ = static_cast<double>(options.seeds_min);
  columns_ = choose_kept(memory, moments, options);
  low_.assign(moments.size(), -infinity);
  high_.assign(moments.size(), infinity);
  for (std::size_t j = 0; j < moments.size(); ++j) {
    if (moments[j].deviation == 0) continue;
    low_[j] = moments[j].mean - clip_ * moments[j].deviation;
    high_[j] = moments[j].mean + clip_ * moments[j].deviation;
  }
  add_relative(memory, options);
  if (moments.size() <= options.shortlist_max) return {};

  // Older examples keep what is used now, then what came nearest to being used.
  std::vector<bool> used(moments.size(), false);
  for (const DesignColumn& column : columns_) {
    if (column.kind != ColumnKind::Seeds) used[column.source] = true;
  }
  std::vector<std::uint32_t> order(moments.size());
  for (std::uint32_t j = 0; j < order.size(); ++j) {
    order[j] = j;
  }
  const auto strength = [&](std::uint32_t j) {
    const double own =
        std::max(std::abs(moments[j].correlation), std::abs(moments[j].absent_correlation));
    return used[j] ? 2 : own;
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return strength(a) > strength(b); });
  order.resize(options.shortlist_max);
  std::sort(order.begin(), order.end());
  return order;
}

void PanelDesign::add_relative(const ExampleMemory& memory, const DesignOptions& options) {
  std::vector<DesignColumn> relative;
  for (const DesignColumn& column : columns_) {
    if (relative.size() == options.relative_max) break;
    if (column.kind == ColumnKind::Value) {
      relative.push_back({ColumnKind::Relative, column.source, column.centre, column.inverse});
    }
  }
  std::vector<Moments> moments(relative.size());
  Moments seeds;
  visit_examples(memory, options.moment_rows, options.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double weight) {
                   const double size = page.facts(i).seeds;
                   if (size < seeds_min_) return;
                   seeds.add(std::log2(size), weight);
                   for (std::size_t c = 0; c < relative.size(); ++c) {
                     const std::int32_t place = page.place(relative[c].source);
                     if (place < 0) continue;
                     const auto at = static_cast<std::size_t>(place);
                     const auto x = static_cast<double>(page.row(i)[at]);
                     const auto mean = static_cast<double>(page.tick_means(i)[at]);
                     if (std::isnan(x) || std::isnan(mean)) continue;
                     moments[c].add(clipped(relative[c].source, x) - mean, weight);
                   }
                 });
  for (std::size_t c = 0; c < relative.size(); ++c) {
    const double deviation = moments[c].deviation();
    if (!(deviation * relative[c].inverse > relative_min)) continue;
    relative[c].centre = moments[c].mean;
    relative[c].inverse = 1 / deviation;
    columns_.push_back(relative[c]);
  }
  if (seeds.deviation() > 1e-9) {
    columns_.push_back({ColumnKind::Seeds, 0, seeds.mean, 1 / seeds.deviation()});
  }
}

std::vector<std::int32_t> PanelDesign::places(const ExampleMemory::Page& page) const {
  std::vector<std::int32_t> places;
  places.reserve(columns_.size());
  for (const DesignColumn& column : columns_) {
    places.push_back(page.place(column.source));
  }
  return places;
}

std::vector<std::int32_t> PanelDesign::places(std::size_t width) const {
  std::vector<std::int32_t> places;
  places.reserve(columns_.size());
  for (const DesignColumn& column : columns_) {
    places.push_back(column.source < width ? static_cast<std::int32_t>(column.source) : -1);
  }
  return places;
}

void PanelDesign::fill(std::span<const float> values, std::span<const float> means, double seeds,
                       std::span<const std::int32_t> places, Eigen::Ref<Eigen::VectorXd> z) const {
  ACCRETE_CHECK(z.size() == columns() && places.size() == columns_.size());
  z.setZero();
  z[0] = 1;
  const bool compared = seeds >= seeds_min_;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const DesignColumn& column = columns_[c];
    double x = 0;
    if (column.kind == ColumnKind::Seeds) {
      if (!compared) continue;
      x = std::log2(seeds);
    } else {
      if (places[c] < 0) continue;
      const auto at = static_cast<std::size_t>(places[c]);
      x = static_cast<double>(values[at]);
      if (column.kind == ColumnKind::Missing) {
        x = std::isnan(x) ? 1 : 0;
      } else if (column.kind == ColumnKind::Relative) {
        if (!compared) continue;
        x = clipped(column.source, x) - static_cast<double>(means[at]);
      }
      if (std::isnan(x)) continue;
    }
    z[static_cast<Eigen::Index>(c) + 1] =
        std::clamp((x - column.centre) * column.inverse, -clip_, clip_);
  }
}

std::vector<float> PanelDesign::tick_means(std::span<const float> rows, std::size_t width) const {
  std::vector<double> sums(width, 0.0);
  std::vector<double> counts(width, 0.0);
  for (std::size_t begin = 0; begin < rows.size() && width > 0; begin += width) {
    for (std::size_t j = 0; j < width; ++j) {
      const auto x = static_cast<double>(rows[begin + j]);
      if (std::isnan(x)) continue;
      sums[j] += clipped(static_cast<std::uint32_t>(j), x);
      counts[j] += 1;
    }
  }
  std::vector<float> means(width);
  for (std::size_t j = 0; j < width; ++j) {
    means[j] = static_cast<float>(counts[j] > 0 ? sums[j] / counts[j]
                                                : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

Eigen::VectorXd PanelDesign::carry(const PanelDesign& old, const Eigen::VectorXd& weights) const {
  Eigen::VectorXd carried = Eigen::VectorXd::Zero(columns());
  if (weights.size() != old.columns()) return carried;
  carried[0] = weights[0];
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const DesignColumn& now = columns_[c];
    for (std::size_t o = 0; o < old.columns_.size(); ++o) {
      const DesignColumn& then = old.columns_[o];
      if (then.kind != now.kind || then.source != now.source) continue;
      const double slope = weights[static_cast<Eigen::Index>(o) + 1] * then.inverse;
      carried[static_cast<Eigen::Index>(c) + 1] = slope / now.inverse;
      carried[0] += slope * (now.centre - then.centre);
    }
  }
  return carried;
}

void PanelDesign::save(StateWriter& writer) const {
  writer.u64(columns_.size());
  for (const DesignColumn& column : columns_) {
    writer.u8(static_cast<std::uint8_t>(column.kind));
    writer.u32(column.source);
    writer.f64(column.centre);
    writer.f64(column.inverse);
  }
  writer.doubles(low_);
  writer.doubles(high_);
  writer.f64(clip_);
  writer.f64(seeds_min_);
}

void PanelDesign::load(StateReader& reader) {
  columns_.resize(reader.count(1 + sizeof(std::uint32_t) + 2 * sizeof(double)));
  for (DesignColumn& column : columns_) {
    const std::uint8_t kind = reader.u8();
    reader.require(kind <= static_cast<std::uint8_t>(ColumnKind::Seeds));
    column.kind = static_cast<ColumnKind>(kind);
    column.source = reader.u32();
    column.centre = reader.f64();
    column.inverse = reader.f64();
  }
  low_ = reader.doubles();
  high_ = reader.doubles();
  reader.require(low_.size() == high_.size());
  for (std::size_t j = 0; j < low_.size() && !reader.failed(); ++j) {
    reader.require(low_[j] <= high_[j]);
  }
  clip_ = reader.f64();
  seeds_min_ = reader.f64();
  reader.require(clip_ > 0);
}

}  // namespace accrete::models
