// Graphs, parameters and a slow dense layer of experts for the tests of the fast one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/dymoe_layer.h"
#include "proto/rng.h"

namespace accrete::models {

using Matrix = RowMatrix<double>;

/// Tables 0 and 1; relations 0 ← 1, 1 ← 0 and 0 ← 0.
inline std::vector<RelationShape> world_relations() {
  return {{0, 1}, {1, 0}, {0, 0}};
}

inline LayerShape world_shape(ExpertKind kind, bool extras, std::size_t width = 12) {
  LayerShape shape;
  shape.kind = kind;
  shape.width = width;
  shape.heads = 3;
  shape.relations = world_relations();
  shape.extras = extras;
  return shape;
}

/// `nodes` nodes of blocks below `blocks`, the first `outputs` of them with up to five neighbours a
/// relation, repeats included; every fifth node has none.
inline GraphBatch make_graph(std::uint64_t seed, std::size_t nodes, std::size_t outputs,
                             std::size_t blocks) {
  Rng rng(seed, 1, Purpose::Test);
  GraphBatch batch;
  batch.reach = {outputs, nodes};
  for (std::size_t v = 0; v < nodes; ++v) {
    batch.table.push_back(static_cast<std::uint16_t>(rng.below(2)));
    batch.block.push_back(static_cast<std::uint32_t>(rng.below(blocks)));
  }
  for (const RelationShape& shape : world_relations()) {
    GraphBatch::Relation relation;
    relation.begin.push_back(0);
    for (std::size_t v = 0; v < outputs; ++v) {
      const bool any = batch.table[v] == shape.target && v % 5 != 4;
      for (std::uint64_t tries = any ? rng.below(11) : 0; tries > 0; --tries) {
        const auto u = static_cast<std::uint32_t>(rng.below(nodes));
        if (batch.table[u] == shape.source) relation.source.push_back(u);
      }
      relation.begin.push_back(static_cast<std::uint32_t>(relation.source.size()));
    }
    batch.relations.push_back(std::move(relation));
  }
  return batch;
}

/// The same where nodes of table 1 name one node of table 0 each, as over a foreign key: one of the
/// first two there are, which read no other way.
inline GraphBatch make_family(std::uint64_t seed, std::size_t nodes, std::size_t outputs,
                              std::size_t blocks) {
  GraphBatch batch = make_graph(seed, nodes, outputs, blocks);
  std::vector<std::uint32_t> parents;
  for (std::uint32_t v = 0; v < nodes && parents.size() < 2; ++v)
    if (batch.table[v] == 0) parents.push_back(v);
  GraphBatch::Relation& up = batch.relations[1];
  up = {{0}, {}};
  for (std::size_t v = 0; v < outputs; ++v) {
    if (batch.table[v] == 1 && v % 7 != 6) up.source.push_back(parents[v % 3 == 0 ? 1 : 0]);
    up.begin.push_back(static_cast<std::uint32_t>(up.source.size()));
  }
  return batch;
}

template <class Real>
RowMatrix<Real> random_matrix(std::uint64_t seed, std::size_t rows, std::size_t cols) {
  Rng rng(seed, 2, Purpose::Test);
  RowMatrix<Real> out(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  for (Eigen::Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<Real>(2 * rng.uniform() - 1);
  return out;
}

/// Moves all parameters by up to `by`, so that nothing is still zero, one, or a tie.
template <class Real>
void shake(std::uint64_t seed, double by, DymoeLayer<Real>& layer) {
  Rng rng(seed, 3, Purpose::Test);
  layer.visit("", [&](std::string_view, Parameter<Real>& parameter) {
    for (Eigen::Index i = 0; i < parameter.value.size(); ++i)
      parameter.value.data()[i] += static_cast<Real>(by * (2 * rng.uniform() - 1));
  });
}

/// A layer of `experts` fresh experts, shaken.
template <class Real>
DymoeLayer<Real> make_layer(const LayerShape& shape, std::size_t experts, std::uint64_t seed) {
  DymoeLayer<Real> layer(shape, Rng(seed, 4, Purpose::Test));
  for (std::size_t t = 0; t < experts; ++t)
    layer.add_expert(experts, nullptr, Rng(seed, 5 + t, Purpose::Test));
  shake(seed, 0.5, layer);
  return layer;
}

/// The layer by its definition: every expert for every row, one number after another.
class DenseLayer {
 public:
  DenseLayer(const LayerShape& shape, DymoeLayer<double>& layer);

  Matrix logits(const Matrix& input, std::size_t outputs) const;
  /// Weights (O, C) of all experts.
  Matrix weights(const GraphBatch& batch, std::size_t outputs, const Matrix& input,
                 const Routing& routing) const;
  Matrix output(const GraphBatch& batch, std::size_t outputs, const Matrix& input,
                const Routing& routing) const;
  double graph_block_loss(const GraphBatch& batch, const Matrix& input) const;

 private:
  const Matrix& at(const std::string& name) const { return parameters_.at(name); }
  const Matrix& at(std::size_t t, const std::string& name) const {
    return at(".expert" + std::to_string(t) + name);
  }
  double score(std::size_t t, const Matrix& input, std::size_t u) const;
  Eigen::RowVectorXd norm_silu(std::size_t t, Eigen::RowVectorXd x) const;
  Eigen::RowVectorXd sage(const GraphBatch& batch, const Matrix& input, const Routing& routing,
                          std::size_t t, std::size_t v) const;
  Eigen::RowVectorXd attention(const GraphBatch& batch, const Matrix& input, const Routing& routing,
                               std::size_t t, std::size_t v) const;

  LayerShape shape_;
  std::size_t experts_;
  std::map<std::string, Matrix> parameters_;
};

}  // namespace accrete::models
