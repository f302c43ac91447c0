// Whom each row hears, what it attends to, and the two-layer network behind.
#include "models/attention_expert.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "models/attention_row.h"
#include "models/expert_start.h"
#include "models/hidden_alignment.h"
#include "models/matrix_product.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

/// How a parameter holds the 2d hidden units, by its name behind the expert's; nothing if it does
/// not.
std::optional<HiddenAxis> hidden_axis(std::string_view name) {
  if (name == ".second") return HiddenAxis::Rows;
  if (name == ".first" || name == ".first_bias" || name.starts_with(".norm.")) {
    return HiddenAxis::Columns;
  }
  return std::nullopt;
}

/// Whom a row hears, and by what.
struct Heard {
  std::vector<std::uint32_t> nodes;  ///< (E)
  std::vector<std::uint32_t> slot;   ///< (E) relation, or R for the row itself
};

/// Calls each(expert, its row, heard) for every output and block expert that it goes to, outputs
/// ascending: so an expert's rows come in their order.
template <class Real, class Each>
void walk(const ExpertCall<Real>& call, Each each) {
  const Routes<Real>& routes = call.routes;
  const auto read = call.relations_by_table();
  std::vector<std::size_t> next(call.experts, 0);
  Heard heard;
  const auto hear = [&](std::size_t t, std::size_t v) {
    heard.nodes.clear();
    heard.slot.clear();
    for (const std::size_t r : call.read_by(read, v)) {
      for (const std::uint32_t u : call.neighbours(r, v)) {
        if (call.hears(t, u)) heard.nodes.push_back(u);
      }
      heard.slot.resize(heard.nodes.size(), static_cast<std::uint32_t>(r));
    }
    heard.nodes.push_back(static_cast<std::uint32_t>(call.first + v));
    heard.slot.push_back(static_cast<std::uint32_t>(call.relations.size()));
  };
  for (std::size_t v = 0; v < routes.rows(); ++v) {
    bool stale = true;
    for (std::size_t i = v * routes.slots; i < (v + 1) * routes.slots; ++i) {
      const std::size_t t = routes.column[i];
      if (t >= call.experts) continue;
      if (stale) hear(t, v);
      stale = call.mask_later_blocks;  // else all experts hear the same nodes
      each(t, next[t]++, std::as_const(heard));
    }
  }
}

}  // namespace

template <class Real>
AttentionExperts<Real>::AttentionExperts(const LayerShape& shape)
    : width_(shape.width), heads_(shape.heads), relations_(shape.relations.size()) {}

template <class Real>
void AttentionExperts<Real>::visit_expert(const std::string& prefix, Expert& expert,
                                          const VisitParameter<Real>& visit) {
  visit(prefix + ".query", expert.query);
  visit(prefix + ".key", expert.key);
  visit(prefix + ".value", expert.value);
  visit(prefix + ".relation_bias", expert.bias);
  visit(prefix + ".output", expert.output);
  visit(prefix + ".first", expert.first);
  visit(prefix + ".first_bias", expert.first_bias);
  expert.norm.visit(prefix + ".norm", visit);
  visit(prefix + ".second", expert.second);
  visit(prefix + ".second_bias", expert.second_bias);
}

template <class Real>
void AttentionExperts<Real>::add(std::size_t parent, Rng& rng) {
  if (parent < experts_.size()) {
    Expert child = experts_[parent];
    visit_expert("", child, [&](std::string_view, Parameter<Real>& p) { start_child(rng, p); });
    experts_.push_back(std::move(child));
    return;
  }
  Expert fresh{{}, {}, {}, {}, {}, {}, {}, NormSilu<Real>(2 * width_), {}, {}};
  for (Parameter<Real>* square : {&fresh.query, &fresh.key, &fresh.value, &fresh.output})
    start_xavier(width_, width_, rng, *square);
  start_xavier(width_, 2 * width_, rng, fresh.first);
  start_xavier(2 * width_, width_, rng, fresh.second);
  fresh.bias.value.setZero(static_cast<Eigen::Index>(relations_ + 1),
                           static_cast<Eigen::Index>(heads_));
  fresh.first_bias.value.setZero(1, static_cast<Eigen::Index>(2 * width_));
  fresh.second_bias.value.setZero(1, static_cast<Eigen::Index>(width_));
  experts_.push_back(std::move(fresh));
}

template <class Real>
void AttentionExperts<Real>::merge(std::size_t first, const UsagePair& usage) {
  ACCRETE_CHECK(first + 1 < experts_.size());
  std::vector<Parameter<Real>*> next;
  visit_expert("", experts_[first + 1],
               [&](std::string_view, Parameter<Real>& p) { next.push_back(&p); });
  std::vector<HiddenPair<Real>> pairs;
  std::vector<Parameter<Real>*> turned;
  std::size_t place = 0;
  visit_expert("", experts_[first], [&](std::string_view name, Parameter<Real>& p) {
    Parameter<Real>& other = *next[place++];
    const auto axis = hidden_axis(name);
    if (!axis) return;
    pairs.push_back({p.value, other.value, *axis});
    turned.push_back(&other);
  });
  const std::vector<std::size_t> order = align_hidden<Real>(pairs);
  for (std::size_t i = 0; i < turned.size(); ++i)
    turned[i]->value = permute_hidden(turned[i]->value, pairs[i].axis, order);
  place = 0;
  visit_expert("", experts_[first], [&](std::string_view, Parameter<Real>& p) {
    p = merged_parameter(p, *next[place++], usage);
  });
  experts_.erase(experts_.begin() + static_cast<std::ptrdiff_t>(first) + 1);
}

template <class Real>
void AttentionExperts<Real>::set_rate(std::size_t expert, double rate) {
  ACCRETE_CHECK(expert < experts_.size());
  visit_expert("", experts_[expert],
               [&](std::string_view, Parameter<Real>& parameter) { parameter.rate = rate; });
}

template <class Real>
void AttentionExperts<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  for (std::size_t t = 0; t < experts_.size(); ++t)
    visit_expert(std::string(prefix) + std::to_string(t), experts_[t], visit);
}

template <class Real>
std::size_t AttentionExperts<Real>::room(const Tape& tape) const {
  std::size_t bytes = room_bytes(tape.work, work_, d_first_, d_query_, head_, d_value_);
  for (const auto& own : tape.experts) {
    bytes +=
        room_bytes(own.query, own.asks, own.mean, own.mixed, own.joined, own.hidden, own.value) +
        own.norm.room() + own.attention.capacity() * sizeof(Real) +
        own.begin.capacity() * sizeof(std::size_t);
  }
  for (const Back& back : backs_)
    bytes += room_bytes(back.row, back.asks);
  return bytes;
}

template <class Real>
void AttentionExperts<Real>::attend(const ExpertCall<Real>& call, Tape& tape) const {
  walk(call, [&](std::size_t t, std::size_t i, const Heard& heard) {
    typename Tape::Expert& own = tape.experts[t];
    const std::size_t E = heard.nodes.size();
    own.begin[i + 1] = own.begin[i] + E * heads_;
    if (own.attention.size() < own.begin[i + 1]) own.attention.resize(2 * own.begin[i + 1]);
    Real* const share = own.attention.data() + own.begin[i];
    const Real* const bias = experts_[t].bias.value.data();
    for (std::size_t e = 0; e < E; ++e)
      share[e] = call.heard != nullptr ? row_of(*call.heard, heard.nodes[e])[t] : Real(0);
    for (std::size_t head = heads_; head-- > 0;) {
      for (std::size_t e = 0; e < E; ++e)
        share[head * E + e] = share[e] + bias[heard.slot[e] * heads_ + head];
    }
    attend_row<Real>({call.input.data(), width_, heads_, heard.nodes, row_of(own.asks, i), share,
                      row_of(own.mean, i)});
  });
}

template <class Real>
SleepCount AttentionExperts<Real>::forward(const ExpertCall<Real>& call, Tape& tape,
                                           RowMatrix<Real>& output) const {
  tape.experts.resize(std::max(tape.experts.size(), call.experts));
  const std::size_t part = width_ / heads_;
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(part));
  for (std::size_t t = 0; t < call.experts; ++t) {
    const Expert& expert = experts_[t];
    typename Tape::Expert& own = tape.experts[t];
    gather_rows(call.head, call.routes.rows_of(t), own.joined);
    multiply(own.joined, expert.query.value, own.query);
    own.query *= scale;
    expand_heads(own.query, expert.key.value, heads_, own.asks);
    own.mean.resize(own.asks.rows(), own.asks.cols());
    own.begin.assign(static_cast<std::size_t>(own.asks.rows()) + 1, 0);
  }
  attend(call, tape);
  SleepCount count;
  for (std::size_t t = 0; t < call.experts; ++t) {
    const Expert& expert = experts_[t];
    typename Tape::Expert& own = tape.experts[t];
    reduce_heads(own.mean, expert.value.value, heads_, own.mixed);
    multiply(own.mixed, expert.output.value, own.joined, true);
    multiply(own.joined, expert.first.value, tape.work);
    expert.norm.forward(tape.work, own.norm, own.hidden, count, &expert.first_bias.value);
    multiply(own.hidden, expert.second.value, own.value);
    const auto rows = call.routes.rows_of(t);
    const auto shares = call.routes.shares_of(t);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Real* const value = row_of(own.value, i);
      add_scaled(Real(1), expert.second_bias.value.data(), width_, value);
      add_scaled(shares[i], value, width_, row_of(output, call.first + rows[i]));
    }
  }
  return count;
}

template <class Real>
void AttentionExperts<Real>::backward_value(const typename Tape::Expert& own,
                                            const RowMatrix<Real>& d_value, std::size_t t) {
  Expert& expert = experts_[t];
  Back& back = backs_[t];
  multiply_transposed(d_value, expert.second.value, work_);
  expert.norm.backward(own.norm, work_, d_first_);
  multiply_transposed(d_first_, expert.first.value, back.row);
  multiply_transposed(back.row, expert.output.value, work_);
  expand_heads(work_, expert.value.value, heads_, back.asks);
  if (expert.query.rate == 0) return;
  add_outer(own.hidden, d_value, expert.second.grad());
  add_column_sums(d_value, expert.second_bias.grad());
  add_outer(own.joined, d_first_, expert.first.grad());
  add_column_sums(d_first_, expert.first_bias.grad());
  add_outer(own.mixed, back.row, expert.output.grad());
  add_head_outer(own.mean, work_, heads_, expert.value.grad());
}

template <class Real>
void AttentionExperts<Real>::attend_backward(const ExpertCall<Real>& call, const Tape& tape,
                                             RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
  std::vector<Real> d_score;
  walk(call, [&](std::size_t t, std::size_t i, const Heard& heard) {
    const typename Tape::Expert& own = tape.experts[t];
    const std::size_t E = heard.nodes.size();
    for (std::size_t e = 0; call.heard != nullptr && e < E; ++e)
      __builtin_prefetch(row_of(d_heard, heard.nodes[e]) + t, 1);
    Real* const d_asks = row_of(backs_[t].asks, i);
    d_score.resize(E * heads_);
    attend_row_gradient<Real>({call.input.data(), width_, heads_, heard.nodes, row_of(own.asks, i),
                               own.attention.data() + own.begin[i], d_asks, d_score.data(), d_asks,
                               d_input.data()});
    Parameter<Real>& bias = experts_[t].bias;
    Real* const d_bias = bias.rate == 0 ? nullptr : bias.grad().data();
    for (std::size_t head = 0; d_bias != nullptr && head < heads_; ++head) {
      for (std::size_t e = 0; e < E; ++e)
        d_bias[heard.slot[e] * heads_ + head] += d_score[head * E + e];
    }
    for (std::size_t e = 0; call.heard != nullptr && e < E; ++e) {
      Real sum = 0;
      for (std::size_t head = 0; head < heads_; ++head)
        sum += d_score[head * E + e];
      row_of(d_heard, heard.nodes[e])[t] += sum;
    }
  });
}

template <class Real>
void AttentionExperts<Real>::backward_query(const ExpertCall<Real>& call,
                                            const typename Tape::Expert& own, std::size_t t,
                                            RowMatrix<Real>& d_input) {
  Expert& expert = experts_[t];
  Back& back = backs_[t];
  const auto rows = call.routes.rows_of(t);
  const std::size_t part = width_ / heads_;
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(part));
  reduce_heads(back.asks, expert.key.value, heads_, d_query_);
  d_query_ *= scale;
  multiply_transposed(d_query_, expert.query.value, back.row, true);
  add_rows(back.row, rows, d_input);
  if (expert.query.rate == 0) return;
  gather_rows(call.head, rows, head_);
  add_outer(head_, d_query_, expert.query.grad());
  add_head_outer(back.asks, own.query, heads_, expert.key.grad());
}

template <class Real>
void AttentionExperts<Real>::backward(const ExpertCall<Real>& call, const Tape& tape,
                                      const RowMatrix<Real>& d_output,
                                      const ExpertGradients<Real>& gradients) {
  backs_.resize(std::max(backs_.size(), call.experts));
  for (std::size_t t = 0; t < call.experts; ++t) {
    const auto rows = call.routes.rows_of(t);
    const auto shares = call.routes.shares_of(t);
    const auto d_share = gradients.share_of(call.routes, t);
    d_value_.resize(static_cast<Eigen::Index>(rows.size()), d_output.cols());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      d_share[i] = fixed_dot(row_of(d_output, rows[i]), row_of(tape.experts[t].value, i), width_);
      d_value_.row(static_cast<Eigen::Index>(i)) =
          shares[i] * d_output.row(static_cast<Eigen::Index>(rows[i]));
    }
    backward_value(tape.experts[t], d_value_, t);
  }
  attend_backward(call, tape, gradients.d_input, gradients.d_heard);
  for (std::size_t t = 0; t < call.experts; ++t)
    backward_query(call, tape.experts[t], t, gradients.d_input);
}

template class AttentionExperts<float>;
template class AttentionExperts<double>;

}  // namespace accrete::models
