// Forward, backward and growth; expert_network_merge.cpp merges experts, expert_network_mean.cpp
// keeps a mean of its weights, expert_network_state.cpp writes it.
#include "models/expert_network.h"

#include <algorithm>
#include <utility>

#include "models/adam.h"
#include "models/expert_network_parts.h"
#include "models/parameter_state.h"
#include "models/row_gather.h"

namespace accrete::models {
namespace {

/// The mean of the layer's input (1, d) over the first `outputs` nodes that came in a block without
/// an expert; over all of them if there is none.
template <class Real>
RowMatrix<Real> mean_of_new(const GraphBatch& batch, std::size_t outputs, std::size_t experts,
                            const RowMatrix<Real>& input) {
  RowMatrix<Real> mean = RowMatrix<Real>::Zero(1, input.cols());
  const auto is_new = [&](std::size_t v) { return batch.block[v] >= experts; };
  std::size_t count = 0;
  for (std::size_t v = 0; v < outputs; ++v)
    if (is_new(v)) ++count;
  const bool all = count == 0;
  if (all) count = outputs;
  for (std::size_t v = 0; v < outputs; ++v)
    if (all || is_new(v)) mean += input.row(static_cast<Eigen::Index>(v));
  if (count > 0) mean /= static_cast<Real>(count);
  return mean;
}

}  // namespace

template <class Real>
ExpertNetwork<Real>::Parts::Parts(TaskKind task, NetworkOptions chosen)
    : kind(task),
      options(std::move(chosen)),
      rows(options.shape.columns, options.shape.layer.width, options.seed),
      head(kind, options.shape.layer.width, options.shape.told) {
  ACCRETE_CHECK(options.shape.layers > 0);
  for (std::size_t l = 0; l < options.shape.layers; ++l)
    layers.emplace_back(options.shape.layer, rng(l, 0xffff'ffff));
}

/// Experts that will be loaded, or the first: fresh, without parents.
template <class Real>
void ExpertNetwork<Real>::Parts::add_experts(std::size_t experts) {
  while (serials.size() < experts) {
    for (std::size_t l = 0; l < layers.size(); ++l)
      layers[l].add_expert(0, nullptr, rng(l, births));
    serials.push_back(births++);
  }
}

template <class Real>
Rng ExpertNetwork<Real>::Parts::rng(std::size_t layer, std::uint64_t serial) const {
  return {options.seed, static_cast<std::uint64_t>(layer) << 32 | serial, Purpose::Training};
}

template <class Real>
void ExpertNetwork<Real>::Parts::forward(const GraphBatch& batch, const Routing& routing,
                                         const GateLosses& losses, bool keep, Pass& pass,
                                         std::vector<RoutingStats>* stats) const {
  const std::size_t depth = layers.size();
  ACCRETE_CHECK(batch.reach.size() == depth + 1);
  pass.hidden.resize(depth + 1);
  if (stats != nullptr) stats->assign(depth, {});
  while (pass.layers.size() < (keep ? depth : 1))
    pass.layers.push_back(DymoeLayer<Real>::make_tape());
  typename RowProjection<Real>::OnNodes score;
  if (routing.topology_gate) {
    layers[0].begin_scores(batch.nodes(), *pass.layers[0]);
    score = [&](std::span<const std::uint32_t> nodes) {
      layers[0].score(pass.hidden[0], nodes, *pass.layers[0]);
    };
  }
  rows.forward(batch, pass.hidden[0], keep ? &pass.rows : nullptr, score);
  for (std::size_t l = 0; l < depth; ++l) {
    const std::size_t outputs = batch.reach[depth - l - 1];
    layers[l].forward(batch, outputs, pass.hidden[l], routing, losses, pass.hidden[l + 1],
                      stats != nullptr ? &(*stats)[l] : nullptr,
                      keep || l == 0 ? pass.layers[l].get() : nullptr, keep);
    add_first_rows(pass.hidden[l], static_cast<Eigen::Index>(outputs), pass.hidden[l + 1]);
  }
  head.forward(pass.hidden[depth], pass.embedding, pass.scores, keep ? &pass.head : nullptr);
  head.add_told(batch.told, pass.scores);
}

template <class Real>
void ExpertNetwork<Real>::Parts::backward(const GraphBatch& batch,
                                          const RowMatrix<Real>& d_scores) {
  head.backward(training.head, training.embedding, d_scores, d_output);
  head.backward_told(batch.told, d_scores);
  const std::size_t depth = layers.size();
  for (std::size_t l = depth; l-- > 1;) {
    const std::size_t outputs = batch.reach[depth - l - 1];
    layers[l].backward(batch, outputs, training.hidden[l], *training.layers[l], d_output, d_input);
    add_first_rows(d_output, static_cast<Eigen::Index>(outputs), d_input);
    std::swap(d_input, d_output);
  }
  // What comes back to rows is made where it is read.
  const auto& tape = *training.layers[0];
  const RowMatrix<Real>& input = training.hidden[0];
  const std::size_t outputs = batch.reach[depth - 1];
  layers[0].begin_backward(batch, outputs, input, tape, d_output);
  rows.backward(batch, training.rows,
                [&](std::span<const std::uint32_t> nodes, RowMatrix<Real>& d_hidden) {
                  layers[0].backward_part(batch, input, nodes, tape, d_hidden);
                  for (std::size_t i = 0; i < nodes.size(); ++i) {
                    if (nodes[i] >= outputs) continue;
                    add_scaled(Real(1), row_of(d_output, nodes[i]), options.shape.layer.width,
                               row_of(d_hidden, i));
                  }
                });
  layers[0].end_backward();
}

template <class Real>
void ExpertNetwork<Real>::Parts::visit(const VisitParameter<Real>& visit) {
  rows.visit(visit);
  for (std::size_t l = 0; l < layers.size(); ++l)
    layers[l].visit("layer" + std::to_string(l), visit);
  head.visit(visit);
}

template <class Real>
std::vector<Parameter<Real>*> ExpertNetwork<Real>::Parts::parameters() {
  std::vector<Parameter<Real>*> all;
  visit([&](std::string_view, Parameter<Real>& parameter) { all.push_back(&parameter); });
  return all;
}

template <class Real>
void ExpertNetwork<Real>::Parts::freeze_items() {
  rows.visit([&](std::string_view name, Parameter<Real>& parameter) {
    if (name.ends_with(".items"))
      parameter.frozen_rows = static_cast<std::uint64_t>(parameter.value.rows());
  });
}

template <class Real>
void ExpertNetwork<Real>::Parts::freeze_shared(std::optional<std::size_t> listener) {
  const std::string own = listener ? ".listener" + std::to_string(*listener) : "";
  visit([&](std::string_view name, Parameter<Real>& parameter) {
    const bool row = name.starts_with("rows.") && !name.ends_with(".items");
    const bool learns = listener && name.ends_with(own);
    const bool listens = name.find(".topology.") != name.npos && !learns;
    if (row || listens || name.ends_with(".constant")) parameter.rate = 0;
    if (learns) parameter.rate = 1;
  });
}

template <class Real>
ExpertNetwork<Real>::ExpertNetwork(TaskKind kind, NetworkOptions options)
    : parts_(std::make_unique<Parts>(kind, std::move(options))) {
  parts_->add_experts(1);
}

template <class Real>
ExpertNetwork<Real>::ExpertNetwork(ExpertNetwork&&) noexcept = default;
template <class Real>
ExpertNetwork<Real>& ExpertNetwork<Real>::operator=(ExpertNetwork&&) noexcept = default;
template <class Real>
ExpertNetwork<Real>::~ExpertNetwork() = default;

template <class Real>
std::size_t ExpertNetwork<Real>::experts() const {
  return parts_->experts();
}

template <class Real>
std::size_t ExpertNetwork<Real>::classes() const {
  return parts_->head.outputs();
}

template <class Real>
void ExpertNetwork<Real>::grow_classes(std::size_t classes) {
  parts_->head.grow(classes);
}

template <class Real>
void ExpertNetwork<Real>::grow_columns(std::size_t table, std::size_t columns) {
  parts_->rows.grow_columns(table, columns);
}

template <class Real>
void ExpertNetwork<Real>::grow_items(std::size_t table, std::size_t items) {
  parts_->rows.grow_items(table, items);
}

template <class Real>
void ExpertNetwork<Real>::grow_told(std::size_t source, std::size_t columns) {
  parts_->head.grow_told(source, columns);
}

template <class Real>
std::vector<std::size_t> ExpertNetwork<Real>::grow(const GraphBatch& sample) {
  // Where every node must go to its own block's expert, nodes of the new block have none yet.
  Routing routing = parts_->serving();
  routing.own_block_only = false;
  typename Parts::Pass pass;
  std::vector<RoutingStats> stats;
  parts_->forward(sample, routing, {}, false, pass, &stats);
  const std::size_t before = experts();
  const std::size_t depth = parts_->layers.size();
  std::vector<std::size_t> parents(depth, 0);
  for (std::size_t l = 0; l < depth; ++l) {
    const auto& load = stats[l].load;
    const auto blocks_end = load.begin() + static_cast<std::ptrdiff_t>(before);
    parents[l] =
        static_cast<std::size_t>(std::max_element(load.begin(), blocks_end) - load.begin());
    const RowMatrix<Real> mean =
        mean_of_new(sample, sample.reach[depth - l - 1], before, pass.hidden[l]);
    DymoeLayer<Real>& layer = parts_->layers[l];
    layer.add_expert(parents[l], &mean, parts_->rng(l, parts_->births));
    for (std::size_t t = 0; t < before; ++t)
      layer.set_rate(t, parts_->options.old_expert_rate);
    layer.set_rate(before, 1);
  }
  parts_->serials.push_back(parts_->births++);
  ++parts_->growths;
  if (parts_->options.freeze_shared) {
    parts_->freeze_items();
    parts_->freeze_shared(experts() - 1);
  }
  return parents;
}

template <class Real>
void ExpertNetwork<Real>::predict(const GraphBatch& batch, RowMatrix<Real>& scores) const {
  predict(batch, scores, nullptr, nullptr);
}

template <class Real>
void ExpertNetwork<Real>::predict(const GraphBatch& batch, RowMatrix<Real>& scores,
                                  RowMatrix<Real>* embedding, std::vector<RoutingStats>* stats,
                                  std::size_t experts_max,
                                  std::vector<RowMatrix<Real>>* inputs) const {
  Routing routing = parts_->serving();
  routing.experts_max = experts_max;
  typename Parts::Pass pass;
  if (inputs != nullptr) pass.hidden = std::move(*inputs);
  parts_->forward(batch, routing, {}, false, pass, stats);
  scores = std::move(pass.scores);
  if (embedding != nullptr) *embedding = std::move(pass.embedding);
  if (inputs == nullptr) return;
  *inputs = std::move(pass.hidden);
  for (std::size_t l = 0; l + 1 < inputs->size(); ++l) {
    const auto outputs = static_cast<Eigen::Index>(batch.reach[inputs->size() - l - 2]);
    (*inputs)[l].conservativeResize(outputs, Eigen::NoChange);
  }
}

template <class Real>
double ExpertNetwork<Real>::loss(const GraphBatch& batch, std::span<const Target> targets) const {
  RowMatrix<Real> scores;
  predict(batch, scores);
  return task_loss<Real>(parts_->kind, scores, targets, nullptr);
}

template <class Real>
double ExpertNetwork<Real>::accumulate(const GraphBatch& batch, std::span<const Target> targets,
                                       double share, std::vector<RoutingStats>* stats) {
  typename Parts::Pass& pass = parts_->training;
  parts_->forward(batch, parts_->options.routing, parts_->losses(share), true, pass, stats);
  RowMatrix<Real> d_scores;
  const double loss = task_loss(parts_->kind, pass.scores, targets, &d_scores);
  d_scores *= static_cast<Real>(share);
  parts_->backward(batch, d_scores);
  return loss;
}

template <class Real>
void ExpertNetwork<Real>::accumulate_pseudo(std::span<const PseudoRows> gates,
                                            const PseudoRows& head,
                                            std::span<const RowMatrix<float>> told, double share) {
  ACCRETE_CHECK(gates.size() == parts_->layers.size());
  const double weight = parts_->losses(share).block;
  for (std::size_t l = 0; l < gates.size() && weight > 0; ++l) {
    if (gates[l].blocks.empty()) continue;
    const RowMatrix<Real> rows = gates[l].rows.template cast<Real>();
    parts_->layers[l].teach_gate(rows, gates[l].blocks, weight);
  }
  if (head.blocks.empty()) return;
  ACCRETE_CHECK(parts_->kind == TaskKind::Multiclass);
  std::vector<Target> targets;
  for (const std::uint32_t label : head.blocks)
    targets.push_back({static_cast<double>(label), 1, 0});
  typename Parts::Pass pass;
  RowMatrix<Real> d_scores;
  RowMatrix<Real> d_hidden;
  std::vector<RowMatrix<float>> as_wide(told.begin(), told.end());
  for (std::size_t s = 0; s < as_wide.size(); ++s) {
    const auto columns = static_cast<Eigen::Index>(parts_->head.told(s));
    as_wide[s].conservativeResizeLike(RowMatrix<float>::Zero(told[s].rows(), columns));
  }
  parts_->head.forward(head.rows.template cast<Real>(), pass.embedding, pass.scores, &pass.head);
  parts_->head.add_told(as_wide, pass.scores);
  task_loss<Real>(parts_->kind, pass.scores, targets, &d_scores);
  d_scores *= static_cast<Real>(share);
  parts_->head.backward_told(as_wide, d_scores);
  parts_->head.backward(pass.head, pass.embedding, d_scores, d_hidden);
}

template <class Real>
double ExpertNetwork<Real>::step(double rate) {
  return adam_step<Real>(parts_->parameters(), {parts_->options.rate * rate});
}

template <class Real>
void ExpertNetwork<Real>::visit(const VisitParameter<Real>& visit) {
  parts_->visit(visit);
}

template <class Real>
std::size_t ExpertNetwork<Real>::memory_bytes() const {
  std::size_t bytes = 0;
  parts_->visit([&](std::string_view, Parameter<Real>& parameter) {
    bytes += models::memory_bytes(parameter);
  });
  return bytes;
}

template <class Real>
std::size_t ExpertNetwork<Real>::room() const {
  const typename Parts::Pass& pass = parts_->training;
  std::size_t bytes = room_bytes(pass.hidden) + parts_->rows.room(pass.rows) +
                      room_bytes(pass.embedding, pass.scores, parts_->d_output, parts_->d_input);
  for (std::size_t l = 0; l < pass.layers.size(); ++l)
    bytes += parts_->layers[l].room(*pass.layers[l]);
  return bytes;
}

template class ExpertNetwork<float>;
template class ExpertNetwork<double>;

}  // namespace accrete::models
