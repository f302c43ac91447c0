// Sizes checked, then the loops of the processor's vector width.
#include "models/neighbour_sum.h"

#include <algorithm>

#include "models/fixed_lanes.h"
#include "models/register_length.h"
#include "proto/result.h"

#define ACCRETE_TARGET
#include "models/neighbour_kernels.h"

namespace accrete::models {
namespace {

template <class Real>
const NeighbourKernels<Real>& widest() {
  static const NeighbourKernels<Real> chosen = [] {
#if defined(__x86_64__)
    if (has_registers_of_64_bytes()) return avx512_neighbour_kernels<Real>();
    if (has_registers_of_32_bytes()) return avx2_neighbour_kernels<Real>();
#endif
    return plain_neighbour_kernels<Real>();
  }();
  return chosen;
}

}  // namespace

template <class Real>
NeighbourKernels<Real> plain_neighbour_kernels() {
  return make_neighbour_kernels<Real>();
}

template <class Real>
void sum_neighbours(const NeighbourSum<Real>& sum) {
  ACCRETE_CHECK(!sum.to.empty() && sum.to.size() <= kListenersMax);
  ACCRETE_CHECK(sum.weights.size() == sum.neighbours.size() * sum.to.size());
  widest<Real>().sum(sum);
}

template <class Real>
void add_neighbour_gradients(const NeighbourGradient<Real>& back) {
  widest<Real>().back(back);
}

template <class Real>
void score_rows(const ScoreRows<Real>& rows) {
  widest<Real>().score(rows);
}

template <class Real>
void add_score_gradients(const ScoreGradient<Real>& back) {
  widest<Real>().score_back(back);
}

/// Memory is what it waits for: wider vectors than everybody has gained nothing.
template <class Real>
void add_rows(const RowAddition<Real>& added) {
  constexpr std::size_t kLine = 64 / sizeof(Real);
  const auto from_row = [&](std::size_t i) {
    return added.from + (added.from_rows != nullptr ? added.from_rows[i] : i) * added.width;
  };
  const auto to_row = [&](std::size_t i) {
    return added.to + (added.to_rows != nullptr ? added.to_rows[i] : i) * added.width;
  };
  for (std::size_t i = 0; i < added.rows; ++i) {
    const std::size_t ahead = std::min(i + kAhead, added.rows - 1);
    for (std::size_t c = 0; c < added.width; c += kLine) {
      if (added.from_rows != nullptr) __builtin_prefetch(from_row(ahead) + c);
      if (added.to_rows != nullptr) __builtin_prefetch(to_row(ahead) + c, 1);
    }
    add_scaled(Real(1), from_row(i), added.width, to_row(i));
  }
}

template NeighbourKernels<float> plain_neighbour_kernels();
template NeighbourKernels<double> plain_neighbour_kernels();
template void sum_neighbours(const NeighbourSum<float>&);
template void sum_neighbours(const NeighbourSum<double>&);
template void add_neighbour_gradients(const NeighbourGradient<float>&);
template void add_neighbour_gradients(const NeighbourGradient<double>&);
template void score_rows(const ScoreRows<float>&);
template void score_rows(const ScoreRows<double>&);
template void add_score_gradients(const ScoreGradient<float>&);
template void add_score_gradients(const ScoreGradient<double>&);
template void add_rows(const RowAddition<float>&);
template void add_rows(const RowAddition<double>&);

}  // namespace accrete::models
