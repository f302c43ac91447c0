// Three passes for the moments, then a greedy choice against the columns already kept.
#include "models/column_choice.h"

#include <algorithm>
#include <cmath>

#include "models/matrix_bytes.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXf;
using Eigen::VectorXf;

// Below this share of its mean a deviation is rounding, not variation.
constexpr double deviation_min = 1e-6;

struct TargetMoments {
  double weight = 0;
  double mean = 0;
  double deviation = 0;
};

TargetMoments target_moments(const ExampleMemory& memory, const LabelScale& scale,
                             const DesignOptions& options) {
  TargetMoments m;
  visit_examples(memory, options.moment_rows, options.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double weight) {
                   m.weight += weight;
                   m.mean += weight * scale.target(page.labels[i]);
                 });
  m.mean /= std::max(m.weight, 1e-300);
  visit_examples(memory, options.moment_rows, options.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double weight) {
                   const double gap = scale.target(page.labels[i]) - m.mean;
                   m.deviation += weight * gap * gap;
                 });
  m.deviation = std::sqrt(m.deviation / std::max(m.weight, 1e-300));
  return m;
}

/// visit(source, value or NaN, weight, page, row) for every number of the sampled examples.
template <class Visit>
void visit_numbers(const ExampleMemory& memory, const DesignOptions& options, Visit visit) {
  visit_examples(memory, options.moment_rows, options.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double weight) {
                   const std::span<const float> row = page.row(i);
                   for (std::size_t c = 0; c < row.size(); ++c) {
                     visit(page.columns.empty() ? c : page.columns[c], static_cast<double>(row[c]),
                           weight, page.labels[i]);
                   }
                 });
}

/// What a pass with the target known adds up for one column.
struct Joint {
  double sum = 0;
  double squares = 0;
  double product = 0;
  double target = 0;
  double target_squares = 0;
  double absent_product = 0;
};

void correlate(ColumnMoments& m, const Joint& j) {
  const double held = m.present + m.absent;
  if (held <= 0) return;
  const double y_variance = j.target_squares - j.target * j.target / held;
  const double z_variance = j.squares - j.sum * j.sum / held;
  const double share = m.missing_share();
  const double absent_variance = held * share * (1 - share);
  const double tiny = 1e-12 * held;
  if (y_variance <= tiny) return;
  if (m.deviation > 0 && z_variance > tiny) {
    m.correlation = (j.product - j.sum * j.target / held) / std::sqrt(z_variance * y_variance);
  }
  if (absent_variance > tiny) {
    m.absent_correlation =
        (j.absent_product - share * j.target) / std::sqrt(absent_variance * y_variance);
  }
}

struct Ranked {
  double strength = 0;
  DesignColumn column;
};

std::vector<Ranked> rank_columns(const std::vector<ColumnMoments>& moments,
                                 const DesignOptions& options) {
  std::vector<Ranked> ranked;
  for (std::size_t j = 0; j < moments.size(); ++j) {
    const ColumnMoments& m = moments[j];
    const auto source = static_cast<std::uint32_t>(j);
    if (m.deviation > 0) {
      ranked.push_back(
          {std::abs(m.correlation), {ColumnKind::Value, source, m.mean, 1 / m.deviation}});
    }
    const double share = m.missing_share();
    if (share > options.missing_min && share < 1 - options.missing_min) {
      ranked.push_back({std::abs(m.absent_correlation),
                        {ColumnKind::Missing, source, share, 1 / std::sqrt(share * (1 - share))}});
    }
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Ranked& a, const Ranked& b) { return a.strength > b.strength; });
  for (std::size_t p = options.pinned.size(); p-- > 0;) {
    const auto found = std::find_if(ranked.begin(), ranked.end(), [&](const Ranked& r) {
      return r.column.kind == ColumnKind::Value && r.column.source == options.pinned[p];
    });
    if (found == ranked.end()) continue;
    found->strength = 2;  // a correlation is at most 1
    std::rotate(ranked.begin(), found, found + 1);
  }
  return ranked;
}

/// One candidate over the sampled examples: centred, of unit length; zero if it does not vary.
VectorXf sampled(const ExampleMemory& memory, const DesignColumn& column, Index rows,
                 const DesignOptions& options) {
  VectorXf values = VectorXf::Zero(rows);
  const ExampleMemory::Page* current = nullptr;
  std::int32_t place = -1;
  Index at = 0;
  visit_examples(memory, options.pair_rows, options.half_life,
                 [&](const ExampleMemory::Page& page, std::size_t i, double) {
                   if (&page != current) place = page.place(column.source);
                   current = &page;
                   const Index row = at++;
                   if (place < 0) return;
                   const auto x = static_cast<double>(page.row(i)[static_cast<std::size_t>(place)]);
                   double z = 0;
                   if (column.kind == ColumnKind::Missing) {
                     z = ((std::isnan(x) ? 1 : 0) - column.centre) * column.inverse;
                   } else if (!std::isnan(x)) {
                     z = (x - column.centre) * column.inverse;
                   }
                   values[row] = static_cast<float>(std::clamp(z, -options.clip, options.clip));
                 });
  values.array() -= values.mean();
  const float norm = values.norm();
  return norm > 1e-6F ? VectorXf(values / norm) : VectorXf::Zero(rows);
}

}  // namespace

std::vector<ColumnMoments> column_moments(const ExampleMemory& memory, const LabelScale& scale,
                                          const DesignOptions& options) {
  std::vector<ColumnMoments> moments(memory.width());
  const TargetMoments target = target_moments(memory, scale, options);
  visit_numbers(memory, options, [&](std::size_t j, double x, double weight, double) {
    ColumnMoments& m = moments[j];
    const bool absent = std::isnan(x);
    (absent ? m.absent : m.present) += weight;
    m.mean += absent ? 0 : weight * x;
  });
  for (ColumnMoments& m : moments) {
    m.mean = m.present > 0 ? m.mean / m.present : 0;
  }
  visit_numbers(memory, options, [&](std::size_t j, double x, double weight, double) {
    const double gap = std::isnan(x) ? 0 : x - moments[j].mean;
    moments[j].deviation += weight * gap * gap;
  });
  for (ColumnMoments& m : moments) {
    m.deviation = m.present > 0 ? std::sqrt(m.deviation / m.present) : 0;
    const bool varies = std::isfinite(m.deviation) && m.deviation > 1e-150 &&
                        m.deviation > deviation_min * std::abs(m.mean);
    if (!varies) m.deviation = 0;
  }
  std::vector<Joint> joints(moments.size());
  visit_numbers(memory, options, [&](std::size_t j, double x, double weight, double label) {
    const ColumnMoments& m = moments[j];
    const bool absent = std::isnan(x);
    const double y = std::clamp(scale.target(label) - target.mean, -options.clip * target.deviation,
                                options.clip * target.deviation);
    const double z = absent || m.deviation == 0
                         ? 0
                         : std::clamp((x - m.mean) / m.deviation, -options.clip, options.clip);
    Joint& joint = joints[j];
    joint.sum += weight * z;
    joint.squares += weight * z * z;
    joint.product += weight * z * y;
    joint.target += weight * y;
    joint.target_squares += weight * y * y;
    joint.absent_product += absent ? weight * y : 0;
  });
  for (std::size_t j = 0; j < moments.size(); ++j) {
    correlate(moments[j], joints[j]);
  }
  return moments;
}

std::vector<DesignColumn> choose_kept(const ExampleMemory& memory,
                                      const std::vector<ColumnMoments>& moments,
                                      const DesignOptions& options) {
  pin_block_sizes();
  Index rows = 0;
  visit_examples(memory, options.pair_rows, options.half_life,
                 [&](const ExampleMemory::Page&, std::size_t, double) { ++rows; });
  std::vector<DesignColumn> kept;
  MatrixXf columns(rows, static_cast<Index>(options.kept_max));
  for (const Ranked& candidate : rank_columns(moments, options)) {
    if (kept.size() == options.kept_max) break;
    const VectorXf values = sampled(memory, candidate.column, rows, options);
    const auto count = static_cast<Index>(kept.size());
    if (count > 0 && candidate.strength <= 1) {
      const VectorXf overlaps = columns.leftCols(count).transpose() * values;
      if (overlaps.cwiseAbs().maxCoeff() > static_cast<float>(options.redundant)) continue;
    }
    columns.col(count) = values;
    kept.push_back(candidate.column);
  }
  return kept;
}

}  // namespace accrete::models
