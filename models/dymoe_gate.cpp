// Top-k by insertion, two without a branch, pairs grouped by counting, and the losses' gradients.
#include "models/dymoe_gate.h"

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "models/expert_selection.h"
#include "models/matrix_product.h"
#include "models/norm_silu.h"
#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

constexpr std::size_t kLogitsAtOnce = 1024;  // they stay in the first cache

template <class Real>
Real largest(const Real* row, std::size_t count) {
  return Eigen::Map<const Eigen::Array<Real, Eigen::Dynamic, 1>>(row,
                                                                 static_cast<Eigen::Index>(count))
      .maxCoeff();
}

/// The columns that rows may choose from, ascending.
template <class Real>
std::vector<std::uint32_t> allowed_columns(const RowMatrix<Real>& logits, std::size_t experts,
                                           const Routing& routing) {
  std::vector<char> chosen(experts, 1);
  if (routing.experts_max > 0) chosen = choose_experts(logits, experts, routing.experts_max);
  std::vector<std::uint32_t> allowed;
  for (std::size_t c = 0; c < static_cast<std::size_t>(logits.cols()); ++c) {
    if (c >= experts || chosen[c] != 0) allowed.push_back(static_cast<std::uint32_t>(c));
  }
  return allowed;
}

/// The columns of the largest logits, the lower one of two that are equal; best first. `allowed`
/// has as many columns at least.
template <class Real>
void choose_best(const Real* logits, std::span<const std::uint32_t> allowed,
                 std::span<std::uint32_t> best) {
  std::size_t count = 0;
  for (const std::uint32_t c : allowed) {
    std::size_t place = count;
    if (count < best.size()) {
      ++count;
    } else if (!(logits[c] > logits[best[--place]])) {
      continue;
    }
    for (; place > 0 && logits[c] > logits[best[place - 1]]; --place)
      best[place] = best[place - 1];
    best[place] = c;
  }
}

/// The same for two of floats, as whole numbers that are in the order of (logit, the lower column
/// first): the larger and the smaller of two of those need no branch, and nobody can guess this
/// one.
void choose_two(const float* logits, std::span<const std::uint32_t> allowed,
                std::span<std::uint32_t> best) {
  const auto ranked = [&](std::uint32_t column) {
    const float logit = logits[column];
    // −0 is 0, and no number, of whatever sign, comes behind all numbers.
    const float known = logit == logit ? logit + 0.0F : -std::numeric_limits<float>::infinity();
    const auto bits = std::bit_cast<std::int32_t>(known);
    const std::int64_t rank = bits ^ ((bits >> 31) & 0x7FFF'FFFF);
    return rank * (std::int64_t{1} << 32) + static_cast<std::int64_t>(~column);
  };
  std::int64_t first = std::max(ranked(allowed[0]), ranked(allowed[1]));
  std::int64_t second = std::min(ranked(allowed[0]), ranked(allowed[1]));
  for (const std::uint32_t c : allowed.subspan(2)) {
    const std::int64_t here = ranked(c);
    second = std::max(second, std::min(first, here));
    first = std::max(first, here);
  }
  best[0] = ~static_cast<std::uint32_t>(first);
  best[1] = ~static_cast<std::uint32_t>(second);
}
void choose_two(const double* logits, std::span<const std::uint32_t> allowed,
                std::span<std::uint32_t> best) {
  choose_best(logits, allowed, best);
}

/// Softmax of a row's logits over its chosen columns, summed in their order.
template <class Real>
void weigh(const Real* logits, std::span<const std::uint32_t> columns, Real* weights) {
  Real top = logits[columns[0]];
  for (const std::uint32_t c : columns)
    top = std::max(top, logits[c]);
  Real total = 0;
  for (std::size_t j = 0; j < columns.size(); ++j)
    total += weights[j] = std::exp(logits[columns[j]] - top);
  for (std::size_t j = 0; j < columns.size(); ++j)
    weights[j] /= total;
}

/// −sum of g log g of a row. A logarithm does: log g is that of the first g and what the logit is
/// above that one's.
template <class Real>
double entropy(const Routes<Real>& routes, std::size_t row, const Real* logits) {
  const std::size_t first = row * routes.slots;
  if (routes.slots == 1) return 0;
  const auto logit = [&](std::size_t i) { return static_cast<double>(logits[routes.column[i]]); };
  double above = 0;
  for (std::size_t i = first + 1; i < first + routes.slots; ++i)
    above += static_cast<double>(routes.weight[i]) * (logit(i) - logit(first));
  return -std::log(static_cast<double>(routes.weight[first])) - above;
}

template <class Real>
void group_by_column(std::size_t columns, Routes<Real>& routes) {
  routes.begin.assign(columns + 1, 0);
  for (const std::uint32_t c : routes.column)
    ++routes.begin[c + 1];
  std::partial_sum(routes.begin.begin(), routes.begin.end(), routes.begin.begin());
  routes.row.resize(routes.column.size());
  routes.place.resize(routes.column.size());
  routes.share.resize(routes.column.size());
  std::vector<std::uint32_t> next(routes.begin.begin(), routes.begin.end() - 1);
  for (std::size_t i = 0; i < routes.column.size(); ++i) {
    const std::uint32_t pair = next[routes.column[i]]++;
    routes.row[pair] = static_cast<std::uint32_t>(i / routes.slots);
    routes.place[pair] = static_cast<std::uint32_t>(i);
    routes.share[pair] = routes.weight[i];
  }
}

}  // namespace

template <class Real>
void choose_routes(const RowMatrix<Real>& logits, std::size_t experts,
                   std::span<const std::uint32_t> blocks, const Routing& routing,
                   Routes<Real>& routes) {
  const auto rows = static_cast<std::size_t>(logits.rows());
  ACCRETE_CHECK(experts >= 1 && routing.top >= 1 && blocks.size() == rows);
  if (routing.own_block_only) {
    routes.slots = 1;
    routes.column.resize(rows);
    routes.weight.assign(rows, Real(1));
    for (std::size_t v = 0; v < rows; ++v)
      routes.column[v] = static_cast<std::uint32_t>(expert_of(blocks[v], experts));
    group_by_column(static_cast<std::size_t>(logits.cols()), routes);
    return;
  }
  const std::vector<std::uint32_t> allowed = allowed_columns(logits, experts, routing);
  routes.slots = std::min(routing.top, allowed.size());
  routes.column.resize(rows * routes.slots);
  routes.weight.resize(rows * routes.slots);
  for (std::size_t v = 0; v < rows; ++v) {
    const Real* const row = row_of(logits, v);
    const std::span<std::uint32_t> mine =
        std::span(routes.column).subspan(v * routes.slots, routes.slots);
    if (mine.size() == 2) {
      choose_two(row, allowed, mine);
    } else {
      choose_best(row, allowed, mine);
    }
    const auto own = static_cast<std::uint32_t>(expert_of(blocks[v], experts));
    if (routing.force_own_block && std::find(mine.begin(), mine.end(), own) == mine.end())
      mine.back() = own;
    weigh(row, mine, routes.weight.data() + v * routes.slots);
  }
  group_by_column(static_cast<std::size_t>(logits.cols()), routes);
}

template <class Real>
void route_gradient(const Routes<Real>& routes, std::span<const Real> d_weight,
                    RowMatrix<Real>& d_logits) {
  d_logits.setZero(static_cast<Eigen::Index>(routes.rows()),
                   static_cast<Eigen::Index>(routes.begin.size() - 1));
  for (std::size_t v = 0; v < routes.rows(); ++v) {
    const std::size_t from = v * routes.slots;
    Real mean = 0;
    for (std::size_t i = from; i < from + routes.slots; ++i)
      mean += routes.weight[i] * d_weight[i];
    for (std::size_t i = from; i < from + routes.slots; ++i)
      row_of(d_logits, v)[routes.column[i]] = routes.weight[i] * (d_weight[i] - mean);
  }
}

template <class Real>
double block_loss(const RowMatrix<Real>& logits, std::size_t experts,
                  std::span<const std::uint32_t> blocks, double scale, RowMatrix<Real>* d_logits) {
  const auto rows = static_cast<std::size_t>(logits.rows());
  if (rows == 0) return 0;
  const std::size_t at_once = std::max<std::size_t>(1, kLogitsAtOnce / experts);
  std::vector<Real> powers(at_once * experts);  // exp(logit − the row's largest)
  const double factor = scale / static_cast<double>(rows);
  double loss = 0;
  for (std::size_t first = 0; first < rows; first += at_once) {
    const std::size_t count = std::min(at_once, rows - first);
    for (std::size_t i = 0; i < count; ++i) {
      const Real* const row = row_of(logits, first + i);
      const Real top = largest(row, experts);
      std::transform(row, row + experts, powers.data() + i * experts,
                     [top](Real logit) { return logit - top; });
      loss -= static_cast<double>(powers[i * experts + expert_of(blocks[first + i], experts)]);
    }
    exponentials(powers.data(), count * experts, powers.data());
    for (std::size_t i = 0; i < count; ++i) {
      const Real* const mine = powers.data() + i * experts;
      double total = 0;
      for (std::size_t t = 0; t < experts; ++t)
        total += static_cast<double>(mine[t]);
      loss += std::log(total);
      if (d_logits == nullptr) continue;
      const std::size_t own = expert_of(blocks[first + i], experts);
      for (std::size_t t = 0; t < experts; ++t) {
        const double excess = static_cast<double>(mine[t]) / total - (t == own ? 1 : 0);
        row_of(*d_logits, first + i)[t] += static_cast<Real>(factor * excess);
      }
    }
  }
  return loss / static_cast<double>(rows);
}

template <class Real>
void count_routes(const Routes<Real>& routes, const RowMatrix<Real>& logits, std::size_t experts,
                  std::span<const std::uint32_t> blocks, RoutingStats& stats) {
  const std::size_t rows = routes.rows();
  stats.load.assign(static_cast<std::size_t>(logits.cols()), 0.0);
  stats.entropy = 0;
  stats.nodes = rows;
  stats.own_block = 0;
  for (std::size_t i = 0; i < routes.weight.size(); ++i)
    stats.load[routes.column[i]] += static_cast<double>(routes.weight[i]);
  for (std::size_t v = 0; v < rows; ++v) {
    const Real* const row = row_of(logits, v);
    stats.entropy += entropy(routes, v, row);
    const std::size_t own = expert_of(blocks[v], experts);
    const Real top = largest(row, experts);
    if (row[own] == top && std::find(row, row + own, top) == row + own) ++stats.own_block;
  }
  if (rows > 0) stats.entropy /= static_cast<double>(rows);
}

template <class Real>
ExpertGate<Real>::ExpertGate(std::size_t width, bool extras)
    : width_(width), extras_rows_(extras ? static_cast<Eigen::Index>(kExtras) : 0) {
  extras_.value.setZero(extras_rows_, static_cast<Eigen::Index>(width));
}

template <class Real>
void ExpertGate<Real>::add(const RowMatrix<Real>* mean) {
  Parameter<Real>& fresh = blocks_.emplace_back();
  fresh.value.setZero(1, static_cast<Eigen::Index>(width_));
  if (mean == nullptr) return;
  ACCRETE_CHECK(static_cast<std::size_t>(mean->size()) == width_);
  const Real length = std::sqrt(fixed_dot(mean->data(), mean->data(), width_));
  if (length > 0) add_scaled(Real(1) / length, mean->data(), width_, fresh.value.data());
}

template <class Real>
RowMatrix<Real> ExpertGate<Real>::weights() const {
  RowMatrix<Real> all(static_cast<Eigen::Index>(columns()), static_cast<Eigen::Index>(width_));
  for (std::size_t t = 0; t < blocks_.size(); ++t)
    all.row(static_cast<Eigen::Index>(t)) = blocks_[t].value.row(0);
  all.bottomRows(extras_rows_) = extras_.value;
  return all;
}

template <class Real>
void ExpertGate<Real>::logits(const RowMatrix<Real>& rows, RowMatrix<Real>& out) const {
  multiply_transposed(rows, weights(), out);
}

template <class Real>
void ExpertGate<Real>::backward(const RowMatrix<Real>& rows, const RowMatrix<Real>& d_logits,
                                RowMatrix<Real>& d_rows) {
  multiply(d_logits, weights(), d_rows);
  RowMatrix<Real> d_weights = RowMatrix<Real>::Zero(static_cast<Eigen::Index>(columns()),
                                                    static_cast<Eigen::Index>(width_));
  add_outer(d_logits, rows, d_weights);
  for (std::size_t t = 0; t < blocks_.size(); ++t)
    blocks_[t].grad() += d_weights.row(static_cast<Eigen::Index>(t));
  if (extras_rows_ > 0) extras_.grad() += d_weights.bottomRows(extras_rows_);
}

template <class Real>
void ExpertGate<Real>::visit(std::string_view prefix, const VisitParameter<Real>& visit) {
  for (std::size_t t = 0; t < blocks_.size(); ++t)
    visit(std::string(prefix) + ".block" + std::to_string(t), blocks_[t]);
  if (extras_rows_ > 0) visit(std::string(prefix) + ".extras", extras_);
}

#define ACCRETE_INSTANTIATE(Real)                                                                  \
  template void choose_routes(const RowMatrix<Real>&, std::size_t, std::span<const std::uint32_t>, \
                              const Routing&, Routes<Real>&);                                      \
  template void route_gradient(const Routes<Real>&, std::span<const Real>, RowMatrix<Real>&);      \
  template double block_loss(const RowMatrix<Real>&, std::size_t, std::span<const std::uint32_t>,  \
                             double, RowMatrix<Real>*);                                            \
  template void count_routes(const Routes<Real>&, const RowMatrix<Real>&, std::size_t,             \
                             std::span<const std::uint32_t>, RoutingStats&);                       \
  template class ExpertGate<Real>;
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
