// Loops over neighbours, a few registers of outputs at a time.
#include "models/neighbour_sum.h"

#include "models/fixed_lanes.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

template <class Real, int Width>
using Part = Eigen::Array<Real, Width, 1>;

template <class Real, int Width>
Eigen::Map<const Part<Real, Width>> part_at(const Real* from) {
  return Eigen::Map<const Part<Real, Width>>(from);
}

/// Outputs [0, Width) of one listener.
template <class Real, int Width>
void sum_for_one(const Real* input, std::size_t width, std::span<const std::uint32_t> neighbours,
                 const Real* weights, Real* to) {
  Part<Real, Width> sum = Part<Real, Width>::Zero();
  for (std::size_t i = 0; i < neighbours.size(); ++i)
    sum += weights[i] * part_at<Real, Width>(input + neighbours[i] * width);
  Eigen::Map<Part<Real, Width>> place(to);
  place = sum;
}

/// The same of two, who share the walk: the rows are what costs.
template <class Real, int Width>
void sum_for_two(const Real* input, std::size_t width, std::span<const std::uint32_t> neighbours,
                 const Real* weights, Real* to0, Real* to1) {
  Part<Real, Width> sum0 = Part<Real, Width>::Zero();
  Part<Real, Width> sum1 = Part<Real, Width>::Zero();
  for (std::size_t i = 0; i < neighbours.size(); ++i) {
    const auto row = part_at<Real, Width>(input + neighbours[i] * width);
    sum0 += weights[2 * i] * row;
    sum1 += weights[2 * i + 1] * row;
  }
  Eigen::Map<Part<Real, Width>> place0(to0);
  Eigen::Map<Part<Real, Width>> place1(to1);
  place0 = sum0;
  place1 = sum1;
}

template <class Real>
void sum_rest(const Real* input, std::size_t width, std::span<const std::uint32_t> neighbours,
              std::span<const Real> weights, std::size_t from, std::span<Real* const> to) {
  for (std::size_t c = from; c < width; ++c) {
    for (std::size_t j = 0; j < to.size(); ++j) {
      Real sum = 0;
      for (std::size_t i = 0; i < neighbours.size(); ++i)
        sum += weights[i * to.size() + j] * input[neighbours[i] * width + c];
      to[j][c] = sum;
    }
  }
}

constexpr std::size_t kWide = 32;  // eight registers of floats for one listener, or four for each

}  // namespace

template <class Real>
void sum_neighbours(const Real* input, std::size_t width, std::span<const std::uint32_t> neighbours,
                    std::span<const Real> weights, std::span<Real* const> to) {
  ACCRETE_CHECK(!to.empty() && to.size() <= kListenersMax);
  ACCRETE_CHECK(weights.size() == neighbours.size() * to.size());
  std::size_t c = 0;
  if (to.size() == 1) {
    for (; c + kWide <= width; c += kWide)
      sum_for_one<Real, kWide>(input + c, width, neighbours, weights.data(), to[0] + c);
  } else {
    for (; c + kWide / 2 <= width; c += kWide / 2) {
      sum_for_two<Real, kWide / 2>(input + c, width, neighbours, weights.data(), to[0] + c,
                                   to[1] + c);
    }
  }
  sum_rest(input, width, neighbours, weights, c, to);
}

template <class Real>
void add_neighbour_gradients(const Real* input, std::size_t width,
                             std::span<const std::uint32_t> neighbours,
                             std::span<const Real> weights, std::span<const Real* const> d_sum,
                             Real* d_input, std::span<Real> d_weights) {
  const std::size_t listeners = d_sum.size();
  ACCRETE_CHECK(weights.size() == neighbours.size() * listeners);
  ACCRETE_CHECK(d_weights.empty() || d_weights.size() == weights.size());
  for (std::size_t i = 0; i < neighbours.size(); ++i) {
    const std::size_t row = neighbours[i] * width;
    for (std::size_t j = 0; j < listeners; ++j) {
      add_scaled(weights[i * listeners + j], d_sum[j], width, d_input + row);
      if (!d_weights.empty())
        d_weights[i * listeners + j] = fixed_dot(d_sum[j], input + row, width);
    }
  }
}

#define ACCRETE_INSTANTIATE(Real)                                                                 \
  template void sum_neighbours(const Real*, std::size_t, std::span<const std::uint32_t>,          \
                               std::span<const Real>, std::span<Real* const>);                    \
  template void add_neighbour_gradients(const Real*, std::size_t, std::span<const std::uint32_t>, \
                                        std::span<const Real>, std::span<const Real* const>,      \
                                        Real*, std::span<Real>);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
