// The algebra: blocks in any order equal one batch solve, growth and new coordinates included.
#include "models/recursive_ridge.h"

#include <algorithm>
#include <numeric>

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
  MatrixXd targets;
  VectorXd weights;
};

Data make_data(Index K, Index O, Index N, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  Data data{MatrixXd(K, N), MatrixXd(O, N), VectorXd(N)};
  for (Index i = 0; i < N; ++i) {
    for (Index k = 0; k < K; ++k)
      data.rows(k, i) = k == 0 ? 1 : 2 * rng.uniform() - 1;
    for (Index o = 0; o < O; ++o)
      data.targets(o, i) = rng.uniform() * 10 + data.rows(K - 1, i);
    data.weights[i] = 0.25 + rng.uniform();
  }
  return data;
}

VectorXd prior_of(Index K) {
  VectorXd prior = VectorXd::Constant(K, 0.7);
  prior[0] = 1e-3;
  return prior;
}

MatrixXd batch_inverse(const Data& d, const VectorXd& prior) {
  MatrixXd gram = d.rows * d.weights.asDiagonal() * d.rows.transpose();
  gram.diagonal() += prior;
  return gram.ldlt().solve(MatrixXd::Identity(gram.rows(), gram.rows()));
}

MatrixXd batch(const Data& d, const VectorXd& prior) {
  return batch_inverse(d, prior) * d.rows * d.weights.asDiagonal() * d.targets.transpose();
}

double learn_in_blocks(RecursiveRidge& ridge, const Data& d, const std::vector<Index>& order,
                       Index block) {
  double residual = 0;
  const auto N = static_cast<Index>(order.size());
  for (Index begin = 0; begin < N; begin += block) {
    const Index size = std::min(block, N - begin);
    Data part{MatrixXd(d.rows.rows(), size), MatrixXd(d.targets.rows(), size), VectorXd(size)};
    for (Index i = 0; i < size; ++i) {
      const Index from = order[static_cast<std::size_t>(begin + i)];
      part.rows.col(i) = d.rows.col(from);
      part.targets.col(i) = d.targets.col(from);
      part.weights[i] = d.weights[from];
    }
    residual += ridge.learn(part.rows, part.targets, part.weights);
  }
  return residual;
}

TEST(RecursiveRidge, EqualsBatchForAnyOrderAndAnyBlocks) {
  constexpr Index K = 24;
  constexpr Index O = 3;
  constexpr Index N = 400;
  const Data data = make_data(K, O, N, 11);
  const MatrixXd expected = batch(data, prior_of(K));
  std::vector<Index> order(N);
  std::iota(order.begin(), order.end(), Index{0});
  for (const Index block : {Index{1}, Index{10}, Index{64}, N}) {
    for (int round = 0; round < 3; ++round) {
      RecursiveRidge ridge(O);
      ridge.grow_columns(std::vector<Index>(K - 1, -1));
      ridge.solve(prior_of(K));
      learn_in_blocks(ridge, data, order, block);
      EXPECT_LT((ridge.weights() - expected).cwiseAbs().maxCoeff(), 1e-8) << "block " << block;
      Rng rng(12, static_cast<std::uint64_t>(round), Purpose::Test);
      for (std::size_t i = N; i > 1; --i)
        std::swap(order[i - 1], order[rng.below(i)]);
    }
  }
}

TEST(RecursiveRidge, LeverageAndResidualAreThoseOfTheBatch) {
  const Data data = make_data(6, 1, 90, 13);
  std::vector<Index> order(90);
  std::iota(order.begin(), order.end(), Index{0});
  double residual[2];
  for (const Index block : {Index{1}, Index{32}}) {
    RecursiveRidge ridge(1);
    ridge.grow_columns(std::vector<Index>(5, -1));
    ridge.solve(prior_of(6));
    residual[block == 1 ? 0 : 1] = learn_in_blocks(ridge, data, order, block);
    const VectorXd probe = data.rows.col(7);
    EXPECT_NEAR(ridge.leverage(probe), probe.dot(batch_inverse(data, prior_of(6)) * probe), 1e-10);
  }
  EXPECT_NEAR(residual[0], residual[1], 1e-8) << "innovations do not depend on the cutting";
  // The sum of normalised innovations is the minimum of the ridge objective.
  const MatrixXd W = batch(data, prior_of(6));
  const VectorXd errors = (data.targets - W.transpose() * data.rows).row(0);
  const double objective = (errors.array().square() * data.weights.array()).sum() +
                           (prior_of(6).array() * W.col(0).array().square()).sum();
  EXPECT_NEAR(residual[0], objective, 1e-8);
}

TEST(RecursiveRidge, NewOutputsNeedNoSolve) {
  Data data = make_data(5, 2, 60, 14);
  data.targets.row(1).head(30).setZero();  // the class did not exist yet
  RecursiveRidge ridge(1);
  ridge.grow_columns(std::vector<Index>(4, -1));
  ridge.solve(prior_of(5));
  ridge.learn(data.rows.leftCols(30), data.targets.topRows(1).leftCols(30), data.weights.head(30));
  ridge.grow_outputs(2);
  ridge.learn(data.rows.rightCols(30), data.targets.rightCols(30), data.weights.tail(30));
  EXPECT_LT((ridge.weights() - batch(data, prior_of(5))).cwiseAbs().maxCoeff(), 1e-8);
}

TEST(RecursiveRidge, NewColumnsTakeTheirPastFromTheOldOnes) {
  Data data = make_data(6, 1, 80, 15);
  data.rows.row(4).head(40).setZero();                    // grown with like = -1
  data.rows.row(5).head(40) = data.rows.row(2).head(40);  // grown with like = 2
  RecursiveRidge ridge(1);
  ridge.grow_columns({-1, -1, -1});
  ridge.solve(prior_of(4));
  ridge.learn(data.rows.topLeftCorner(4, 40), data.targets.leftCols(40), data.weights.head(40));
  ridge.grow_columns({-1, 2});
  ridge.solve(prior_of(6));
  ridge.learn(data.rows.rightCols(40), data.targets.rightCols(40), data.weights.tail(40));
  EXPECT_LT((ridge.weights() - batch(data, prior_of(6))).cwiseAbs().maxCoeff(), 1e-8);
}

TEST(RecursiveRidge, NewCoordinatesAreExactUnderTheSamePrior) {
  Data data = make_data(4, 1, 100, 16);
  for (Index i = 0; i < 100; ++i) {  // column 3 says that column 2 is absent, hence 0
    data.rows(3, i) = i % 3 == 0 ? 1 : 0;
    if (i % 3 == 0) data.rows(2, i) = 0;
  }
  RecursiveRidge ridge(1);
  ridge.grow_columns({-1, -1, -1});
  ridge.solve(prior_of(4));
  ridge.learn(data.rows.leftCols(50), data.targets.leftCols(50), data.weights.head(50));
  ridge.map_columns({{1, 0, 0}, {0.5, -2, 0}, {3, 0.25, 3}, {1, 0, 0}});
  ridge.solve(prior_of(4));
  Data mapped = data;
  mapped.rows.row(1) = 0.5 * data.rows.row(1).array() - 2;
  mapped.rows.row(2) = 3 * data.rows.row(2) + 0.25 * (data.rows.row(0) - data.rows.row(3));
  ridge.learn(mapped.rows.rightCols(50), mapped.targets.rightCols(50), mapped.weights.tail(50));
  EXPECT_LT((ridge.weights() - batch(mapped, prior_of(4))).cwiseAbs().maxCoeff(), 1e-8);
}

TEST(RecursiveRidge, StaysExactOverALongStream) {
  constexpr Index K = 12;
  const Data data = make_data(K, 1, 20'000, 17);
  std::vector<Index> order(20'000);
  std::iota(order.begin(), order.end(), Index{0});
  RecursiveRidge ridge(1);
  ridge.grow_columns(std::vector<Index>(K - 1, -1));
  ridge.solve(prior_of(K));
  learn_in_blocks(ridge, data, order, 7);
  EXPECT_LT((ridge.weights() - batch(data, prior_of(K))).cwiseAbs().maxCoeff(), 1e-8);
}

}  // namespace
}  // namespace accrete::models
