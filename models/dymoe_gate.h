// The gate of a layer of experts: logits, whom each row is given to, and the losses on the logits.
//
// Dimensions, here and in dymoe_gate.cpp:
//   N rows   d width   T block experts   C columns: T and, behind them, the three extras if any
//   k slots: experts a row goes to, best first; the same number for all rows
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/dymoe_layer.h"
#include "models/parameter.h"

namespace accrete::models {

/// The extra experts, in the order of their columns.
enum class Extra : std::uint8_t { Zero, Copy, Constant };
inline constexpr std::size_t kExtras = 3;

/// The expert of a data block. Blocks newer than the newest expert count as its own.
inline std::size_t expert_of(std::uint32_t block, std::size_t experts) {
  return std::min<std::size_t>(block, experts - 1);
}

/// Who goes where: by row, and grouped by column, so that rows of one expert lie together.
template <class Real>
struct Routes {
  std::size_t slots = 0;
  std::vector<std::uint32_t> column;  ///< (N, k)
  std::vector<Real> weight;           ///< (N, k) g: >= 0, a row sums to 1
  std::vector<std::uint32_t> begin;   ///< C + 1: the pairs of a column
  std::vector<std::uint32_t> row;     ///< of each pair; ascending within a column
  std::vector<std::uint32_t> place;   ///< of each pair: its index in column and weight
  std::vector<Real> share;            ///< of each pair: its weight

  std::size_t rows() const { return slots == 0 ? 0 : column.size() / slots; }
  std::span<const std::uint32_t> rows_of(std::size_t c) const {
    return std::span(row).subspan(begin[c], begin[c + 1] - begin[c]);
  }
  std::span<const Real> shares_of(std::size_t c) const {
    return std::span(share).subspan(begin[c], begin[c + 1] - begin[c]);
  }
};

/// Chooses for each row by its logits (N, C). `blocks`: of each row. Ties: the lower column.
/// Cost: N (C log k + k). Checks: at least one expert; routing.top >= 1.
template <class Real>
void choose_routes(const RowMatrix<Real>& logits, std::size_t experts,
                   std::span<const std::uint32_t> blocks, const Routing& routing,
                   Routes<Real>& routes);

/// d_logits (N, C) is set to the gradient by the logits of a loss whose gradient by the routes'
/// weights is `d_weight` (N, k): softmax over the k chosen.
template <class Real>
void route_gradient(const Routes<Real>& routes, std::span<const Real> d_weight,
                    RowMatrix<Real>& d_logits);

/// Mean over rows of the cross entropy of softmax(logits of the T block experts) and the row's
/// block; the chosen k and the extras have no part in it. `d_logits` += scale × its gradient,
/// unless null.
template <class Real>
double block_loss(const RowMatrix<Real>& logits, std::size_t experts,
                  std::span<const std::uint32_t> blocks, double scale, RowMatrix<Real>* d_logits);

/// Fills load, entropy, nodes and own_block.
template <class Real>
void count_routes(const Routes<Real>& routes, const RowMatrix<Real>& logits, std::size_t experts,
                  std::span<const std::uint32_t> blocks, RoutingStats& stats);

/// z = H [W_g | W_x]. Every expert's column is a parameter of its own, so that a new one starts
/// with moments and a count of steps of its own.
template <class Real>
class ExpertGate {
 public:
  /// Extras begin at zero: a tie, which the first block experts win.
  ExpertGate(std::size_t width, bool extras);

  std::size_t experts() const { return blocks_.size(); }
  std::size_t columns() const { return blocks_.size() + static_cast<std::size_t>(extras_rows_); }
  /// A new last block column: `mean` over its length, zero without one.
  void add(const RowMatrix<Real>* mean);
  /// Column `first` becomes one with the next: their mean by usage.
  void merge(std::size_t first, const UsagePair& usage) { merge_neighbours(first, usage, blocks_); }

  void logits(const RowMatrix<Real>& rows, RowMatrix<Real>& out) const;
  /// d_rows (N, d) is set; adds to the gradients.
  void backward(const RowMatrix<Real>& rows, const RowMatrix<Real>& d_logits,
                RowMatrix<Real>& d_rows);
  void visit(std::string_view prefix, const VisitParameter<Real>& visit);

 private:
  /// (C, d)
  RowMatrix<Real> weights() const;

  std::size_t width_;
  Eigen::Index extras_rows_;
  std::vector<Parameter<Real>> blocks_;  ///< (1, d) each
  Parameter<Real> extras_;               ///< (3, d) or none
};

extern template class ExpertGate<float>;
extern template class ExpertGate<double>;

}  // namespace accrete::models
