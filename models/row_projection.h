// Rows of tables to vectors of one width, with how long ago the rows were.
//
//   x_v = W_t f_v + I_t s_v + b_t + T_t phi(age_v)      h_v = silu(LayerNorm(x_v))
//
// t is the table of node v, f_v are the numbers its row shows, s_v the items (words, tags), sparse.
// Where rows are shown by many nodes, the products with W_t are made once per row of the batch;
// those with I_t always are, and those with T_t once per age. Source: Robinson et al. 2024 (RDL),
// arXiv:2407.20060, for encoders per table and an encoding of the age that is added; the periods
// are ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/graph_batch.h"
#include "models/layer_norm.h"
#include "models/parameter.h"

namespace accrete::models {

/// Sine and cosine at 11 periods of ¼ day · 3^i (up to 40 years), the logarithm of 1 + days over
/// that of the longest period, and last 1 for an ageless row.
inline constexpr std::size_t age_periods = 11;
inline constexpr std::size_t age_numbers = 2 * age_periods + 2;

/// phi(age). A row without a time of its own: zeros and the last number 1, so that the last row of
/// T is what its table's ageless rows add. Checks: age_us >= 0 or kAgeless.
std::array<double, age_numbers> encode_age(std::int64_t age_us);

/// Numbers for ages, in the order in which they are first met. Nothing iterates over it by place.
class AgeNumbers {
 public:
  void clear();
  std::uint32_t number(std::int64_t age_us);
  const std::vector<std::int64_t>& ages() const { return ages_; }  ///< by number

 private:
  void grow();

  std::vector<std::uint32_t> slots_;  // 1 + number, 0: empty; a power of two, at most half full
  std::vector<std::int64_t> ages_;
};

template <class Real>
class RowProjection {
 public:
  struct Tape {
    struct Table {
      std::vector<std::uint32_t> nodes;  ///< of this table, ascending
      std::vector<std::uint32_t> age;    ///< of each node: which of the ages
      RowMatrix<Real> ages;              ///< phi of each age that there is (ages, age_numbers)
      std::size_t first = 0;             ///< row of `norm` of its first node
    };
    std::vector<Table> tables;
    // Of all nodes, table by table: batches have as many nodes, but not always of the same tables.
    typename NormSilu<Real>::Tape norm;

    // Kept for their room.
    RowMatrix<Real> told;
    RowMatrix<Real> listed;
    RowMatrix<Real> aged;
    RowMatrix<Real> x;
    std::vector<std::uint32_t> rows;
    AgeNumbers numbers;
  };

  using OnNodes = std::function<void(std::span<const std::uint32_t> nodes)>;
  /// Sets row i of d_hidden (n, d) for nodes[i].
  using OfNodes =
      std::function<void(std::span<const std::uint32_t> nodes, RowMatrix<Real>& d_hidden)>;

  /// `columns` of each table. W and T begin uniform as Glorot and Bengio 2010, b at zero.
  RowProjection(std::span<const std::size_t> columns, std::size_t width, std::uint64_t seed);

  std::size_t tables() const { return tables_.size(); }
  std::size_t columns(std::size_t table) const;
  /// New columns have zero weights. Never shrinks. Checks: table < tables().
  void grow_columns(std::size_t table, std::size_t columns);
  std::size_t items(std::size_t table) const;
  /// New items begin as small numbers of their own, the same whenever they come: with zeros a rare
  /// item would say nothing until it has been learnt. Never shrinks. Checks: table < tables(); the
  /// width is a multiple of kLanes.
  void grow_items(std::size_t table, std::size_t items);

  /// hidden (N, d) of all nodes of the batch. `tape` null: nothing is kept.
  /// Checks: features of every table that has nodes are as wide as columns().
  /// `made` is told of nodes, some at a time, as soon as their rows are made.
  void forward(const GraphBatch& batch, RowMatrix<Real>& hidden, Tape* tape,
               const OnNodes& made = {}) const;
  /// Adds to the gradients. `gradient` is asked for that by the rows of nodes, some at a time and
  /// each once.
  void backward(const GraphBatch& batch, const Tape& tape, const OfNodes& gradient);

  void visit(const VisitParameter<Real>& visit);

  /// Bytes of what is kept between passes, the tape's among them.
  std::size_t room(const Tape& tape) const;

 private:
  struct Table {
    Parameter<Real> weights;  // (columns, d)
    Parameter<Real> items;    // (items, d)
    Parameter<Real> bias;     // (1, d)
    Parameter<Real> ages;     // (age_numbers, d)
  };
  void forward_table(const GraphBatch& batch, std::size_t table, bool keep, Tape& tape,
                     RowMatrix<Real>& hidden, const OnNodes& made) const;
  void backward_table(const GraphBatch& batch, std::size_t table, const Tape& tape,
                      const OfNodes& gradient);

  std::vector<Table> tables_;
  std::size_t width_;
  std::uint64_t seed_;
  NormSilu<Real> norm_;

  // Of backward(), kept for their room.
  RowMatrix<Real> d_x_;
  RowMatrix<Real> by_age_;
  RowMatrix<Real> by_row_;
  RowMatrix<Real> features_;
  std::vector<std::uint32_t> rows_;
};

extern template class RowProjection<float>;
extern template class RowProjection<double>;

}  // namespace accrete::models
