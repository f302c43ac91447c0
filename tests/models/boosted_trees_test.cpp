// Trees against a naive search for the best splits, on what linear heads cannot say, and as bytes.
#include "models/boosted_trees.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

struct Data {
  MatrixXd rows;
  VectorXd targets;
  VectorXd weights;

  FitRows fit_rows() const { return {rows, targets, weights}; }
};

/// Columns of few different numbers, so that every cut is between two of them.
Data make_data(Index K, Index N, std::uint64_t seed,
               const std::function<double(const VectorXd&, Rng&)>& target) {
  Rng rng(seed, 0, Purpose::Test);
  Data data{MatrixXd(K, N), VectorXd(N), VectorXd(N)};
  for (Index i = 0; i < N; ++i) {
    data.rows(0, i) = 1;
    for (Index k = 1; k < K; ++k)
      data.rows(k, i) = static_cast<double>(rng.below(20)) / 10 - 0.95;
    data.targets[i] = target(data.rows.col(i), rng);
    data.weights[i] = 0.5 + rng.uniform();
  }
  return data;
}

double same_side(const VectorXd& z, Rng& rng) {
  const bool noise = rng.below(20) == 0;
  return ((z[1] > 0) == (z[2] > 0)) != noise ? 1 : 0;
}

double bent(const VectorXd& z, Rng& rng) {
  return std::abs(z[1]) + (z[2] > 0.5 ? 2 : 0) + 0.1 * rng.uniform();
}

double total_loss(Loss loss, const Data& data, const BoostedTrees& trees) {
  double sum = 0;
  for (Index i = 0; i < data.targets.size(); ++i) {
    const double score = trees.score(data.rows.col(i));
    sum += data.weights[i] * loss_at(loss, score, data.targets[i]).value;
  }
  return sum;
}

TEST(BoostedTrees, SayWhatLinearHeadsCannot) {
  const Data train = make_data(6, 2000, 1, same_side);
  const Data fresh = make_data(6, 1000, 2, same_side);
  BoostedTrees trees;
  trees.fit(Loss::Logistic, train.fit_rows(), TreeOptions{}, 7);
  int right = 0;
  for (Index i = 0; i < 1000; ++i) {
    right += (trees.score(fresh.rows.col(i)) > 0) == (fresh.targets[i] > 0.5) ? 1 : 0;
  }
  EXPECT_GT(right, 920);  // at best 950 of 1000
}

/// The best split of the rows that `in` holds, by trying every column and value.
struct Naive {
  double gain = 0;
  Index column = 0;
  double cut = 0;
};

Naive best_split(const Data& data, const std::vector<LossPoint>& points,
                 const std::vector<bool>& in, const TreeOptions& options) {
  const auto sums = [&](Index column, double cut, bool left) {
    double g = 0;
    double h = 0;
    std::size_t n = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto at = static_cast<Index>(i);
      if (!in[i] || (column > 0 && (data.rows(column, at) <= cut) != left)) continue;
      g += data.weights[at] * points[i].slope;
      h += data.weights[at] * points[i].curvature;
      ++n;
    }
    return std::pair(g * g / (h + options.l2), n);
  };
  Naive best;
  const double whole = sums(0, 0, true).first;
  for (Index column = 1; column < data.rows.rows(); ++column) {
    for (Index i = 0; i < data.rows.cols(); ++i) {
      const double cut = data.rows(column, i);
      const auto [left, left_rows] = sums(column, cut, true);
      const auto [right, right_rows] = sums(column, cut, false);
      if (left_rows < options.leaf_rows_min || right_rows < options.leaf_rows_min) continue;
      const double gain = left + right - whole;
      if (gain > best.gain * (1 + 1e-9)) best = {gain, column, cut};
    }
  }
  return best;
}

TEST(BoostedTrees, TheFirstTreeIsThatOfANaiveSearch) {
  for (const Loss loss : {Loss::Logistic, Loss::Absolute}) {
    const Data data = make_data(5, 300, 3, loss == Loss::Logistic ? same_side : bent);
    TreeOptions options;
    options.rounds = 1;
    options.column_share = 1;
    options.row_share = 1;
    options.leaf_rows_min = 10;
    BoostedTrees none;
    options.rounds = 0;
    none.fit(loss, data.fit_rows(), options, 1);
    const double base = none.score(data.rows.col(0));
    BoostedTrees trees;
    options.rounds = 1;
    trees.fit(loss, data.fit_rows(), options, 1);
    ASSERT_EQ(trees.rounds(), 1u);
    const BoostedTrees::Tree& tree = trees.trees().front();

    std::vector<LossPoint> points;
    for (Index i = 0; i < data.targets.size(); ++i)
      points.push_back(loss_at(loss, base, data.targets[i]));
    std::vector<std::vector<bool>> nodes = {std::vector<bool>(points.size(), true)};
    for (std::size_t s = 0; s < BoostedTrees::splits; ++s) {
      const Naive wanted = best_split(data, points, nodes[s], options);
      std::vector<bool> left = nodes[s];
      std::vector<bool> right(points.size(), false);
      const auto column = static_cast<Index>(tree.column[s]);
      EXPECT_EQ(column, wanted.column) << "split " << s;
      for (std::size_t i = 0; i < points.size() && column > 0; ++i) {
        const double z = data.rows(column, static_cast<Index>(i));
        EXPECT_EQ(z <= tree.cut[s], z <= wanted.cut) << "split " << s;
        right[i] = nodes[s][i] && z > tree.cut[s];
        left[i] = nodes[s][i] && !right[i];
      }
      nodes.push_back(std::move(left));
      nodes.push_back(std::move(right));
    }
    for (std::size_t leaf = 0; leaf < BoostedTrees::leaves; ++leaf) {
      double g = 0;
      double h = 0;
      for (std::size_t i = 0; i < points.size(); ++i) {
        if (!nodes[BoostedTrees::splits + leaf][i]) continue;
        g += data.weights[static_cast<Index>(i)] * points[i].slope;
        h += data.weights[static_cast<Index>(i)] * points[i].curvature;
      }
      EXPECT_NEAR(tree.value[leaf], -options.rate * g / (h + options.l2), 1e-9);
    }
  }
}

TEST(BoostedTrees, MoreRoundsFitTheRowsBetter) {
  for (const Loss loss : {Loss::Logistic, Loss::Absolute}) {
    const Data data = make_data(6, 1000, 4, loss == Loss::Logistic ? same_side : bent);
    double before = std::numeric_limits<double>::infinity();
    for (const std::size_t rounds : {std::size_t{0}, std::size_t{10}, std::size_t{60}}) {
      TreeOptions options;
      options.rounds = rounds;
      BoostedTrees trees;
      trees.fit(loss, data.fit_rows(), options, 1);
      const double now = total_loss(loss, data, trees);
      EXPECT_LT(now, before);
      before = now;
    }
  }
}

TEST(BoostedTrees, FewRowsAndRareClassesStayFinite) {
  TreeOptions options;
  BoostedTrees trees;
  const Data few = make_data(4, 20, 5, same_side);
  trees.fit(Loss::Logistic, few.fit_rows(), options, 1);
  EXPECT_EQ(trees.rounds(), 0u);
  EXPECT_TRUE(std::isfinite(trees.score(few.rows.col(0))));

  Data rare = make_data(4, 3000, 6, same_side);
  rare.targets.setZero();
  rare.targets.head(3).setOnes();
  trees.fit(Loss::Logistic, rare.fit_rows(), options, 1);
  for (Index i = 0; i < 3000; ++i)
    ASSERT_LT(trees.score(rare.rows.col(i)), 0);

  Data constant = rare;
  constant.rows.setOnes();
  constant.targets.setZero();
  trees.fit(Loss::Logistic, constant.fit_rows(), options, 1);
  EXPECT_LT(trees.score(constant.rows.col(0)), -5);
}

TEST(BoostedTrees, ComeBackFromBytes) {
  const Data data = make_data(6, 500, 7, bent);
  BoostedTrees trees;
  trees.fit(Loss::Absolute, data.fit_rows(), TreeOptions{}, 9);
  std::string bytes;
  StateWriter writer(bytes);
  trees.save(writer);
  BoostedTrees back;
  StateReader reader(bytes);
  back.load(reader, 6);
  ASSERT_TRUE(reader.finish("trees"));
  for (Index i = 0; i < 500; ++i)
    ASSERT_EQ(back.score(data.rows.col(i)), trees.score(data.rows.col(i)));

  StateReader narrow(bytes);  // splits on columns that are not there
  back.load(narrow, 2);
  EXPECT_FALSE(narrow.finish("trees"));
  StateReader cut(std::string_view(bytes).substr(0, bytes.size() - 1));
  back.load(cut, 6);
  EXPECT_FALSE(cut.finish("trees"));
}

}  // namespace
}  // namespace accrete::models
