// Everybody's best expert, then those that the whole batch wants most.
#include "models/expert_selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/row_gather.h"
#include "proto/result.h"

namespace accrete::models {

template <class Real>
std::vector<char> choose_experts(const RowMatrix<Real>& logits, std::size_t experts,
                                 std::size_t experts_max) {
  const auto columns = static_cast<std::size_t>(logits.cols());
  ACCRETE_CHECK(experts >= 1 && experts <= columns);
  std::vector<char> chosen(experts, 0);
  std::vector<double> wanted(experts, 0.0);
  std::vector<double> shares(columns);
  for (std::size_t v = 0; v < static_cast<std::size_t>(logits.rows()); ++v) {
    const Real* const row = row_of(logits, v);
    const auto best = static_cast<std::size_t>(std::max_element(row, row + columns) - row);
    if (best < experts) chosen[best] = 1;
    double total = 0;
    for (std::size_t e = 0; e < columns; ++e)
      total += shares[e] = std::exp(static_cast<double>(row[e]) - static_cast<double>(row[best]));
    for (std::size_t e = 0; e < experts; ++e)
      wanted[e] += shares[e] / total;
  }
  std::vector<std::size_t> order(experts);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wanted[a] > wanted[b]; });
  auto count = static_cast<std::size_t>(std::count(chosen.begin(), chosen.end(), 1));
  for (const std::size_t e : order) {
    if (count >= experts_max) break;
    if (chosen[e] != 0) continue;
    chosen[e] = 1;
    ++count;
  }
  return chosen;
}

template std::vector<char> choose_experts(const RowMatrix<float>&, std::size_t, std::size_t);
template std::vector<char> choose_experts(const RowMatrix<double>&, std::size_t, std::size_t);

}  // namespace accrete::models
