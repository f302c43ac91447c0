// Propagated sparse rows against dense matrices, the fit's gradient and optimum, the projected
// ridge against its own definition.
#include "models/propagation.h"

#include <cmath>
#include <vector>

#include <Eigen/Dense>
#include <gtest/gtest.h>

#include "models/projected_ridge.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr Eigen::Index kRows = 40;
constexpr Eigen::Index kColumns = 100;
constexpr Eigen::Index kClasses = 3;

/// A random graph in which the first rows are asked about, sparse and dense.
struct World {
  Neighbourhood rows;
  Eigen::MatrixXd x = Eigen::MatrixXd::Zero(kRows, kColumns);
  Eigen::MatrixXd s = Eigen::MatrixXd::Zero(kRows, kRows);
  std::vector<std::uint32_t> labels;
  std::size_t centres = 0;
};

World make_world(std::uint64_t seed, std::size_t centres) {
  Rng rng(seed, 1, Purpose::Test);
  World world;
  world.centres = centres;
  Eigen::MatrixXd a = Eigen::MatrixXd::Zero(kRows, kRows);
  for (int e = 0; e < 70; ++e) {
    const auto v = static_cast<Eigen::Index>(rng.below(static_cast<std::uint64_t>(kRows)));
    const auto u = static_cast<Eigen::Index>(rng.below(static_cast<std::uint64_t>(kRows)));
    if (v == u) continue;
    a(v, u) += 1;
    a(u, v) += 1;
  }
  const Eigen::VectorXd degrees = a.rowwise().sum();
  for (Eigen::Index v = 0; v < a.rows(); ++v) {
    for (Eigen::Index u = 0; u < a.cols(); ++u) {
      const double edges = a(v, u) + (v == u ? 1 : 0);
      world.s(v, u) = edges / std::sqrt((degrees[v] + 1) * (degrees[u] + 1));
    }
    for (int w = 0; w < 4; ++w) {
      const auto column =
          static_cast<std::uint32_t>(rng.below(static_cast<std::uint64_t>(kColumns)));
      const auto value = static_cast<float>(rng.uniform());
      world.rows.members.add(column, value);
      world.x(v, column) += value;
      if (static_cast<std::size_t>(v) < centres) world.rows.direct.add(column, value);
    }
    world.rows.members.end_row();
    if (static_cast<std::size_t>(v) < centres) world.rows.direct.end_row();
    // All rows are inner ones here: what matters is that the sums are the same.
    for (Eigen::Index u = 0; u < a.cols(); ++u) {
      const double edges = a(v, u) + (v == u ? 1 : 0);
      if (edges > 0)
        world.rows.inner.add(static_cast<std::uint32_t>(u),
                             normalised_edge(edges, degrees[v], degrees[u]));
    }
    world.rows.inner.end_row();
  }
  for (std::size_t v = 0; v < centres; ++v)
    world.labels.push_back(
        static_cast<std::uint32_t>(rng.below(static_cast<std::uint64_t>(kClasses))));
  return world;
}

template <class Real>
HopWeights<Real> random_weights(std::uint64_t seed) {
  Rng rng(seed, 2, Purpose::Test);
  HopWeights<Real> weights;
  weights.grow(kColumns, kClasses);
  for (Eigen::Index f = 0; f < weights.own.rows(); ++f) {
    for (Eigen::Index k = 0; k < kClasses; ++k) {
      weights.own(f, k) = static_cast<Real>(rng.uniform() - 0.5);
      weights.around(f, k) = static_cast<Real>(rng.uniform() - 0.5);
    }
  }
  return weights;
}

std::vector<double> ones(std::size_t count) {
  return std::vector<double>(count, 1.0);
}

TEST(Propagation, ScoresAreThoseOfDenseMatrices) {
  const World world = make_world(1, 17);
  const HopWeights<double> weights = random_weights<double>(1);
  RowMatrix<double> out;
  scores(world.rows, weights, out);
  const Eigen::MatrixXd expected =
      world.x * weights.own + world.s * (world.s * (world.x * weights.around));
  ASSERT_EQ(out.rows(), 17);
  EXPECT_LT((out - expected.topRows(17)).cwiseAbs().maxCoeff(), 1e-6);  // S is kept as floats
}

TEST(Propagation, GradientIsThatOfTheObjective) {
  const World world = make_world(2, 15);
  HopWeights<double> weights = random_weights<double>(2);
  std::vector<double> row_weights = ones(15);
  row_weights[3] = 2.5;
  constexpr double kDecay = 0.01;
  HopWeights<double> gradient;
  softmax_objective<double>(world.rows, world.labels, row_weights, weights, kDecay, &gradient);
  const auto at = [&] {
    return softmax_objective<double>(world.rows, world.labels, row_weights, weights, kDecay,
                                     nullptr);
  };
  constexpr double kStep = 1e-5;
  for (const bool around : {false, true}) {
    RowMatrix<double>& moved = around ? weights.around : weights.own;
    const RowMatrix<double>& told = around ? gradient.around : gradient.own;
    for (Eigen::Index f = 0; f < moved.rows(); f += 3) {
      for (Eigen::Index k = 0; k < kClasses; ++k) {
        const double before = moved(f, k);
        moved(f, k) = before + kStep;
        const double up = at();
        moved(f, k) = before - kStep;
        const double down = at();
        moved(f, k) = before;
        EXPECT_NEAR(told(f, k), (up - down) / (2 * kStep), 1e-6) << f << " " << k;
      }
    }
  }
}

TEST(Propagation, AWarmStartReachesTheSameOptimum) {
  const World world = make_world(3, 30);
  const std::vector<double> row_weights = ones(30);
  SoftmaxFitOptions options;
  options.epochs = 4000;
  options.decay = 0.01;
  HopWeights<double> cold;
  cold.grow(kColumns, kClasses);
  HopWeights<double> warm = random_weights<double>(3);
  fit_softmax<double>(world.rows, world.labels, row_weights, options, cold);
  fit_softmax<double>(world.rows, world.labels, row_weights, options, warm);
  EXPECT_LT((cold.own - warm.own).cwiseAbs().maxCoeff(), 1e-4);
  EXPECT_LT((cold.around - warm.around).cwiseAbs().maxCoeff(), 1e-4);
  HopWeights<double> gradient;
  softmax_objective<double>(world.rows, world.labels, row_weights, cold, options.decay, &gradient);
  EXPECT_LT(gradient.own.cwiseAbs().maxCoeff(), 1e-5);
}

TEST(Propagation, NewColumnsAndClassesStartAtZero) {
  const World world = make_world(4, 12);
  HopWeights<float> weights = random_weights<float>(4);
  RowMatrix<float> before;
  scores(world.rows, weights, before);
  weights.grow(kColumns + 9, kClasses + 7);
  RowMatrix<float> after;
  scores(world.rows, weights, after);
  EXPECT_EQ(after.leftCols(kClasses), before.leftCols(kClasses));
  EXPECT_EQ(after.rightCols(after.cols() - kClasses).cwiseAbs().sum(), 0);
}

TEST(Propagation, BalancedWeightsGiveEveryClassTheSame) {
  const std::vector<std::uint32_t> labels = {0, 0, 0, 2, 2, 5};
  const std::vector<float> weights = balanced_weights(labels);
  EXPECT_FLOAT_EQ(weights[0] * 3, 2);
  EXPECT_FLOAT_EQ(weights[3] * 2, 2);
  EXPECT_FLOAT_EQ(weights[5], 2);
}

TEST(Propagation, SavedWeightsComeBackAndDamagedOnesDoNot) {
  const HopWeights<float> weights = random_weights<float>(5);
  std::string bytes;
  StateWriter writer(bytes);
  save_hop_weights(writer, weights);
  HopWeights<float> loaded;
  StateReader reader(bytes);
  load_hop_weights(reader, kColumns, kClasses, loaded);
  ASSERT_TRUE(reader.finish("weights"));
  EXPECT_EQ(loaded.own, weights.own);
  EXPECT_EQ(loaded.around, weights.around);
  for (const std::size_t size : {bytes.size() - 1, bytes.size() / 2, std::size_t{3}}) {
    StateReader cut(std::string_view(bytes).substr(0, size));
    load_hop_weights(cut, kColumns, kClasses, loaded);
    EXPECT_FALSE(cut.finish("weights"));
  }
  StateReader small(bytes);
  load_hop_weights(small, kColumns - 1, kClasses, loaded);
  EXPECT_FALSE(small.finish("weights"));
}

ProjectedRidgeOptions small_ridge() {
  ProjectedRidgeOptions options;
  options.own = 128;
  options.around = 64;
  return options;
}

/// R or Q as projected_ridge.h defines them.
Eigen::MatrixXd projection(std::uint64_t seed, std::size_t width) {
  Eigen::MatrixXd hadamard = Eigen::MatrixXd::Ones(1, 1);
  while (hadamard.rows() < static_cast<Eigen::Index>(width)) {
    const Eigen::Index n = hadamard.rows();
    Eigen::MatrixXd twice(2 * n, 2 * n);
    twice << hadamard, hadamard, hadamard, -hadamard;
    hadamard = twice;
  }
  Eigen::MatrixXd r(kColumns, static_cast<Eigen::Index>(width));
  for (Eigen::Index c = 0; c < r.rows(); ++c) {
    for (Eigen::Index j = 0; j < r.cols(); ++j) {
      const std::uint64_t block = static_cast<std::uint64_t>(c) / width;
      const auto piece = static_cast<std::uint64_t>(j) / 64;
      const std::uint64_t drawn = Rng(seed + piece, block, Purpose::Projection).next();
      const double sign = ((drawn >> (j % 64)) & 1) != 0 ? -1 : 1;
      r(c, j) = sign * hadamard(c % hadamard.rows(), j) / std::sqrt(static_cast<double>(r.cols()));
    }
  }
  return r;
}

TEST(ProjectedRidge, ColumnsOfOneBlockAreOrthogonal) {
  const Eigen::MatrixXd r = projection(1, 64).topRows(64);
  const Eigen::MatrixXd products = r * r.transpose();
  EXPECT_LT((products - Eigen::MatrixXd::Identity(64, 64)).cwiseAbs().maxCoeff(), 1e-12);
}

TEST(ProjectedRidge, IsTheRidgeOverTheProjectedHops) {
  const World world = make_world(6, 30);
  const ProjectedRidgeOptions options = small_ridge();
  ProjectedRidge ridge(options);
  ridge.learn(world.rows, world.labels, kColumns);
  HopWeights<float> found;
  ridge.solve(kColumns, found);

  const Eigen::MatrixXd r = projection(options.seed, options.own);
  const Eigen::MatrixXd q = projection(options.seed, options.around);
  Eigen::MatrixXd design(30, 192);
  design << (world.x * r).topRows(30), (world.s * (world.s * (world.x * q))).topRows(30);
  // Class by class, with the scatter within classes pooled.
  Eigen::MatrixXd means = Eigen::MatrixXd::Zero(192, kClasses);
  Eigen::MatrixXd within = Eigen::MatrixXd::Zero(192, 192);
  for (Eigen::Index c = 0; c < kClasses; ++c) {
    std::vector<Eigen::Index> rows;
    for (Eigen::Index v = 0; v < 30; ++v) {
      if (world.labels[static_cast<std::size_t>(v)] == c) rows.push_back(v);
    }
    ASSERT_FALSE(rows.empty());
    for (const Eigen::Index v : rows)
      means.col(c) += design.row(v).transpose() / static_cast<double>(rows.size());
    for (const Eigen::Index v : rows) {
      const Eigen::VectorXd away = design.row(v).transpose() - means.col(c);
      within += away * away.transpose();
    }
  }
  Eigen::MatrixXd gram = means * means.transpose() + within * kClasses / 30;
  gram.diagonal().array() += options.lambda * gram.trace() / 192;
  const Eigen::MatrixXd beta = gram.llt().solve(means);
  const Eigen::MatrixXd own = r * beta.topRows(128);
  const Eigen::MatrixXd around = q * beta.bottomRows(64);
  EXPECT_LT((found.own.leftCols(kClasses).cast<double>() - own).cwiseAbs().maxCoeff(), 1e-4);
  EXPECT_LT((found.around.leftCols(kClasses).cast<double>() - around).cwiseAbs().maxCoeff(), 1e-4);
}

TEST(ProjectedRidge, SumsOfTwoBlocksAreThoseOfBothAndSurviveSaving) {
  const World first = make_world(7, 20);
  const World second = make_world(8, 25);
  const auto learn = [](ProjectedRidge& ridge, const World& world) {
    ridge.learn(world.rows, world.labels, kColumns);
  };
  ProjectedRidge straight(small_ridge());
  learn(straight, first);
  learn(straight, second);
  ProjectedRidge restarted(small_ridge());
  learn(restarted, first);
  std::string bytes;
  StateWriter writer(bytes);
  restarted.save(writer);
  ProjectedRidge loaded(small_ridge());
  StateReader reader(bytes);
  loaded.load(reader, kClasses);
  ASSERT_TRUE(reader.finish("ridge"));
  learn(loaded, second);
  HopWeights<float> a;
  HopWeights<float> b;
  straight.solve(kColumns, a);
  loaded.solve(kColumns, b);
  EXPECT_EQ(a.own, b.own);
  EXPECT_EQ(a.around, b.around);
  StateReader cut(std::string_view(bytes).substr(0, bytes.size() - 4));
  loaded.load(cut, kClasses);
  EXPECT_FALSE(cut.finish("ridge"));
}

}  // namespace
}  // namespace accrete::models
