// Rows and ages to vectors, and the way back.
#include "models/row_projection.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

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

template <class Real>
RowMatrix<Real> uniform(std::size_t rows, std::size_t cols, Rng& rng) {
  RowMatrix<Real> out(static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(cols));
  const double bound = std::sqrt(6.0 / static_cast<double>(rows + cols));
  for (Eigen::Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<Real>(bound * (2 * rng.uniform() - 1));
  return out;
}

template <class Real>
void nodes_by_table(const GraphBatch& batch,
                    std::vector<typename RowProjection<Real>::Tape::Table>& out) {
  for (auto& table : out)
    table.nodes.clear();
  for (std::size_t v = 0; v < batch.nodes(); ++v) {
    ACCRETE_CHECK(batch.table[v] < out.size());
    out[batch.table[v]].nodes.push_back(static_cast<std::uint32_t>(v));
  }
  std::size_t first = 0;
  for (auto& table : out) {
    table.first = first;
    first += table.nodes.size();
  }
}

/// phi of the ages that there are.
template <class Real>
void encode_ages(std::span<const std::int64_t> ages_us, RowMatrix<Real>& ages) {
  ages.resize(static_cast<Eigen::Index>(ages_us.size()), age_numbers);
  for (std::size_t i = 0; i < ages_us.size(); ++i) {
    const std::array<double, age_numbers> phi = encode_age(ages_us[i]);
    std::transform(phi.begin(), phi.end(), row_of(ages, i),
                   [](double number) { return static_cast<Real>(number); });
  }
}

/// Whether rows are shown by few nodes each: then what a row says is computed for each of them
/// where it is needed, rather than for all rows into an array that no cache holds.
bool shown_once(const GraphBatch& batch, std::size_t table, std::size_t nodes) {
  return 4 * nodes < 5 * static_cast<std::size_t>(batch.features[table].rows());
}

/// The features of nodes.
template <class Real>
void gather_features(const GraphBatch& batch, std::size_t table,
                     std::span<const std::uint32_t> nodes, RowMatrix<Real>& features) {
  const RowMatrix<float>& all = batch.features[table];
  features.resize(static_cast<Eigen::Index>(nodes.size()), all.cols());
  for (std::size_t i = 0; i < nodes.size(); ++i)
    std::copy_n(row_of(all, batch.row[nodes[i]]), all.cols(), row_of(features, i));
}

bool has_items(const GraphBatch& batch, std::size_t table) {
  return table < batch.items.size() && batch.items[table].rows() > 0;
}

// Nodes of one go: what they take stays in the first cache. Where nothing is kept, ages are
// numbered for as many goes together as have about so many.
constexpr std::size_t kNodesAtOnce = 64;
constexpr std::size_t kAgesAtOnce = 1024;
constexpr std::size_t kAgeSlotsMin = 256;

std::size_t age_slot(std::int64_t age_us, std::size_t slots) {
  const std::uint64_t z = static_cast<std::uint64_t>(age_us) * 0x9E37'79B9'7F4A'7C15ull;
  return static_cast<std::size_t>(z >> 32) & (slots - 1);
}

}  // namespace

void AgeNumbers::clear() {
  std::fill(slots_.begin(), slots_.end(), 0);
  ages_.clear();
}

std::uint32_t AgeNumbers::number(std::int64_t age_us) {
  if (2 * (ages_.size() + 1) > slots_.size()) grow();
  std::size_t at = age_slot(age_us, slots_.size());
  for (; slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
    if (ages_[slots_[at] - 1] == age_us) return slots_[at] - 1;
  }
  ages_.push_back(age_us);
  slots_[at] = static_cast<std::uint32_t>(ages_.size());
  return slots_[at] - 1;
}

void AgeNumbers::grow() {
  slots_.assign(std::max(kAgeSlotsMin, 2 * slots_.size()), 0);
  for (std::size_t i = 0; i < ages_.size(); ++i) {
    std::size_t at = age_slot(ages_[i], slots_.size());
    while (slots_[at] != 0)
      at = (at + 1) & (slots_.size() - 1);
    slots_[at] = static_cast<std::uint32_t>(i + 1);
  }
}

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
void RowProjection<Real>::forward(const GraphBatch& batch, RowMatrix<Real>& hidden, Tape* tape,
                                  const OnNodes& made) const {
  Tape own;
  Tape& used = tape != nullptr ? *tape : own;
  used.tables.resize(tables_.size());
  nodes_by_table<Real>(batch, used.tables);
  if (tape != nullptr) norm_.begin(batch.nodes(), used.norm);
  hidden.resize(static_cast<Eigen::Index>(batch.nodes()), static_cast<Eigen::Index>(width_));
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    if (!used.tables[t].nodes.empty()) forward_table(batch, t, tape != nullptr, used, hidden, made);
  }
}

template <class Real>
void RowProjection<Real>::forward_table(const GraphBatch& batch, std::size_t t, bool keep,
                                        Tape& tape, RowMatrix<Real>& hidden,
                                        const OnNodes& made) const {
  const Table& table = tables_[t];
  auto& shown = tape.tables[t];
  const std::span<const std::uint32_t> all(shown.nodes);
  const bool any = table.weights.value.rows() > 0;
  const bool any_items = table.items.value.rows() > 0 && has_items(batch, t);
  const bool once = any && shown_once(batch, t, all.size());
  ACCRETE_CHECK(!any || batch.features[t].cols() == table.weights.value.rows());
  if (any && !once)
    multiply<Real>(as_real<Real>(batch.features[t]), table.weights.value, tape.told);
  if (any_items)
    multiply<Real>(batch.items[t], batch.items[t].rows(), table.items.value, tape.listed);
  shown.age.resize(all.size());
  SleepCount unused;
  std::size_t numbered = 0;  // nodes whose ages are numbered
  for (std::size_t first = 0; first < all.size(); first += kNodesAtOnce) {
    const auto nodes = all.subspan(first, std::min(kNodesAtOnce, all.size() - first));
    // Ages of all nodes together where they are kept, else of some goes.
    if (first == numbered) {
      tape.numbers.clear();
      do {
        const std::size_t end = std::min(numbered + kNodesAtOnce, all.size());
        for (; numbered < end; ++numbered)
          shown.age[numbered] = tape.numbers.number(batch.age_us[all[numbered]]);
      } while (numbered < all.size() && (keep || tape.numbers.ages().size() < kAgesAtOnce));
      encode_ages<Real>(tape.numbers.ages(), shown.ages);
      multiply<Real>(shown.ages, table.ages.value, tape.aged);
      tape.aged.rowwise() += table.bias.value.row(0);
    }
    tape.rows.clear();
    for (const std::uint32_t v : nodes)
      tape.rows.push_back(batch.row[v]);
    const std::uint32_t* const ages = shown.age.data() + first;
    typename NormSilu<Real>::Some some{&tape.aged, nodes.size(), nodes.data(), ages};
    if (any || any_items) {
      some.x = any ? &tape.told : &tape.listed;
      some.x_rows = tape.rows.data();
      some.bias = &tape.aged;
      some.bias_rows = ages;
    }
    if (any && (once || any_items)) {
      if (once) {
        multiply_rows<Real>(as_real<Real>(batch.features[t]), tape.rows, table.weights.value,
                            tape.x);
      } else {
        gather_rows<Real>(tape.told, tape.rows, tape.x);
      }
      if (any_items)
        add_rows<Real>({nodes.size(), width_, tape.listed.data(), tape.x.data(), tape.rows.data()});
      some.x = &tape.x;
      some.x_rows = nullptr;
    }
    if (keep) {
      norm_.forward_part(some, shown.first + first, tape.norm, hidden, unused);
    } else {
      norm_.apply(some, hidden);
    }
    if (made) made(nodes);
  }
}

template <class Real>
void RowProjection<Real>::backward(const GraphBatch& batch, const Tape& tape,
                                   const OfNodes& gradient) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    if (!tape.tables[t].nodes.empty()) backward_table(batch, t, tape, gradient);
  }
}

template <class Real>
void RowProjection<Real>::backward_table(const GraphBatch& batch, std::size_t t, const Tape& tape,
                                         const OfNodes& gradient) {
  Table& table = tables_[t];
  const auto& shown = tape.tables[t];
  const std::span<const std::uint32_t> all(shown.nodes);
  const bool any = table.weights.value.rows() > 0 && table.weights.rate != 0;
  const bool any_ages = table.ages.rate != 0 || table.bias.rate != 0;
  const bool any_items = table.items.value.rows() > 0 && has_items(batch, t);
  const bool once = any && shown_once(batch, t, all.size());
  const bool sums_rows = any_items || (any && !once);
  const auto width = static_cast<Eigen::Index>(width_);
  if (any_ages) by_age_.setZero(shown.ages.rows(), width);
  if (sums_rows) by_row_.setZero(batch.features[t].rows(), width);
  for (std::size_t first = 0; first < all.size(); first += kNodesAtOnce) {
    const auto nodes = all.subspan(first, std::min(kNodesAtOnce, all.size() - first));
    gradient(nodes, d_x_);
    norm_.backward_part(tape.norm, shown.first + first, d_x_, any_ages ? &by_age_ : nullptr,
                        shown.age.data() + first);
    if (sums_rows) {
      rows_.clear();
      for (const std::uint32_t v : nodes)
        rows_.push_back(batch.row[v]);
      add_rows<Real>(d_x_, rows_, by_row_);
    }
    if (once) {
      gather_features(batch, t, nodes, features_);
      add_outer(features_, d_x_, table.weights.grad());
    }
  }
  if (table.bias.rate != 0) add_column_sums(by_age_, table.bias.grad());
  if (table.ages.rate != 0) add_outer<Real>(shown.ages, by_age_, table.ages.grad());
  if (any && !once) {
    add_outer<Real>(as_real<Real>(batch.features[t]), by_row_, table.weights.grad());
  }
  if (any_items) add_transposed<Real>(batch.items[t], by_row_, table.items.grad());
}

template <class Real>
std::size_t RowProjection<Real>::room(const Tape& tape) const {
  std::size_t bytes =
      room_bytes(d_x_, by_age_, by_row_, features_, tape.told, tape.listed, tape.aged, tape.x) +
      tape.norm.room();
  for (const auto& table : tape.tables) {
    bytes += room_bytes(table.ages) +
             (table.nodes.capacity() + table.age.capacity()) * sizeof(std::uint32_t);
  }
  return bytes;
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
