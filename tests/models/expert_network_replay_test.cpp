// Old blocks without their rows: what all experts share stands still, and rows that stand for
// others teach gates and head alone.
#include <map>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "models/expert_network.h"
#include "tests/models/graph_world.h"

namespace accrete::models {
namespace {

template <class Real>
using Values = std::map<std::string, RowMatrix<Real>>;

template <class Real>
Values<Real> values_of(ExpertNetwork<Real>& network) {
  Values<Real> out;
  network.visit([&](std::string_view name, Parameter<Real>& parameter) {
    out[std::string(name)] = parameter.value;
  });
  return out;
}

struct Case {
  GraphWorld world = make_graph_world(11, {24, 80, 4, 2});
  GraphBatch batch = make_batch(world, all_entities(world));
  std::vector<Target> targets = random_targets(TaskKind::Binary, 24, 0, 11);
};

/// Items that the nodes of the first table show: the first half of them `item`, all others none.
GraphBatch with_items(GraphBatch batch, std::uint32_t item) {
  batch.items.resize(batch.features.size());
  const auto rows = static_cast<std::size_t>(batch.features[0].rows());
  for (std::size_t i = 0; i < rows; ++i) {
    const SparseEntry entry{item, 1};
    batch.items[0].add_row(i < rows / 2 ? std::span(&entry, 1) : std::span<const SparseEntry>());
  }
  return batch;
}

TEST(SharedAtRest, WhatGatesReadOfOldRowsStaysBitForBit) {
  const Case given;
  NetworkOptions options = network_options(given.world, 16);
  options.freeze_shared = true;
  ExpertNetwork<float> network(TaskKind::Binary, options);
  const GraphBatch old = with_items(given.batch, 0);
  const GraphBatch fresh = with_items(given.batch, 1);
  network.grow_items(0, 1);
  train(network, old, given.targets, 5);
  RowMatrix<float> scores;
  std::vector<RowMatrix<float>> before;
  network.predict(old, scores, nullptr, nullptr, 0, &before);
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(static_cast<std::size_t>(before[0].rows()), given.batch.reach[1]);
  EXPECT_EQ(static_cast<std::size_t>(before[2].rows()), given.batch.seeds());
  auto begun = values_of(network);
  train(network, old, given.targets, 1);
  EXPECT_TRUE(begun["rows.table0.items"] != values_of(network)["rows.table0.items"])
      << "as long as there is one expert all learn";
  network.predict(old, scores, nullptr, nullptr, 0, &before);
  network.grow(old);
  network.grow_items(0, 2);
  begun = values_of(network);
  train(network, fresh, given.targets, 20);
  std::vector<RowMatrix<float>> after;
  network.predict(old, scores, nullptr, nullptr, 0, &after);
  EXPECT_TRUE(before[0] == after[0]);
  auto now = values_of(network);
  EXPECT_TRUE(begun["rows.table0.items"].row(0) == now["rows.table0.items"].row(0));
  EXPECT_TRUE(begun["rows.table0.items"].row(1) != now["rows.table0.items"].row(1))
      << "an item that came since is learnt";
  for (const char* name : {"layer0.topology.projection", "layer1.topology.listener0"})
    EXPECT_TRUE(begun[name] == now[name]) << name;
  for (const char* name : {"layer0.topology.listener1", "layer0.gate.block0"})
    EXPECT_TRUE(begun[name] != now[name]) << name;
  network.accumulate(fresh, given.targets);
  network.visit([](std::string_view name, Parameter<float>& parameter) {
    const bool rests = name.starts_with("rows.") && parameter.rate == 0;
    EXPECT_TRUE(!rests || parameter.gradient.size() == 0) << name << ": nobody reads its gradient";
  });
  network.step();

  // A restart between any two steps changes nothing, a copy neither.
  const auto state_of = [](const ExpertNetwork<float>& of) {
    std::string bytes;
    of.save(bytes);
    for (const auto& part : of.parts())
      of.save_part(part.id, bytes);
    return bytes;
  };
  std::string saved;
  network.save(saved);
  ExpertNetwork<float> loaded(TaskKind::Binary, options);
  ASSERT_TRUE(loaded.load(saved, [&](std::uint64_t id) -> Result<std::string> {
    std::string part;
    network.save_part(id, part);
    return part;
  }));
  ExpertNetwork<float> copied = network.copy();
  for (ExpertNetwork<float>* other : {&network, &loaded, &copied})
    train(*other, fresh, given.targets, 3);
  EXPECT_EQ(state_of(network), state_of(loaded));
  EXPECT_EQ(state_of(network), state_of(copied));
}

TEST(PseudoRows, TeachTheGatesAndTheHeadAlone) {
  const Case given;
  NetworkOptions options = network_options(given.world, 8);
  ExpertNetwork<double> network(TaskKind::Multiclass, options);
  network.grow_classes(3);
  network.grow(given.batch);
  network.grow(given.batch);
  shake(network, 5);
  Rng rng(3, 0, Purpose::Test);
  const auto rows_of = [&](std::size_t count, std::uint32_t labels) {
    PseudoRows rows;
    rows.rows.resize(static_cast<Eigen::Index>(count), 8);
    for (Eigen::Index i = 0; i < rows.rows.size(); ++i)
      rows.rows.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
    for (std::size_t i = 0; i < count; ++i)
      rows.blocks.push_back(static_cast<std::uint32_t>(rng.below(labels)));
    return rows;
  };
  const std::vector<PseudoRows> gates = {rows_of(12, 3), rows_of(9, 3)};
  const PseudoRows head = rows_of(10, 3);
  auto before = values_of(network);
  network.accumulate_pseudo(gates, head, {}, 0.5);
  network.step();
  std::size_t moved = 0;
  for (const auto& [name, value] : values_of(network)) {
    if (value == before[name]) continue;
    ++moved;
    EXPECT_TRUE(name.find(".gate.block") != std::string::npos || name.starts_with("head")) << name;
  }
  EXPECT_GT(moved, 6u);
}

/// Beside them stands what the head is told of rows; of columns that came later, nothing.
TEST(PseudoRows, OfTheHeadSayWhatItIsToldToo) {
  const Case given;
  NetworkOptions options = network_options(given.world, 8);
  options.shape.told = {2, 3};
  ExpertNetwork<double> network(TaskKind::Multiclass, options);
  network.grow_classes(3);
  shake(network, 5);
  Rng rng(6, 0, Purpose::Test);
  const auto numbers = [&](Eigen::Index columns) {
    RowMatrix<float> rows(10, columns);
    for (Eigen::Index i = 0; i < rows.size(); ++i)
      rows.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
    return rows;
  };
  PseudoRows head{numbers(8), {}};
  for (std::uint32_t i = 0; i < 10; ++i)
    head.blocks.push_back(i % 3);
  const std::vector<RowMatrix<float>> told = {numbers(2), numbers(1)};  // of three columns one
  const std::vector<PseudoRows> gates(2);
  constexpr double kShare = 0.5;
  network.accumulate_pseudo(gates, head, told, kShare);
  // The loss by itself, from the head's parameters.
  std::map<std::string, RowMatrix<double>> values;
  std::map<std::string, RowMatrix<double>> gradients;
  network.visit([&](std::string_view name, Parameter<double>& parameter) {
    if (!name.starts_with("head.")) return;
    values[std::string(name)] = parameter.value;
    gradients[std::string(name)] = parameter.grad();
  });
  const auto loss = [&] {
    NetworkHead<double> same(TaskKind::Multiclass, 8, options.shape.told);
    same.grow(3);
    same.visit([&](std::string_view name, Parameter<double>& parameter) {
      parameter.value = values.at(std::string(name));
    });
    RowMatrix<double> embedding;
    RowMatrix<double> scores;
    same.forward(head.rows.cast<double>(), embedding, scores, nullptr);
    RowMatrix<float> wide = RowMatrix<float>::Zero(10, 3);
    wide.leftCols(1) = told[1];
    same.add_told(std::vector<RowMatrix<float>>{told[0], wide}, scores);
    std::vector<Target> targets;
    for (const std::uint32_t label : head.blocks)
      targets.push_back({static_cast<double>(label), 1, 0});
    return kShare * task_loss<double>(TaskKind::Multiclass, scores, targets, nullptr);
  };
  std::size_t tried = 0;
  for (auto& [name, value] : values) {
    for (Eigen::Index i = 0; i < value.size(); ++i, ++tried) {
      constexpr double kStep = 1e-5;
      const double kept = std::exchange(value.data()[i], value.data()[i] + kStep);
      const double above = loss();
      value.data()[i] = kept - kStep;
      const double below = loss();
      value.data()[i] = kept;
      EXPECT_NEAR(gradients.at(name).data()[i], (above - below) / (2 * kStep), 1e-6) << name;
    }
  }
  EXPECT_EQ(tried, 8U + 8 + 24 + 3 + 6 + 9);
  EXPECT_GT(gradients.at("head.told0").norm(), 0.01);
  EXPECT_EQ(gradients.at("head.told1").bottomRows(2).norm(), 0);
}

TEST(PseudoRows, OfAGateHaveTheGradientOfTheirLoss) {
  const Case given;
  const NetworkOptions options = network_options(given.world, 8);
  Rng rng(4, 0, Purpose::Test);
  RowMatrix<double> rows(12, 8);
  for (Eigen::Index i = 0; i < rows.size(); ++i)
    rows.data()[i] = 2 * rng.uniform() - 1;
  const std::vector<std::uint32_t> blocks = {0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1};
  DymoeLayer<double> layer(options.shape.layer, Rng(1, 1, Purpose::Test));
  layer.add_expert(0, nullptr, Rng(1, 2, Purpose::Test));
  layer.add_expert(0, nullptr, Rng(1, 3, Purpose::Test));
  layer.visit("layer", [&](std::string_view name, Parameter<double>& parameter) {
    if (!name.starts_with("layer.gate.block")) return;
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] = rng.uniform() - 0.5;
  });
  layer.teach_gate(rows, blocks, 0.7);
  layer.visit("layer", [&](std::string_view name, Parameter<double>& parameter) {
    if (!name.starts_with("layer.gate.block")) {
      EXPECT_TRUE(parameter.gradient.size() == 0 || parameter.gradient.isZero()) << name;
      return;
    }
    const RowMatrix<double> gradient = parameter.gradient;
    for (Eigen::Index i = 0; i < gradient.size(); ++i) {
      constexpr double kStep = 1e-5;
      double& number = parameter.value.data()[i];
      const double was = number;
      number = was + kStep;
      const double up = layer.teach_gate(rows, blocks, 0);
      number = was - kStep;
      const double down = layer.teach_gate(rows, blocks, 0);
      number = was;
      EXPECT_NEAR(gradient.data()[i], 0.7 * (up - down) / (2 * kStep), 1e-8) << name;
    }
  });
}

}  // namespace
}  // namespace accrete::models
