// Rows and ages to vectors, and the way back.
#include "models/row_projection.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <type_traits>

#include "models/matrix_product.h"
#include "models/parameter_state.h"
#include "models/row_gather.h"
#include "proto/result.h"
#include "proto/rng.h"

namespace accrete::models {
namespace {

constexpr double kDayUs = 86'400e6;
constexpr double kShortestDays = 0.25;
constexpr double kLongestDays = kShortestDays * 59049;  // 3^10
constexpr double kItemStart = 0.05;  // a row of items has length 1, so it begins at about this

/// Features are floats; a network in doubles (the gradient checks) reads a copy.
template <class Real>
decltype(auto) as_real(const RowMatrix<float>& features) {
  if constexpr (std::is_same_v<Real, float>) {
    return static_cast<const RowMatrix<float>&>(features);
  } else {
    return RowMatrix<Real>(features.template cast<Real>());
  }
}

template <class Real>
RowMatrix<Real> uniform(std::size_t rows, std::size_t cols, Rng& rng) {
  RowMatrix<Real> out(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  const double bound = std::sqrt(6.0 / static_cast<double>(rows + cols));
  for (Eigen::Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<Real>(bound * (2 * rng.uniform() - 1));
  return out;
}

template <class Real>
void nodes_by_table(const GraphBatch& batch, std::size_t tables,
                    std::vector<typename RowProjection<Real>::Tape::Table>& out) {
  out.assign(tables, {});
  for (std::size_t v = 0; v < batch.nodes(); ++v) {
    ACCRETE_CHECK(batch.table[v] < tables);
    out[batch.table[v]].nodes.push_back(static_cast<std::uint32_t>(v));
  }
}

/// phi of each node's age.
template <class Real>
void ages_of(const GraphBatch& batch, std::span<const std::uint32_t> nodes, RowMatrix<Real>& ages) {
  ages.resize(static_cast<Eigen::Index>(nodes.size()), age_numbers);
  std::array<double, age_numbers> phi{};
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    // Rows of one time come one after another.
    const std::int64_t age_us = batch.age_us[nodes[i]];
    if (i == 0 || age_us != batch.age_us[nodes[i - 1]]) phi = encode_age(age_us);
    Real* const to = row_of(ages, i);
    for (std::size_t k = 0; k < age_numbers; ++k)
      to[k] = static_cast<Real>(phi[k]);
  }
}

bool has_items(const GraphBatch& batch, std::size_t table) {
  return table < batch.items.size() && batch.items[table].rows() > 0;
}

// Nodes of one go where nothing is kept: what they take stays in the second cache.
constexpr std::size_t kServedNodes = 1024;

}  // namespace

std::array<double, age_numbers> encode_age(std::int64_t age_us) {
  ACCRETE_CHECK(age_us >= 0 || age_us == kAgeless);
  std::array<double, age_numbers> out{};
  if (age_us == kAgeless) {
    out.back() = 1;
    return out;
  }
  const double days = static_cast<double>(age_us) / kDayUs;
  // One sine and cosine at the longest period; each shorter one by the formulas of triple angles.
  const double angle = 2 * std::numbers::pi * days / kLongestDays;
  double s = std::sin(angle);
  double c = std::cos(angle);
  for (std::size_t i = age_periods; i-- > 0;) {
    out[2 * i] = s;
    out[2 * i + 1] = c;
    const double shorter =
        s * (3 * c * c - s * s);  // (c + i s)³: an error grows no faster than 3^i
    c = c * (c * c - 3 * s * s);
    s = shorter;
  }
  out[2 * age_periods] = std::log1p(days) / std::log1p(kLongestDays);
  return out;
}

template <class Real>
RowProjection<Real>::RowProjection(std::span<const std::size_t> columns, std::size_t width,
                                   std::uint64_t seed)
    : tables_(columns.size()), width_(width), seed_(seed), norm_(width) {
  for (std::size_t t = 0; t < columns.size(); ++t) {
    Rng rng(seed, t, Purpose::Projection);
    Table& table = tables_[t];
    table.weights.value = uniform<Real>(columns[t], width, rng);
    table.bias.value.setZero(1, static_cast<Eigen::Index>(width));
    table.ages.value = uniform<Real>(age_numbers, width, rng);
  }
}

template <class Real>
std::size_t RowProjection<Real>::columns(std::size_t table) const {
  return static_cast<std::size_t>(tables_[table].weights.value.rows());
}

template <class Real>
void RowProjection<Real>::grow_columns(std::size_t table, std::size_t columns) {
  ACCRETE_CHECK(table < tables_.size());
  Parameter<Real>& weights = tables_[table].weights;
  grow_parameter(weights, columns, static_cast<std::size_t>(weights.value.cols()));
}

template <class Real>
std::size_t RowProjection<Real>::items(std::size_t table) const {
  return static_cast<std::size_t>(tables_[table].items.value.rows());
}

template <class Real>
void RowProjection<Real>::grow_items(std::size_t table, std::size_t items) {
  ACCRETE_CHECK(table < tables_.size() && width_ % kLanes == 0);
  Parameter<Real>& weights = tables_[table].items;
  const Eigen::Index before = weights.value.rows();
  grow_parameter(weights, items, width_);
  for (Eigen::Index i = before; i < weights.value.rows(); ++i) {
    Rng rng(seed_ ^ (table + 1), static_cast<std::uint64_t>(i), Purpose::Projection);
    for (Eigen::Index j = 0; j < weights.value.cols(); ++j)
      weights.value(i, j) = static_cast<Real>(kItemStart * (2 * rng.uniform() - 1));
  }
}

template <class Real>
void RowProjection<Real>::forward(const GraphBatch& batch, RowMatrix<Real>& hidden,
                                  Tape* tape) const {
  Tape own;
  Tape& kept = tape != nullptr ? *tape : own;
  nodes_by_table<Real>(batch, tables_.size(), kept.tables);
  hidden.resize(static_cast<Eigen::Index>(batch.nodes()), static_cast<Eigen::Index>(width_));
  RowMatrix<Real> told;
  RowMatrix<Real> listed;
  RowMatrix<Real> x;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const Table& table = tables_[t];
    auto& shown = kept.tables[t];
    if (shown.nodes.empty()) continue;
    const bool any = table.weights.value.rows() > 0;
    const bool any_items = table.items.value.rows() > 0 && has_items(batch, t);
    if (any) {
      ACCRETE_CHECK(batch.features[t].cols() == table.weights.value.rows());
      multiply<Real>(as_real<Real>(batch.features[t]), table.weights.value, told);
    }
    if (any_items) {
      multiply<Real>(batch.items[t], batch.items[t].rows(), table.items.value, listed);
    }
    const std::span<const std::uint32_t> all(shown.nodes);
    const std::size_t most = tape != nullptr ? all.size() : kServedNodes;
    for (std::size_t first = 0; first < all.size(); first += most) {
      const auto nodes = all.subspan(first, std::min(most, all.size() - first));
      ages_of(batch, nodes, shown.ages);
      multiply<Real>(shown.ages, table.ages.value, x);
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        Real* const row = row_of(x, i);
        add_scaled(Real(1), table.bias.value.data(), width_, row);
        if (any) add_scaled(Real(1), row_of(told, batch.row[nodes[i]]), width_, row);
        if (any_items) add_scaled(Real(1), row_of(listed, batch.row[nodes[i]]), width_, row);
      }
      if (tape == nullptr) norm_.apply(x);
      for (std::size_t i = 0; i < nodes.size(); ++i)
        std::copy_n(row_of(x, i), width_, row_of(hidden, nodes[i]));
    }
  }
  if (tape == nullptr) return;
  SleepCount unused;
  norm_.forward(hidden, kept.norm, hidden, unused);
}

template <class Real>
void RowProjection<Real>::backward(const GraphBatch& batch, const Tape& tape,
                                   RowMatrix<Real>& d_hidden) {
  norm_.backward(tape.norm, d_hidden, d_hidden);
  RowMatrix<Real> by_node;
  RowMatrix<Real> by_row;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    Table& table = tables_[t];
    const auto& shown = tape.tables[t];
    if (shown.nodes.empty()) continue;
    gather_rows<Real>(d_hidden, shown.nodes, by_node);
    add_column_sums(by_node, table.bias.grad());
    add_outer<Real>(shown.ages, by_node, table.ages.grad());
    const bool any = table.weights.value.rows() > 0;
    const bool any_items = table.items.value.rows() > 0 && has_items(batch, t);
    if (!any && !any_items) continue;
    by_row.setZero(batch.features[t].rows(), d_hidden.cols());
    for (const std::uint32_t v : shown.nodes)
      by_row.row(batch.row[v]) += d_hidden.row(v);
    if (any) add_outer<Real>(as_real<Real>(batch.features[t]), by_row, table.weights.grad());
    if (any_items) add_transposed<Real>(batch.items[t], by_row, table.items.grad());
  }
}

template <class Real>
void RowProjection<Real>::visit(const VisitParameter<Real>& visit) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const std::string name = "rows.table" + std::to_string(t);
    visit(name + ".weights", tables_[t].weights);
    if (tables_[t].items.value.rows() > 0) visit(name + ".items", tables_[t].items);
    visit(name + ".bias", tables_[t].bias);
    visit(name + ".ages", tables_[t].ages);
  }
  norm_.visit("rows.norm", visit);
}

template class RowProjection<float>;
template class RowProjection<double>;

}  // namespace accrete::models
