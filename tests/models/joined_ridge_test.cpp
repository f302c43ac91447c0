// Ridge over columns that joined later, against a fit to all rows with the same columns.
#include "models/joined_ridge.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Cholesky>
#include <Eigen/QR>
#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

MatrixXd draw(Rng& rng, Index rows, Index cols) {
  MatrixXd out(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      out(i, j) = 2 * rng.uniform() - 1;
  return out;
}

std::vector<double> draw_classes(Rng& rng, Index rows, std::uint64_t first, std::uint64_t classes) {
  std::vector<double> out;
  for (Index i = 0; i < rows; ++i)
    out.push_back(static_cast<double>(first + rng.below(classes)));
  return out;
}

/// Σ_c μ μᵀ + C/n × the scatter within classes, and the means, row by row.
std::pair<MatrixXd, MatrixXd> naive_balance(const MatrixXd& rows, const std::vector<double>& labels,
                                            Index classes) {
  MatrixXd means = MatrixXd::Zero(rows.cols(), classes);
  VectorXd counts = VectorXd::Zero(classes);
  for (Index i = 0; i < rows.rows(); ++i) {
    const auto c = static_cast<Index>(labels[static_cast<std::size_t>(i)]);
    means.col(c) += rows.row(i).transpose();
    counts[c] += 1;
  }
  double known = 0;
  for (Index c = 0; c < classes; ++c) {
    if (counts[c] == 0) continue;
    means.col(c) /= counts[c];
    known += 1;
  }
  MatrixXd within = MatrixXd::Zero(rows.cols(), rows.cols());
  for (Index i = 0; i < rows.rows(); ++i) {
    const auto c = static_cast<Index>(labels[static_cast<std::size_t>(i)]);
    const VectorXd away = rows.row(i).transpose() - means.col(c);
    within += away * away.transpose();
  }
  const double n = static_cast<double>(rows.rows());
  return {means * means.transpose() + within * known / n, means};
}

/// Rows of all columns: the joined ones and the intercept are zero where there is no `joined`.
MatrixXd beside(const MatrixXd& base, const MatrixXd& joined) {
  MatrixXd out = MatrixXd::Zero(base.rows(), base.cols() + joined.cols() + 1);
  out.leftCols(base.cols()) = base;
  if (joined.rows() == 0) return out;
  out.middleCols(base.cols(), joined.cols()) = joined;
  out.rightCols(1).setOnes();
  return out;
}

JoinedRidgeOptions class_options() {
  JoinedRidgeOptions options;
  options.classes = true;
  options.base = 7;
  options.joined = 5;
  options.base_lambda = 0.3;
  options.lambda = 0.1;
  return options;
}

TEST(JoinedRidge, ColumnsThatJoinAreZeroInAllRowsBefore) {
  Rng rng(1, 0, Purpose::Test);
  const JoinedRidgeOptions options = class_options();
  constexpr Index kClasses = 4;
  const MatrixXd old_base = draw(rng, 60, 7);
  const std::vector<double> old_labels = draw_classes(rng, 60, 0, 3);
  const MatrixXd base = draw(rng, 25, 7);
  const MatrixXd joined = draw(rng, 25, 5);
  const std::vector<double> labels = draw_classes(rng, 25, 1, 3);

  // What was learnt before the columns came is only known by its balanced sums.
  const auto [old_system, old_means] = naive_balance(old_base, old_labels, 3);
  const BalancedClasses<double> before{old_system, old_means};
  JoinedRidge<double> ridge(options);
  ridge.learn(base, joined, labels);
  const MatrixXd found = ridge.solve(&before);

  const auto [zeros, zero_means] =
      naive_balance(beside(old_base, MatrixXd(0, 5)), old_labels, kClasses);
  const auto [system, means] = naive_balance(beside(base, joined), labels, kClasses);
  MatrixXd all = zeros + system;
  const double base_share = options.base_lambda * all.diagonal().head(7).mean();
  const double share = options.lambda * all.diagonal().tail(6).mean();
  all.diagonal().head(7).array() += base_share;
  all.diagonal().tail(6).array() += share;
  const MatrixXd expected = all.ldlt().solve(zero_means + means);
  ASSERT_EQ(found.cols(), kClasses);
  EXPECT_LT((found - expected).cwiseAbs().maxCoeff(), 1e-9);

  // The floats of the daemon.
  JoinedRidge<float> floats(options);
  floats.learn(base.cast<float>(), joined.cast<float>(), labels);
  const BalancedClasses<float> before_floats{old_system.cast<float>(), old_means.cast<float>()};
  const MatrixXd rounded = floats.solve(&before_floats).cast<double>();
  EXPECT_LT((rounded - expected).cwiseAbs().maxCoeff(), 1e-4);
}

TEST(JoinedRidge, PiecesAreTheFitToAllRows) {
  Rng rng(2, 0, Purpose::Test);
  JoinedRidgeOptions options;
  options.joined = 6;
  options.lambda = 0.7;
  JoinedRidge<double> ridge(options);
  MatrixXd rows(0, 7);
  std::vector<double> targets;
  for (const Index n : {1, 9, 30, 2}) {
    const MatrixXd some = draw(rng, n, 6);
    std::vector<double> labels;
    for (Index i = 0; i < n; ++i)
      labels.push_back(3 + some(i, 1) - 2 * some(i, 4) + rng.uniform());
    ridge.learn(MatrixXd(), some, labels);
    targets.insert(targets.end(), labels.begin(), labels.end());
    rows.conservativeResize(rows.rows() + n, 7);
    rows.bottomRows(n) = beside(MatrixXd(n, 0), some);
    // Least squares over the rows and one more row for each share of the prior.
    MatrixXd augmented = MatrixXd::Zero(rows.rows() + 7, 7);
    augmented.topRows(rows.rows()) = rows;
    for (Index j = 0; j < 7; ++j)
      augmented(rows.rows() + j, j) = std::sqrt(j == 6 ? 1e-3 : 7 * options.lambda);
    VectorXd wanted = VectorXd::Zero(augmented.rows());
    for (std::size_t i = 0; i < targets.size(); ++i)
      wanted[static_cast<Index>(i)] = targets[i];
    const VectorXd expected = augmented.colPivHouseholderQr().solve(wanted);
    EXPECT_LT((ridge.solve() - expected).cwiseAbs().maxCoeff(), 1e-9) << n;
  }
}

TEST(JoinedRidge, ARowWithoutNumbersIsLeftOut) {
  for (const bool classes : {false, true}) {
    JoinedRidgeOptions options;
    options.classes = classes;
    options.joined = 3;
    JoinedRidge<double> with(options);
    JoinedRidge<double> without(options);
    Rng rng(3, 0, Purpose::Test);
    RowMatrix<double> rows = draw(rng, 40, 3);
    const std::vector<double> targets = draw_classes(rng, 40, 0, 3);
    without.learn({}, RowMatrix<double>(rows.topRows(39)), {targets.data(), 39});
    rows(39, 1) = std::numeric_limits<double>::quiet_NaN();
    with.learn({}, rows, targets);
    EXPECT_TRUE(with.solve() == without.solve()) << classes;
  }
}

TEST(JoinedRidge, GoesOnBitForBitAfterSaving) {
  Rng rng(3, 0, Purpose::Test);
  for (const bool classes : {true, false}) {
    JoinedRidgeOptions options = class_options();
    options.classes = classes;
    if (!classes) options.base = 0;
    const auto base = static_cast<Index>(options.base);
    JoinedRidge<float> straight(options);
    JoinedRidge<float> restarted(options);
    std::string bytes;
    for (int piece = 0; piece < 3; ++piece) {
      const Eigen::MatrixXf old = draw(rng, 20, base).cast<float>();
      const Eigen::MatrixXf vectors = draw(rng, 20, 5).cast<float>();
      const std::vector<double> labels = draw_classes(rng, 20, 0, 2 + static_cast<unsigned>(piece));
      straight.learn(old, vectors, labels);
      restarted.learn(old, vectors, labels);
      bytes.clear();
      StateWriter writer(bytes);
      restarted.save(writer);
      JoinedRidge<float> loaded(options);
      StateReader reader(bytes);
      loaded.load(reader, 8);
      ASSERT_TRUE(reader.finish("ridge"));
      EXPECT_EQ(loaded.solve(), straight.solve());
      restarted = std::move(loaded);
    }
    JoinedRidge<float> cut(options);
    StateReader short_by_four(std::string_view(bytes).substr(0, bytes.size() - 4));
    cut.load(short_by_four, 8);
    EXPECT_FALSE(short_by_four.finish("ridge"));
    JoinedRidgeOptions other = options;
    other.joined = 6;
    JoinedRidge<float> wider(other);
    StateReader of_another(bytes);
    wider.load(of_another, 8);
    EXPECT_FALSE(of_another.finish("ridge"));
  }
}

}  // namespace
}  // namespace accrete::models
