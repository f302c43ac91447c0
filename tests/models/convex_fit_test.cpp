// Newton fits: zero gradient, the Hessian of finite differences, steps that are halved where they
// must be; and the fading memory against plain batch sums.
#include "models/convex_fit.h"

#include <cmath>

#include <Eigen/Cholesky>
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
};

Data make_data(Loss loss, Index K, Index N, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  Data data{MatrixXd(K, N), VectorXd(N), VectorXd(N)};
  for (Index i = 0; i < N; ++i) {
    for (Index k = 0; k < K; ++k)
      data.rows(k, i) = k == 0 ? 1 : 2 * rng.uniform() - 1;
    const double signal = 2 * data.rows(1, i) - data.rows(2, i) + 0.3;
    const double noise = rng.uniform() - 0.5;
    data.targets[i] = loss == Loss::Logistic ? (signal + 4 * noise > 0 ? 1 : 0)
                                             : signal + noise * noise * noise * 20;
    data.weights[i] = 0.25 + rng.uniform();
  }
  return data;
}

/// The objective, written from its definition.
double objective(Loss loss, const Data& d, const VectorXd& prior, const VectorXd& w) {
  double sum = 0.5 * w.dot(prior.asDiagonal() * w);
  for (Index i = 0; i < d.targets.size(); ++i) {
    const double f = d.rows.col(i).dot(w);
    const double t = d.targets[i];
    const double gap = f - t;
    const double wrong = t > 0.5 ? -f : f;  // minus the logarithm of 1 / (1 + e^wrong)
    const double negative_log = wrong > 30 ? wrong : std::log(1 + std::exp(wrong));
    sum +=
        d.weights[i] * (loss == Loss::Logistic ? negative_log : std::sqrt(gap * gap + 0.01) - 0.1);
  }
  return sum;
}

VectorXd numeric_gradient(Loss loss, const Data& d, const VectorXd& prior, const VectorXd& w) {
  constexpr double h = 1e-5;
  VectorXd gradient(w.size());
  for (Index k = 0; k < w.size(); ++k) {
    VectorXd up = w;
    VectorXd down = w;
    up[k] += h;
    down[k] -= h;
    gradient[k] = (objective(loss, d, prior, up) - objective(loss, d, prior, down)) / (2 * h);
  }
  return gradient;
}

QuadraticMemory empty(Index K, double prior = 0.5) {
  QuadraticMemory memory;
  memory.reset(K, 1, prior, 1e-3);
  return memory;
}

TEST(ConvexFit, StopsWhereTheGradientIsZero) {
  for (const Loss loss : {Loss::Logistic, Loss::Absolute}) {
    const Data data = make_data(loss, 7, 500, 41);
    QuadraticMemory memory = empty(7);
    fit(loss, {data.rows, data.targets, data.weights}, {200, 1e-12}, memory);
    const VectorXd gradient = numeric_gradient(loss, data, memory.prior(), memory.weights().col(0));
    EXPECT_LT(gradient.cwiseAbs().maxCoeff(), 1e-6);
  }
}

TEST(ConvexFit, LaplacePrecisionIsTheNumericHessian) {
  const Data data = make_data(Loss::Logistic, 5, 300, 42);
  QuadraticMemory memory = empty(5);
  fit(Loss::Logistic, {data.rows, data.targets, data.weights}, {200, 1e-12}, memory);
  const VectorXd w = memory.weights().col(0);
  MatrixXd hessian(5, 5);
  constexpr double h = 1e-4;
  for (Index a = 0; a < 5; ++a) {
    for (Index b = 0; b < 5; ++b) {
      const auto at = [&](double da, double db) {
        VectorXd v = w;
        v[a] += da;
        v[b] += db;
        return objective(Loss::Logistic, data, memory.prior(), v);
      };
      hessian(a, b) = (at(h, h) - at(h, -h) - at(-h, h) + at(-h, -h)) / (4 * h * h);
    }
  }
  MatrixXd precision = memory.curvature().selfadjointView<Eigen::Lower>();
  precision.diagonal() += memory.prior();
  EXPECT_LT((precision - hessian).cwiseAbs().maxCoeff(), 1e-4 * precision.cwiseAbs().maxCoeff());
  const VectorXd probe = data.rows.col(3);
  EXPECT_NEAR(memory.leverage(probe), probe.dot(hessian.ldlt().solve(probe)), 1e-5);
}

TEST(ConvexFit, DerivativesAreThoseOfTheLoss) {
  for (const Loss loss : {Loss::Logistic, Loss::Absolute}) {
    for (const double score : {-40.0, -2.0, -0.05, 0.0, 0.3, 5.0, 700.0}) {
      constexpr double h = 1e-6;
      const LossPoint at = loss_at(loss, score, 1);
      const double up = loss_at(loss, score + h, 1).value;
      const double down = loss_at(loss, score - h, 1).value;
      EXPECT_NEAR(at.slope, (up - down) / (2 * h), 1e-6);
      EXPECT_TRUE(std::isfinite(at.value) && at.curvature >= 0);
    }
  }
}

// One positive in 2,000 that a feature gives away: an undamped Newton step from far off diverges.
TEST(ConvexFit, RareSeparableClassStaysSane) {
  Data data = make_data(Loss::Logistic, 4, 2000, 43);
  for (Index i = 0; i < 2000; ++i) {
    data.targets[i] = i % 500 == 0 ? 1 : 0;
    data.rows(3, i) = data.targets[i] > 0 ? 4 : 0;
  }
  QuadraticMemory memory = empty(4, 1e-3);
  VectorXd start(4);
  start << -12, 0, 0, 0;  // as after a long time without any positive
  memory.set_weights(start);

  // What an undamped step does from there: it makes things worse by orders of magnitude.
  QuadraticMemory undamped = empty(4, 1e-3);
  undamped.set_weights(start);
  const double before = objective(Loss::Logistic, data, memory.prior(), start);
  MatrixXd curvature = MatrixXd::Zero(4, 4);
  VectorXd moments = VectorXd::Zero(4);
  for (Index i = 0; i < 2000; ++i) {
    const double f = data.rows.col(i).dot(start);
    const LossPoint at = loss_at(Loss::Logistic, f, data.targets[i]);
    curvature += data.weights[i] * at.curvature * data.rows.col(i) * data.rows.col(i).transpose();
    moments += data.weights[i] * (at.curvature * f - at.slope) * data.rows.col(i);
  }
  curvature.diagonal() += memory.prior();
  const VectorXd jump = curvature.ldlt().solve(moments);
  EXPECT_GT(jump.cwiseAbs().maxCoeff(), 100) << "the case is not the hard one";

  fit(Loss::Logistic, {data.rows, data.targets, data.weights}, {200, 1e-10}, memory);
  const VectorXd w = memory.weights().col(0);
  EXPECT_LT(objective(Loss::Logistic, data, memory.prior(), w), before);
  EXPECT_LT(numeric_gradient(Loss::Logistic, data, memory.prior(), w).cwiseAbs().maxCoeff(), 1e-5);
  EXPECT_LT(w.cwiseAbs().maxCoeff(), 60);

  // The same rows as one new block of a stream: never worse than before it came.
  QuadraticMemory stream = empty(4, 1e-3);
  stream.set_weights(start);
  learn_block(Loss::Logistic, data.rows, data.targets, data.weights, stream);
  EXPECT_LT(objective(Loss::Logistic, data, memory.prior(), stream.weights().col(0)), before);
}

TEST(ConvexFit, BlocksFollowTheBatchOptimum) {
  for (const Loss loss : {Loss::Logistic, Loss::Absolute}) {
    constexpr Index K = 6;
    const Data data = make_data(loss, K, 4000, 44);
    QuadraticMemory batch = empty(K);
    fit(loss, {data.rows, data.targets, data.weights}, {200, 1e-12}, batch);
    QuadraticMemory stream = empty(K);
    for (Index begin = 0; begin < 4000; begin += 50) {
      learn_block(loss, data.rows.middleCols(begin, 50), data.targets.segment(begin, 50),
                  data.weights.segment(begin, 50), stream);
    }
    const VectorXd exact = batch.weights().col(0);
    EXPECT_LT((stream.weights().col(0) - exact).norm(), 0.06 * exact.norm());
    const double best = objective(loss, data, batch.prior(), exact);
    EXPECT_LT(objective(loss, data, batch.prior(), stream.weights().col(0)), 1.002 * best);
  }
}

TEST(QuadraticMemory, FadingSumsEqualTheWeightedBatch) {
  constexpr Index K = 9;
  constexpr Index N = 300;
  constexpr double factor = 0.97;
  const Data data = make_data(Loss::Absolute, K, N, 45);
  QuadraticMemory memory = empty(K, 3);
  MatrixXd gram = MatrixXd::Zero(K, K);
  VectorXd moments = VectorXd::Zero(K);
  for (Index begin = 0; begin < N; begin += 10) {
    const VectorXd weights = data.weights.segment(begin, 10);
    const MatrixXd rows = data.rows.middleCols(begin, 10);
    memory.fade(factor);
    const MatrixXd targets = (weights.array() * data.targets.segment(begin, 10).array()).matrix();
    const BlockSums sums = block_sums(rows, weights, targets);
    memory.add(sums);
    const double age = static_cast<double>((N - begin) / 10 - 1);
    for (Index i = begin; i < begin + 10; ++i) {
      const double w = data.weights[i] * std::pow(factor, age);
      gram += w * data.rows.col(i) * data.rows.col(i).transpose();
      moments += w * data.targets[i] * data.rows.col(i);
    }
  }
  memory.solve();
  gram.diagonal() += memory.prior();
  EXPECT_LT((memory.weights().col(0) - gram.ldlt().solve(moments)).cwiseAbs().maxCoeff(), 1e-8);
}

TEST(QuadraticMemory, InsertThenForgetIsNothing) {
  constexpr Index K = 8;
  const Data data = make_data(Loss::Absolute, K, 200, 46);
  const MatrixXd targets = (data.weights.array() * data.targets.array()).matrix();
  const auto part = [&](Index begin, Index size, double share) {
    return block_sums(data.rows.middleCols(begin, size), share * data.weights.segment(begin, size),
                      share * targets.middleRows(begin, size));
  };
  QuadraticMemory with = empty(K, 2);
  QuadraticMemory without = empty(K, 2);
  const BlockSums first = part(0, 90, 1);
  const BlockSums middle = part(90, 20, 1);
  const BlockSums last = part(110, 90, 1);
  for (QuadraticMemory* memory : {&with, &without}) {
    memory->add(first);
    if (memory == &with) memory->add(middle);
    memory->fade(0.8);
    memory->add(last);
  }
  const BlockSums gone = part(90, 20, 0.8);
  with.add(gone, -1);
  with.solve();
  without.solve();
  EXPECT_LT((with.weights() - without.weights()).cwiseAbs().maxCoeff(), 1e-8);
  EXPECT_GT(without.weights().cwiseAbs().maxCoeff(), 0.1);
}

TEST(QuadraticMemory, UnseenDirectionsGoBackToThePrior) {
  QuadraticMemory memory = empty(3, 2);
  MatrixXd row(3, 1);
  row << 1, 1, 0;
  const VectorXd one = VectorXd::Ones(1);
  for (int i = 0; i < 4000; ++i) {
    memory.fade(0.99);
    row(1, 0) = i < 1000 ? (i % 2 == 0 ? 1 : -1) : 0;
    row(2, 0) = i % 3 == 0 ? 1 : -0.5;
    const MatrixXd target = MatrixXd::Constant(1, 1, row(1, 0) + row(2, 0));
    const BlockSums sums = block_sums(row, one, target);
    memory.add(sums);
    if (i == 999) {
      memory.solve();
      EXPECT_GT(memory.weights()(1, 0), 0.9);
    }
  }
  memory.solve();
  EXPECT_NEAR(memory.weights()(1, 0), 0, 1e-6);
  VectorXd probe(3);
  probe << 0, 1, 0;
  EXPECT_NEAR(memory.leverage(probe), 0.5, 1e-6) << "the prior's own variance, not more";
  EXPECT_GT(memory.weights()(2, 0), 0.9);
}

}  // namespace
}  // namespace accrete::models
