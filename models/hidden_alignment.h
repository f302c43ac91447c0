// Which hidden unit of one expert does the work of which unit of another, and one expert of both.
//
// Hidden units have no order: an expert whose units are permuted computes the same, but the mean of
// it and the original computes nonsense. So before two experts are averaged, the units of the
// second are put in the order of the first.
//
// Source: Li et al. 2024 (M-SMoE), arXiv:2310.01334, section 3.1, after Ainsworth et al. 2023 (Git
// Re-Basin), arXiv:2209.04836; Jonker and Volgenant 1987 for the assignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "models/sparse_rows.h"

namespace accrete::models {

/// The column of each row under the assignment of least total cost, by shortest augmenting paths.
/// Ties: a path takes the lowest column that is nearest, so equal costs give the identity and the
/// same matrix always the same answer. Checks: square, all costs finite. Cost: O(n³), n² memory
/// besides none. Threads: pure.
std::vector<std::size_t> assign_least_cost(const Eigen::MatrixXd& cost);

/// How a matrix holds the hidden units: one a row or one a column. A vector of hidden numbers (a
/// bias, a norm's gain) is a matrix of one row whose units lie along columns.
enum class HiddenAxis : std::uint8_t { Rows, Columns };

/// The same matrix of both experts.
template <class Real>
struct HiddenPair {
  const RowMatrix<Real>& first;
  const RowMatrix<Real>& second;
  HiddenAxis axis;
};

/// order[i] = unit of the second expert that does the work of unit i of the first: maximises
/// sum_i <unit i of first, unit order[i] of second> over all pairs, which is M-SMoE's
/// W_i W_iᵀ + W_o W_oᵀ and, as lengths do not depend on the order, the same as the least sum of
/// squared differences. Checks: a pair, all of one shape in both, the same number of units.
/// Cost: n² × numbers a unit + O(n³). Threads: pure.
template <class Real>
std::vector<std::size_t> align_hidden(std::span<const HiddenPair<Real>> pairs);

/// The matrix whose unit i is unit order[i] of `matrix`. Checks: order names each unit once.
template <class Real>
RowMatrix<Real> permute_hidden(const RowMatrix<Real>& matrix, HiddenAxis axis,
                               std::span<const std::size_t> order);

/// (usage_first first + usage_second second) / (usage_first + usage_second); halves when neither is
/// used. A usage of 0 gives the other back, equal matrices give themselves, bit for bit. For what
/// is not along hidden units as it is; for the rest after permute_hidden(). Checks: usages >= 0 and
/// finite, same shapes.
template <class Real>
RowMatrix<Real> usage_mean(const RowMatrix<Real>& first, const RowMatrix<Real>& second,
                           double usage_first, double usage_second);

/// All three in one: the merged matrix of each pair, in the order of the first expert's units.
template <class Real>
std::vector<RowMatrix<Real>> merge_hidden(std::span<const HiddenPair<Real>> pairs,
                                          double usage_first, double usage_second);

extern template std::vector<std::size_t> align_hidden(std::span<const HiddenPair<float>>);
extern template std::vector<std::size_t> align_hidden(std::span<const HiddenPair<double>>);
extern template RowMatrix<float> permute_hidden(const RowMatrix<float>&, HiddenAxis,
                                                std::span<const std::size_t>);
extern template RowMatrix<double> permute_hidden(const RowMatrix<double>&, HiddenAxis,
                                                 std::span<const std::size_t>);
extern template RowMatrix<float> usage_mean(const RowMatrix<float>&, const RowMatrix<float>&,
                                            double, double);
extern template RowMatrix<double> usage_mean(const RowMatrix<double>&, const RowMatrix<double>&,
                                             double, double);
extern template std::vector<RowMatrix<float>> merge_hidden(std::span<const HiddenPair<float>>,
                                                           double, double);
extern template std::vector<RowMatrix<double>> merge_hidden(std::span<const HiddenPair<double>>,
                                                            double, double);

}  // namespace accrete::models
