// The graph expert network: rows to vectors, layers of experts over the sampled neighbourhood, a
// head. Forward, backward and one step of Adam by hand.
//
//   x_v = W_table features_v + b_table + T_table phi(age_v)       phi: sines and cosines of the age
//   h⁰ = SiLU(LayerNorm(x)), then L layers (dymoe_layer.h), each with a residual; o = head(h^L)
//
// Source: Robinson et al. 2024 (RDL), arXiv:2407.20060, for encoders, times and sampling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/dymoe_layer.h"
#include "models/graph_batch.h"
#include "proto/prediction.h"
#include "proto/result.h"

namespace accrete::models {

struct NetworkShape {
  std::size_t layers = 2;
  LayerShape layer;
  std::vector<std::size_t> columns;  ///< of each table's features; 0: the table says nothing itself
};

struct NetworkOptions {
  NetworkShape shape;
  Routing routing;
  GateLosses losses{0.1, 0.1};
  double rate = 5e-3;          ///< of Adam
  double decay = 0;            ///< decoupled weight decay
  double old_expert_rate = 0;  ///< of experts that are not the newest: 0 freeze, .1 slow, 1 all
  std::uint64_t seed = 1;
};

/// A seed's target: 0/1 (binary), a number (regression, told in units in which deviations are about
/// 1), a class index (multiclass).
struct Target {
  double value = 0;
  double weight = 1;
};

template <class Real>
class ExpertNetwork {
 public:
  /// One expert a layer. `kind`: the loss is log loss, smoothed absolute error or cross entropy.
  ExpertNetwork(TaskKind kind, NetworkOptions options);
  ExpertNetwork(ExpertNetwork&&) noexcept;
  ExpertNetwork& operator=(ExpertNetwork&&) noexcept;
  ~ExpertNetwork();

  std::size_t experts() const;
  std::size_t classes() const;
  /// New classes and feature columns begin at zero. Never shrink.
  void grow_classes(std::size_t classes);
  void grow_columns(std::size_t table, std::size_t columns);

  /// A new expert in every layer, a copy of the one used most by `sample` (nodes of the new block);
  /// older experts get old_expert_rate. Returns the parent by layer.
  std::vector<std::size_t> grow(const GraphBatch& sample);

  /// Scores of the seeds (seeds, outputs): logits, or the number. Threads: const.
  void predict(const GraphBatch& batch, RowMatrix<Real>& scores) const;
  /// The same with last-layer vectors (seeds, d) and what routing did, by layer.
  void predict(const GraphBatch& batch, RowMatrix<Real>& scores, RowMatrix<Real>* embedding,
               std::vector<RoutingStats>* stats) const;

  struct StepReport {
    double loss = 0;  ///< mean of the task's loss over the seeds, before the step
    std::vector<RoutingStats> layers;
  };
  /// Loss of the batch and its gradients (added to the parameters'). Checks: a target a seed.
  StepReport accumulate(const GraphBatch& batch, std::span<const Target> targets);
  /// One step of Adam with the gradients, which become zero. `rate` is a factor on options.rate.
  void step(double rate = 1);

  void visit(const VisitParameter<Real>& visit);

  /// Byte-exact state with moments; load(save()) continues bit for bit. Errors: Corruption.
  void save(std::string& out) const;
  Status load(std::string_view bytes);
  std::size_t memory_bytes() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

extern template class ExpertNetwork<float>;
extern template class ExpertNetwork<double>;

}  // namespace accrete::models
