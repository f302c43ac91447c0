// One product a weight back to the messages, then, for any nodes, all that comes back to each.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>

#include "models/matrix_product.h"
#include "models/neighbour_sum.h"
#include "models/row_gather.h"
#include "models/sage_expert.h"
#include "models/sage_walk.h"

namespace accrete::models {

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

/// Where all hear alike a node is sent the sum of what they send back: the first one's message.
template <class Real>
void SageExperts<Real>::sum_alike(const ExpertCall<Real>& call, const Tape& tape) {
  walk(call, tape, [&](const Walked<Listener>& walked, const Walked<Listener>&) {
    const auto [r, neighbours, listeners] = walked;
    Real* const first = row_of(d_messages_, row_of_message(tape, listeners[0], r));
    for (const Listener& other : listeners.subspan(1))
      add_scaled(Real(1), row_of(d_messages_, row_of_message(tape, other, r)), width_, first);
  });
}

/// Calls each(made) for every message of several neighbours, in the order in which they were made;
/// where all hear alike for the first of each node's.
template <class Real>
template <class Each>
void SageExperts<Real>::each_message(const ExpertCall<Real>& call, const Tape& tape,
                                     Each each) const {
  const bool alike = all_alike(call);
  std::size_t at = 0;
  walk(call, tape, [&](const Walked<Listener>& walked, const Walked<Listener>&) {
    const auto [r, neighbours, all] = walked;
    const auto listeners = alike ? all.first(1) : all;
    for (std::size_t j = 0; j < listeners.size(); j += kListenersMax) {
      const auto some = listeners.subspan(j, std::min(kListenersMax, listeners.size() - j));
      const std::size_t end = at + neighbours.size() * some.size();
      for (std::size_t k = 0; k < some.size(); ++k) {
        each(Made{static_cast<std::uint32_t>(row_of_message(tape, some[k], r)),
                  {some[k].expert, tape.heard[end + k]},
                  neighbours,
                  tape.heard.data() + at + k,
                  some.size()});
      }
      at = end + some.size();
    }
  });
}

/// Messages by node, in the order in which they were made.
template <class Real>
void SageExperts<Real>::find_parts(const ExpertCall<Real>& call, const Tape& tape) {
  told_.resize(static_cast<std::size_t>(d_messages_.rows()));
  // Counted two places on: so where a node's parts begin moves on, part by part, to its end.
  begin_.assign(static_cast<std::size_t>(call.input.rows()) + 2, 0);
  each_message(call, tape, [&](const Made& made) {
    told_[made.message] = made.told;
    for (const std::uint32_t u : made.neighbours)
      begin_[u + 2] += call.hears(made.told.expert, u) ? 1U : 0U;
  });
  std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
  parts_.resize(begin_.back());
  each_message(call, tape, [&](const Made& made) {
    const Real* weight = made.weights;
    for (const std::uint32_t u : made.neighbours) {
      if (call.hears(made.told.expert, u)) parts_[begin_[u + 1]++] = {made.message, *weight};
      weight += made.step;
    }
  });
}

template <class Real>
void SageExperts<Real>::backward_part(const RowMatrix<Real>& input,
                                      std::span<const std::uint32_t> nodes,
                                      const ExpertGradients<Real>& gradients,
                                      RowMatrix<Real>& d_rows) {
  d_rows.resize(static_cast<Eigen::Index>(nodes.size()), input.cols());
  NeighbourGradient<Real> back{input.data(),    width_,
                               nodes,           begin_.data(),
                               parts_.data(),   d_messages_.data(),
                               gradients.begun, gradients.d_input.data(),
                               d_rows.data()};
  if (gradients.d_heard.size() == 0) return add_neighbour_gradients(back);
  std::size_t count = 0;
  for (const std::uint32_t u : nodes)
    count += begin_[u + 1] - begin_[u];
  d_weights_.resize(count);
  back.d_weights = d_weights_.data();
  add_neighbour_gradients(back);
  const Real* d_weight = d_weights_.data();
  for (const std::uint32_t u : nodes) {
    Real* const to = row_of(gradients.d_heard, u);
    for (std::size_t i = begin_[u]; i < begin_[u + 1]; ++i) {
      const Told& told = told_[parts_[i].sum];
      to[told.expert] += *d_weight++ * told.share;
    }
  }
}

template <class Real>
void SageExperts<Real>::backward(const ExpertCall<Real>& call, const Tape& tape,
                                 const RowMatrix<Real>& d_output,
                                 const ExpertGradients<Real>& gradients) {
  d_messages_.resize(tape.messages.rows(), tape.messages.cols());
  for (std::size_t t = 0; t < call.experts; ++t)
    backward_expert(call, tape, t, d_output, gradients);
  if (all_alike(call)) sum_alike(call, tape);
  find_parts(call, tape);
}

template class SageExperts<float>;
template class SageExperts<double>;

}  // namespace accrete::models
