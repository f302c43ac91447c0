// Which columns the heads of a panel see, and how a raw row becomes one: chosen and frozen
// together, then used unchanged until the next choice.
//
// Columns of a row z (double): 0 the intercept; kept values, (x - mean) / deviation clipped, 0
// where missing; kept indicators of a missing value, standardised; of the first kept values their
// difference to the mean of the tick, standardised; the logarithm of the tick's size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "models/example_memory.h"

namespace accrete::models {

struct DesignOptions {
  std::size_t kept_max = 150;         ///< values and indicators
  std::size_t relative_max = 80;      ///< of the first kept values: also relative to the tick
  std::size_t seeds_min = 5;          ///< a smaller tick has no mean worth comparing with
  double clip = 4;                    ///< standardised numbers lie within ±clip
  double redundant = 0.95;            ///< a column that correlates more with a kept one is skipped
  double missing_min = 0.02;          ///< an indicator is 1 in at least this share, at most 1 - it
  double half_life = 32'768;          ///< examples: what counts for moments and correlations
  std::size_t moment_rows = 8192;     ///< at most so many examples are read for them
  std::size_t pair_rows = 1024;       ///< and so many for the correlation of two columns
  std::size_t shortlist_max = 512;    ///< columns that older examples keep
  std::vector<std::uint32_t> pinned;  ///< raw columns that are always kept when they vary
};

/// A label as the heads regress on it: (log(1 + y) where labels are skewed, y - centre) / spread.
struct LabelScale {
  bool logarithmic = false;
  double centre = 0;
  double spread = 1;

  double target(double label) const;
  double label(double target) const;  ///< the inverse
  void save(StateWriter& writer) const;
  void load(StateReader& reader);
};

enum class ColumnKind : std::uint8_t { Value = 0, Missing = 1, Relative = 2, Seeds = 3 };

struct DesignColumn {
  ColumnKind kind = ColumnKind::Value;
  std::uint32_t source = 0;  // raw column
  double centre = 0;
  double inverse = 0;  // of the deviation
};

class PanelDesign {
 public:
  /// Columns of z; 1 before the first choose().
  Eigen::Index columns() const { return static_cast<Eigen::Index>(columns_.size()) + 1; }
  std::span<const DesignColumn> list() const { return columns_; }

  /// Choose anew from the examples: by |correlation with the target|, each weighted by its weight
  /// and 2^(-age / half_life), ties by position; a column nearly equal to a kept one is skipped.
  /// Returns the short list of raw columns, empty when all may be kept.
  /// Cost: about 10 moment_rows × width + pair_rows × kept_max^2.
  std::vector<std::uint32_t> choose(const ExampleMemory& memory, const LabelScale& scale,
                                    const DesignOptions& options);

  /// Where a page stores what each column reads; -1 = not held (z is then 0).
  std::vector<std::int32_t> places(const ExampleMemory::Page& page) const;
  /// The same for a raw row of `width` numbers.
  std::vector<std::int32_t> places(std::size_t width) const;
  /// z of one row. `means` is laid out like `values`. Cost: O(columns()).
  void fill(std::span<const float> values, std::span<const float> means, double seeds,
            std::span<const std::int32_t> places, Eigen::Ref<Eigen::VectorXd> z) const;

  /// Mean of each raw column over rows of `width` numbers, each number first clipped to
  /// mean ± clip deviations as of the last choice; NaN where nobody has a value.
  std::vector<float> tick_means(std::span<const float> rows, std::size_t width) const;

  /// Weights (K_old) that say of every row what they said under `old`, as far as columns survived.
  Eigen::VectorXd carry(const PanelDesign& old, const Eigen::VectorXd& weights) const;

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  double clipped(std::uint32_t source, double x) const;
  void add_relative(const ExampleMemory& memory, const DesignOptions& options);

  std::vector<DesignColumn> columns_;
  std::vector<double> low_;  // by raw column: what a tick's mean clips to
  std::vector<double> high_;
  double clip_ = 4;
  double seeds_min_ = 5;
};

/// Weighted examples of a memory, every stride-th counted from the newest. visit(page, row,
/// weight).
template <class Visit>
void visit_examples(const ExampleMemory& memory, std::size_t rows_max, double half_life,
                    Visit visit) {
  const std::size_t stride = rows_max == 0 ? 1 : (memory.rows() + rows_max - 1) / rows_max;
  if (memory.rows() == 0) return;
  const auto& last = memory.pages().back().ticks.back();
  std::size_t index = memory.rows();
  for (const ExampleMemory::Page& page : memory.pages()) {
    for (std::size_t i = 0; i < page.rows(); ++i) {
      --index;
      if (index % stride != 0) continue;
      const auto age = static_cast<double>(last.position - page.facts(i).position);
      visit(page, i, page.weights[i] * std::exp2(-age / half_life));
    }
  }
}

}  // namespace accrete::models
