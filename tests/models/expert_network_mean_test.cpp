// Weights that answer: the mean of those that training went through.
#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "models/expert_network.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

template <class Real>
std::map<std::string, Parameter<Real>> all_of(ExpertNetwork<Real>& network) {
  std::map<std::string, Parameter<Real>> out;
  network.visit([&](std::string_view name, Parameter<Real>& parameter) {
    out[std::string(name)] = parameter;
  });
  return out;
}

struct Case {
  GraphWorld world = make_graph_world(17, {24, 80, 4, 2});
  GraphBatch batch = make_batch(world, all_entities(world));
  std::vector<Target> targets = random_targets(TaskKind::Binary, 24, 0, 17);
};

/// What each of `count` values counts in the mean with that bound.
std::vector<double> weights_of(std::size_t count, std::size_t steps_max) {
  std::vector<double> out;
  for (std::size_t t = 1; t <= count; ++t) {
    const double share = std::min(
        1.0, (mean_decay + 1) / (static_cast<double>(std::min(t, steps_max)) + mean_decay));
    for (double& weight : out)
      weight *= 1 - share;
    out.push_back(share);
  }
  return out;
}

TEST(MeanNetwork, IsTheMeanOfAllValuesTheLaterTheMoreWeighty) {
  const Case given;
  for (const std::size_t steps_max : {std::size_t{1000}, std::size_t{5}}) {
    ExpertNetwork<double> learner(TaskKind::Binary, network_options(given.world, 8));
    ExpertNetwork<double> mean = learner.copy_values();
    std::map<std::string, std::vector<RowMatrix<double>>> past;  // behind each step
    for (int i = 0; i < 12; ++i) {
      train(learner, given.batch, given.targets, 1);
      mean.follow(learner, steps_max);
      for (const auto& [name, parameter] : all_of(learner)) {
        auto& values = past[name];  // a parameter without a gradient takes no step
        if (parameter.steps > values.size()) values.push_back(parameter.value);
      }
    }
    std::size_t moved = 0;
    for (const auto& [name, parameter] : all_of(mean)) {
      const auto& values = past[name];
      if (values.empty()) continue;
      RowMatrix<double> expected = 0 * parameter.value;
      const std::vector<double> weights = weights_of(values.size(), steps_max);
      for (std::size_t t = 0; t < values.size(); ++t)
        expected += weights[t] * values[t];
      EXPECT_LT((expected - parameter.value).cwiseAbs().maxCoeff(), 1e-12) << name;
      if (values.back() != parameter.value) ++moved;
    }
    EXPECT_GT(moved, 20u);
  }
}

TEST(MeanNetwork, BeginsAnewWhereItIsCopied) {
  const Case given;
  ExpertNetwork<float> learner(TaskKind::Binary, network_options(given.world, 8));
  ExpertNetwork<float> mean = learner.copy_values();
  for (int i = 0; i < 100; ++i) {
    train(learner, given.batch, given.targets, 1);
    mean.follow(learner, 400);
  }
  learner.take_values(mean);
  mean = learner.copy_values();
  train(learner, given.batch, given.targets, 1);
  mean.follow(learner, 400);
  std::size_t stepped = 0;
  const auto newest = all_of(learner);
  for (const auto& [name, parameter] : all_of(mean)) {
    if (newest.at(name).steps < 101) continue;
    ++stepped;
    const RowMatrix<float> off = parameter.value - newest.at(name).value;
    EXPECT_LT(off.cwiseAbs().maxCoeff(), 1e-6F) << name;
  }
  EXPECT_GT(stepped, 20u);
}

TEST(MeanNetwork, EarlyValuesCountLessThanInAPlainMean) {
  const std::vector<double> weights = weights_of(80, 400);
  double late = 0;
  for (std::size_t t = 60; t < 80; ++t)
    late += weights[t];
  EXPECT_GT(late, .85);
  EXPECT_LT(weights[79], .1);
}

TEST(MeanNetwork, HasTheVersionsOfTheLearnerAndTheSameParts) {
  const Case given;
  ExpertNetwork<float> learner(TaskKind::Binary, network_options(given.world, 8));
  ExpertNetwork<float> mean = learner.copy_values();
  EXPECT_LT(mean.memory_bytes(), learner.memory_bytes() + 1);
  const auto same_parts = [&] {
    const auto a = learner.parts();
    const auto b = mean.parts();
    return std::ranges::equal(
        a, b, [](auto x, auto y) { return x.id == y.id && x.version == y.version; });
  };
  EXPECT_TRUE(same_parts());
  for (int i = 0; i < 3; ++i) {
    train(learner, given.batch, given.targets, 1);
    EXPECT_FALSE(same_parts());
    mean.follow(learner, 400);
    EXPECT_TRUE(same_parts());
  }
  for (ExpertNetwork<float>* network : {&learner, &mean})
    network->grow_columns(0, 5);
  EXPECT_TRUE(same_parts());
  learner.take_values(mean);
  EXPECT_FALSE(same_parts());  // another state of the learner under the old version would be lost
  EXPECT_LT(mean.memory_bytes(), learner.memory_bytes());
}

TEST(MeanNetwork, GivesTheLearnerItsValuesButWhatIsAtRestKeepsItsBits) {
  const Case given;
  ExpertNetwork<float> learner(TaskKind::Binary, network_options(given.world, 8));
  train(learner, given.batch, given.targets, 5);
  learner.grow(given.batch);  // the first expert is at rest
  ExpertNetwork<float> mean = learner.copy_values();
  const auto begun = all_of(learner);
  for (int i = 0; i < 20; ++i) {
    train(learner, given.batch, given.targets, 1);
    mean.follow(learner, 400);
  }
  const auto settled = all_of(mean);
  const auto before = all_of(learner);
  learner.take_values(mean);
  std::size_t at_rest = 0;
  std::size_t moved = 0;
  for (const auto& [name, parameter] : all_of(learner)) {
    EXPECT_TRUE(parameter.value == settled.at(name).value) << name;
    EXPECT_TRUE(parameter.first == before.at(name).first) << name;
    if (parameter.rate == 0) {
      ++at_rest;
      EXPECT_TRUE(parameter.value == begun.at(name).value) << name;
      EXPECT_EQ(parameter.version, begun.at(name).version) << name;
    } else if (parameter.value != before.at(name).value) {
      ++moved;
    }
  }
  EXPECT_GT(at_rest, 10u);
  EXPECT_GT(moved, 20u);
}

/// Labels that a coin flips now and then: the weights never come to rest, their mean nearly does.
TEST(MeanNetwork, AnswersBetterThanTheLastStepWhereLabelsAreNoisy) {
  const Case given;
  NetworkOptions options = network_options(given.world, 16);
  options.rate = 2e-2;
  ExpertNetwork<float> learner(TaskKind::Regression, options);
  ExpertNetwork<float> mean = learner.copy_values();
  Rng rng(5, 0, Purpose::Test);
  std::vector<Target> clean;
  for (std::size_t i = 0; i < given.targets.size(); ++i)
    clean.push_back({given.batch.features[0](static_cast<Eigen::Index>(i), 0), 1, 0});
  double loss_last = 0;
  double loss_mean = 0;
  for (int i = 0; i < 600; ++i) {
    std::vector<Target> noisy = clean;
    for (Target& target : noisy)
      target.value += 2 * (2 * rng.uniform() - 1);
    train(learner, given.batch, noisy, 1);
    mean.follow(learner, 400);
    if (i < 300) continue;
    loss_last += learner.loss(given.batch, clean) / 300;
    loss_mean += mean.loss(given.batch, clean) / 300;
  }
  EXPECT_LT(loss_mean, .6 * loss_last);
}

}  // namespace
}  // namespace accrete::models
