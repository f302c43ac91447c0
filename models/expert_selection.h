// Which experts a whole batch may use: fewer experts, longer rows of work for each.
//
// Dimensions: N rows   E experts, the first columns of the gate; columns behind them cost nothing
// and are always allowed.
//
//   S0 = experts that some row likes best     u_e = sum over rows of softmax(logits)_e
//   S  = S0, then experts by descending u until |S| = experts_max (S0 alone if it is larger)
//
// The sum of u over S is modular, so this greedy choice is the best of all sets that hold S0.
// Source: XShare, 2026, arXiv:2602.07265, with a warm-up of one expert a row.
#pragma once

#include <cstddef>
#include <vector>

#include "models/sparse_rows.h"

namespace accrete::models {

/// For each of the first `experts` columns of `logits` (N, >= E): is it chosen? Ties: the lower
/// index. Checks: 1 <= experts <= columns. Cost: N × columns. Threads: pure.
template <class Real>
std::vector<char> choose_experts(const RowMatrix<Real>& logits, std::size_t experts,
                                 std::size_t experts_max);

extern template std::vector<char> choose_experts(const RowMatrix<float>&, std::size_t, std::size_t);
extern template std::vector<char> choose_experts(const RowMatrix<double>&, std::size_t,
                                                 std::size_t);

}  // namespace accrete::models
