// Histograms, column by column, summed in row order. One thread: a round has three levels of a few
// hundred microseconds each, less than it costs to wake and gather others.
#include "models/boosted_trees.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "proto/result.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::VectorXd;

constexpr std::size_t bins_max = 64;
constexpr std::size_t cut_rows_max = 4096;  // read to place the cuts of a column
constexpr int base_steps = 30;
constexpr double infinity = std::numeric_limits<double>::infinity();

/// Columns as bin numbers. A value belongs to the first bin whose cut is not below it.
class Bins {
 public:
  explicit Bins(const Eigen::MatrixXd& rows)
      : rows_(static_cast<std::size_t>(rows.cols())),
        cuts_(static_cast<std::size_t>(rows.rows())),
        bins_(cuts_.size() * rows_) {
    for (std::size_t c = 1; c < cuts_.size(); ++c)
      cut(rows, c);
  }

  std::size_t rows() const { return rows_; }
  /// Upper ends of the bins; the last is infinite.
  std::span<const double> cuts(std::size_t column) const { return cuts_[column]; }
  std::span<const std::uint8_t> of(std::size_t column) const {
    return std::span(bins_).subspan(column * rows_, rows_);
  }

 private:
  void cut(const Eigen::MatrixXd& rows, std::size_t column) {
    const auto c = static_cast<Index>(column);
    std::vector<double> values;
    const std::size_t stride = (rows_ + cut_rows_max - 1) / cut_rows_max;
    for (std::size_t i = 0; i < rows_; i += stride)
      values.push_back(rows(c, static_cast<Index>(i)));
    std::sort(values.begin(), values.end());
    std::vector<double>& cuts = cuts_[column];
    for (std::size_t b = 1; b < bins_max; ++b) {
      const double at = values[b * (values.size() - 1) / bins_max];
      if (at < values.back() && (cuts.empty() || at > cuts.back())) cuts.push_back(at);
    }
    cuts.push_back(infinity);
    for (std::size_t i = 0; i < rows_; ++i) {
      const double x = rows(c, static_cast<Index>(i));
      const auto bin = std::lower_bound(cuts.begin(), cuts.end(), x) - cuts.begin();
      bins_[column * rows_ + i] = static_cast<std::uint8_t>(bin);
    }
  }

  std::size_t rows_;
  std::vector<std::vector<double>> cuts_;
  std::vector<std::uint8_t> bins_;
};

struct Sums {
  double slope = 0;
  double curvature = 0;
  double rows = 0;

  void add(const Sums& other) {
    slope += other.slope;
    curvature += other.curvature;
    rows += other.rows;
  }
  Sums minus(const Sums& other) const {
    return {slope - other.slope, curvature - other.curvature, rows - other.rows};
  }
  double score(double l2) const { return slope * slope / (curvature + l2); }
};

struct Split {
  double gain = 0;
  std::uint32_t column = 0;  // 0: none
  std::uint32_t bin = 0;     // rows of this bin and those before it go left
};

/// The score that minimises the loss alone, by Newton steps from zero.
double base_score(Loss loss, const FitRows& data) {
  double score = 0;
  for (int step = 0; step < base_steps; ++step) {
    double slope = 0;
    double curvature = 0;
    for (Index i = 0; i < data.targets.size(); ++i) {
      const LossPoint point = loss_at(loss, score, data.targets[i]);
      slope += data.weights[i] * point.slope;
      curvature += data.weights[i] * point.curvature;
    }
    if (!(curvature > 0)) return 0;
    // A long way from a rare class a full step overshoots.
    score -= std::clamp(slope / curvature, -1.0, 1.0);
  }
  return score;
}

/// One boosting run over rows that stay.
class Boosting {
 public:
  Boosting(Loss loss, const FitRows& data, const TreeOptions& options, std::uint64_t seed,
           double base)
      : loss_(loss),
        data_(data),
        options_(options),
        seed_(seed),
        bins_(data.rows),
        scores_(bins_.rows(), base),
        points_(bins_.rows()),
        node_(bins_.rows()) {}

  BoostedTrees::Tree round(std::uint64_t number) {
    Rng rng(seed_, number, Purpose::Training);
    draw(rng);
    for (const std::uint32_t i : drawn_) {
      const auto at = static_cast<Index>(i);
      const LossPoint point = loss_at(loss_, scores_[i], data_.targets[at]);
      points_[i] = {data_.weights[at] * point.slope, data_.weights[at] * point.curvature, 1};
      node_[i] = 0;
    }
    BoostedTrees::Tree tree;
    for (std::size_t level = 0; level < BoostedTrees::depth; ++level)
      grow(level, tree);
    finish(tree);
    return tree;
  }

 private:
  void draw(Rng& rng) {
    const std::size_t rows = bins_.rows();
    const double share = std::ceil(options_.row_share * static_cast<double>(rows));
    std::size_t wanted = std::min(options_.rows_max, static_cast<std::size_t>(share));
    drawn_.clear();
    for (std::size_t i = 0; i < rows && wanted > 0; ++i) {
      if (rng.below(rows - i) >= wanted) continue;  // selection sampling
      drawn_.push_back(static_cast<std::uint32_t>(i));
      --wanted;
    }
    const auto columns = static_cast<std::size_t>(data_.rows.rows());
    wanted = static_cast<std::size_t>(
        std::ceil(options_.column_share * static_cast<double>(columns - 1)));
    columns_.clear();
    for (std::size_t c = 1; c < columns && wanted > 0; ++c) {
      if (rng.below(columns - c) >= wanted) continue;
      columns_.push_back(static_cast<std::uint32_t>(c));
      --wanted;
    }
  }

  /// The best split of each node of a level by one column.
  void best_of(std::size_t column, std::size_t level, std::span<Split> best) const {
    const std::size_t nodes = std::size_t{1} << level;
    const std::size_t bins = bins_.cuts(column).size();
    std::vector<Sums> sums(nodes * bins);
    const auto bin = bins_.of(column);
    for (const std::uint32_t i : drawn_)
      sums[node_[i] * bins + bin[i]].add(points_[i]);
    const auto rows_min = static_cast<double>(options_.leaf_rows_min);
    for (std::size_t node = 0; node < nodes; ++node) {
      const auto of_node = std::span(std::as_const(sums)).subspan(node * bins, bins);
      Sums all;
      for (const Sums& s : of_node)
        all.add(s);
      Sums left;
      for (std::size_t b = 0; b + 1 < bins; ++b) {
        left.add(of_node[b]);
        const Sums right = all.minus(left);
        if (left.rows < rows_min) continue;
        if (right.rows < rows_min) break;
        const double gain =
            left.score(options_.l2) + right.score(options_.l2) - all.score(options_.l2);
        if (gain > best[node].gain) {
          best[node] = {gain, static_cast<std::uint32_t>(column), static_cast<std::uint32_t>(b)};
        }
      }
    }
  }

  void grow(std::size_t level, BoostedTrees::Tree& tree) {
    const std::size_t nodes = std::size_t{1} << level;
    std::vector<Split> best(nodes);
    for (const std::uint32_t column : columns_)
      best_of(column, level, best);
    for (std::size_t node = 0; node < nodes; ++node) {
      const std::size_t at = nodes - 1 + node;
      tree.column[at] = best[node].column;
      tree.cut[at] = best[node].column == 0 ? 0 : bins_.cuts(best[node].column)[best[node].bin];
    }
    for (const std::uint32_t i : drawn_) {
      const Split& split = best[node_[i]];
      const bool right = split.column != 0 && bins_.of(split.column)[i] > split.bin;
      node_[i] = static_cast<std::uint8_t>(2 * node_[i] + (right ? 1 : 0));
    }
  }

  /// Values of the leaves, and every row's score with them.
  void finish(BoostedTrees::Tree& tree) {
    std::array<Sums, BoostedTrees::leaves> sums{};
    for (const std::uint32_t i : drawn_)
      sums[node_[i]].add(points_[i]);
    for (std::size_t leaf = 0; leaf < sums.size(); ++leaf) {
      const double step = -sums[leaf].slope / (sums[leaf].curvature + options_.l2);
      tree.value[leaf] = options_.rate * step;
    }
    for (std::size_t i = 0; i < bins_.rows(); ++i)
      scores_[i] += tree.value[leaf_of(tree, data_.rows.col(static_cast<Index>(i)))];
  }

 public:
  template <class Row>
  static std::size_t leaf_of(const BoostedTrees::Tree& tree, const Row& z) {
    std::size_t at = 0;
    for (std::size_t level = 0; level < BoostedTrees::depth; ++level) {
      const bool right =
          tree.column[at] != 0 && z[static_cast<Index>(tree.column[at])] > tree.cut[at];
      at = 2 * at + (right ? 2 : 1);
    }
    return at - BoostedTrees::splits;
  }

 private:
  Loss loss_;
  const FitRows& data_;
  const TreeOptions& options_;
  std::uint64_t seed_;
  Bins bins_;
  std::vector<double> scores_;
  std::vector<Sums> points_;        // of the drawn rows
  std::vector<std::uint8_t> node_;  // within the level
  std::vector<std::uint32_t> drawn_;
  std::vector<std::uint32_t> columns_;
};

}  // namespace

void BoostedTrees::fit(Loss loss, const FitRows& data, const TreeOptions& options,
                       std::uint64_t seed) {
  ACCRETE_CHECK(data.targets.size() == data.rows.cols() &&
                data.weights.size() == data.rows.cols() && options.leaf_rows_min > 0);
  trees_.clear();
  base_ = base_score(loss, data);
  const auto rows = static_cast<std::size_t>(data.rows.cols());
  if (data.rows.rows() < 2 || rows < 4 * options.leaf_rows_min) return;
  Boosting boosting(loss, data, options, seed, base_);
  trees_.reserve(options.rounds);
  for (std::size_t r = 0; r < options.rounds; ++r)
    trees_.push_back(boosting.round(r));
}

double BoostedTrees::score(const Eigen::Ref<const VectorXd>& z) const {
  double score = base_;
  for (const Tree& tree : trees_)
    score += tree.value[Boosting::leaf_of(tree, z)];
  return score;
}

void BoostedTrees::save(StateWriter& writer) const {
  writer.f64(base_);
  writer.u64(trees_.size());
  for (const Tree& tree : trees_) {
    for (std::size_t s = 0; s < splits; ++s) {
      writer.u32(tree.column[s]);
      writer.f64(tree.cut[s]);
    }
    for (const double value : tree.value)
      writer.f64(value);
  }
}

void BoostedTrees::load(StateReader& reader, Index columns) {
  base_ = reader.f64();
  trees_.assign(reader.count(splits * 12 + leaves * 8), Tree{});
  for (Tree& tree : trees_) {
    for (std::size_t s = 0; s < splits; ++s) {
      tree.column[s] = reader.u32();
      tree.cut[s] = reader.f64();
      reader.require(static_cast<Index>(tree.column[s]) < columns);
    }
    for (double& value : tree.value)
      value = reader.f64();
  }
}

}  // namespace accrete::models
