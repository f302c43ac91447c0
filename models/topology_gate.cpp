// Scores, what they mean to a listener, and the loss that tells experts of later blocks.
#include "models/topology_gate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "models/dymoe_gate.h"
#include "models/expert_start.h"
#include "models/layer_norm.h"
#include "models/matrix_product.h"
#include "models/neighbour_sum.h"
#include "models/norm_silu.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

// Numbers of one go: they stay in the first cache.
constexpr std::size_t kAtOnce = 1024;

std::size_t nodes_at_once(std::size_t experts) {
  return std::max<std::size_t>(1, kAtOnce / experts);
}

/// T numbers `before`, and T ones: what of_block() reads.
template <class Real>
std::vector<Real> steps(std::size_t experts, Real before) {
  std::vector<Real> out(2 * experts, before);
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(experts), out.end(), Real(1));
  return out;
}

/// By expert: `before` of those of earlier blocks than that one, 1 of others.
template <class Real>
const Real* of_block(const std::vector<Real>& steps, std::uint32_t block, std::size_t experts) {
  return steps.data() + experts - expert_of(block, experts);
}

/// Of all rows.
template <class Real>
ScoreRows<Real> scores_of(const RowMatrix<Real>& input, auto& tape) {
  const auto count = [](Eigen::Index n) { return static_cast<std::size_t>(n); };
  return {input.data(),      count(input.cols()),      count(input.rows()),
          tape.query.data(), count(tape.query.rows()), tape.score.data()};
}

}  // namespace

template <class Real>
TopologyGate<Real>::TopologyGate(std::size_t width, Rng& rng) {
  start_xavier(width, width, rng, projection_);
}

template <class Real>
void TopologyGate<Real>::add() {
  Parameter<Real> fresh;
  if (listeners_.empty()) {
    fresh.value.setZero(1, projection_.value.cols());
  } else {
    fresh.value = listeners_.back().value;
  }
  listeners_.push_back(std::move(fresh));
}

template <class Real>
RowMatrix<Real> TopologyGate<Real>::listeners() const {
  RowMatrix<Real> all(static_cast<Eigen::Index>(listeners_.size()), projection_.value.rows());
  for (std::size_t t = 0; t < listeners_.size(); ++t)
    all.row(static_cast<Eigen::Index>(t)) = listeners_[t].value.row(0);
  return all;
}

template <class Real>
void TopologyGate<Real>::forward(const RowMatrix<Real>& input, Tape& tape) const {
  begin(static_cast<std::size_t>(input.rows()), tape);
  score_rows(scores_of(input, tape));
}

template <class Real>
void TopologyGate<Real>::begin(std::size_t nodes, Tape& tape) const {
  multiply(listeners(), projection_.value, tape.query);
  tape.score.resize(static_cast<Eigen::Index>(nodes), tape.query.rows());
}

template <class Real>
void TopologyGate<Real>::forward_part(const RowMatrix<Real>& input, Nodes nodes, Tape& tape) const {
  ScoreRows<Real> rows = scores_of(input, tape);
  rows.count = nodes.size();
  rows.nodes = nodes.data();
  score_rows(rows);
}

template <class Real>
void TopologyGate<Real>::backward_part(const RowMatrix<Real>& input, Nodes nodes, const Tape& tape,
                                       const RowMatrix<Real>& d_score, RowMatrix<Real>& d_rows) {
  if (d_query_.size() == 0) d_query_.setZero(tape.query.rows(), tape.query.cols());
  const auto count = [](Eigen::Index n) { return static_cast<std::size_t>(n); };
  add_score_gradients<Real>({input.data(), count(input.cols()), nodes, tape.query.data(),
                             count(tape.query.rows()), d_score.data(), d_rows.data(),
                             d_query_.data()});
}

template <class Real>
void TopologyGate<Real>::end_backward() {
  if (d_query_.size() == 0) return;  // of no node
  add_outer(listeners(), d_query_, projection_.grad());
  RowMatrix<Real> d_listeners;
  multiply_transposed(d_query_, projection_.value, d_listeners);
  d_query_.resize(0, 0);
  for (std::size_t t = 0; t < listeners_.size(); ++t)
    listeners_[t].grad() += d_listeners.row(static_cast<Eigen::Index>(t));
}

template <class Real>
void TopologyGate<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  visit(std::string(prefix) + ".projection", projection_);
  for (std::size_t t = 0; t < listeners_.size(); ++t)
    visit(std::string(prefix) + ".listener" + std::to_string(t), listeners_[t]);
}

template <class Real>
void hearing(const RowMatrix<Real>& score, bool logarithm, RowMatrix<Real>& out) {
  out.resize(score.rows(), score.cols());
  const auto tell = logarithm ? log_sigmoids<Real> : sigmoids<Real>;
  tell(score.data(), static_cast<std::size_t>(score.size()), out.data());
}

template <class Real>
void hearing_gradient(const HeardNodes<Real>& all, std::span<const std::uint32_t> nodes,
                      RowMatrix<Real>& d_score) {
  ACCRETE_CHECK(d_score.size() == all.score.size() && all.heard.size() == all.score.size());
  const auto experts = static_cast<std::size_t>(all.score.cols());
  std::vector<Real> hears(experts);
  for (const std::uint32_t u : nodes) {
    Real* const to = row_of(d_score, u);
    const Real* const heard = row_of(all.heard, u);
    if (all.logarithm) sigmoids(row_of(all.score, u), experts, hears.data());
    for (std::size_t t = 0; t < experts; ++t)
      to[t] *= all.logarithm ? Real(1) - hears[t] : heard[t] * (Real(1) - heard[t]);
  }
}

template <class Real>
double graph_block_loss(const RowMatrix<Real>& score, std::span<const std::uint32_t> blocks) {
  const auto experts = static_cast<std::size_t>(score.cols());
  const auto nodes = static_cast<std::size_t>(score.rows());
  if (score.size() == 0) return 0;
  const std::vector<Real> signs = steps(experts, Real(-1));
  const std::size_t at_once = nodes_at_once(experts);
  std::vector<Real> told(at_once * experts);
  double loss = 0;
  for (std::size_t first = 0; first < nodes; first += at_once) {
    const std::size_t count = std::min(at_once, nodes - first);
    for (std::size_t i = 0; i < count; ++i) {
      const Real* const s = row_of(score, first + i);
      const Real* const sign = of_block(signs, blocks[first + i], experts);
      std::transform(s, s + experts, sign, told.data() + i * experts, std::multiplies<Real>());
    }
    log_sigmoids(told.data(), count * experts, told.data());
    for (std::size_t i = 0; i < count * experts; ++i)
      loss -= static_cast<double>(told[i]);
  }
  return loss / static_cast<double>(score.size());
}

template <class Real>
void add_graph_block_gradient(const HeardNodes<Real>& all, std::span<const std::uint32_t> nodes,
                              std::span<const std::uint32_t> blocks, double scale,
                              RowMatrix<Real>& d_score) {
  ACCRETE_CHECK(d_score.size() == all.score.size() && all.heard.size() == all.score.size());
  const auto experts = static_cast<std::size_t>(all.score.cols());
  if (all.score.size() == 0) return;
  const Real factor = static_cast<Real>(scale * (1.0 / static_cast<double>(all.score.size())));
  const std::vector<Real> listens = steps(experts, Real(0));
  std::vector<Real> hears(experts);
  for (const std::uint32_t u : nodes) {
    const Real* b = row_of(all.heard, u);
    if (all.logarithm) {
      sigmoids(row_of(all.score, u), experts, hears.data());
      b = hears.data();
    }
    const Real* const wanted = of_block(listens, blocks[u], experts);
    Real* const to = row_of(d_score, u);
    for (std::size_t t = 0; t < experts; ++t)
      to[t] += factor * (b[t] - wanted[t]);
  }
}

#define ACCRETE_INSTANTIATE(Real)                                                                 \
  template class TopologyGate<Real>;                                                              \
  template void hearing(const RowMatrix<Real>&, bool, RowMatrix<Real>&);                          \
  template void hearing_gradient(const HeardNodes<Real>&, std::span<const std::uint32_t>,         \
                                 RowMatrix<Real>&);                                               \
  template double graph_block_loss(const RowMatrix<Real>&, std::span<const std::uint32_t>);       \
  template void add_graph_block_gradient(const HeardNodes<Real>&, std::span<const std::uint32_t>, \
                                         std::span<const std::uint32_t>, double,                  \
                                         RowMatrix<Real>&);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
