// Whom each row hears, what it attends to, and the two-layer network behind.
#include "models/attention_expert.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "models/expert_start.h"
#include "models/hidden_alignment.h"
#include "models/matrix_product.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::uint32_t kUnseen = std::numeric_limits<std::uint32_t>::max();

/// How a parameter holds the 2d hidden units, by its name behind the expert's; nothing if it does
/// not.
std::optional<HiddenAxis> hidden_axis(std::string_view name) {
  if (name == ".second") return HiddenAxis::Rows;
  if (name == ".first" || name == ".first_bias" || name.starts_with(".norm.")) {
    return HiddenAxis::Columns;
  }
  return std::nullopt;
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
  std::size_t bytes = 0;
  for (const auto& own : tape.experts) {
    bytes += room_bytes(own.query, own.key, own.value, own.mixed, own.joined, own.hidden) +
             own.norm.room() + own.attention.capacity() * sizeof(Real) +
             (own.heard.capacity() + own.slot.capacity()) * sizeof(std::uint32_t);
  }
  return bytes;
}

/// Edges of the rows of expert t, and the nodes at their ends.
template <class Real>
void AttentionExperts<Real>::collect(const ExpertCall<Real>& call, std::size_t t, Tape& tape,
                                     typename Tape::Expert& own) const {
  own.nodes.clear();
  own.begin.assign(1, 0);
  own.heard.clear();
  own.slot.clear();
  const auto hear = [&](std::size_t u, std::size_t slot) {
    if (tape.index[u] == kUnseen) {
      tape.index[u] = static_cast<std::uint32_t>(own.nodes.size());
      own.nodes.push_back(static_cast<std::uint32_t>(u));
    }
    own.heard.push_back(tape.index[u]);
    own.slot.push_back(static_cast<std::uint32_t>(slot));
  };
  for (const std::uint32_t v : call.routes.rows_of(t)) {
    for (std::size_t r = 0; r < relations_; ++r) {
      for (const std::uint32_t u : call.neighbours(r, v)) {
        if (call.hears(t, u)) hear(u, r);
      }
    }
    hear(call.first + v, relations_);
    own.begin.push_back(static_cast<std::uint32_t>(own.heard.size()));
  }
  for (const std::uint32_t u : own.nodes)
    tape.index[u] = kUnseen;
}

template <class Real>
void AttentionExperts<Real>::attend(const ExpertCall<Real>& call, std::size_t t,
                                    typename Tape::Expert& own) const {
  const std::size_t part = width_ / heads_;
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(part));
  const RowMatrix<Real>& bias = experts_[t].bias.value;
  own.attention.resize(own.heard.size() * heads_);
  own.mixed.setZero(own.query.rows(), own.query.cols());
  for (std::size_t i = 0; i + 1 < own.begin.size(); ++i) {
    for (std::size_t head = 0; head < heads_; ++head) {
      const Real* const query = row_of(own.query, i) + head * part;
      Real* const mixed = row_of(own.mixed, i) + head * part;
      Real top = -std::numeric_limits<Real>::infinity();
      for (std::size_t e = own.begin[i]; e < own.begin[i + 1]; ++e) {
        const std::size_t u = own.heard[e];
        Real score = scale * fixed_dot(query, row_of(own.key, u) + head * part, part);
        score += row_of(bias, own.slot[e])[head];
        if (call.heard != nullptr) score += row_of(*call.heard, own.nodes[u])[t];
        own.attention[e * heads_ + head] = score;
        top = std::max(top, score);
      }
      Real total = 0;
      for (std::size_t e = own.begin[i]; e < own.begin[i + 1]; ++e) {
        Real& a = own.attention[e * heads_ + head];
        a = std::exp(a - top);
        total += a;
      }
      for (std::size_t e = own.begin[i]; e < own.begin[i + 1]; ++e) {
        Real& a = own.attention[e * heads_ + head];
        a /= total;
        add_scaled(a, row_of(own.value, own.heard[e]) + head * part, part, mixed);
      }
    }
  }
}

template <class Real>
SleepCount AttentionExperts<Real>::forward(const ExpertCall<Real>& call, Tape& tape,
                                           std::vector<RowMatrix<Real>>& values) const {
  tape.experts.resize(std::max(tape.experts.size(), call.experts));
  // collect() leaves it as it was.
  tape.index.resize(static_cast<std::size_t>(call.input.rows()), kUnseen);
  values.resize(std::max(values.size(), call.experts));
  SleepCount count;
  RowMatrix<Real> work;
  for (std::size_t t = 0; t < call.experts; ++t) {
    const Expert& expert = experts_[t];
    typename Tape::Expert& own = tape.experts[call.keep ? t : 0];
    collect(call, t, tape, own);
    gather_rows<Real>(call.input, own.nodes, work);
    multiply(work, expert.key.value, own.key);
    multiply(work, expert.value.value, own.value);
    gather_rows(call.head, call.routes.rows_of(t), own.joined);
    multiply(own.joined, expert.query.value, own.query);
    attend(call, t, own);
    multiply(own.mixed, expert.output.value, own.joined, true);
    multiply(own.joined, expert.first.value, work);
    work.rowwise() += expert.first_bias.value.row(0);
    expert.norm.forward(work, own.norm, own.hidden, count);
    multiply(own.hidden, expert.second.value, values[t]);
    values[t].rowwise() += expert.second_bias.value.row(0);
  }
  return count;
}

/// Of one row and head: d_score (E of the row) is set; query, key and value of `back` +=.
template <class Real>
void AttentionExperts<Real>::head_backward(const typename Tape::Expert& own, std::size_t i,
                                           std::size_t head, Back& back,
                                           std::vector<Real>& d_score) const {
  const std::size_t part = width_ / heads_;
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(part));
  const std::size_t from = own.begin[i];
  const std::size_t edges = own.begin[i + 1] - from;
  const Real* const d_mixed = row_of(back.mixed, i) + head * part;
  d_score.resize(edges);
  Real mean = 0;
  for (std::size_t e = 0; e < edges; ++e) {
    const Real a = own.attention[(from + e) * heads_ + head];
    const std::size_t u = own.heard[from + e];
    d_score[e] = fixed_dot(d_mixed, row_of(own.value, u) + head * part, part);
    mean += a * d_score[e];
    add_scaled(a, d_mixed, part, row_of(back.value, u) + head * part);
  }
  const Real* const query = row_of(own.query, i) + head * part;
  Real* const d_query = row_of(back.query, i) + head * part;
  for (std::size_t e = 0; e < edges; ++e) {
    const std::size_t u = own.heard[from + e];
    d_score[e] = own.attention[(from + e) * heads_ + head] * (d_score[e] - mean);
    add_scaled(scale * d_score[e], row_of(own.key, u) + head * part, part, d_query);
    add_scaled(scale * d_score[e], query, part, row_of(back.key, u) + head * part);
  }
}

template <class Real>
void AttentionExperts<Real>::attend_backward(const ExpertCall<Real>& call, std::size_t t,
                                             const typename Tape::Expert& own, Back& back,
                                             RowMatrix<Real>& d_heard) {
  Parameter<Real>& bias = experts_[t].bias;
  Real* const d_bias = bias.rate == 0 ? nullptr : bias.grad().data();
  back.query.setZero(own.query.rows(), own.query.cols());
  back.key.setZero(own.key.rows(), own.key.cols());
  back.value.setZero(own.value.rows(), own.value.cols());
  std::vector<Real> d_score;
  for (std::size_t i = 0; i + 1 < own.begin.size(); ++i) {
    for (std::size_t head = 0; head < heads_; ++head) {
      head_backward(own, i, head, back, d_score);
      for (std::size_t e = 0; e < d_score.size(); ++e) {
        const std::size_t edge = own.begin[i] + e;
        if (d_bias != nullptr) d_bias[own.slot[edge] * heads_ + head] += d_score[e];
        if (call.heard != nullptr) row_of(d_heard, own.nodes[own.heard[edge]])[t] += d_score[e];
      }
    }
  }
}

template <class Real>
void AttentionExperts<Real>::backward_expert(const ExpertCall<Real>& call, std::size_t t,
                                             const typename Tape::Expert& own,
                                             const RowMatrix<Real>& d_value,
                                             RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
  Expert& expert = experts_[t];
  const auto rows = call.routes.rows_of(t);
  const bool frozen = expert.query.rate == 0;
  RowMatrix<Real> work;
  RowMatrix<Real> d_first;
  RowMatrix<Real> d_row;
  Back back;
  multiply_transposed(d_value, expert.second.value, work);
  expert.norm.backward(own.norm, work, d_first);
  multiply_transposed(d_first, expert.first.value, d_row);
  multiply_transposed(d_row, expert.output.value, back.mixed);
  if (!frozen) {
    add_outer(own.hidden, d_value, expert.second.grad());
    add_column_sums(d_value, expert.second_bias.grad());
    add_outer(own.joined, d_first, expert.first.grad());
    add_column_sums(d_first, expert.first_bias.grad());
    add_outer(own.mixed, d_row, expert.output.grad());
  }
  attend_backward(call, t, own, back, d_heard);
  multiply_transposed(back.query, expert.query.value, d_row, true);
  add_rows(d_row, rows, d_input);
  if (!frozen) {
    gather_rows(call.head, rows, work);
    add_outer(work, back.query, expert.query.grad());
    gather_rows<Real>(call.input, own.nodes, work);
    add_outer(work, back.key, expert.key.grad());
    add_outer(work, back.value, expert.value.grad());
  }
  multiply_transposed(back.key, expert.key.value, work);
  multiply_transposed(back.value, expert.value.value, work, true);
  add_rows<Real>(work, own.nodes, d_input);
}

template <class Real>
void AttentionExperts<Real>::backward(const ExpertCall<Real>& call, const Tape& tape,
                                      const std::vector<RowMatrix<Real>>& d_values,
                                      RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
  for (std::size_t t = 0; t < call.experts; ++t)
    backward_expert(call, t, tape.experts[t], d_values[t], d_input, d_heard);
}

template class AttentionExperts<float>;
template class AttentionExperts<double>;

}  // namespace accrete::models
