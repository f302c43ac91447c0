// The algebra: blocks in any order equal one batch solve, growth and new coordinates included; what
// is forgotten leaves what would be there without it.
#include "models/recursive_ridge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <Eigen/Cholesky>
#include <gtest/gtest.h>

#include "models/feature_scale.h"
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

Data pick(const Data& d, const std::vector<Index>& which) {
  const auto N = static_cast<Index>(which.size());
  Data part{MatrixXd(d.rows.rows(), N), MatrixXd(d.targets.rows(), N), VectorXd(N)};
  for (Index i = 0; i < N; ++i) {
    const Index from = which[static_cast<std::size_t>(i)];
    part.rows.col(i) = d.rows.col(from);
    part.targets.col(i) = d.targets.col(from);
    part.weights[i] = d.weights[from];
  }
  return part;
}

RecursiveRidge empty_ridge(Index K, Index O) {
  RecursiveRidge ridge(O);
  ridge.grow_columns(std::vector<Index>(static_cast<std::size_t>(K - 1), -1));
  ridge.solve(prior_of(K));
  return ridge;
}

Status forget(RecursiveRidge& ridge, const Data& d) {
  return ridge.forget(d.rows, d.targets, d.weights, prior_of(ridge.columns()));
}

/// The solution, and the posterior variance at some probes, are those of the batch over `d`.
void expect_batch(const RecursiveRidge& ridge, const Data& d, double slack, const char* where) {
  const VectorXd prior = prior_of(ridge.columns());
  EXPECT_LT((ridge.weights() - batch(d, prior)).cwiseAbs().maxCoeff(), slack) << where;
  const MatrixXd inverse = batch_inverse(d, prior);
  Rng rng(18, 0, Purpose::Test);
  for (int i = 0; i < 5; ++i) {
    VectorXd probe(ridge.columns());
    for (Index k = 0; k < probe.size(); ++k)
      probe[k] = 2 * rng.uniform() - 1;
    const double expected = probe.dot(inverse * probe);
    EXPECT_NEAR(ridge.leverage(probe), expected, slack * (1 + expected)) << where;
  }
}

TEST(RecursiveRidge, InsertThenForgetIsNothing) {
  constexpr Index K = 9;
  const Data kept = make_data(K, 3, 60, 19);
  const Data passing = make_data(K, 3, 30, 20);
  RecursiveRidge ridge = empty_ridge(K, 3);
  ridge.learn(kept.rows, kept.targets, kept.weights);
  for (Index i = 0; i < 30; ++i) {  // one by one, then all at once
    const Data row = pick(passing, {i});
    ridge.learn(row.rows, row.targets, row.weights);
    ASSERT_TRUE(forget(ridge, row));
    expect_batch(ridge, kept, 1e-8, "a row");
  }
  ridge.learn(passing.rows, passing.targets, passing.weights);
  ASSERT_TRUE(forget(ridge, passing));
  expect_batch(ridge, kept, 1e-8, "a block");
}

TEST(RecursiveRidge, ForgettingInAnyOrderLeavesTheBatchOfWhatIsLeft) {
  constexpr Index K = 12;
  constexpr Index N = 150;
  const Data data = make_data(K, 2, N, 21);
  for (std::uint64_t round = 0; round < 8; ++round) {
    Rng rng(22, round, Purpose::Test);
    RecursiveRidge ridge = empty_ridge(K, 2);
    std::vector<Index> inside;
    std::vector<Index> outside(N);
    std::iota(outside.begin(), outside.end(), Index{0});
    for (int step = 0; step < 300; ++step) {
      const bool in = inside.empty() || (!outside.empty() && rng.below(2) == 0);
      std::vector<Index>& from = in ? outside : inside;
      std::vector<Index>& to = in ? inside : outside;
      std::vector<Index> moved;
      for (std::uint64_t n = 1 + rng.below(7); n > 0 && !from.empty(); --n) {
        std::swap(from[rng.below(from.size())], from.back());
        moved.push_back(from.back());
        from.pop_back();
      }
      const Data block = pick(data, moved);
      if (in) {
        ridge.learn(block.rows, block.targets, block.weights);
      } else {
        ASSERT_TRUE(forget(ridge, block));
      }
      to.insert(to.end(), moved.begin(), moved.end());
      if (step % 20 == 19) expect_batch(ridge, pick(data, inside), 1e-8, "on the way");
    }
    while (!inside.empty()) {  // everything goes, in blocks of any size
      const std::size_t size = std::min<std::size_t>(inside.size(), 1 + rng.below(20));
      const std::vector<Index> last(inside.end() - static_cast<std::ptrdiff_t>(size), inside.end());
      ASSERT_TRUE(forget(ridge, pick(data, last)));
      inside.resize(inside.size() - size);
    }
    expect_batch(ridge, pick(data, {}), 1e-8, "the prior is back");
    EXPECT_LT(ridge.weights().cwiseAbs().maxCoeff(), 1e-8);
  }
}

TEST(RecursiveRidge, AWindowSlidesFarWithoutDrifting) {
  constexpr Index N = 20'000;
  const Data data = make_data(12, 1, N, 23);
  for (const Index window : {Index{3}, Index{12}, Index{200}}) {
    RecursiveRidge ridge = empty_ridge(12, 1);
    for (Index i = 0; i < N; ++i) {
      const Data in = pick(data, {i});
      ridge.learn(in.rows, in.targets, in.weights);
      if (i < window) continue;
      ASSERT_TRUE(forget(ridge, pick(data, {i - window})));
    }
    std::vector<Index> last(static_cast<std::size_t>(window));
    std::iota(last.begin(), last.end(), N - window);
    expect_batch(ridge, pick(data, last), 1e-8, "the end");
  }
}

TEST(RecursiveRidge, ForgetsWhatWasLearntBeforeItGrewAndTurned) {
  const Data old = make_data(4, 1, 40, 24);
  Data young = make_data(6, 2, 40, 25);
  RecursiveRidge ridge = empty_ridge(4, 1);
  ridge.learn(old.rows, old.targets, old.weights);
  const std::vector<ColumnMap> maps{{1, 0, 0}, {0.5, -2, 0}, {3, 0.25, 3}, {1, 0, 0}};
  ridge.map_columns(maps);
  ridge.grow_columns({-1, 2});
  ridge.solve(prior_of(6));
  ridge.grow_outputs(2);
  ridge.learn(young.rows, young.targets, young.weights);
  Data told{MatrixXd::Zero(6, 40), MatrixXd::Zero(2, 40), old.weights};
  told.rows.topRows(4) = map_rows(maps, old.rows);
  told.rows.row(5) = told.rows.row(2);
  told.targets.row(0) = old.targets.row(0);
  std::vector<Index> even;
  std::vector<Index> odd;
  for (Index i = 0; i < 40; ++i)
    (i % 2 == 0 ? even : odd).push_back(i);
  ASSERT_TRUE(forget(ridge, pick(told, odd)));
  const Data half = pick(told, even);
  Data left{MatrixXd(6, 60), MatrixXd(2, 60), VectorXd(60)};
  left.rows << half.rows, young.rows;
  left.targets << half.targets, young.targets;
  left.weights << half.weights, young.weights;
  expect_batch(ridge, left, 1e-8, "half of the old rows left");
  ASSERT_TRUE(forget(ridge, half));
  expect_batch(ridge, young, 1e-8, "all of them");
}

/// Columns: the intercept; x, always there; y, whose indicator is column 3; c, that has not varied.
struct ScaledWorld {
  static constexpr double clip = 1.5;
  static constexpr Index K = 5;
  FeatureScale scale;
  RecursiveRidge ridge = empty_ridge(K, 1);

  explicit ScaledWorld(const std::vector<std::vector<double>>& first) {
    scale.grow(3);
    for (const auto& values : first)
      scale.observe(values);
    refreeze();
  }
  std::vector<ColumnMap> refreeze() {
    const auto by_feature = scale.freeze();
    std::vector<ColumnMap> maps(K);
    maps[1] = by_feature[0];
    maps[2] = by_feature[1];
    maps[2].absent = 3;
    maps[4] = by_feature[2];
    ridge.map_columns(maps);
    ridge.solve(prior_of(K));
    return maps;
  }
  MatrixXd row(const std::vector<double>& values, double clip_at) const {
    MatrixXd z = MatrixXd::Zero(K, 1);
    z(0, 0) = 1;
    z(1, 0) = scale.standardise(0, values[0], clip_at);
    if (std::isnan(values[1])) {
      z(3, 0) = 1;
    } else {
      z(2, 0) = scale.standardise(1, values[1], clip_at);
    }
    z(4, 0) = scale.standardise(2, values[2], clip_at);
    return z;
  }
};

TEST(RecursiveRidge, ForgetsInTheScaleOfNowWhatWasNotClipped) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const VectorXd weight = VectorXd::Constant(1, 0.75);
  const MatrixXd label = MatrixXd::Constant(1, 1, 3.5);
  struct Case {
    std::vector<double> values;
    bool plain = false;  // exact without knowing what the row was learnt as
  };
  const std::vector<Case> cases{
      {{1.5, 11, 7}, true},  {{0.5, nan, 7}, true},   // within the clip, or missing
      {{40, 11, 7}, false},  {{1.5, -90, 7}, false},  // clipped
      {{1.5, 11, 9}, false},                          // of a column that was asleep
  };
  for (const Case& c : cases) {
    ScaledWorld world({{0, 10, 7}, {1, 12, 7}, {2, nan, 7}, {3, 9, 7}});
    Rng rng(26, 0, Purpose::Test);
    const auto other = [&] {
      return std::vector<double>{rng.uniform() * 3, rng.below(4) == 0 ? nan : 9 + 3 * rng.uniform(),
                                 7};
    };
    for (int i = 0; i < 30; ++i) {
      world.ridge.learn(world.row(other(), ScaledWorld::clip), rng.uniform() * label, weight);
    }
    RecursiveRidge without = world.ridge;
    MatrixXd learnt = world.row(c.values, ScaledWorld::clip);
    world.ridge.learn(learnt, label, weight);
    std::swap(without, world.ridge);  // the scale's maps go to `without` too
    world.scale.observe(std::vector<double>{5, 30, 8});
    world.scale.observe(c.values);
    const auto maps = world.refreeze();
    std::swap(without, world.ridge);
    world.ridge.map_columns(maps);
    world.ridge.solve(prior_of(ScaledWorld::K));
    learnt = map_rows(maps, learnt);
    const MatrixXd plain = world.row(c.values, infinity);
    EXPECT_EQ((plain - learnt).cwiseAbs().maxCoeff() < 1e-12, c.plain) << c.values[0];
    RecursiveRidge other_way = world.ridge;
    const VectorXd prior = prior_of(ScaledWorld::K);
    ASSERT_TRUE(world.ridge.forget(learnt, label, weight, prior));
    EXPECT_LT((world.ridge.weights() - without.weights()).cwiseAbs().maxCoeff(), 1e-8);
    EXPECT_NEAR(world.ridge.leverage(plain), without.leverage(plain), 1e-8);
    if (!c.plain) continue;
    ASSERT_TRUE(other_way.forget(plain, label, weight, prior));
    EXPECT_LT((other_way.weights() - without.weights()).cwiseAbs().maxCoeff(), 1e-8);
  }
}

TEST(RecursiveRidge, MoreThanWasLearntIsNotForgotten) {
  const Data data = make_data(5, 1, 40, 27);
  RecursiveRidge ridge = empty_ridge(5, 1);
  const Data first = pick(data, {0, 1, 2});
  EXPECT_EQ(forget(ridge, first).error().code, Errc::NotFound) << "nothing was learnt";
  ridge.learn(first.rows, first.targets, first.weights);
  const auto refuses = [&](const Data& d, const char* why) {
    const MatrixXd before = ridge.weights();
    const Status status = forget(ridge, d);
    ASSERT_FALSE(status) << why;
    EXPECT_EQ(status.error().code, Errc::NotFound) << why;
    EXPECT_EQ(ridge.weights(), before) << why;
    expect_batch(ridge, first, 1e-8, why);
  };
  refuses(pick(data, {0, 1, 2, 3}), "more rows");
  Data heavy = first;
  heavy.weights *= 1.01;
  refuses(heavy, "more weight");
  Data strange = pick(data, {0});
  strange.rows(2, 0) = 100;
  refuses(strange, "a row that leaves less than nothing");
  ASSERT_TRUE(forget(ridge, first));
  EXPECT_FALSE(forget(ridge, first)) << "twice";
}

}  // namespace
}  // namespace accrete::models
