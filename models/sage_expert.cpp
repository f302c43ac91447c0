// One walk over all neighbourhoods for the messages of all experts, then one product a weight.
#include "models/sage_expert.h"

#include <algorithm>
#include <array>
#include <string>

#include "models/expert_start.h"
#include "models/matrix_product.h"
#include "models/neighbour_sum.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

/// An expert that a node is given to, and the row of its messages that is this node's.
struct Listener {
  std::uint32_t expert = 0;
  std::size_t row = 0;
};

/// Calls each(relation, neighbours, listeners) for every output and relation with both, outputs
/// ascending: so an expert's messages are filled in the order of its rows.
template <class Real, class Each>
void walk(const ExpertCall<Real>& call, Each each) {
  const std::size_t relations = call.relations.size();
  const Routes<Real>& routes = call.routes;
  const auto read = call.relations_by_table();
  std::vector<std::size_t> next(call.experts * relations, 0);
  std::vector<Listener> listeners;
  for (std::size_t v = 0; v < routes.rows(); ++v) {
    listeners.clear();
    for (std::size_t i = v * routes.slots; i < (v + 1) * routes.slots; ++i) {
      if (routes.column[i] < call.experts) listeners.push_back({routes.column[i], 0});
    }
    if (listeners.empty()) continue;
    for (const std::size_t r : call.read_by(read, v)) {
      const auto neighbours = call.neighbours(r, v);
      if (neighbours.empty()) continue;
      for (Listener& listener : listeners)
        listener.row = next[listener.expert * relations + r]++;
      each(r, neighbours, std::span<const Listener>(listeners));
    }
  }
}

/// What each neighbour counts for at most two listeners.
template <class Real>
struct Hearing {
  std::vector<Real> weight;                 ///< (n, J) b / share of a mean
  std::array<Real, kListenersMax> share{};  ///< 1 / neighbours heard
};

template <class Real>
void listen(const ExpertCall<Real>& call, std::span<const std::uint32_t> neighbours,
            std::span<const Listener> listeners, Hearing<Real>& hearing) {
  const std::size_t J = listeners.size();
  hearing.weight.resize(neighbours.size() * J);
  if (!call.mask_later_blocks) {  // the same in fewer steps: everybody is heard
    const Real share = Real(1) / static_cast<Real>(neighbours.size());
    hearing.share.fill(share);
    Real* weight = hearing.weight.data();
    for (const std::uint32_t u : neighbours) {
      const Real* const heard = call.heard != nullptr ? row_of(*call.heard, u) : nullptr;
      for (const Listener& listener : listeners)
        *weight++ = share * (heard != nullptr ? heard[listener.expert] : Real(1));
    }
    return;
  }
  for (std::size_t j = 0; j < J; ++j) {
    const std::size_t t = listeners[j].expert;
    std::size_t heard = 0;
    for (std::size_t i = 0; i < neighbours.size(); ++i) {
      const std::size_t u = neighbours[i];
      const bool hears = call.hears(t, u);
      heard += hears ? 1 : 0;
      const Real b = call.heard != nullptr ? row_of(*call.heard, u)[t] : Real(1);
      hearing.weight[i * J + j] = hears ? b : Real(0);
    }
    hearing.share[j] = heard > 0 ? Real(1) / static_cast<Real>(heard) : Real(0);
    for (std::size_t i = 0; i < neighbours.size(); ++i)
      hearing.weight[i * J + j] *= hearing.share[j];
  }
}

/// Whether all listeners of a node hear the same.
template <class Real>
bool all_alike(const ExpertCall<Real>& call) {
  return call.heard == nullptr && !call.mask_later_blocks;
}

}  // namespace

template <class Real>
SageExperts<Real>::SageExperts(const LayerShape& shape)
    : width_(shape.width), relations_(shape.relations.size()) {}

template <class Real>
void SageExperts<Real>::visit_expert(const std::string& prefix, Expert& expert,
                                     const VisitParameter<Real>& visit) {
  visit(prefix + ".own", expert.own);
  for (std::size_t r = 0; r < expert.relations.size(); ++r)
    visit(prefix + ".relation" + std::to_string(r), expert.relations[r]);
  visit(prefix + ".bias", expert.bias);
  expert.norm.visit(prefix + ".norm", visit);
}

template <class Real>
void SageExperts<Real>::add(std::size_t parent, Rng& rng) {
  if (parent < experts_.size()) {
    Expert child = experts_[parent];
    visit_expert("", child, [&](std::string_view, Parameter<Real>& p) { start_child(rng, p); });
    experts_.push_back(std::move(child));
    return;
  }
  Expert fresh{{}, std::vector<Parameter<Real>>(relations_), {}, NormSilu<Real>(width_)};
  start_xavier(width_, width_, rng, fresh.own);
  for (Parameter<Real>& relation : fresh.relations)
    start_xavier(width_, width_, rng, relation);
  fresh.bias.value.setZero(1, static_cast<Eigen::Index>(width_));
  experts_.push_back(std::move(fresh));
}

template <class Real>
void SageExperts<Real>::merge(std::size_t first, const UsagePair& usage) {
  ACCRETE_CHECK(first + 1 < experts_.size());
  std::vector<const Parameter<Real>*> next;
  visit_expert("", experts_[first + 1],
               [&](std::string_view, Parameter<Real>& p) { next.push_back(&p); });
  std::size_t place = 0;
  visit_expert("", experts_[first], [&](std::string_view, Parameter<Real>& p) {
    p = merged_parameter(p, *next[place++], usage);
  });
  experts_.erase(experts_.begin() + static_cast<std::ptrdiff_t>(first) + 1);
}

template <class Real>
void SageExperts<Real>::set_rate(std::size_t expert, double rate) {
  ACCRETE_CHECK(expert < experts_.size());
  visit_expert("", experts_[expert],
               [&](std::string_view, Parameter<Real>& parameter) { parameter.rate = rate; });
}

template <class Real>
void SageExperts<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  for (std::size_t t = 0; t < experts_.size(); ++t)
    visit_expert(std::string(prefix) + std::to_string(t), experts_[t], visit);
}

template <class Real>
std::size_t SageExperts<Real>::room(const Tape& tape) const {
  std::size_t bytes = room_bytes(tape.sum, d_sum_);
  for (const auto& own : tape.experts)
    bytes += room_bytes(own.row) + room_bytes(own.message) + own.norm.room();
  for (const std::vector<RowMatrix<Real>>& messages : d_messages_)
    bytes += room_bytes(messages);
  return bytes;
}

template <class Real>
void SageExperts<Real>::gather_messages(const ExpertCall<Real>& call, Tape& tape) const {
  tape.experts.resize(std::max(tape.experts.size(), call.experts));
  const auto read = call.relations_by_table();
  for (std::size_t t = 0; t < call.experts; ++t) {
    typename Tape::Expert& own = tape.experts[t];
    own.who.resize(relations_);
    own.message.resize(relations_);
    const auto rows = call.routes.rows_of(t);
    for (std::vector<std::uint32_t>& who : own.who)
      who.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (const std::size_t r : call.read_by(read, rows[i])) {
        if (!call.neighbours(r, rows[i]).empty())
          own.who[r].push_back(static_cast<std::uint32_t>(i));
      }
    }
    for (std::size_t r = 0; r < relations_; ++r) {
      own.message[r].resize(static_cast<Eigen::Index>(own.who[r].size()),
                            static_cast<Eigen::Index>(width_));
    }
  }
  Hearing<Real> hearing;
  walk(call, [&](std::size_t r, std::span<const std::uint32_t> neighbours,
                 std::span<const Listener> listeners) {
    const std::size_t step = all_alike(call) ? 1 : kListenersMax;
    const std::size_t walks = all_alike(call) ? 1 : listeners.size();
    std::array<Real*, kListenersMax> to{};
    for (std::size_t j = 0; j < walks; j += step) {
      const auto some = listeners.subspan(j, std::min(step, walks - j));
      listen(call, neighbours, some, hearing);
      for (std::size_t i = 0; i < some.size(); ++i)
        to[i] = row_of(tape.experts[some[i].expert].message[r], some[i].row);
      sum_neighbours<Real>({call.input.data(), width_, neighbours, hearing.weight,
                            std::span(to).first(some.size())});
    }
    for (const Listener& other : listeners.subspan(walks)) {
      std::copy_n(to[0], width_, row_of(tape.experts[other.expert].message[r], other.row));
    }
  });
}

template <class Real>
SleepCount SageExperts<Real>::forward(const ExpertCall<Real>& call, Tape& tape,
                                      std::vector<RowMatrix<Real>>& values) const {
  gather_messages(call, tape);
  values.resize(std::max(values.size(), call.experts));
  SleepCount count;
  for (std::size_t t = 0; t < call.experts; ++t) {
    const Expert& expert = experts_[t];
    typename Tape::Expert& own = tape.experts[t];
    gather_rows(call.head, call.routes.rows_of(t), own.row);
    multiply(own.row, expert.own.value, tape.sum);
    for (std::size_t r = 0; r < relations_; ++r) {
      if (own.who[r].empty()) continue;
      multiply_into<Real>(own.message[r], expert.relations[r].value, own.who[r], tape.sum);
    }
    expert.norm.forward(tape.sum, own.norm, values[t], count, &expert.bias.value);
  }
  return count;
}

template <class Real>
void SageExperts<Real>::backward_expert(const ExpertCall<Real>& call, const Tape& tape,
                                        std::size_t t, const RowMatrix<Real>& d_value,
                                        RowMatrix<Real>& d_input) {
  Expert& expert = experts_[t];
  const typename Tape::Expert& own = tape.experts[t];
  const auto rows = call.routes.rows_of(t);
  const bool frozen = expert.own.rate == 0;
  expert.norm.backward(own.norm, d_value, d_sum_);
  if (!frozen) {
    add_outer(own.row, d_sum_, expert.own.grad());
    add_column_sums(d_sum_, expert.bias.grad());
  }
  multiply_transposed_into(d_sum_, expert.own.value, rows, d_input);
  for (std::size_t r = 0; r < relations_; ++r) {
    const std::vector<std::uint32_t>& who = own.who[r];
    if (!frozen && !who.empty())
      add_outer_rows<Real>(own.message[r], d_sum_, who, expert.relations[r].grad());
    multiply_rows_transposed<Real>(d_sum_, who, expert.relations[r].value, d_messages_[t][r]);
  }
}

template <class Real>
void SageExperts<Real>::scatter_messages(const ExpertCall<Real>& call, RowMatrix<Real>& d_input,
                                         RowMatrix<Real>& d_heard) {
  Hearing<Real> hearing;
  std::vector<Real> d_weight;
  walk(call, [&](std::size_t r, std::span<const std::uint32_t> neighbours,
                 std::span<const Listener> listeners) {
    if (all_alike(call)) {  // one walk for the sum of what all experts send back
      Real* const first = row_of(d_messages_[listeners[0].expert][r], listeners[0].row);
      for (const Listener& other : listeners.subspan(1))
        add_scaled(Real(1), row_of(d_messages_[other.expert][r], other.row), width_, first);
      listeners = listeners.first(1);
    }
    for (std::size_t j = 0; j < listeners.size(); j += kListenersMax) {
      const auto some = listeners.subspan(j, std::min(kListenersMax, listeners.size() - j));
      std::array<const Real*, kListenersMax> from{};
      for (std::size_t i = 0; i < some.size(); ++i)
        from[i] = row_of(d_messages_[some[i].expert][r], some[i].row);
      for (std::size_t i = 0; call.heard != nullptr && i < neighbours.size(); ++i) {
        for (const Listener& listener : some)
          __builtin_prefetch(row_of(d_heard, neighbours[i]) + listener.expert, 1);
      }
      listen(call, neighbours, some, hearing);
      d_weight.resize(call.heard != nullptr ? hearing.weight.size() : 0);
      add_neighbour_gradients<Real>({call.input.data(), width_, neighbours, hearing.weight,
                                     std::span(from).first(some.size()), d_input.data(), d_weight});
      const Real* d = d_weight.data();
      for (std::size_t i = 0; i < neighbours.size() && !d_weight.empty(); ++i) {
        Real* const d_row = row_of(d_heard, neighbours[i]);
        for (std::size_t k = 0; k < some.size(); ++k, ++d) {
          if (call.hears(some[k].expert, neighbours[i]))
            d_row[some[k].expert] += *d * hearing.share[k];
        }
      }
    }
  });
}

template <class Real>
void SageExperts<Real>::backward(const ExpertCall<Real>& call, const Tape& tape,
                                 const std::vector<RowMatrix<Real>>& d_values,
                                 RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
  d_messages_.resize(std::max(d_messages_.size(), call.experts));
  for (std::size_t t = 0; t < call.experts; ++t) {
    d_messages_[t].resize(relations_);
    backward_expert(call, tape, t, d_values[t], d_input);
  }
  scatter_messages(call, d_input, d_heard);
}

template class SageExperts<float>;
template class SageExperts<double>;

}  // namespace accrete::models
