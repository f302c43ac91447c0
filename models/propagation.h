// Heads over rows and what lies two steps around them in a graph: sparse rows propagated by the
// normalised adjacency, and a softmax fitted to them by a convex problem.
//
// Dimensions, here and in propagation.cpp:
//   N centres   I centres and their neighbours   M members: all rows within two steps
//   F columns   C classes
//
//   D (N, F) what a centre shows itself      X (M, F) what a member shows to others
//   S = D^-1/2 (A + I) D^-1/2, its first I rows (I, M)
//   O = D W0 + S (S X) W2  (N, C)            P = softmax(O)
//
// Hops 0 and 2 have weights of their own: mixing them loses two points of accuracy, a third hop
// gains nothing (measured on graphs/cs before this was written).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "models/sparse_rows.h"
#include "models/state_bytes.h"

namespace accrete::models {

/// Rows to fit or to answer for, with all that their scores depend on.
struct Neighbourhood {
  SparseRows direct;   ///< D, one row a centre
  SparseRows members;  ///< X; the centres come first, then the other neighbours, then the rest
  SparseRows inner;    ///< S: rows of the first I members, columns are members; empty: no hop 2
};

/// Entries of S: A_vu may count several edges between two rows, degree(v) = sum_u A_vu, and the
/// row's own entry is 1. Checks: degrees >= 0.
float normalised_edge(double edges, double degree_v, double degree_u);

/// W0 and W2, (F, padded C). New classes and columns are zero.
template <class Real>
struct HopWeights {
  RowMatrix<Real> own;     ///< W0
  RowMatrix<Real> around;  ///< W2
  std::size_t classes = 0;

  /// Never shrinks. Cost: a copy.
  void grow(std::size_t columns, std::size_t classes_now);
  std::size_t columns() const { return static_cast<std::size_t>(own.rows()); }
};

/// O (N, padded C). Columns the weights do not have count as 0.
/// Cost: (entries of D and X + two times the entries of S) × C. Threads: pure.
template <class Real>
void scores(const Neighbourhood& rows, const HopWeights<Real>& weights, RowMatrix<Real>& out);

/// Probabilities from a row of scores, in place; `row` holds C numbers.
template <class Real>
void softmax(std::span<Real> row);

/// Chosen on the validation nodes of graphs/cs (bench/RESULTS.md): a decay of 0,
/// 3e-6, 1e-5, 4e-5 and 1e-4 gave 94.5, 96.0, 96.0, 95.7 and 95.4 points; half as many epochs lose
/// .2.
struct SoftmaxFitOptions {
  int epochs = 20;
  double rate = 0.1;    ///< of Adam; falls to 0 along half a cosine
  double decay = 1e-5;  ///< of the penalty decay/2 |W|²
};

/// What fit_softmax() minimises: sum_v w_v (−log P_v[label_v]) / N + decay/2 |W|², and its gradient
/// in `gradient` (resized), unless null. Convex in the weights.
/// Checks: a label and a weight >= 0 for each centre; labels < weights.classes.
template <class Real>
double softmax_objective(const Neighbourhood& rows, std::span<const std::uint32_t> labels,
                         std::span<const Real> row_weights, const HopWeights<Real>& weights,
                         double decay, HopWeights<Real>* gradient);

/// Full-batch Adam (.9, .999) from the weights as they are, moments from zero. The problem being
/// convex, a warm start changes how soon the optimum is reached, not which. Returns the objective
/// before the last step. Cost: epochs × three times scores(). Threads: one; same calls, same bits.
template <class Real>
double fit_softmax(const Neighbourhood& rows, std::span<const std::uint32_t> labels,
                   std::span<const Real> row_weights, const SoftmaxFitOptions& options,
                   HopWeights<Real>& weights);

/// Weights under which every class counts the same and the mean is 1.
std::vector<float> balanced_weights(std::span<const std::uint32_t> labels);

void save_hop_weights(StateWriter& writer, const HopWeights<float>& weights);
/// Fails the reader where sizes do not agree or exceed the bounds.
void load_hop_weights(StateReader& reader, std::size_t columns_max, std::size_t classes_max,
                      HopWeights<float>& weights);

extern template struct HopWeights<float>;
extern template struct HopWeights<double>;

}  // namespace accrete::models
