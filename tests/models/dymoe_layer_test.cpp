// The layer of experts against a dense one, and what it promises about routing and growth.
#include "models/dymoe_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dymoe_world.h"
#include "models/dymoe_gate.h"
#include "models/row_gather.h"

namespace accrete::models {
namespace {

constexpr ExpertKind kKinds[] = {ExpertKind::Sage, ExpertKind::Attention};

template <class Real>
RowMatrix<Real> run(const DymoeLayer<Real>& layer, const GraphBatch& batch, std::size_t outputs,
                    const RowMatrix<Real>& input, const Routing& routing,
                    RoutingStats* stats = nullptr) {
  RowMatrix<Real> output;
  layer.forward(batch, outputs, input, routing, {0, 1}, output, stats, nullptr);
  return output;
}

TEST(Dymoe, IsTheDenseLayer) {
  for (const ExpertKind kind : kKinds) {
    for (int variant = 0; variant < 32; ++variant) {
      const bool extras = (variant & 1) != 0;
      const LayerShape shape = world_shape(kind, extras, 33);
      const GraphBatch batch = (variant < 16 ? make_graph : make_family)(20, 40, 25, 5);
      const Matrix input = random_matrix<double>(20, 40, shape.width);
      auto layer = make_layer<double>(shape, 4, 20);
      Routing routing;
      routing.top = 1 + static_cast<std::size_t>(variant) % 4;
      routing.topology_gate = (variant & 2) == 0;
      routing.mask_later_blocks = (variant & 4) != 0;
      routing.force_own_block = (variant & 8) != 0;
      routing.own_block_only = variant % 16 == 15;
      const DenseLayer dense(shape, layer);
      RoutingStats stats;
      const Matrix output = run(layer, batch, 25, input, routing, &stats);
      EXPECT_TRUE(output == run(layer, batch, 25, input, routing)) << "nobody counts: " << variant;
      EXPECT_LT((output - dense.output(batch, 25, input, routing)).cwiseAbs().maxCoeff(), 1e-12)
          << variant;
      const double loss = routing.topology_gate ? dense.graph_block_loss(batch, input) : 0;
      EXPECT_NEAR(stats.graph_block_loss, loss, 1e-12);
    }
  }
}

TEST(Dymoe, AllExpertsAreTheDenseMixture) {
  for (const ExpertKind kind : kKinds) {
    const LayerShape shape = world_shape(kind, true);
    const GraphBatch batch = make_graph(21, 40, 25, 3);
    const Matrix input = random_matrix<double>(21, 40, shape.width);
    auto layer = make_layer<double>(shape, 3, 21);
    const DenseLayer dense(shape, layer);
    Matrix mixture = dense.logits(input, 25).array().exp();
    mixture.array().colwise() /= mixture.rowwise().sum().array().eval();
    Routing routing;
    routing.top = 6;
    EXPECT_LT((dense.weights(batch, 25, input, routing) - mixture).norm(), 1e-12);
    const Matrix output = run(layer, batch, 25, input, routing);
    EXPECT_LT((output - dense.output(batch, 25, input, routing)).cwiseAbs().maxCoeff(), 1e-12);
    routing.top = 99;
    EXPECT_TRUE(run(layer, batch, 25, input, routing) == output);
  }
}

TEST(Dymoe, StatsSayWhatHappened) {
  const LayerShape shape = world_shape(ExpertKind::Sage, true);
  const GraphBatch batch = make_graph(22, 40, 25, 6);  // newer blocks than experts
  const Matrix input = random_matrix<double>(22, 40, shape.width);
  auto layer = make_layer<double>(shape, 3, 22);
  const DenseLayer dense(shape, layer);
  Routing routing;
  RoutingStats stats;
  run(layer, batch, 25, input, routing, &stats);
  const Matrix g = dense.weights(batch, 25, input, routing);
  const Matrix z = dense.logits(input, 25);
  double entropy = 0;
  double loss = 0;
  std::uint64_t own_block = 0;
  for (Eigen::Index v = 0; v < 25; ++v) {
    for (Eigen::Index c = 0; c < g.cols(); ++c)
      entropy -= g(v, c) > 0 ? g(v, c) * std::log(g(v, c)) / 25 : 0;
    const auto own = static_cast<Eigen::Index>(
        std::min<std::uint32_t>(batch.block[static_cast<std::size_t>(v)], 2));
    const auto blocks = z.row(v).head(3);
    loss += (std::log(blocks.array().exp().sum()) - blocks(own)) / 25;
    own_block += blocks(own) == blocks.maxCoeff() ? 1U : 0U;
  }
  for (std::size_t c = 0; c < stats.load.size(); ++c)
    EXPECT_NEAR(stats.load[c], g.col(static_cast<Eigen::Index>(c)).sum(), 1e-12);
  EXPECT_EQ(stats.load.size(), 6U);
  EXPECT_NEAR(stats.entropy, entropy, 1e-12);
  EXPECT_NEAR(stats.block_loss, loss, 1e-12);
  EXPECT_EQ(stats.own_block, own_block);
  EXPECT_EQ(stats.nodes, 25U);
}

TEST(Dymoe, SleepingNumbersAreCounted) {
  const LayerShape shape = world_shape(ExpertKind::Sage, false);
  const GraphBatch batch = make_graph(23, 40, 25, 1);
  const auto input = random_matrix<float>(23, 40, shape.width);
  auto layer = make_layer<float>(shape, 1, 23);
  RoutingStats stats;
  run(layer, batch, 25, input, {}, &stats);
  EXPECT_LT(stats.dead_ratio, 0.1);
  layer.visit("", [](std::string_view name, Parameter<float>& parameter) {
    if (name.ends_with(".gain")) parameter.value.setZero();
    if (name.ends_with(".shift")) parameter.value.leftCols(3).setConstant(-5);
  });
  run(layer, batch, 25, input, {}, &stats);
  EXPECT_DOUBLE_EQ(stats.dead_ratio, 3.0 / static_cast<double>(shape.width));
}

TEST(Dymoe, TiesGoToTheLowerExpert) {
  const LayerShape shape = world_shape(ExpertKind::Sage, true);
  DymoeLayer<float> layer(shape, Rng(1, 1, Purpose::Test));
  for (std::uint64_t t = 0; t < 3; ++t)
    layer.add_expert(9, nullptr, Rng(1, 2 + t, Purpose::Test));
  RoutingStats stats;
  run(layer, make_graph(24, 30, 30, 3), 30, random_matrix<float>(24, 30, shape.width), {}, &stats);
  EXPECT_EQ(stats.load, (std::vector<double>{15, 15, 0, 0, 0, 0}));
}

/// Logits with many ties, zeros of both signs among them.
TEST(Dymoe, RoutesAreThoseOfAStableSort) {
  constexpr std::size_t kColumns = 7;
  Rng rng(25, 1, Purpose::Test);
  RowMatrix<float> logits(500, kColumns);
  for (Eigen::Index i = 0; i < logits.size(); ++i) {
    const float number = static_cast<float>(rng.below(7)) - 3;
    logits.data()[i] = number == 0 && rng.below(2) == 0 ? -number : 1e-20F * number;
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  logits.row(7) << 0, kInfinity, -kInfinity, 1, kInfinity, -1, 2;
  const std::vector<std::uint32_t> blocks(500, 0);
  for (std::size_t top = 1; top <= kColumns; ++top) {
    Routing routing;
    routing.top = top;
    Routes<float> routes;
    choose_routes<float>(logits, 4, blocks, routing, routes);
    ASSERT_EQ(routes.slots, top);
    for (std::size_t v = 0; v < blocks.size(); ++v) {
      const float* const row = row_of(logits, v);
      std::vector<std::uint32_t> order = {0, 1, 2, 3, 4, 5, 6};
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
      order.resize(top);
      const auto mine = std::span(routes.column).subspan(v * top, top);
      ASSERT_TRUE(std::equal(order.begin(), order.end(), mine.begin(), mine.end())) << v;
    }
  }
}

TEST(Dymoe, WhatIsNoNumberIsChosenLast) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  RowMatrix<float> logits(3, 4);
  logits << kNone, -1, -kNone, -2, -kNone, kNone, -3, kNone, kNone, -kNone, kNone, kNone;
  Routes<float> routes;
  choose_routes<float>(logits, 4, std::vector<std::uint32_t>(3, 0), {}, routes);
  EXPECT_EQ(routes.column, (std::vector<std::uint32_t>{1, 3, 2, 0, 0, 1}));
}

TEST(Dymoe, EnoughExpertsForABatchChangeNothing) {
  for (const ExpertKind kind : kKinds) {
    const LayerShape shape = world_shape(kind, true);
    const GraphBatch batch = make_graph(25, 60, 40, 4);
    const auto input = random_matrix<float>(25, 60, shape.width);
    const auto layer = make_layer<float>(shape, 4, 25);
    Routing routing;
    const auto plain = run(layer, batch, 40, input, routing);
    for (const std::size_t most : {std::size_t{4}, std::size_t{5}, std::size_t{1000}}) {
      routing.experts_max = most;
      EXPECT_TRUE(run(layer, batch, 40, input, routing) == plain) << most;
    }
  }
}

TEST(Dymoe, FewerExpertsForABatchKeepEverybodysFirst) {
  const LayerShape shape = world_shape(ExpertKind::Sage, false);
  const GraphBatch batch = make_graph(26, 8, 3, 6);
  const auto input = random_matrix<float>(26, 8, shape.width);
  const auto layer = make_layer<float>(shape, 6, 26);
  RoutingStats plain;
  RoutingStats bounded;
  Routing routing;
  run(layer, batch, 3, input, routing, &plain);
  routing.experts_max = 3;
  run(layer, batch, 3, input, routing, &bounded);
  const auto used = [](const RoutingStats& stats) {
    return std::count_if(stats.load.begin(), stats.load.end(), [](double g) { return g > 0; });
  };
  EXPECT_GT(used(plain), 3);
  EXPECT_LE(used(bounded), 3);
  // With one expert a row, its first one, there is nothing to bound.
  routing.top = 1;
  const auto first = run(layer, batch, 3, input, routing);
  routing.experts_max = 1;
  EXPECT_TRUE(run(layer, batch, 3, input, routing) == first);
}

/// Rows [from, to) of a batch as outputs of their own; the inputs follow behind them.
GraphBatch part_of(const GraphBatch& batch, std::size_t from, std::size_t to, std::size_t nodes) {
  const std::size_t count = to - from;
  GraphBatch out;
  out.reach = {count, count + nodes};
  for (std::size_t i = 0; i < count + nodes; ++i) {
    const std::size_t v = i < count ? from + i : i - count;
    out.table.push_back(batch.table[v]);
    out.block.push_back(batch.block[v]);
  }
  for (const GraphBatch::Relation& relation : batch.relations) {
    GraphBatch::Relation part;
    part.begin.push_back(0);
    for (std::size_t v = from; v < to; ++v) {
      for (std::size_t i = relation.begin[v]; i < relation.begin[v + 1]; ++i)
        part.source.push_back(static_cast<std::uint32_t>(relation.source[i] + count));
      part.begin.push_back(static_cast<std::uint32_t>(part.source.size()));
    }
    out.relations.push_back(std::move(part));
  }
  return out;
}

TEST(Dymoe, ABatchCutInTwoSaysTheSame) {
  constexpr std::size_t kNodes = 90;
  constexpr std::size_t kOutputs = 61;
  for (const auto& [kind, family] : {std::pair{ExpertKind::Sage, false},
                                     {ExpertKind::Sage, true},
                                     {ExpertKind::Attention, false},
                                     {ExpertKind::Attention, true}}) {
    const LayerShape shape = world_shape(kind, true, 36);
    const GraphBatch batch = (family ? make_family : make_graph)(27, kNodes, kOutputs, 4);
    const auto input = random_matrix<float>(27, kNodes, shape.width);
    const auto layer = make_layer<float>(shape, 4, 27);
    const auto whole = run(layer, batch, kOutputs, input, {});
    for (const std::size_t cut : {std::size_t{1}, std::size_t{30}}) {
      for (const auto& [from, to] : {std::pair{std::size_t{0}, cut}, {cut, kOutputs}}) {
        RowMatrix<float> rows(static_cast<Eigen::Index>(to - from + kNodes), input.cols());
        rows << input.middleRows(static_cast<Eigen::Index>(from),
                                 static_cast<Eigen::Index>(to - from)),
            input;
        const auto part = run(layer, part_of(batch, from, to, kNodes), to - from, rows, {});
        EXPECT_TRUE(part == whole.middleRows(static_cast<Eigen::Index>(from), part.rows())) << cut;
      }
    }
  }
}

TEST(Dymoe, ManyOutputsInPartsSayTheSameAsAllAtOnceWithATape) {
  for (const ExpertKind kind : kKinds) {
    const LayerShape shape = world_shape(kind, true);
    const std::size_t outputs = kind == ExpertKind::Sage ? 4'500 : 33'000;  // three parts; two
    const GraphBatch batch = make_graph(28, outputs + 500, outputs, 4);
    const auto input = random_matrix<float>(28, outputs + 500, shape.width);
    const auto layer = make_layer<float>(shape, 4, 28);
    for (const bool masked : {false, true}) {
      Routing routing;
      routing.mask_later_blocks = masked;
      RoutingStats in_parts;
      const auto parts = run(layer, batch, outputs, input, routing, &in_parts);
      RowMatrix<float> whole;
      RoutingStats stats;
      const auto tape = DymoeLayer<float>::make_tape();
      layer.forward(batch, outputs, input, routing, {0, 1}, whole, &stats, tape.get());
      EXPECT_TRUE(parts == whole);
      ASSERT_EQ(in_parts.load.size(), stats.load.size());
      for (std::size_t c = 0; c < stats.load.size(); ++c)
        EXPECT_NEAR(in_parts.load[c], stats.load[c], 1e-6 * static_cast<double>(outputs));
      EXPECT_NEAR(in_parts.entropy, stats.entropy, 1e-9);
      EXPECT_NEAR(in_parts.block_loss, stats.block_loss, 1e-9);
      EXPECT_EQ(in_parts.dead_ratio, stats.dead_ratio);
      EXPECT_EQ(in_parts.graph_block_loss, stats.graph_block_loss);
      EXPECT_EQ(in_parts.nodes, stats.nodes);
      EXPECT_EQ(in_parts.own_block, stats.own_block);
    }
  }
}

/// `old` and as many new nodes of block 1, some of them heard by old nodes.
GraphBatch with_new_block(const GraphBatch& old, std::size_t fresh) {
  Rng rng(31, 6, Purpose::Test);
  GraphBatch out;
  const std::size_t nodes = old.nodes() + fresh;
  out.reach = {nodes, nodes};
  out.table = old.table;
  out.block = old.block;
  for (std::size_t i = 0; i < fresh; ++i) {
    out.table.push_back(static_cast<std::uint16_t>(i % 2));
    out.block.push_back(1);
  }
  for (std::size_t r = 0; r < old.relations.size(); ++r) {
    const GraphBatch::Relation& before = old.relations[r];
    GraphBatch::Relation now;
    now.begin.push_back(0);
    for (std::size_t v = 0; v < nodes; ++v) {
      const bool target = out.table[v] == world_relations()[r].target;
      const auto attach = [&] {
        for (std::size_t u = old.nodes(); u < nodes && target; ++u) {
          if (out.table[u] == world_relations()[r].source && rng.below(4) == 0)
            now.source.push_back(static_cast<std::uint32_t>(u));
        }
      };
      attach();  // new neighbours in front of the old ones, and behind them
      for (std::size_t i = v < old.nodes() ? before.begin[v] : 1; v < old.nodes(); ++i) {
        if (i == before.begin[v + 1]) break;
        now.source.push_back(before.source[i]);
      }
      attach();
      now.begin.push_back(static_cast<std::uint32_t>(now.source.size()));
    }
    out.relations.push_back(std::move(now));
  }
  return out;
}

/// Two layers with a residual each.
struct Stack {
  DymoeLayer<float> first;
  DymoeLayer<float> second;

  RowMatrix<float> operator()(const GraphBatch& batch, const RowMatrix<float>& input,
                              const Routing& routing, RowMatrix<float>& inner) const {
    inner = run(first, batch, batch.nodes(), input, routing);
    inner += input;
    return run(second, batch, batch.nodes(), inner, routing);
  }
};

/// A few steps against the gradient; `shared`: gate, listeners and projection learn too.
void train(DymoeLayer<float>& layer, const GraphBatch& batch, const RowMatrix<float>& input,
           const Routing& routing, bool shared) {
  const auto direction = random_matrix<float>(33, batch.nodes(), 24);
  for (int step = 0; step < 3; ++step) {
    auto tape = DymoeLayer<float>::make_tape();
    RowMatrix<float> output;
    RowMatrix<float> d_input;
    layer.forward(batch, batch.nodes(), input, routing, {0.1, 0.1}, output, nullptr, tape.get());
    layer.backward(batch, batch.nodes(), input, *tape, direction, d_input);
    layer.visit("", [&](std::string_view name, Parameter<float>& parameter) {
      if (!shared && !name.starts_with(".expert")) return;
      parameter.value -= static_cast<float>(0.05 * parameter.rate) * parameter.grad();
    });
  }
}

/// Scored by whoever makes the rows, and asked by them what comes back, some at a time and in any
/// order.
TEST(Dymoe, InPartsItSaysTheSame) {
  const std::vector<std::uint32_t> some = {30, 2, 17, 39, 4};
  std::vector<std::uint32_t> others;
  for (std::uint32_t v = 0; v < 40; ++v)
    if (std::find(some.begin(), some.end(), v) == some.end()) others.push_back(v);
  for (const ExpertKind kind : kKinds) {
    const LayerShape shape = world_shape(kind, true);
    const GraphBatch batch = make_graph(26, 40, 25, 3);
    const Matrix direction = random_matrix<double>(27, 25, shape.width);
    const Matrix input = random_matrix<double>(26, 40, shape.width);
    const auto gradients = [&](bool beforehand, bool keep) {
      auto layer = make_layer<double>(shape, 3, 26);
      const auto tape = DymoeLayer<double>::make_tape();
      std::vector<Matrix> out(2);
      for (int pass = 0; pass < 2; ++pass) {  // gradients add up, inputs' do not
        if (beforehand) {
          layer.begin_scores(40, *tape);
          layer.score(input, some, *tape);
          layer.score(input, others, *tape);
        }
        layer.forward(batch, 25, input, {}, {0.1, 0.1}, out[0], nullptr, tape.get(), keep);
        if (!keep) return out;
        if (!beforehand) {
          layer.backward(batch, 25, input, *tape, direction, out[1]);
          continue;
        }
        layer.begin_backward(batch, 25, input, *tape, direction);
        out[1].resize(input.rows(), input.cols());
        for (const auto& nodes : {others, some}) {
          Matrix rows;
          layer.backward_part(batch, input, nodes, *tape, rows);
          for (std::size_t i = 0; i < nodes.size(); ++i)
            out[1].row(nodes[i]) = rows.row(static_cast<Eigen::Index>(i));
        }
        layer.end_backward();
      }
      layer.visit("", [&](std::string_view, Parameter<double>& parameter) {
        out.push_back(parameter.grad());
      });
      return out;
    };
    // A tape that was scored is scored anew by who is not told otherwise.
    auto layer = make_layer<double>(shape, 3, 26);
    const auto tape = DymoeLayer<double>::make_tape();
    const Matrix other = random_matrix<double>(28, 40, shape.width);
    Matrix output;
    layer.begin_scores(40, *tape);
    layer.score(input, some, *tape);
    layer.score(input, others, *tape);
    layer.forward(batch, 25, input, {}, {}, output, nullptr, tape.get());
    layer.forward(batch, 25, other, {}, {}, output, nullptr, tape.get());
    EXPECT_TRUE(output == run(layer, batch, 25, other, {}));
    const std::vector<Matrix> whole = gradients(false, true);
    const std::vector<Matrix> parts = gradients(true, true);
    ASSERT_EQ(parts.size(), whole.size());
    EXPECT_TRUE(parts[0] == whole[0]);
    EXPECT_TRUE(gradients(true, false)[0] == whole[0]);
    for (std::size_t i = 1; i < whole.size(); ++i)
      EXPECT_LT((parts[i] - whole[i]).norm(), 1e-12 * (1 + whole[i].norm())) << i;
  }
}

TEST(Dymoe, OldNodesKeepEveryBitWhenANewBlockComes) {
  constexpr std::size_t kOld = 40;
  for (const ExpertKind kind : kKinds) {
    for (const bool gated : {false, true}) {
      const LayerShape shape = world_shape(kind, true, 24);
      Stack stack{make_layer<float>(shape, 1, 31), make_layer<float>(shape, 1, 32)};
      const GraphBatch before = make_graph(31, kOld, kOld, 1);
      const GraphBatch after = with_new_block(before, 12);
      const auto input = random_matrix<float>(31, after.nodes(), shape.width);
      Routing routing;
      routing.own_block_only = true;
      routing.mask_later_blocks = true;
      routing.topology_gate = gated;
      RowMatrix<float> inner;
      const auto told = stack(before, input.topRows(kOld), routing, inner);
      const RowMatrix<float> told_inner = inner;
      const RowMatrix<float> mean = input.bottomRows(12).colwise().mean();
      for (DymoeLayer<float>* layer : {&stack.first, &stack.second}) {
        layer->add_expert(0, &mean, Rng(34, 1, Purpose::Test));
        layer->set_rate(0, 0);
      }
      const auto untrained = stack(after, input, routing, inner);
      // What is shared by all experts moves only where old experts do not read it.
      train(stack.first, after, input, routing, !gated);
      train(stack.second, after, inner, routing, !gated);
      const auto trained = stack(after, input, routing, inner);
      EXPECT_TRUE(inner.topRows(kOld) == told_inner);
      EXPECT_TRUE(trained.topRows(kOld) == told);
      EXPECT_FALSE(trained.bottomRows(12) == untrained.bottomRows(12));
      routing.mask_later_blocks = false;
      EXPECT_FALSE(stack(after, input, routing, inner).topRows(kOld) == told) << "none attached";
    }
  }
}

TEST(Dymoe, AChildSaysNearlyWhatItsParentSays) {
  for (const ExpertKind kind : kKinds) {
    LayerShape shape = world_shape(kind, false, 32);
    shape.heads = 4;
    const GraphBatch batch = make_graph(35, 60, 60, 1);
    const auto input = random_matrix<float>(35, 60, shape.width);
    DymoeLayer<float> layer(shape, Rng(35, 1, Purpose::Test));
    for (std::uint64_t t = 0; t < 2; ++t)
      layer.add_expert(2, nullptr, Rng(35, 2 + t, Purpose::Test));
    shake(35, 0.05, layer);
    layer.add_expert(1, nullptr, Rng(35, 9, Purpose::Test));
    // Only the blocks differ: the same rows by parent, by child and by the other expert.
    const auto by = [&](std::uint32_t expert) {
      GraphBatch told = batch;
      std::fill(told.block.begin(), told.block.end(), expert);
      Routing routing;
      routing.own_block_only = true;
      return run(layer, told, 60, input, routing);
    };
    const double child = (by(2) - by(1)).norm() / by(1).norm();
    EXPECT_LT(child, 0.15);
    EXPECT_GT(child, 0);
    EXPECT_GT((by(0) - by(1)).norm() / by(1).norm(), 0.8);
  }
}

TEST(Dymoe, GateRowsOfNewBlocksPointAtTheirMean) {
  DymoeLayer<double> layer(world_shape(ExpertKind::Sage, true), Rng(36, 1, Purpose::Test));
  layer.add_expert(0, nullptr, Rng(36, 2, Purpose::Test));
  const Matrix mean = random_matrix<double>(36, 1, 12);
  layer.add_expert(0, &mean, Rng(36, 3, Purpose::Test));
  Matrix logits;
  layer.gate_logits(mean, logits);
  ASSERT_EQ(logits.cols(), 5);
  EXPECT_NEAR(logits(0, 1), mean.norm(), 1e-12);
  EXPECT_EQ(logits.cwiseAbs().sum(), std::abs(logits(0, 1)));
}

}  // namespace
}  // namespace accrete::models
