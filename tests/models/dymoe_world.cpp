// The dense layer of experts, one number after another.
#include "dymoe_world.h"

#include <algorithm>
#include <cmath>

namespace accrete::models {
namespace {

double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

Eigen::Index at_index(std::size_t i) {
  return static_cast<Eigen::Index>(i);
}

bool hears(const GraphBatch& batch, const Routing& routing, std::size_t experts, std::size_t t,
           std::size_t u) {
  return !routing.mask_later_blocks || t >= std::min<std::size_t>(batch.block[u], experts - 1);
}

}  // namespace

DenseLayer::DenseLayer(const LayerShape& shape, DymoeLayer<double>& layer)
    : shape_(shape), experts_(layer.experts()) {
  layer.visit("", [&](std::string_view name, Parameter<double>& parameter) {
    parameters_[std::string(name)] = parameter.value;
  });
}

Matrix DenseLayer::logits(const Matrix& input, std::size_t outputs) const {
  const std::size_t columns = experts_ + (shape_.extras ? 3 : 0);
  Matrix all(at_index(columns), input.cols());
  for (std::size_t t = 0; t < experts_; ++t)
    all.row(at_index(t)) = at(".gate.block" + std::to_string(t));
  if (shape_.extras) all.bottomRows(3) = at(".gate.extras");
  return input.topRows(at_index(outputs)) * all.transpose();
}

Matrix DenseLayer::weights(const GraphBatch& batch, std::size_t outputs, const Matrix& input,
                           const Routing& routing) const {
  const Matrix z = logits(input, outputs);
  Matrix out = Matrix::Zero(z.rows(), z.cols());
  for (Eigen::Index v = 0; v < z.rows(); ++v) {
    const auto own =
        at_index(std::min<std::size_t>(batch.block[static_cast<std::size_t>(v)], experts_ - 1));
    std::vector<Eigen::Index> order;
    for (Eigen::Index c = 0; c < z.cols(); ++c)
      order.push_back(c);
    std::stable_sort(order.begin(), order.end(),
                     [&](Eigen::Index a, Eigen::Index b) { return z(v, a) > z(v, b); });
    order.resize(std::min<std::size_t>(order.size(), routing.top));
    if (routing.force_own_block && std::count(order.begin(), order.end(), own) == 0)
      order.back() = own;
    if (routing.own_block_only) order = {own};
    double total = 0;
    for (const Eigen::Index c : order)
      total += std::exp(z(v, c));
    for (const Eigen::Index c : order)
      out(v, c) = std::exp(z(v, c)) / total;
  }
  return out;
}

double DenseLayer::score(std::size_t t, const Matrix& input, std::size_t u) const {
  const Eigen::VectorXd seen = at(".topology.projection") * input.row(at_index(u)).transpose();
  return (at(".topology.listener" + std::to_string(t)) * seen)(0);
}

Eigen::RowVectorXd DenseLayer::norm_silu(std::size_t t, Eigen::RowVectorXd x) const {
  x.array() -= x.mean();
  x /= std::sqrt(x.squaredNorm() / static_cast<double>(x.size()) + 1e-5);
  for (Eigen::Index c = 0; c < x.size(); ++c) {
    const double y = at(t, ".norm.gain")(c) * x(c) + at(t, ".norm.shift")(c);
    x(c) = y * logistic(y);
  }
  return x;
}

Eigen::RowVectorXd DenseLayer::sage(const GraphBatch& batch, const Matrix& input,
                                    const Routing& routing, std::size_t t, std::size_t v) const {
  Eigen::RowVectorXd sum = input.row(at_index(v)) * at(t, ".own") + at(t, ".bias");
  for (std::size_t r = 0; r < batch.relations.size(); ++r) {
    const auto& relation = batch.relations[r];
    Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(input.cols());
    double count = 0;
    for (std::size_t i = relation.begin[v]; i < relation.begin[v + 1]; ++i) {
      const std::size_t u = relation.source[i];
      if (!hears(batch, routing, experts_, t, u)) continue;
      count += 1;
      mean += (routing.topology_gate ? logistic(score(t, input, u)) : 1) * input.row(at_index(u));
    }
    if (count > 0) sum += mean / count * at(t, ".relation" + std::to_string(r));
  }
  return norm_silu(t, sum);
}

Eigen::RowVectorXd DenseLayer::attention(const GraphBatch& batch, const Matrix& input,
                                         const Routing& routing, std::size_t t,
                                         std::size_t v) const {
  std::vector<std::pair<std::size_t, std::size_t>> edges;  // node, relation
  for (std::size_t r = 0; r < batch.relations.size(); ++r) {
    const auto& relation = batch.relations[r];
    for (std::size_t i = relation.begin[v]; i < relation.begin[v + 1]; ++i) {
      if (hears(batch, routing, experts_, t, relation.source[i]))
        edges.emplace_back(relation.source[i], r);
    }
  }
  edges.emplace_back(v, batch.relations.size());
  const auto part = at_index(shape_.width / shape_.heads);
  const Eigen::RowVectorXd query = input.row(at_index(v)) * at(t, ".query");
  Eigen::RowVectorXd mixed = Eigen::RowVectorXd::Zero(input.cols());
  for (std::size_t head = 0; head < shape_.heads; ++head) {
    const Eigen::Index from = at_index(head) * part;
    double total = 0;
    Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(part);
    for (const auto& [u, r] : edges) {
      const Eigen::RowVectorXd key = input.row(at_index(u)) * at(t, ".key");
      const Eigen::RowVectorXd value = input.row(at_index(u)) * at(t, ".value");
      double s = query.segment(from, part).dot(key.segment(from, part));
      s = s / std::sqrt(static_cast<double>(part)) +
          at(t, ".relation_bias")(at_index(r), at_index(head));
      const double b = routing.topology_gate ? logistic(score(t, input, u)) : 1;
      total += b * std::exp(s);
      sum += b * std::exp(s) * value.segment(from, part);
    }
    mixed.segment(from, part) = sum / total;
  }
  const Eigen::RowVectorXd joined = input.row(at_index(v)) + mixed * at(t, ".output");
  return norm_silu(t, joined * at(t, ".first") + at(t, ".first_bias")) * at(t, ".second") +
         at(t, ".second_bias");
}

Matrix DenseLayer::output(const GraphBatch& batch, std::size_t outputs, const Matrix& input,
                          const Routing& routing) const {
  const Matrix g = weights(batch, outputs, input, routing);
  Matrix out = Matrix::Zero(at_index(outputs), input.cols());
  for (std::size_t v = 0; v < outputs; ++v) {
    const Eigen::Index row = at_index(v);
    for (std::size_t t = 0; t < experts_; ++t) {
      out.row(row) += g(row, at_index(t)) * (shape_.kind == ExpertKind::Sage
                                                 ? sage(batch, input, routing, t, v)
                                                 : attention(batch, input, routing, t, v));
    }
    if (!shape_.extras) continue;
    out.row(row) += g(row, at_index(experts_ + 1)) * input.row(row);
    out.row(row) += g(row, at_index(experts_ + 2)) * at(".constant").row(0);
  }
  return out;
}

double DenseLayer::graph_block_loss(const GraphBatch& batch, const Matrix& input) const {
  double loss = 0;
  for (std::size_t u = 0; u < static_cast<std::size_t>(input.rows()); ++u) {
    for (std::size_t t = 0; t < experts_; ++t) {
      const double b = logistic(score(t, input, u));
      const bool listens = t >= std::min<std::size_t>(batch.block[u], experts_ - 1);
      loss -= std::log(listens ? b : 1 - b);
    }
  }
  return loss / static_cast<double>(input.rows()) / static_cast<double>(experts_);
}

}  // namespace accrete::models
