// One walk over all neighbourhoods for the messages of all experts, then one product a weight.
// Messages of one neighbour are made once for all who hear it.
#include "models/sage_expert.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "models/expert_start.h"
#include "models/matrix_product.h"
#include "models/neighbour_sum.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::uint32_t kNone = 0xFFFF'FFFF;
constexpr std::size_t kLine = 64;  // bytes
// Whom a node hears lies where nothing near was read: so many hearings before, their list is sent
// for.
constexpr std::size_t kHearingsAhead = 3;

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

/// The same for J listeners where all neighbours are heard.
template <std::size_t J, class Real, class Listener>
void listen_to_all(const ExpertCall<Real>& call, std::span<const std::uint32_t> neighbours,
                   std::span<const Listener> listeners, Real* weight) {
  const Real share = Real(1) / static_cast<Real>(neighbours.size());
  if (call.heard == nullptr) {
    std::fill_n(weight, (neighbours.size() + 1) * J, share);
    return;
  }
  std::array<std::size_t, J> expert{};
  for (std::size_t j = 0; j < J; ++j)
    expert[j] = listeners[j].expert;
  const std::size_t T = call.experts;
  const Real* const heard = call.heard->data();
  for (const std::uint32_t u : neighbours) {
    for (std::size_t j = 0; j < J; ++j)
      *weight++ = share * heard[u * T + expert[j]];
  }
  std::fill_n(weight, J, share);
}

/// What each of n neighbours counts for J listeners, at most two: weights (n, J), b / share of a
/// mean, and behind them (J) what 1 / neighbours heard is for each. Sets those (n + 1) J numbers.
template <class Real, class Listener>
void listen(const ExpertCall<Real>& call, std::span<const std::uint32_t> neighbours,
            std::span<const Listener> listeners, Real* weight) {
  const std::size_t J = listeners.size();
  const std::size_t n = neighbours.size();
  static_assert(kListenersMax == 2);
  if (!call.mask_later_blocks && J == 1)
    return listen_to_all<1>(call, neighbours, listeners, weight);
  if (!call.mask_later_blocks) return listen_to_all<2>(call, neighbours, listeners, weight);
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

/// Whom the experts of a node hear by a relation, and which of them hear several.
template <class Listener>
struct Walked {
  std::size_t relation = 0;
  std::span<const std::uint32_t> neighbours;
  std::span<const Listener> listeners;
};

/// Calls each(walked, next) for all hearings; behind the last comes one of nobody.
template <class Real, class Tape, class Each>
void walk(const ExpertCall<Real>& call, const Tape& tape, Each each) {
  const std::span listeners(tape.listeners);
  Walked<typename decltype(listeners)::value_type> next;
  std::size_t first = 0;
  for (std::size_t i = 0; i <= tape.hearings.size(); ++i) {
    const auto walked = std::exchange(next, {});
    if (i + kHearingsAhead < tape.hearings.size()) {
      const auto& later = tape.hearings[i + kHearingsAhead];
      const auto& all = call.batch.relations[later.relation].source;
      for (std::size_t k = 0; k < later.count; k += kLine / sizeof(std::uint32_t))
        __builtin_prefetch(all.data() + later.begin + k);
      __builtin_prefetch(all.data() + later.begin + later.count - 1);  // of a line that it shares
    }
    if (i < tape.hearings.size()) {
      const auto& hearing = tape.hearings[i];
      const std::span all(call.batch.relations[hearing.relation].source);
      next = {hearing.relation, all.subspan(hearing.begin, hearing.count),
              listeners.subspan(first, hearing.listeners)};
      first += hearing.listeners;
    }
    if (i > 0) each(walked, next);
  }
}

/// Sends for a row that is read, or written, soon.
template <class Real>
void fetch_row(const RowMatrix<Real>& matrix, std::size_t row) {
  const Real* const from = row_of(matrix, row);
  for (std::size_t c = 0; c < static_cast<std::size_t>(matrix.cols()); c += kLine / sizeof(Real))
    __builtin_prefetch(from + c, 1);
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
  std::size_t bytes = room_bytes(tape.messages, tape.sum, tape.product, d_messages_, head_, d_sum_,
                                 d_product_, d_message_) +
                      tape.norm.room() + tape.hearings.capacity() * sizeof(Hearing) +
                      tape.listeners.capacity() * sizeof(Listener) +
                      tape.heard.capacity() * sizeof(Real) +
                      tape.place.capacity() * sizeof(std::uint32_t);
  for (const auto& own : tape.experts) {
    for (const Shared& shared : own.shared)
      bytes += room_bytes(shared.message);
  }
  return bytes;
}

/// Who of the experts' rows hears whom: one node alone, or more.
template <class Real>
void SageExperts<Real>::find_messages(const ExpertCall<Real>& call, Tape& tape) const {
  tape.hearings.clear();
  tape.listeners.clear();
  for (std::size_t t = 0; t < call.experts; ++t) {
    typename Tape::Expert& own = tape.experts[t];
    own.who.resize(relations_);
    own.first.resize(relations_);
    own.shared.resize(relations_);
    for (std::size_t r = 0; r < relations_; ++r) {
      own.who[r].clear();
      own.shared[r].rows.clear();
      own.shared[r].heard.clear();
    }
  }
  const Routes<Real>& routes = call.routes;
  const auto read = call.relations_by_table();
  std::vector<std::uint32_t> next(call.experts, 0);  // row of each expert
  for (std::size_t v = 0; v < routes.rows(); ++v) {
    const auto columns = std::span(routes.column).subspan(v * routes.slots, routes.slots);
    for (const std::size_t r : call.read_by(read, v)) {
      const auto neighbours = call.neighbours(r, v);
      if (neighbours.empty()) continue;
      const std::size_t before = tape.listeners.size();
      for (const std::uint32_t t : columns) {
        if (t >= call.experts) continue;
        typename Tape::Expert& own = tape.experts[t];
        if (const std::uint32_t* const only = only_heard(call, t, neighbours)) {
          own.shared[r].rows.push_back(next[t]);
          own.shared[r].heard.push_back(*only);  // the node, until share_messages() numbers it
        } else {
          tape.listeners.push_back({t, static_cast<std::uint32_t>(own.who[r].size())});
          own.who[r].push_back(next[t]);
        }
      }
      if (tape.listeners.size() == before) continue;
      const auto begin = neighbours.data() - call.batch.relations[r].source.data();
      tape.hearings.push_back({static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(begin),
                               static_cast<std::uint32_t>(neighbours.size()),
                               static_cast<std::uint32_t>(tape.listeners.size() - before)});
    }
    for (const std::uint32_t t : columns) {
      if (t < call.experts) ++next[t];
    }
  }
}

/// Messages of the nodes that rows of an expert hear alone by a relation.
template <class Real>
void SageExperts<Real>::share_messages(const ExpertCall<Real>& call, std::size_t t, std::size_t r,
                                       Tape& tape) const {
  Shared& shared = tape.experts[t].shared[r];
  shared.nodes.clear();
  for (std::uint32_t& heard : shared.heard) {
    std::uint32_t& place = tape.place[heard];
    if (place == kNone) {
      place = static_cast<std::uint32_t>(shared.nodes.size());
      shared.nodes.push_back(heard);
    }
    heard = place;
  }
  shared.message.resize(static_cast<Eigen::Index>(shared.nodes.size()),
                        static_cast<Eigen::Index>(width_));
  for (std::size_t p = 0; p < shared.nodes.size(); ++p) {
    const std::uint32_t u = shared.nodes[p];
    tape.place[u] = kNone;
    shared.message.row(static_cast<Eigen::Index>(p)) =
        hearing_of(call, t, u) * call.input.row(static_cast<Eigen::Index>(u));
  }
}

template <class Real>
void SageExperts<Real>::gather_messages(const ExpertCall<Real>& call, Tape& tape) const {
  tape.experts.resize(std::max(tape.experts.size(), call.experts));
  const auto nodes = static_cast<std::size_t>(call.input.rows());
  if (tape.place.size() < nodes) tape.place.resize(nodes, kNone);
  find_messages(call, tape);
  std::size_t rows = 0;
  for (std::size_t t = 0; t < call.experts; ++t) {
    typename Tape::Expert& own = tape.experts[t];
    for (std::size_t r = 0; r < relations_; ++r) {
      own.first[r] = rows;
      rows += own.who[r].size();
      share_messages(call, t, r, tape);
    }
  }
  tape.messages.resize(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(width_));
  std::size_t numbers = 0;
  for (const Hearing& hearing : tape.hearings)
    numbers += std::size_t{hearing.listeners} * (hearing.count + 1);
  if (tape.heard.size() < numbers) tape.heard.resize(numbers);
  std::size_t at = 0;
  walk(call, tape, [&](const Walked<Listener>& walked, const Walked<Listener>& next) {
    const auto [r, neighbours, listeners] = walked;
    const std::size_t step = all_alike(call) ? 1 : kListenersMax;
    const std::size_t walks = all_alike(call) ? 1 : listeners.size();
    for (std::size_t i = 0; call.heard != nullptr && i < next.neighbours.size(); ++i)
      __builtin_prefetch(row_of(*call.heard, next.neighbours[i]) + next.listeners[0].expert);
    for (const Listener& later : next.listeners)
      fetch_row(tape.messages, row_of_message(tape, later, next.relation));
    std::array<Real*, kListenersMax> to{};
    for (std::size_t j = 0; j < walks; j += step) {
      const auto some = listeners.subspan(j, std::min(step, walks - j));
      const std::size_t weights = neighbours.size() * some.size();
      const std::size_t end = at + weights + some.size();
      listen(call, neighbours, some, tape.heard.data() + at);
      for (std::size_t i = 0; i < some.size(); ++i)
        to[i] = row_of(tape.messages, row_of_message(tape, some[i], r));
      sum_neighbours<Real>({call.input.data(), width_, neighbours,
                            std::span<const Real>(tape.heard).subspan(at, weights),
                            std::span(to).first(some.size()), next.neighbours});
      at = end;
    }
    for (const Listener& other : listeners.subspan(walks)) {
      std::copy_n(to[0], width_, row_of(tape.messages, row_of_message(tape, other, r)));
    }
  });
}

template <class Real>
SleepCount SageExperts<Real>::forward(const ExpertCall<Real>& call, Tape& tape,
                                      RowMatrix<Real>& output) const {
  gather_messages(call, tape);
  tape.norm.resize(call.routes.begin[call.experts], width_);
  SleepCount count;
  for (std::size_t t = 0; t < call.experts; ++t) {
    const Expert& expert = experts_[t];
    typename Tape::Expert& own = tape.experts[t];
    const auto rows = call.routes.rows_of(t);
    multiply_rows(call.head, rows, expert.own.value, tape.sum);
    for (std::size_t r = 0; r < relations_; ++r) {
      const RowMatrix<Real>& weights = expert.relations[r].value;
      if (!own.who[r].empty())
        multiply_into<Real>(tape.messages, own.first[r], weights, own.who[r], tape.sum);
      const Shared& shared = own.shared[r];
      if (shared.nodes.empty()) continue;
      multiply(shared.message, weights, tape.product);
      add_rows<Real>({shared.rows.size(), width_, tape.product.data(), tape.sum.data(),
                      shared.heard.data(), shared.rows.data()});
    }
    expert.norm.mix(tape.sum, expert.bias.value,
                    {rows, call.routes.shares_of(t), call.routes.begin[t], call.first}, tape.norm,
                    output, count);
  }
  return count;
}

template <class Real>
void SageExperts<Real>::backward_expert(const ExpertCall<Real>& call, const Tape& tape,
                                        std::size_t t, const RowMatrix<Real>& d_output,
                                        const ExpertGradients<Real>& gradients) {
  Expert& expert = experts_[t];
  const typename Tape::Expert& own = tape.experts[t];
  const auto rows = call.routes.rows_of(t);
  const bool frozen = expert.own.rate == 0;
  expert.norm.mix_backward(tape.norm, {rows, call.routes.shares_of(t), call.routes.begin[t]},
                           d_output, gradients.share_of(call.routes, t), d_sum_);
  if (!frozen) {
    gather_rows(call.head, rows, head_);
    add_outer(head_, d_sum_, expert.own.grad());
    add_column_sums(d_sum_, expert.bias.grad());
  }
  multiply_transposed_into(d_sum_, expert.own.value, rows, gradients.d_input);
  for (std::size_t r = 0; r < relations_; ++r) {
    const std::vector<std::uint32_t>& who = own.who[r];
    if (!frozen && !who.empty())
      add_outer_rows<Real>(tape.messages, own.first[r], d_sum_, who, expert.relations[r].grad());
    multiply_rows_transposed<Real>(d_sum_, who, expert.relations[r].value, own.first[r],
                                   d_messages_);
    if (!own.shared[r].nodes.empty()) backward_shared(call, tape, t, r, gradients);
  }
}

/// What rows send back to a node that they hear alone is summed first, in their order.
template <class Real>
void SageExperts<Real>::backward_shared(const ExpertCall<Real>& call, const Tape& tape,
                                        std::size_t t, std::size_t r,
                                        const ExpertGradients<Real>& gradients) {
  Parameter<Real>& weights = experts_[t].relations[r];
  const Shared& shared = tape.experts[t].shared[r];
  d_product_.setZero(shared.message.rows(), shared.message.cols());
  add_rows<Real>({shared.rows.size(), width_, d_sum_.data(), d_product_.data(), shared.rows.data(),
                  shared.heard.data()});
  if (weights.rate != 0) add_outer(shared.message, d_product_, weights.grad());
  multiply_transposed(d_product_, weights.value, d_message_);
  for (std::size_t p = 0; p < shared.nodes.size(); ++p) {
    const std::uint32_t u = shared.nodes[p];
    const Real* const back = row_of(d_message_, p);
    add_scaled(hearing_of(call, t, u), back, width_, gradients.begun_row(u));
    if (call.heard != nullptr)
      row_of(gradients.d_heard, u)[t] += fixed_dot(back, row_of(call.input, u), width_);
  }
}

template <class Real>
void SageExperts<Real>::scatter_messages(const ExpertCall<Real>& call, const Tape& tape,
                                         const ExpertGradients<Real>& gradients) {
  RowMatrix<Real>& d_heard = gradients.d_heard;
  std::size_t at = 0;
  std::vector<Real> d_weight;
  walk(call, tape, [&](const Walked<Listener>& walked, const Walked<Listener>& next) {
    auto [r, neighbours, listeners] = walked;
    if (all_alike(call)) {  // one walk for the sum of what all experts send back
      Real* const first = row_of(d_messages_, row_of_message(tape, listeners[0], r));
      for (const Listener& other : listeners.subspan(1)) {
        add_scaled(Real(1), row_of(d_messages_, row_of_message(tape, other, r)), width_, first);
      }
      listeners = listeners.first(1);
    }
    for (std::size_t i = 0; call.heard != nullptr && i < next.neighbours.size(); ++i)
      __builtin_prefetch(row_of(d_heard, next.neighbours[i]) + next.listeners[0].expert, 1);
    for (const Listener& later : next.listeners)
      fetch_row(d_messages_, row_of_message(tape, later, next.relation));
    for (std::size_t j = 0; j < listeners.size(); j += kListenersMax) {
      const auto some = listeners.subspan(j, std::min(kListenersMax, listeners.size() - j));
      std::array<const Real*, kListenersMax> from{};
      for (std::size_t i = 0; i < some.size(); ++i)
        from[i] = row_of(d_messages_, row_of_message(tape, some[i], r));
      const std::size_t weights = neighbours.size() * some.size();
      d_weight.resize(call.heard != nullptr ? weights : 0);
      add_neighbour_gradients<Real>({call.input.data(), width_, neighbours,
                                     std::span(tape.heard).subspan(at, weights),
                                     std::span(from).first(some.size()), gradients.d_input.data(),
                                     d_weight, next.neighbours, gradients.begun});
      const Real* const share = tape.heard.data() + at + weights;
      at += weights + some.size();
      for (std::size_t k = 0; k < some.size() && !d_weight.empty(); ++k) {
        const std::size_t t = some[k].expert;
        for (std::size_t i = 0; i < neighbours.size(); ++i) {
          if (call.hears(t, neighbours[i]))
            row_of(d_heard, neighbours[i])[t] += d_weight[i * some.size() + k] * share[k];
        }
      }
    }
  });
}

template <class Real>
void SageExperts<Real>::backward(const ExpertCall<Real>& call, const Tape& tape,
                                 const RowMatrix<Real>& d_output,
                                 const ExpertGradients<Real>& gradients) {
  d_messages_.resize(tape.messages.rows(), tape.messages.cols());
  for (std::size_t t = 0; t < call.experts; ++t)
    backward_expert(call, tape, t, d_output, gradients);
  scatter_messages(call, tape, gradients);
}

template class SageExperts<float>;
template class SageExperts<double>;

}  // namespace accrete::models
