// One walk over all neighbourhoods for the messages of all experts, then one product a weight.
// Messages of one neighbour are made once for all who hear it.
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

constexpr std::uint32_t kNone = 0xFFFF'FFFF;

/// The only neighbour that expert t hears; null if there is none or another.
template <class Real>
const std::uint32_t* only_heard(const ExpertCall<Real>& call, std::size_t t,
                                std::span<const std::uint32_t> neighbours) {
  if (!call.mask_later_blocks) return neighbours.size() == 1 ? neighbours.data() : nullptr;
  const std::uint32_t* only = nullptr;
  for (const std::uint32_t& u : neighbours) {
    if (!call.hears(t, u)) continue;
    if (only != nullptr) return nullptr;
    only = &u;
  }
  return only;
}

/// What expert t makes of node u before the mean.
template <class Real>
Real hearing_of(const ExpertCall<Real>& call, std::size_t t, std::size_t u) {
  return call.heard != nullptr ? row_of(*call.heard, u)[t] : Real(1);
}

/// An expert that a node is given to, and the row of its messages that is this node's.
struct Listener {
  std::uint32_t expert = 0;
  std::size_t row = 0;
};

/// Calls each(relation, neighbours, listeners) for every output and relation with both, outputs
/// ascending: so an expert's messages are filled in the order of its rows. Who hears one neighbour
/// alone is left out.
template <class Real, class Each>
void walk(const ExpertCall<Real>& call, Each each) {
  const std::size_t relations = call.relations.size();
  const Routes<Real>& routes = call.routes;
  const auto read = call.relations_by_table();
  std::vector<std::size_t> next(call.experts * relations, 0);
  std::vector<Listener> listeners(routes.slots);
  for (std::size_t v = 0; v < routes.rows(); ++v) {
    const auto columns = std::span(routes.column).subspan(v * routes.slots, routes.slots);
    for (const std::size_t r : call.read_by(read, v)) {
      const auto neighbours = call.neighbours(r, v);
      if (neighbours.empty()) continue;
      std::size_t count = 0;
      for (const std::uint32_t t : columns) {
        if (t >= call.experts || only_heard(call, t, neighbours) != nullptr) continue;
        listeners[count++] = {t, next[t * relations + r]++};
      }
      if (count > 0) each(r, neighbours, std::span<const Listener>(listeners).first(count));
    }
  }
}

/// What each of n neighbours counts for J listeners, at most two: weights (n, J), b / share of a
/// mean, and behind them (J) what 1 / neighbours heard is for each. Sets those (n + 1) J numbers.
template <class Real>
void listen(const ExpertCall<Real>& call, std::span<const std::uint32_t> neighbours,
            std::span<const Listener> listeners, Real* weight) {
  const std::size_t J = listeners.size();
  const std::size_t n = neighbours.size();
  if (!call.mask_later_blocks) {  // the same in fewer steps: everybody is heard
    const Real share = Real(1) / static_cast<Real>(n);
    for (const std::uint32_t u : neighbours) {
      const Real* const heard = call.heard != nullptr ? row_of(*call.heard, u) : nullptr;
      for (const Listener& listener : listeners)
        *weight++ = share * (heard != nullptr ? heard[listener.expert] : Real(1));
    }
    std::fill_n(weight, J, share);
    return;
  }
  for (std::size_t j = 0; j < J; ++j) {
    const std::size_t t = listeners[j].expert;
    std::size_t heard = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const bool hears = call.hears(t, neighbours[i]);
      heard += hears ? 1 : 0;
      weight[i * J + j] = hears ? hearing_of(call, t, neighbours[i]) : Real(0);
    }
    const Real share = heard > 0 ? Real(1) / static_cast<Real>(heard) : Real(0);
    for (std::size_t i = 0; i < n; ++i)
      weight[i * J + j] *= share;
    weight[n * J + j] = share;
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
  std::size_t bytes = room_bytes(tape.sum, tape.product, d_sum_, d_product_, d_message_) +
                      tape.hearing.capacity() * sizeof(Real) +
                      tape.place.capacity() * sizeof(std::uint32_t);
  for (const auto& own : tape.experts) {
    bytes += room_bytes(own.row) + room_bytes(own.message) + own.norm.room();
    for (const Shared& shared : own.shared)
      bytes += room_bytes(shared.message);
  }
  for (const std::vector<RowMatrix<Real>>& messages : d_messages_)
    bytes += room_bytes(messages);
  return bytes;
}

/// Who of an expert's rows hears whom: one node alone, or more.
template <class Real>
void SageExperts<Real>::find_messages(const ExpertCall<Real>& call, std::size_t t,
                                      Tape& tape) const {
  typename Tape::Expert& own = tape.experts[t];
  own.who.resize(relations_);
  own.message.resize(relations_);
  own.shared.resize(relations_);
  for (std::size_t r = 0; r < relations_; ++r) {
    own.who[r].clear();
    own.shared[r].rows.clear();
    own.shared[r].heard.clear();
    own.shared[r].nodes.clear();
  }
  const auto read = call.relations_by_table();
  const auto rows = call.routes.rows_of(t);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (const std::size_t r : call.read_by(read, rows[i])) {
      const auto neighbours = call.neighbours(r, rows[i]);
      if (neighbours.empty()) continue;
      if (const std::uint32_t* const only = only_heard(call, t, neighbours)) {
        own.shared[r].rows.push_back(static_cast<std::uint32_t>(i));
        own.shared[r].heard.push_back(*only);
      } else {
        own.who[r].push_back(static_cast<std::uint32_t>(i));
      }
    }
  }
  const auto width = static_cast<Eigen::Index>(width_);
  for (std::size_t r = 0; r < relations_; ++r) {
    own.message[r].resize(static_cast<Eigen::Index>(own.who[r].size()), width);
    Shared& shared = own.shared[r];
    for (std::uint32_t& u : shared.heard) {  // from here on its place among the nodes
      std::uint32_t& place = tape.place[u];
      if (place == kNone) {
        place = static_cast<std::uint32_t>(shared.nodes.size());
        shared.nodes.push_back(u);
      }
      u = place;
    }
    shared.message.resize(static_cast<Eigen::Index>(shared.nodes.size()), width);
    for (std::size_t p = 0; p < shared.nodes.size(); ++p) {
      const std::uint32_t u = shared.nodes[p];
      tape.place[u] = kNone;
      shared.message.row(static_cast<Eigen::Index>(p)) =
          hearing_of(call, t, u) * call.input.row(static_cast<Eigen::Index>(u));
    }
  }
}

template <class Real>
void SageExperts<Real>::gather_messages(const ExpertCall<Real>& call, Tape& tape) const {
  tape.experts.resize(std::max(tape.experts.size(), call.experts));
  const auto nodes = static_cast<std::size_t>(call.input.rows());
  if (tape.place.size() < nodes) tape.place.resize(nodes, kNone);
  for (std::size_t t = 0; t < call.experts; ++t)
    find_messages(call, t, tape);
  std::size_t at = 0;
  walk(call, [&](std::size_t r, std::span<const std::uint32_t> neighbours,
                 std::span<const Listener> listeners) {
    const std::size_t step = all_alike(call) ? 1 : kListenersMax;
    const std::size_t walks = all_alike(call) ? 1 : listeners.size();
    std::array<Real*, kListenersMax> to{};
    for (std::size_t j = 0; j < walks; j += step) {
      const auto some = listeners.subspan(j, std::min(step, walks - j));
      const std::size_t weights = neighbours.size() * some.size();
      const std::size_t end = at + weights + some.size();
      if (tape.hearing.size() < end) tape.hearing.resize(2 * end);
      listen(call, neighbours, some, tape.hearing.data() + at);
      for (std::size_t i = 0; i < some.size(); ++i)
        to[i] = row_of(tape.experts[some[i].expert].message[r], some[i].row);
      sum_neighbours<Real>({call.input.data(), width_, neighbours,
                            std::span<const Real>(tape.hearing).subspan(at, weights),
                            std::span(to).first(some.size())});
      at = end;
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
      const RowMatrix<Real>& weights = expert.relations[r].value;
      if (!own.who[r].empty()) multiply_into<Real>(own.message[r], weights, own.who[r], tape.sum);
      const Shared& shared = own.shared[r];
      if (shared.nodes.empty()) continue;
      multiply(shared.message, weights, tape.product);
      for (std::size_t i = 0; i < shared.rows.size(); ++i) {
        add_scaled(Real(1), row_of(tape.product, shared.heard[i]), width_,
                   row_of(tape.sum, shared.rows[i]));
      }
    }
    expert.norm.forward(tape.sum, own.norm, values[t], count, &expert.bias.value);
  }
  return count;
}

template <class Real>
void SageExperts<Real>::backward_expert(const ExpertCall<Real>& call, const Tape& tape,
                                        std::size_t t, const RowMatrix<Real>& d_value,
                                        RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
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
    if (!own.shared[r].nodes.empty()) backward_shared(call, tape, t, r, d_input, d_heard);
  }
}

/// What rows send back to a node that they hear alone is summed first, in their order.
template <class Real>
// NOLINTNEXTLINE(readability-function-size): what goes in and what comes out, each by its name
void SageExperts<Real>::backward_shared(const ExpertCall<Real>& call, const Tape& tape,
                                        std::size_t t, std::size_t r, RowMatrix<Real>& d_input,
                                        RowMatrix<Real>& d_heard) {
  Parameter<Real>& weights = experts_[t].relations[r];
  const Shared& shared = tape.experts[t].shared[r];
  d_product_.setZero(shared.message.rows(), shared.message.cols());
  for (std::size_t i = 0; i < shared.rows.size(); ++i) {
    add_scaled(Real(1), row_of(d_sum_, shared.rows[i]), width_,
               row_of(d_product_, shared.heard[i]));
  }
  if (weights.rate != 0) add_outer(shared.message, d_product_, weights.grad());
  multiply_transposed(d_product_, weights.value, d_message_);
  for (std::size_t p = 0; p < shared.nodes.size(); ++p) {
    const std::uint32_t u = shared.nodes[p];
    const Real* const back = row_of(d_message_, p);
    add_scaled(hearing_of(call, t, u), back, width_, row_of(d_input, u));
    if (call.heard != nullptr)
      row_of(d_heard, u)[t] += fixed_dot(back, row_of(call.input, u), width_);
  }
}

template <class Real>
void SageExperts<Real>::scatter_messages(const ExpertCall<Real>& call, const Tape& tape,
                                         RowMatrix<Real>& d_input, RowMatrix<Real>& d_heard) {
  std::size_t at = 0;
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
      const std::size_t weights = neighbours.size() * some.size();
      d_weight.resize(call.heard != nullptr ? weights : 0);
      add_neighbour_gradients<Real>({call.input.data(), width_, neighbours,
                                     std::span(tape.hearing).subspan(at, weights),
                                     std::span(from).first(some.size()), d_input.data(), d_weight});
      const Real* const share = tape.hearing.data() + at + weights;
      at += weights + some.size();
      const Real* d = d_weight.data();
      for (std::size_t i = 0; i < neighbours.size() && !d_weight.empty(); ++i) {
        Real* const d_row = row_of(d_heard, neighbours[i]);
        for (std::size_t k = 0; k < some.size(); ++k, ++d) {
          if (call.hears(some[k].expert, neighbours[i])) d_row[some[k].expert] += *d * share[k];
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
    backward_expert(call, tape, t, d_values[t], d_input, d_heard);
  }
  scatter_messages(call, tape, d_input, d_heard);
}

template class SageExperts<float>;
template class SageExperts<double>;

}  // namespace accrete::models
