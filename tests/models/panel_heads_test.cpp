// Heads against batch fits: ticks that fade, new designs, waiting rows.
#include "models/panel_heads.h"

#include <cmath>

#include <Eigen/Cholesky>
#include <gtest/gtest.h>

#include "proto/rng.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr Index K = 7;
constexpr HeadSpec spec{150, 0.4};

struct Stream {
  MatrixXd rows = MatrixXd(K, 900);
  VectorXd labels = VectorXd(900);
  VectorXd weights = VectorXd(900);
  VectorXd ages = VectorXd(900);  // at the end
};

Stream make_stream(bool binary) {
  Stream s;
  Rng rng(121, 0, Purpose::Test);
  for (Index i = 0; i < 900; ++i) {
    for (Index k = 0; k < K; ++k)
      s.rows(k, i) = k == 0 ? 1 : 4 * rng.uniform() - 2;
    const double signal = s.rows(1, i) - 0.5 * s.rows(2, i);
    s.labels[i] = binary ? (rng.uniform() < 1 / (1 + std::exp(-2 * signal)) ? 1 : 0)
                         : 20 + 3 * signal + rng.uniform();
    s.weights[i] = 0.3 + rng.uniform();
    s.ages[i] = static_cast<double>(890 - i + i % 10);
  }
  return s;
}

/// A design of K columns: K - 1 values nobody reads through, since rows are given as they are.
PanelDesign design() {
  ExampleMemory memory(MemoryLimits{});
  TickBlock block;
  block.width = K - 1;
  block.facts.seeds = 1;
  Rng rng(122, 0, Purpose::Test);
  for (int i = 0; i < 60; ++i) {
    for (std::size_t j = 0; j < block.width; ++j)
      block.values.push_back(static_cast<float>(rng.uniform()));
    block.labels.push_back(rng.uniform());
    block.weights.push_back(1);
  }
  block.means.assign(block.width, 0);
  memory.append(block);
  PanelDesign made;
  made.choose(memory, LabelScale{}, DesignOptions{});
  return made;
}

MemoryRows memory_of(const Stream& s, Index count, const LabelScale& scale) {
  MemoryRows memory;
  memory.rows = s.rows.leftCols(count);
  memory.labels = s.labels.head(count);
  memory.weights = s.weights.head(count);
  memory.ages = s.ages.head(count).array() - static_cast<double>(900 - count);
  memory.centres = VectorXd::Zero(count);
  memory.spreads = VectorXd::Ones(count);
  memory.linear = scale;
  memory.skewed = scale;
  memory.relative = scale;
  return memory;
}

/// Refit on the first 300 rows, then ticks of ten to the end.
void feed(PanelHead& head, const Stream& s, const LabelScale& scale) {
  const PanelDesign made = design();
  ASSERT_EQ(made.columns(), K);
  head.refit(memory_of(s, 300, scale), made, made);
  for (Index begin = 300; begin < 900; begin += 10) {
    head.fade(10);
    TickRows tick{s.rows.middleCols(begin, 10),
                  s.labels.segment(begin, 10),
                  s.weights.segment(begin, 10),
                  0,
                  1,
                  {}};
    MatrixXd targets(10, 1);
    for (Index i = 0; i < 10; ++i)
      targets(i, 0) = tick.weights[i] * scale.target(tick.labels[i]);
    tick.squares = block_sums(tick.rows, tick.weights, targets);
    head.learn(tick);
    if (begin % 30 == 0) head.refresh();
  }
  head.refresh();
}

TEST(PanelHeads, RidgeEqualsTheFadedBatch) {
  const Stream s = make_stream(false);
  const LabelScale scale{false, 20, 3};
  const auto head = make_ridge_head(TaskKind::Regression, spec, "ridge");
  feed(*head, s, scale);
  MatrixXd gram = MatrixXd::Zero(K, K);
  VectorXd moments = VectorXd::Zero(K);
  for (Index i = 0; i < 900; ++i) {
    const double w = s.weights[i] * std::pow(0.5, s.ages[i] / spec.half_life);
    gram += w * s.rows.col(i) * s.rows.col(i).transpose();
    moments += w * (s.labels[i] - 20) / 3 * s.rows.col(i);
  }
  gram.diagonal().array() += spec.lambda * K;
  gram(0, 0) += 1e-3 - spec.lambda * K;
  const VectorXd weights = gram.ldlt().solve(moments);
  double squares = 0;
  for (Index i = 0; i < 900; i += 37) {
    Output output;
    head->predict(s.rows.col(i), 0, 1, output);
    EXPECT_NEAR(output.value, 20 + 3 * weights.dot(s.rows.col(i)), 1e-8);
    squares += output.variance / 25;
  }
  // Noise of 1/12, and what the label's own scale adds is gone.
  EXPECT_NEAR(squares, 1.0 / 12, 0.03);
}

TEST(PanelHeads, LogisticIsNearTheFadedOptimum) {
  const Stream s = make_stream(true);
  const auto head = make_logistic_head(spec, "logistic");
  feed(*head, s, LabelScale{});
  // Plain gradient descent on the faded objective.
  VectorXd w = VectorXd::Zero(K);
  VectorXd prior = VectorXd::Constant(K, spec.lambda * K);
  prior[0] = 1e-3;
  for (int step = 0; step < 4000; ++step) {
    VectorXd gradient = prior.cwiseProduct(w);
    for (Index i = 0; i < 900; ++i) {
      const double a = s.weights[i] * std::pow(0.5, s.ages[i] / spec.half_life);
      const double p = 1 / (1 + std::exp(-w.dot(s.rows.col(i))));
      gradient += a * (p - s.labels[i]) * s.rows.col(i);
    }
    w -= 0.01 * gradient;
    if (gradient.norm() < 1e-9) break;
  }
  for (Index i = 0; i < 900; i += 37) {
    Output output;
    head->predict(s.rows.col(i), 0, 1, output);
    const double plain = 1 / (1 + std::exp(-w.dot(s.rows.col(i))));
    EXPECT_NEAR(output.value, plain, 0.03);
    // The variance of the score draws a probability towards one half, never past it.
    EXPECT_TRUE(std::abs(plain - 0.5) < 0.05 || (output.value - 0.5) * (plain - 0.5) > 0);
  }
}

TEST(PanelHeads, MedianIsNotMovedByWildLabels) {
  Stream s = make_stream(false);
  for (Index i = 0; i < 900; i += 10)
    s.labels[i] += 1e4;  // one in ten
  const LabelScale scale{false, 20, 3};
  const auto median = make_median_head(MedianOf::Label, {150, 0.01}, "median");
  const auto ridge = make_ridge_head(TaskKind::Regression, {150, 0.01}, "ridge");
  feed(*median, s, scale);
  feed(*ridge, s, scale);
  for (Index i = 1; i < 900; i += 37) {
    Output output;
    median->predict(s.rows.col(i), 0, 1, output);
    const double truth = 20.5 + 3 * (s.rows(1, i) - 0.5 * s.rows(2, i));
    EXPECT_NEAR(output.value, truth, 0.6);
    ridge->predict(s.rows.col(i), 0, 1, output);
    EXPECT_GT(std::abs(output.value - truth), 100);
  }
}

TEST(PanelHeads, TickDeviationIsInTheUnitsOfItsTick) {
  const Stream s = make_stream(false);
  const LabelScale scale{false, 20, 3};
  const auto head = make_median_head(MedianOf::TickDeviation, spec, "median-tick");
  feed(*head, s, scale);
  Output plain;
  Output shifted;
  head->predict(s.rows.col(5), 0, 1, plain);
  head->predict(s.rows.col(5), 100, 2, shifted);
  EXPECT_DOUBLE_EQ(shifted.value, 100 + 2 * plain.value);
}

}  // namespace
}  // namespace accrete::models
