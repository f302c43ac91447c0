// The ridge candidate against batch ridge over raw rows, standardised by the moments of the last
// refresh; growth, missing values, classes, state.
#include "models/ridge.h"

#include <cmath>
#include <limits>

#include <Eigen/Cholesky>
#include <gtest/gtest.h>

#include "models/baselines.h"
#include "proto/rng.h"
#include "state_check.h"

namespace accrete::models {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Example {
  std::vector<double> features;
  double label = 0;
  double weight = 1;
};

/// Batch ridge, written down from ridge.h: moments as of `rows_at_refresh`, everything else over
/// all rows; an indicator for every feature that any row misses.
class Oracle {
 public:
  Oracle(const std::vector<Example>& rows, std::size_t rows_at_refresh, double lambda)
      : width_(rows.back().features.size()), moments_(width_) {
    for (std::size_t j = 0; j < width_; ++j) {
      double n = 0;
      double sum = 0;
      for (std::size_t i = 0; i < rows_at_refresh; ++i) {
        if (!std::isnan(at(rows[i], j))) sum += at(rows[i], j), n += 1;
      }
      double squares = 0;
      for (std::size_t i = 0; i < rows_at_refresh; ++i) {
        const double x = at(rows[i], j);
        if (!std::isnan(x)) squares += (x - sum / n) * (x - sum / n);
      }
      moments_[j].mean = sum / n;
      moments_[j].deviation = std::sqrt(squares / n);
      moments_[j].missing = n < static_cast<double>(rows_at_refresh);
      columns_ += moments_[j].missing ? 2 : 1;
    }
    MatrixXd precision =
        MatrixXd::Identity(columns_, columns_) * lambda * static_cast<double>(columns_);
    precision(0, 0) = 1e-3;
    VectorXd image = VectorXd::Zero(columns_);
    for (const Example& row : rows) {
      const VectorXd z = standardised(row);
      precision += row.weight * z * z.transpose();
      image += row.weight * row.label * z;
    }
    weights_ = precision.ldlt().solve(image);
  }

  double predict(const Example& row) const { return weights_.dot(standardised(row)); }

 private:
  struct Moments {
    double mean = 0;
    double deviation = 0;
    bool missing = false;
  };
  double at(const Example& row, std::size_t j) const {
    return j < row.features.size() ? row.features[j] : nan;
  }
  VectorXd standardised(const Example& row) const {
    VectorXd z = VectorXd::Zero(columns_);
    z[0] = 1;
    Index next = 1;
    for (std::size_t j = 0; j < width_; ++j) {
      const double x = at(row, j);
      if (!std::isnan(x) && moments_[j].deviation > 0) {
        z[next] = (x - moments_[j].mean) / moments_[j].deviation;
      }
      ++next;
      if (moments_[j].missing) z[next++] = std::isnan(x) ? 1 : 0;
    }
    return z;
  }

  std::size_t width_;
  std::vector<Moments> moments_;
  Index columns_ = 1;
  VectorXd weights_;
};

/// Features of different scales: always there; often missing; constant; and, late, a new one.
Example draw(std::uint64_t i, std::size_t width) {
  Rng rng(21, i, Purpose::Test);
  Example example;
  const double x = rng.uniform() * 1000 + static_cast<double>(i);  // its mean drifts
  const double y = rng.uniform() - 0.5;
  const bool absent = rng.below(3) == 0;
  const double z = rng.uniform() * 1e-3;
  example.features = {x, absent ? nan : y, 7.25, z};
  example.features.resize(width);
  if (width > 4) example.features[4] = rng.below(4) == 0 ? nan : y * y;
  example.label = 3 + 0.01 * x + (absent ? 2 : 5 * y) + rng.uniform();
  example.weight = 0.5 + rng.uniform();
  return example;
}

TEST(Ridge, EqualsBatchRidgeOverAllExamplesSoFar) {
  const RidgeOptions options{0.3, 1e9, 4096};
  const auto ridge = make_ridge(TaskKind::Regression, options);
  std::vector<Example> rows;
  std::size_t rows_at_refresh = 0;
  std::size_t width_at_refresh = 0;
  for (std::uint64_t tick = 0; tick < 40; ++tick) {
    const std::size_t width = tick < 20 ? 4 : 5;
    for (std::uint64_t i = 0; i < 17; ++i) {
      rows.push_back(draw(tick * 100 + i, width));
      const Example& row = rows.back();
      ridge->learn({row.features, nullptr}, row.label, row.weight);
    }
    ridge->settle();
    if (static_cast<double>(rows.size()) >= 1.1 * static_cast<double>(rows_at_refresh) ||
        width > width_at_refresh) {
      rows_at_refresh = rows.size();
      width_at_refresh = width;
    }
    const Oracle oracle(rows, rows_at_refresh, options.lambda);
    for (std::uint64_t probe = 0; probe < 5; ++probe) {
      const Example example = draw(1'000'000 + probe, width);
      Output output;
      ridge->predict({example.features, nullptr}, output);
      EXPECT_NEAR(output.value, oracle.predict(example), 1e-8) << "tick " << tick;
    }
  }
}

TEST(Ridge, LearnsBlocksWithoutWaitingForSettle) {
  const auto ridge = make_ridge(TaskKind::Regression, {});
  for (std::uint64_t i = 0; i < 64; ++i) {
    const Example row = draw(i, 4);
    ridge->learn({row.features, nullptr}, row.label, 1);
  }
  const std::string before = saved(*ridge);
  ridge->settle();
  EXPECT_EQ(saved(*ridge), before);
}

TEST(Ridge, BeatsTheRunningMeanWhereFeaturesSpeak) {
  // Contest-like: few entities, few rows a tick, the label follows a feature of the entity.
  const auto ridge = make_ridge(TaskKind::Regression, {});
  const auto running = make_running_mean(TaskKind::Regression);
  std::vector<LabelHistory> histories(20);
  double ridge_loss = 0;
  double running_loss = 0;
  for (std::uint64_t tick = 0; tick < 60; ++tick) {
    for (std::size_t entity = 0; entity < 20; ++entity) {
      Rng rng(22, tick * 20 + entity, Purpose::Test);
      std::vector<double> features{histories[entity].ewma, rng.uniform() * 20, rng.uniform(),
                                   std::exp(8 * rng.uniform())};
      const double label = features[1] + 2 * rng.uniform();
      const Input input{features, &histories[entity]};
      Output output;
      ridge->predict(input, output);
      if (tick >= 3) ridge_loss += std::abs(output.value - label);
      running->predict(input, output);
      if (tick >= 3) running_loss += std::abs(output.value - label);
      ridge->learn(input, label, 1);
      running->learn(input, label, 1);
      histories[entity].learn(TaskKind::Regression, label);
    }
    ridge->settle();
  }
  EXPECT_LT(ridge_loss, 0.3 * running_loss);
}

TEST(Ridge, VarianceCoversNewObservations) {
  const auto ridge = make_ridge(TaskKind::Regression, {});
  double inside = 0;
  double asked = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Rng rng(23, i, Purpose::Test);
    const std::vector<double> features{rng.uniform(), rng.uniform()};
    double noise = -6;  // about normal
    for (int k = 0; k < 12; ++k)
      noise += rng.uniform();
    const double label = 4 * features[0] + 0.5 * noise;
    Output output;
    ridge->predict({features, nullptr}, output);
    if (i >= 50) {
      asked += 1;
      inside += std::abs(label - output.value) <= 1.645 * std::sqrt(output.variance) ? 1 : 0;
    }
    ridge->learn({features, nullptr}, label, 1);
    if (i % 10 == 9) ridge->settle();
  }
  EXPECT_NEAR(inside / asked, 0.9, 0.03);
}

TEST(Ridge, ColdAndHostileInputsGiveUsableNumbers) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression}) {
    const auto ridge = make_ridge(kind, {});
    Output output;
    ridge->predict({}, output);
    EXPECT_EQ(output.value, kind == TaskKind::Binary ? 0.5 : 0);
    const std::vector<std::vector<double>> rows{
        {}, {infinity, nan}, {1e300, -1e300, 1}, {1e-300, nan, 1, 0}, {5, 5, 5, 5}};
    for (const auto& row : rows) {
      for (const double label : {0.0, 1.0})
        ridge->learn({row, nullptr}, label, 1);
      ridge->settle();
      for (const auto& probe : rows) {
        ridge->predict({probe, nullptr}, output);
        EXPECT_TRUE(std::isfinite(output.value) && std::isfinite(output.variance));
        EXPECT_GE(output.variance, 0);
        if (kind == TaskKind::Binary) {
          EXPECT_TRUE(output.value >= 0.001 && output.value <= 0.999);
        }
      }
    }
  }
}

TEST(Ridge, ColumnsAreBounded) {
  RidgeOptions options;
  options.features_max = 6;
  const auto ridge = make_ridge(TaskKind::Regression, options);
  std::vector<double> wide(40, 1.0);
  for (std::uint64_t i = 0; i < 200; ++i) {
    Rng rng(24, i, Purpose::Test);
    for (double& x : wide)
      x = rng.below(3) == 0 ? nan : rng.uniform();
    ridge->learn({wide, nullptr}, rng.uniform(), 1);
  }
  ridge->settle();
  // P and G, seven columns with the intercept, and six features' moments: well under 2 kB.
  EXPECT_LT(saved(*ridge).size(), 2000u);
}

TEST(Ridge, ClassesGrow) {
  const auto ridge = make_ridge(TaskKind::Multiclass, {});
  Output output;
  ridge->predict({}, output);
  EXPECT_TRUE(output.classes.empty());
  double hits = 0;
  for (std::uint64_t i = 0; i < 600; ++i) {
    Rng rng(25, i, Purpose::Test);
    const std::uint64_t label = rng.below(i < 300 ? 2 : 4);
    std::vector<double> features(4);
    for (double& x : features)
      x = 0.3 * rng.uniform();
    features[label] += 1;
    ridge->predict({features, nullptr}, output);
    double sum = 0;
    for (const double p : output.classes) {
      EXPECT_GT(p, 0);
      sum += p;
    }
    if (!output.classes.empty()) {
      EXPECT_NEAR(sum, 1, 1e-12);
    }
    const auto best = std::max_element(output.classes.begin(), output.classes.end());
    if (i >= 400) hits += best - output.classes.begin() == static_cast<std::ptrdiff_t>(label);
    ridge->learn({features, nullptr}, static_cast<double>(label), 1);
    if (i % 7 == 0) ridge->settle();
  }
  EXPECT_EQ(output.classes.size(), 4u);
  EXPECT_GT(hits / 200, 0.97);
}

TEST(Ridge, ContinuesBitForBitFromItsState) {
  for (const TaskKind kind : {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass}) {
    const auto original = make_ridge(kind, {});
    auto copy = make_ridge(kind, {});
    for (std::uint64_t i = 0; i < 400; ++i) {
      Example row = draw(i, i < 150 ? 4 : 5);
      if (kind != TaskKind::Regression) row.label = static_cast<double>(i % (i < 200 ? 2 : 3));
      if (kind == TaskKind::Binary) row.label = std::min(row.label, 1.0);
      for (Candidate* candidate : {original.get(), copy.get()}) {
        candidate->learn({row.features, nullptr}, row.label, row.weight);
        if (i % 23 == 22) candidate->settle();
      }
      if (i % 37 == 0) {
        const std::string bytes = saved(*copy);
        copy = make_ridge(kind, {});
        expect_exact_state(bytes, *copy);
      }
      ASSERT_EQ(saved(*original), saved(*copy)) << i;
      Output a;
      Output b;
      original->predict({row.features, nullptr}, a);
      copy->predict({row.features, nullptr}, b);
      EXPECT_EQ(a.value, b.value);
      EXPECT_EQ(a.variance, b.variance);
      EXPECT_EQ(a.classes, b.classes);
    }
  }
}

}  // namespace
}  // namespace accrete::models
