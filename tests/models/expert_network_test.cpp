// The whole graph network: its gradient by differences, what it learns that rows alone cannot say,
// and that its bits depend on nothing but its calls.
#include "models/expert_network.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "models/flatness.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

constexpr std::size_t kClasses = 3;
constexpr TaskKind kKinds[] = {TaskKind::Binary, TaskKind::Regression, TaskKind::Multiclass};

/// What the gradients belong to.
template <class Real>
double objective(ExpertNetwork<Real>& network, const GraphBatch& batch,
                 const std::vector<Target>& targets, const GateLosses& losses) {
  std::vector<RoutingStats> layers;
  double total = network.accumulate(batch, targets, 1, &layers);
  for (const RoutingStats& stats : layers)
    total += losses.block * stats.block_loss + losses.graph_block * stats.graph_block_loss;
  return total;
}

std::vector<Seed> some_seeds(std::size_t count) {
  std::vector<Seed> seeds;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = static_cast<std::int64_t>(2 + i % 3);
    seeds.push_back({static_cast<std::uint32_t>(i), kWorldEndUs * part / 4});
  }
  return seeds;
}

/// Two experts a layer, every parameter away from where it began.
ExpertNetwork<double> shaken_network(TaskKind kind, const GraphBatch& batch,
                                     NetworkOptions options) {
  options.old_expert_rate = 1;
  ExpertNetwork<double> network(kind, options);
  if (kind == TaskKind::Multiclass) network.grow_classes(kClasses);
  network.grow(batch);
  shake(network, 21);
  return network;
}

void expect_gradient(TaskKind kind, const NetworkOptions& options, const GraphBatch& batch) {
  ExpertNetwork<double> network = shaken_network(kind, batch, options);
  ASSERT_EQ(network.experts(), 2u);
  const std::vector<Target> targets = random_targets(kind, batch.seeds(), kClasses, 22);
  objective(network, batch, targets, options.losses);
  std::vector<std::pair<std::string, RowMatrix<double>>> told;
  network.visit([&](std::string_view name, Parameter<double>& parameter) {
    told.emplace_back(name, parameter.grad());
  });
  std::size_t place = 0;
  std::size_t moved = 0;
  std::size_t unheard = 0;
  network.visit([&](std::string_view, Parameter<double>& parameter) {
    const auto& [name, gradient] = told[place++];
    double length = 0;
    double worst = 0;
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i) {
      constexpr double kStep = 1e-5;
      double& at = parameter.value.data()[i];
      const double kept = at;
      at = kept + kStep;
      const double above = objective(network, batch, targets, options.losses);
      at = kept - kStep;
      const double below = objective(network, batch, targets, options.losses);
      at = kept;
      const double expected = (above - below) / (2 * kStep);
      worst = std::max(worst, std::abs(gradient.data()[i] - expected));
      length += std::abs(expected);
    }
    EXPECT_LT(worst, 1e-6) << name;
    if (!options.routing.topology_gate && name.find(".topology") != std::string::npos) {
      EXPECT_EQ(length, 0) << name;
      ++unheard;
    }
    if (length > 1e-4) ++moved;
  });
  // Nearly every group must have had something to say.
  EXPECT_GT(moved * 10, (told.size() - unheard) * 8);
}

class Gradient : public testing::TestWithParam<std::tuple<TaskKind, ExpertKind>> {};

TEST_P(Gradient, OfEveryParameterIsThatOfDifferences) {
  const auto [kind, experts] = GetParam();
  const GraphWorld world = make_graph_world(3, {5, 12, 2, 2});
  GraphBatch batch = make_batch(world, some_seeds(5));
  batch.told = random_told(5, {3, 2});
  ASSERT_GT(batch.nodes(), batch.reach[1]);
  ASSERT_GT(std::count(batch.age_us.begin(), batch.age_us.end(), kAgeless), 0);
  NetworkOptions options = network_options(world, 6, experts);
  options.losses = {0.3, 0.2};
  options.routing.force_own_block = true;
  options.shape.told = {3, 2};
  expect_gradient(kind, options, batch);
}

TEST_P(Gradient, WithoutATopologyGateAsWell) {
  const auto [kind, experts] = GetParam();
  const GraphWorld world = make_graph_world(3, {5, 12, 2, 2});
  const GraphBatch batch = make_batch(world, some_seeds(5));
  NetworkOptions options = network_options(world, 6, experts);
  options.losses = {0.3, 0};
  options.routing.topology_gate = false;
  expect_gradient(kind, options, batch);
}

INSTANTIATE_TEST_SUITE_P(TasksAndExperts, Gradient,
                         testing::Combine(testing::ValuesIn(kKinds),
                                          testing::Values(ExpertKind::Sage,
                                                          ExpertKind::Attention)));

/// AUROC over all pairs.
double auroc(const RowMatrix<float>& scores, const std::vector<Target>& targets) {
  double won = 0;
  double pairs = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    for (std::size_t j = 0; j < targets.size(); ++j) {
      if (targets[i].value <= targets[j].value) continue;
      const float a = scores(static_cast<Eigen::Index>(i), 0);
      const float b = scores(static_cast<Eigen::Index>(j), 0);
      won += a > b ? 1 : a == b ? 0.5 : 0;
      pairs += 1;
    }
  }
  return won / pairs;
}

/// Whether the events of an entity are, on the whole, positive in their first column: nothing that
/// the entity's own row says.
std::vector<Target> neighbour_targets(const GraphWorld& world, const std::vector<Seed>& seeds) {
  std::vector<Target> targets;
  for (const Seed& seed : seeds) {
    double sum = 0;
    for (const std::uint32_t event : world.neighbours[0][seed.row])
      sum += static_cast<double>(world.tables[1].features(event, 0));
    targets.push_back({sum > 0 ? 1.0 : 0.0, 1});
  }
  return targets;
}

/// AUROC on the last third of the entities after training on the rest.
double learnt_auroc(ExpertKind kind, bool neighbours) {
  const GraphWorld world = make_graph_world(4, {240, 720, 6, 1});
  std::vector<Seed> train;
  std::vector<Seed> test;
  for (std::uint32_t i = 0; i < 240; ++i)
    (i < 160 ? train : test).push_back({i});
  NetworkOptions options = network_options(world, 16, kind);
  options.rate = 0.01;
  ExpertNetwork<float> network(TaskKind::Binary, options);
  const GraphBatch batch = make_batch(world, train, 2, neighbours);
  const std::vector<Target> targets = neighbour_targets(world, train);
  const double before = network.loss(batch, targets);
  for (int step = 0; step < 80; ++step) {
    network.accumulate(batch, targets);
    network.step();
  }
  EXPECT_LT(network.loss(batch, targets), 0.9 * before);
  RowMatrix<float> scores;
  network.predict(make_batch(world, test, 2, neighbours), scores);
  return auroc(scores, neighbour_targets(world, test));
}

TEST(ExpertNetwork, LearnsFromNeighboursWhatRowsAloneCannotSay) {
  for (const ExpertKind kind : {ExpertKind::Sage, ExpertKind::Attention})
    EXPECT_GT(learnt_auroc(kind, true), 0.85);
  EXPECT_LT(learnt_auroc(ExpertKind::Sage, false), 0.65);
}

/// All values and moments, one after another.
std::vector<float> numbers_of(ExpertNetwork<float>& network) {
  std::vector<float> out;
  network.visit([&](std::string_view, Parameter<float>& parameter) {
    for (const auto* matrix : {&parameter.value, &parameter.first, &parameter.second})
      out.insert(out.end(), matrix->data(), matrix->data() + matrix->size());
  });
  return out;
}

TEST(ExpertNetwork, SameCallsSameBits) {
  const GraphWorld world = make_graph_world(5, {20, 60, 4, 2});
  const GraphBatch batch = make_batch(world, some_seeds(20));
  const auto run = [&] {
    ExpertNetwork<float> network(TaskKind::Regression, network_options(world, 8));
    const std::vector<Target> targets = random_targets(TaskKind::Regression, 20, 0, 5);
    for (int step = 0; step < 10; ++step) {
      if (step == 5) network.grow(batch);
      network.accumulate(batch, targets);
      network.step();
    }
    return numbers_of(network);
  };
  EXPECT_EQ(run(), run());
}

TEST(ExpertNetwork, BatchesOfAStepAddUpToOne) {
  const GraphWorld world = make_graph_world(14, {24, 70, 4, 2});
  const std::vector<Seed> seeds = some_seeds(24);
  std::vector<Target> targets = random_targets(TaskKind::Binary, 24, 0, 14);
  for (Target& target : targets)
    target.weight = 1;  // a share is of seeds
  NetworkOptions options = network_options(world, 8);
  options.losses = {0, 0};  // they are means over nodes, which batches share
  const auto gradients = [&](const std::vector<std::size_t>& sizes) {
    ExpertNetwork<double> network(TaskKind::Binary, options);
    // From its start a head that is zero would let no gradient through.
    network.visit([](std::string_view name, Parameter<double>& parameter) {
      if (name.starts_with("head")) parameter.value.array() += 0.3;
    });
    std::size_t first = 0;
    for (const std::size_t size : sizes) {
      const auto some = std::span(seeds).subspan(first, size);
      network.accumulate(make_batch(world, {some.begin(), some.end()}),
                         std::span(targets).subspan(first, size),
                         static_cast<double>(size) / static_cast<double>(seeds.size()));
      first += size;
    }
    std::map<std::string, RowMatrix<double>> out;
    network.visit([&](std::string_view name, Parameter<double>& parameter) {
      out[std::string(name)] = parameter.grad();
    });
    return out;
  };
  const auto whole = gradients({24});
  double most = 0;
  for (const auto& [name, gradient] : gradients({12, 5, 7})) {
    if (gradient.size() == 0) continue;
    most = std::max(most, gradient.cwiseAbs().maxCoeff());
    EXPECT_LT((gradient - whole.at(name)).cwiseAbs().maxCoeff(), 1e-12) << name;
  }
  EXPECT_GT(most, 0.01);
}

TEST(ExpertNetwork, APredictionDoesNotDependOnTheOtherSeeds) {
  const GraphWorld world = make_graph_world(6, {24, 70, 4, 3});
  const std::vector<Seed> seeds = some_seeds(24);
  const GraphBatch all = make_batch(world, seeds);
  for (const ExpertKind kind : {ExpertKind::Sage, ExpertKind::Attention}) {
    ExpertNetwork<float> network(TaskKind::Multiclass, network_options(world, 16, kind));
    network.grow_classes(5);
    network.grow(all);
    network.grow(all);
    shake(network, 6);
    RowMatrix<float> together;
    RowMatrix<float> embedding;
    std::vector<RoutingStats> stats;
    network.predict(all, together, &embedding, &stats);
    ASSERT_EQ(together.rows(), 24);
    ASSERT_EQ(embedding.cols(), 16);
    ASSERT_EQ(stats.size(), 2u);
    RowMatrix<float> alone;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      network.predict(make_batch(world, {seeds[i]}), alone);
      EXPECT_TRUE(alone.row(0) == together.row(static_cast<Eigen::Index>(i))) << i;
    }
    const std::vector<Seed> some{seeds[7], seeds[3], seeds[20]};
    network.predict(make_batch(world, some), alone);
    EXPECT_TRUE(alone.row(1) == together.row(3));
    EXPECT_TRUE(alone.row(2) == together.row(20));
  }
}

/// The bound leaves everybody's best, so it takes second choices, where few rows come at once.
TEST(ExpertNetwork, ABoundOnTheBatchsExpertsTakesSecondChoices) {
  const GraphWorld world = make_graph_world(15, {24, 70, 4, 3});
  const std::vector<Seed> seeds = some_seeds(24);
  ExpertNetwork<float> network(TaskKind::Binary, network_options(world, 16));
  for (int i = 0; i < 7; ++i)
    network.grow(make_batch(world, seeds));
  shake(network, 15);
  const std::size_t experts = network.experts();
  const auto used = [&](const std::vector<RoutingStats>& layers) {
    std::ptrdiff_t sum = 0;
    for (const RoutingStats& stats : layers) {
      sum += std::count_if(stats.load.begin(),
                           stats.load.begin() + static_cast<std::ptrdiff_t>(experts),
                           [](double load) { return load > 0; });
    }
    return sum;
  };
  std::size_t bound = 0;
  for (const Seed& seed : seeds) {
    const GraphBatch one = make_batch(world, {seed});
    RowMatrix<float> free;
    RowMatrix<float> scores;
    std::vector<RoutingStats> freely;
    std::vector<RoutingStats> stats;
    network.predict(one, free, nullptr, &freely);
    network.predict(one, scores, nullptr, &stats, experts);
    EXPECT_TRUE(scores == free) << "a bound that bounds nothing";
    network.predict(one, scores, nullptr, &stats, 1);
    EXPECT_LE(used(stats), used(freely));
    if (used(stats) < used(freely) && scores != free) ++bound;
  }
  EXPECT_GT(bound, seeds.size() / 2);
}

TEST(ExpertNetwork, NewClassesAndColumnsLeaveWhatIsPredicted) {
  const GraphWorld world = make_graph_world(7, {12, 40, 4, 2});
  GraphBatch batch = make_batch(world, some_seeds(12));
  ExpertNetwork<float> network(TaskKind::Multiclass, network_options(world, 8));
  network.grow_classes(3);
  shake(network, 7);
  RowMatrix<float> before;
  RowMatrix<float> after;
  network.predict(batch, before);
  network.grow_classes(5);
  EXPECT_EQ(network.classes(), 5u);
  network.predict(batch, after);
  // The same logits: the ratio of any two old classes is what it was.
  EXPECT_TRUE(after.leftCols(3) == before);
  EXPECT_EQ(after.rightCols(2).squaredNorm(), 0);
  network.grow_columns(1, 4);
  batch.features[1].conservativeResize(Eigen::NoChange, 4);
  batch.features[1].rightCols(2).setConstant(3);
  network.predict(batch, after);
  EXPECT_TRUE(after.leftCols(3) == before);
  const std::vector<Target> targets = random_targets(TaskKind::Multiclass, 12, 5, 7);
  const double loss = network.loss(batch, targets);
  for (int step = 0; step < 20; ++step) {
    network.accumulate(batch, targets);
    network.step();
  }
  EXPECT_LT(network.loss(batch, targets), loss);
}

TEST(ExpertNetwork, AStepIsBoundedHoweverLongTheGradient) {
  const GraphWorld world = make_graph_world(8, {12, 40, 4, 1});
  const GraphBatch batch = make_batch(world, some_seeds(12));
  ExpertNetwork<double> network(TaskKind::Regression, network_options(world, 8));
  shake(network, 8, 3);
  std::vector<Target> targets = random_targets(TaskKind::Regression, 12, 0, 8);
  for (int call = 0; call < 20; ++call)
    network.accumulate(batch, targets);
  EXPECT_GT(network.step(), 1);
  double squares = 0;
  network.visit([&](std::string_view, Parameter<double>& parameter) {
    squares += parameter.first.squaredNorm();
  });
  EXPECT_NEAR(squares, .01, 1e-9);  // first moments are a tenth of the bounded gradient
}

TEST(ExpertNetwork, FlatnessLeavesEveryBitAndTellsAPush) {
  const GraphWorld world = make_graph_world(9, {12, 40, 4, 1});
  const GraphBatch batch = make_batch(world, some_seeds(12));
  ExpertNetwork<float> network(TaskKind::Binary, network_options(world, 8));
  const std::vector<Target> targets = random_targets(TaskKind::Binary, 12, 0, 9);
  for (int step = 0; step < 60; ++step) {
    network.accumulate(batch, targets);
    network.step();
  }
  const std::vector<float> before = numbers_of(network);
  const double near = flatness_rise(network, batch, targets, 6, 0.01, Rng(1, 1, Purpose::Test));
  const double far = flatness_rise(network, batch, targets, 6, 0.5, Rng(1, 1, Purpose::Test));
  EXPECT_EQ(numbers_of(network), before);
  EXPECT_GT(far, near);
  EXPECT_EQ(far, flatness_rise(network, batch, targets, 6, 0.5, Rng(1, 1, Purpose::Test)));
}

}  // namespace
}  // namespace accrete::models
