// One walk over all neighbourhoods for the messages of all experts, then one product a weight.
// Messages of one neighbour are made once for all who hear it. The way back is in
// sage_expert_backward.cpp.
#include "models/sage_expert.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "models/expert_start.h"
#include "models/matrix_product.h"
#include "models/neighbour_sum.h"
#include "models/row_gather.h"
#include "models/sage_walk.h"
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

/// Sends for a row that is written soon.
template <class Real>
void fetch_row(const RowMatrix<Real>& matrix, std::size_t row) {
  const Real* const from = row_of(matrix, row);
  for (std::size_t c = 0; c < static_cast<std::size_t>(matrix.cols());
       c += kCacheLine / sizeof(Real))
    __builtin_prefetch(from + c, 1);
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
                      (tape.heard.capacity() + d_weights_.capacity()) * sizeof(Real) +
                      parts_.capacity() * sizeof(SumPart<Real>) + told_.capacity() * sizeof(Told) +
                      begin_.capacity() * sizeof(std::uint32_t) +
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

template class SageExperts<float>;
template class SageExperts<double>;

}  // namespace accrete::models
