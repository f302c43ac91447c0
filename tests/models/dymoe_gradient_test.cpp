// Gradients of the layer of experts against central differences, for every parameter and the input.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/dymoe_layer.h"
#include "models/topology_gate.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr std::size_t kNodes = 26;
constexpr std::size_t kOutputs = 15;
constexpr double kStep = 1e-5;

/// A scalar loss of one layer: random weights on the output, and both gate losses.
struct Problem {
  GraphBatch batch;
  Matrix input;
  Matrix direction;
  Routing routing;
  GateLosses losses;
  DymoeLayer<double> layer;

  double loss() {
    Matrix output;
    RoutingStats stats;
    layer.forward(batch, kOutputs, input, routing, losses, output, &stats, nullptr);
    return output.cwiseProduct(direction).sum() + losses.block * stats.block_loss +
           losses.graph_block * stats.graph_block_loss;
  }

  Matrix differences(Matrix& moved) {
    Matrix out(moved.rows(), moved.cols());
    for (Eigen::Index i = 0; i < moved.size(); ++i) {
      const double before = moved.data()[i];
      moved.data()[i] = before + kStep;
      const double up = loss();
      moved.data()[i] = before - kStep;
      const double down = loss();
      moved.data()[i] = before;
      out.data()[i] = (up - down) / (2 * kStep);
    }
    return out;
  }
};

void expect_same(const std::string& name, const Matrix& told, const Matrix& measured) {
  const double scale = std::max(measured.norm(), 1e-3);
  EXPECT_LT((told - measured).norm() / scale, 1e-6) << name;
}

void check_gradients(Problem& problem) {
  auto tape = DymoeLayer<double>::make_tape();
  Matrix output;
  Matrix d_input;
  problem.layer.forward(problem.batch, kOutputs, problem.input, problem.routing, problem.losses,
                        output, nullptr, tape.get());
  problem.layer.backward(problem.batch, kOutputs, problem.input, *tape, problem.direction, d_input);
  expect_same("input", d_input, problem.differences(problem.input));
  std::size_t zero = 0;
  problem.layer.visit("", [&](std::string_view name, Parameter<double>& parameter) {
    const Matrix told = parameter.grad();
    if (name.starts_with(".topology")) {
      EXPECT_EQ(told.isZero(0), !problem.routing.topology_gate) << name;
    } else if (told.isZero(0)) {
      ++zero;
    }
    expect_same(std::string(name), told, problem.differences(parameter.value));
  });
  EXPECT_LE(zero, 2U) << "a gradient of nothing agrees with anything";
}

class Gradients : public testing::TestWithParam<std::tuple<ExpertKind, bool, int, bool>> {};

TEST_P(Gradients, AreThoseOfTheLoss) {
  const auto [kind, extras, variant, family] = GetParam();
  const LayerShape shape = world_shape(kind, extras);
  Problem problem{(family ? make_family : make_graph)(7, kNodes, kOutputs, 4),
                  random_matrix<double>(7, kNodes, shape.width),
                  random_matrix<double>(8, kOutputs, shape.width),
                  {},
                  {0.3, 0.4},
                  make_layer<double>(shape, 3, 7)};
  problem.routing.top = 3;
  if (variant == 1) problem.routing.force_own_block = problem.routing.mask_later_blocks = true;
  if (variant == 2) problem.routing.topology_gate = false;
  if (variant == 3) {
    problem.routing.topology_gate = false;
    problem.routing.mask_later_blocks = true;
    problem.routing.top = 2;
  }
  check_gradients(problem);
}

INSTANTIATE_TEST_SUITE_P(Dymoe, Gradients,
                         testing::Combine(testing::Values(ExpertKind::Sage, ExpertKind::Attention),
                                          testing::Bool(), testing::Range(0, 4), testing::Bool()));

TEST(DymoeGradients, FrozenExpertsHaveNoneAndPassOnTheirInputs) {
  for (const ExpertKind kind : {ExpertKind::Sage, ExpertKind::Attention}) {
    const LayerShape shape = world_shape(kind, false);
    Problem problem{make_graph(9, kNodes, kOutputs, 3),
                    random_matrix<double>(9, kNodes, shape.width),
                    random_matrix<double>(10, kOutputs, shape.width),
                    {},
                    {},
                    make_layer<double>(shape, 3, 9)};
    problem.layer.set_rate(1, 0);
    auto tape = DymoeLayer<double>::make_tape();
    Matrix output;
    Matrix d_input;
    problem.layer.forward(problem.batch, kOutputs, problem.input, problem.routing, problem.losses,
                          output, nullptr, tape.get());
    problem.layer.backward(problem.batch, kOutputs, problem.input, *tape, problem.direction,
                           d_input);
    expect_same("input", d_input, problem.differences(problem.input));
    problem.layer.visit("", [&](std::string_view name, Parameter<double>& parameter) {
      const bool frozen = name.starts_with(".expert1.");
      EXPECT_EQ(frozen, parameter.gradient.size() == 0) << name;
    });
  }
}

/// Of far more numbers than one go of its loops takes.
TEST(TopologyGate, LossAndGradientOfManyNodesAreThoseOfEach) {
  for (const std::size_t experts : {1U, 3U, 16U}) {
    const std::size_t nodes = 2500;
    const Matrix score = 3 * random_matrix<double>(14, nodes, experts);
    std::vector<std::uint32_t> blocks;
    Rng rng(15, experts, Purpose::Test);
    for (std::size_t u = 0; u < nodes; ++u)
      blocks.push_back(static_cast<std::uint32_t>(rng.below(experts + 2)));
    const Matrix before = random_matrix<double>(16, nodes, experts);
    std::vector<std::uint32_t> all(nodes);
    std::iota(all.begin(), all.end(), 0);
    const double share = 1 / static_cast<double>(nodes * experts);
    Matrix expected = before;
    double loss = 0;
    for (std::size_t u = 0; u < nodes; ++u) {
      for (std::size_t t = 0; t < experts; ++t) {
        const auto row = static_cast<Eigen::Index>(u);
        const auto column = static_cast<Eigen::Index>(t);
        const double b = 1 / (1 + std::exp(-score(row, column)));
        const bool listens = t >= std::min<std::size_t>(blocks[u], experts - 1);
        loss -= share * std::log(listens ? b : 1 - b);
        expected(row, column) += 0.3 * share * (b - (listens ? 1 : 0));
      }
    }
    EXPECT_NEAR(graph_block_loss<double>(score, blocks), loss, 1e-12);
    for (const bool logarithm : {false, true}) {
      Matrix heard;
      hearing(score, logarithm, heard);
      Matrix told = before;
      add_graph_block_gradient<double>({score, heard, logarithm}, all, blocks, 0.3, told);
      EXPECT_LT((told - expected).cwiseAbs().maxCoeff(), 1e-15) << experts << logarithm;
    }
  }
}

TEST(DymoeGradients, AddUpAndATapeMayBeUsedAgain) {
  const LayerShape shape = world_shape(ExpertKind::Sage, true);
  auto layer = make_layer<double>(shape, 3, 11);
  auto tape = DymoeLayer<double>::make_tape();
  const Matrix input = random_matrix<double>(11, kNodes, shape.width);
  const Matrix direction = random_matrix<double>(12, kOutputs, shape.width);
  const auto pass = [&](std::uint64_t seed, DymoeLayer<double>::Tape& into) {
    const GraphBatch batch = make_graph(seed, kNodes, kOutputs, 3);
    Matrix output;
    Matrix d_input;
    layer.forward(batch, kOutputs, input, {}, {0.1, 0.1}, output, nullptr, &into);
    layer.backward(batch, kOutputs, input, into, direction, d_input);
  };
  const auto gradients = [&] {
    std::map<std::string, Matrix> out;
    layer.visit("", [&](std::string_view name, Parameter<double>& parameter) {
      out[std::string(name)] = parameter.grad();
      parameter.gradient.resize(0, 0);
    });
    return out;
  };
  pass(1, *tape);
  const auto one = gradients();
  pass(2, *DymoeLayer<double>::make_tape());
  const auto two = gradients();
  pass(1, *tape);
  pass(2, *tape);
  for (const auto& [name, both] : gradients())
    EXPECT_LT((both - one.at(name) - two.at(name)).norm(), 1e-12 * (1 + both.norm())) << name;
}

}  // namespace
}  // namespace accrete::models
