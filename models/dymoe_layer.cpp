// Route, let the experts work, mix; and the way back.
#include "models/dymoe_layer.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <variant>

#include "models/attention_expert.h"
#include "models/dymoe_gate.h"
#include "models/expert_call.h"
#include "models/row_gather.h"
#include "models/sage_expert.h"
#include "models/topology_gate.h"
#include "proto/result.h"

namespace accrete::models {

template <class Real>
struct DymoeLayer<Real>::Tape {
  Routing routing;
  GateLosses losses;
  RowMatrix<Real> head;  ///< the first O rows of the input
  RowMatrix<Real> logits;
  Routes<Real> routes;
  typename TopologyGate<Real>::Tape topology;
  bool scored = false;  ///< for the pass that comes
  RowMatrix<Real> heard;
  typename SageExperts<Real>::Tape sage;
  typename AttentionExperts<Real>::Tape attention;
};

namespace {

// Outputs of one go where nothing is kept: what sage experts hold of so many stays in the second
// cache.
constexpr std::size_t kServedRows = 2048;
// Nodes of one go on the way back: their rows stay in the first cache.
constexpr std::size_t kNodesAtOnce = 64;

/// What happened to further outputs.
void add_stats(const RoutingStats& more, RoutingStats& stats) {
  stats.load.resize(std::max(stats.load.size(), more.load.size()));
  for (std::size_t c = 0; c < more.load.size(); ++c)
    stats.load[c] += more.load[c];
  stats.nodes += more.nodes;
  stats.own_block += more.own_block;
  if (more.nodes == 0) return;
  const double share = static_cast<double>(more.nodes) / static_cast<double>(stats.nodes);
  stats.entropy += share * (more.entropy - stats.entropy);
  stats.block_loss += share * (more.block_loss - stats.block_loss);
}

template <class Real>
auto& tape_of(const SageExperts<Real>&, auto& tape) {
  return tape.sage;
}
template <class Real>
auto& tape_of(const AttentionExperts<Real>&, auto& tape) {
  return tape.attention;
}

template <class Real>
std::variant<SageExperts<Real>, AttentionExperts<Real>> make_experts(const LayerShape& shape) {
  if (shape.kind == ExpertKind::Attention) return AttentionExperts<Real>(shape);
  return SageExperts<Real>(shape);
}

}  // namespace

template <class Real>
struct DymoeLayer<Real>::Parts {
  Parts(const LayerShape& told, Rng& rng)
      : shape(told),
        gate(told.width, told.extras),
        topology(told.width, rng),
        experts(make_experts<Real>(told)) {
    constant.value.setZero(1, static_cast<Eigen::Index>(told.width));
  }

  ExpertCall<Real> call(const GraphBatch& batch, const RowMatrix<Real>& input, std::size_t first,
                        const Tape& tape) const {
    return {batch,
            shape.relations,
            input,
            first,
            tape.head,
            tape.routes,
            gate.experts(),
            tape.routing.topology_gate ? &tape.heard : nullptr,
            tape.routing.mask_later_blocks};
  }
  SleepCount work(const ExpertCall<Real>& call, Tape& tape, RowMatrix<Real>& output,
                  RoutingStats* stats) const;
  void mix_extras(const Tape& tape, std::size_t first, RowMatrix<Real>& output) const;
  void extras_backward(const Tape& tape, const RowMatrix<Real>& d_output);
  ExpertGradients<Real> gradients() { return {d_share, d_input, d_heard, begun.data()}; }

  LayerShape shape;
  ExpertGate<Real> gate;
  TopologyGate<Real> topology;
  std::variant<SageExperts<Real>, AttentionExperts<Real>> experts;
  Parameter<Real> constant;  ///< of the constant expert

  // Of the backward pass under way.
  std::vector<Real> d_share;        ///< by the weights of the routes' pairs
  std::vector<Real> d_weight;       ///< the same in the order of rows
  RowMatrix<Real> d_input;          ///< (I, d) what comes back to nodes but for messages and scores
  std::vector<std::uint8_t> begun;  ///< by row of d_input: whether anything is in it
  RowMatrix<Real> d_heard;
  RowMatrix<Real> d_logits;
  RowMatrix<Real> d_head;
};

/// Routes and experts of the outputs in tape.head; their rows of `output` are zero before.
template <class Real>
SleepCount DymoeLayer<Real>::Parts::work(const ExpertCall<Real>& call, Tape& tape,
                                         RowMatrix<Real>& output, RoutingStats* stats) const {
  const std::size_t T = gate.experts();
  const auto count = static_cast<std::size_t>(tape.head.rows());
  const auto blocks = std::span(call.batch.block).subspan(call.first, count);
  gate.logits(tape.head, tape.logits);
  choose_routes<Real>(tape.logits, T, blocks, tape.routing, tape.routes);
  if (stats != nullptr) {
    RoutingStats own;
    count_routes<Real>(tape.routes, tape.logits, T, blocks, own);
    own.block_loss = block_loss<Real>(tape.logits, T, blocks, 0, nullptr);
    add_stats(own, *stats);
  }
  const SleepCount asleep = std::visit(
      [&](const auto& all) { return all.forward(call, tape_of(all, tape), output); }, experts);
  mix_extras(tape, call.first, output);
  return asleep;
}

/// What the extras say comes behind the block experts'. `first`: of the rows of `output`.
template <class Real>
void DymoeLayer<Real>::Parts::mix_extras(const Tape& tape, std::size_t first,
                                         RowMatrix<Real>& output) const {
  const Routes<Real>& routes = tape.routes;
  const std::size_t T = gate.experts();
  for (std::size_t c = T; c < gate.columns(); ++c) {
    if (c == T + static_cast<std::size_t>(Extra::Zero)) continue;
    const bool copies = c == T + static_cast<std::size_t>(Extra::Copy);
    const auto rows = routes.rows_of(c);
    const auto shares = routes.shares_of(c);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Real* const from = copies ? row_of(tape.head, rows[i]) : constant.value.data();
      add_scaled(shares[i], from, shape.width, row_of(output, first + rows[i]));
    }
  }
}

/// The gradients by the extras' weights, and what they hand on.
template <class Real>
void DymoeLayer<Real>::Parts::extras_backward(const Tape& tape, const RowMatrix<Real>& d_output) {
  const Routes<Real>& routes = tape.routes;
  const std::size_t T = gate.experts();
  for (std::size_t c = T; c < gate.columns(); ++c) {
    if (c == T + static_cast<std::size_t>(Extra::Zero)) continue;
    const bool copies = c == T + static_cast<std::size_t>(Extra::Copy);
    const auto rows = routes.rows_of(c);
    const auto shares = routes.shares_of(c);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Real* const from = row_of(d_output, rows[i]);
      const Real* const value = copies ? row_of(tape.head, rows[i]) : constant.value.data();
      d_share[routes.begin[c] + i] = fixed_dot(from, value, shape.width);
      add_scaled(shares[i], from, shape.width,
                 copies ? row_of(d_input, rows[i]) : constant.grad().data());
    }
  }
}

template <class Real>
void DymoeLayer<Real>::TapeDeleter::operator()(Tape* tape) const {
  delete tape;
}

template <class Real>
typename DymoeLayer<Real>::TapePtr DymoeLayer<Real>::make_tape() {
  return TapePtr(new Tape);
}

template <class Real>
DymoeLayer<Real>::DymoeLayer(const LayerShape& shape, Rng rng) {
  ACCRETE_CHECK(shape.width > 0);
  ACCRETE_CHECK(shape.kind == ExpertKind::Sage ||
                (shape.heads > 0 && shape.width % shape.heads == 0));
  parts_ = std::make_unique<Parts>(shape, rng);
}
template <class Real>
DymoeLayer<Real>::DymoeLayer(DymoeLayer&&) noexcept = default;
template <class Real>
DymoeLayer<Real>& DymoeLayer<Real>::operator=(DymoeLayer&&) noexcept = default;
template <class Real>
DymoeLayer<Real>::~DymoeLayer() = default;

template <class Real>
std::size_t DymoeLayer<Real>::experts() const {
  return parts_->gate.experts();
}

template <class Real>
void DymoeLayer<Real>::add_expert(std::size_t parent, const RowMatrix<Real>* mean, Rng rng) {
  parts_->gate.add(mean);
  parts_->topology.add();
  std::visit([&](auto& experts) { experts.add(parent, rng); }, parts_->experts);
}

template <class Real>
void DymoeLayer<Real>::merge_experts(std::size_t first, const UsagePair& usage) {
  ACCRETE_CHECK(first + 1 < experts());
  parts_->gate.merge(first, usage);
  parts_->topology.merge(first, usage);
  std::visit([&](auto& experts) { experts.merge(first, usage); }, parts_->experts);
}

template <class Real>
void DymoeLayer<Real>::set_rate(std::size_t expert, double rate) {
  std::visit([&](auto& experts) { experts.set_rate(expert, rate); }, parts_->experts);
}

template <class Real>
// NOLINTNEXTLINE(readability-function-size): what goes in and what comes out, each by its name
void DymoeLayer<Real>::forward(const GraphBatch& batch, std::size_t outputs,
                               const RowMatrix<Real>& input, const Routing& routing,
                               const GateLosses& losses, RowMatrix<Real>& output,
                               RoutingStats* stats, Tape* tape, bool keep) const {
  const Parts& parts = *parts_;
  const auto nodes = static_cast<std::size_t>(input.rows());
  ACCRETE_CHECK(static_cast<std::size_t>(input.cols()) == parts.shape.width);
  ACCRETE_CHECK(outputs <= nodes && nodes <= batch.block.size());
  ACCRETE_CHECK(batch.relations.size() == parts.shape.relations.size());
  for (const GraphBatch::Relation& relation : batch.relations)
    ACCRETE_CHECK(relation.begin.size() > outputs);
  const std::span blocks(batch.block);
  TapePtr own;
  if (tape == nullptr) {
    own = make_tape();
    tape = own.get();
    keep = false;
  }
  tape->routing = routing;
  tape->losses = losses;
  if (stats != nullptr) *stats = RoutingStats{};
  if (routing.topology_gate) {
    if (!std::exchange(tape->scored, false)) parts.topology.forward(input, tape->topology);
    ACCRETE_CHECK(tape->topology.score.rows() == input.rows());
    hearing(tape->topology.score, parts.shape.kind == ExpertKind::Attention, tape->heard);
    if (stats != nullptr && losses.graph_block > 0)
      stats->graph_block_loss = graph_block_loss<Real>(tape->topology.score, blocks.first(nodes));
  }
  output.setZero(static_cast<Eigen::Index>(outputs), input.cols());
  // Who bounds the experts of a batch, or goes back, needs all of it at once.
  std::size_t most = outputs;
  if (!keep && routing.experts_max == 0) most = std::min(most, kServedRows);
  SleepCount total;
  std::size_t first = 0;
  do {
    const std::size_t count = std::min(most, outputs - first);
    tape->head.resize(static_cast<Eigen::Index>(count), input.cols());
    std::copy_n(row_of(input, first), tape->head.size(), tape->head.data());
    const ExpertCall<Real> call = parts.call(batch, input, first, *tape);
    const SleepCount asleep = parts.work(call, *tape, output, stats);
    total.asleep += asleep.asleep;
    total.numbers += asleep.numbers;
    first += count;
  } while (first < outputs);
  if (stats != nullptr && total.numbers > 0)
    stats->dead_ratio = static_cast<double>(total.asleep) / static_cast<double>(total.numbers);
}

template <class Real>
void DymoeLayer<Real>::begin_backward(const GraphBatch& batch, std::size_t outputs,
                                      const RowMatrix<Real>& input, const Tape& tape,
                                      const RowMatrix<Real>& d_output) {
  Parts& parts = *parts_;
  const Routing& routing = tape.routing;
  const GateLosses& losses = tape.losses;
  const auto nodes = static_cast<std::size_t>(input.rows());
  ACCRETE_CHECK(static_cast<std::size_t>(tape.head.rows()) == outputs);
  ACCRETE_CHECK(d_output.rows() == tape.head.rows() && d_output.cols() == tape.head.cols());
  // The first who adds to a node's row begins it: to clear all is a walk over memory of its own.
  const std::size_t cleared = parts.shape.kind == ExpertKind::Sage ? outputs : nodes;
  parts.d_input.resize(input.rows(), input.cols());
  parts.d_input.topRows(static_cast<Eigen::Index>(cleared)).setZero();
  parts.begun.assign(nodes, 0);
  std::fill_n(parts.begun.begin(), cleared, std::uint8_t{1});
  parts.d_heard.setZero(routing.topology_gate ? tape.heard.rows() : 0, tape.heard.cols());
  const Routes<Real>& routes = tape.routes;
  parts.d_share.assign(routes.share.size(), Real(0));
  parts.extras_backward(tape, d_output);
  const ExpertCall<Real> call = parts.call(batch, input, 0, tape);
  std::visit(
      [&](auto& all) { all.backward(call, tape_of(all, tape), d_output, parts.gradients()); },
      parts.experts);
  parts.d_weight.resize(parts.d_share.size());
  for (std::size_t pair = 0; pair < parts.d_share.size(); ++pair)
    parts.d_weight[routes.place[pair]] = parts.d_share[pair];
  route_gradient<Real>(routes, parts.d_weight, parts.d_logits);
  if (losses.block > 0) {
    block_loss<Real>(tape.logits, parts.gate.experts(), std::span(batch.block).first(outputs),
                     losses.block, &parts.d_logits);
  }
  parts.gate.backward(tape.head, parts.d_logits, parts.d_head);
}

template <class Real>
void DymoeLayer<Real>::backward_part(const GraphBatch& batch, const RowMatrix<Real>& input,
                                     std::span<const std::uint32_t> nodes, const Tape& tape,
                                     RowMatrix<Real>& d_rows) {
  Parts& parts = *parts_;
  const bool gated = tape.routing.topology_gate;
  if (auto* const sage = std::get_if<SageExperts<Real>>(&parts.experts)) {
    sage->backward_part(input, nodes, parts.gradients(), d_rows);
  } else {
    gather_rows(parts.d_input, nodes, d_rows);
  }
  const auto outputs = static_cast<std::size_t>(parts.d_head.rows());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i] < outputs)
      add_scaled(Real(1), row_of(parts.d_head, nodes[i]), parts.shape.width, row_of(d_rows, i));
  }
  if (!gated) return;
  const HeardNodes<Real> all{tape.topology.score, tape.heard,
                             parts.shape.kind == ExpertKind::Attention};
  hearing_gradient(all, nodes, parts.d_heard);
  if (tape.losses.graph_block > 0) {
    add_graph_block_gradient<Real>(all, nodes, batch.block, tape.losses.graph_block, parts.d_heard);
  }
  parts.topology.backward_part(input, nodes, tape.topology, parts.d_heard, d_rows);
}

template <class Real>
void DymoeLayer<Real>::end_backward() {
  parts_->topology.end_backward();
}

template <class Real>
void DymoeLayer<Real>::backward(const GraphBatch& batch, std::size_t outputs,
                                const RowMatrix<Real>& input, const Tape& tape,
                                const RowMatrix<Real>& d_output, RowMatrix<Real>& d_input) {
  begin_backward(batch, outputs, input, tape, d_output);
  const auto count = static_cast<std::size_t>(input.rows());
  d_input.resize(input.rows(), input.cols());
  std::vector<std::uint32_t> nodes;
  RowMatrix<Real> d_rows;
  for (std::size_t first = 0; first < count; first += kNodesAtOnce) {
    nodes.resize(std::min(kNodesAtOnce, count - first));
    std::iota(nodes.begin(), nodes.end(), static_cast<std::uint32_t>(first));
    backward_part(batch, input, nodes, tape, d_rows);
    std::copy_n(d_rows.data(), d_rows.size(), row_of(d_input, first));
  }
  end_backward();
}

template <class Real>
void DymoeLayer<Real>::begin_scores(std::size_t nodes, Tape& tape) const {
  parts_->topology.begin(nodes, tape.topology);
  tape.scored = true;
}

template <class Real>
void DymoeLayer<Real>::score(const RowMatrix<Real>& input, std::span<const std::uint32_t> nodes,
                             Tape& tape) const {
  parts_->topology.forward_part(input, nodes, tape.topology);
}

template <class Real>
void DymoeLayer<Real>::gate_logits(const RowMatrix<Real>& rows, RowMatrix<Real>& logits) const {
  parts_->gate.logits(rows, logits);
}

template <class Real>
std::size_t DymoeLayer<Real>::room(const Tape& tape) const {
  const Parts& parts = *parts_;
  return parts.begun.capacity() +
         room_bytes(tape.head, tape.logits, tape.topology.query, tape.topology.score, tape.heard,
                    parts.d_heard, parts.d_logits, parts.d_head, parts.d_input) +
         std::visit([&](const auto& all) { return all.room(tape_of(all, tape)); }, parts.experts);
}

template <class Real>
double DymoeLayer<Real>::teach_gate(const RowMatrix<Real>& rows,
                                    std::span<const std::uint32_t> blocks, double scale) {
  ACCRETE_CHECK(blocks.size() == static_cast<std::size_t>(rows.rows()));
  RowMatrix<Real> logits;
  parts_->gate.logits(rows, logits);
  RowMatrix<Real> d_logits = RowMatrix<Real>::Zero(logits.rows(), logits.cols());
  const double loss = block_loss<Real>(logits, experts(), blocks, scale, &d_logits);
  parts_->gate.backward(rows, d_logits, parts_->d_head);
  return loss;
}

template <class Real>
void DymoeLayer<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  const std::string name(prefix);
  parts_->gate.visit(name + ".gate", visit);
  parts_->topology.visit(name + ".topology", visit);
  if (parts_->shape.extras) visit(name + ".constant", parts_->constant);
  std::visit([&](auto& experts) { experts.visit(name + ".expert", visit); }, parts_->experts);
}

template class DymoeLayer<float>;
template class DymoeLayer<double>;

}  // namespace accrete::models
