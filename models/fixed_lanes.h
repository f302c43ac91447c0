// Arithmetic over short rows in an order of its own: sixteen running sums, folded in a fixed way,
// then what is left over. No length, alignment or vector width of the processor changes a bit.
#pragma once

#include <cstddef>

#include <Eigen/Core>

namespace accrete::models {

inline constexpr std::size_t kRowLanes = 16;

// Fixed-size arrays become vector instructions at -O2, where a loop of variable length does not.
template <class Real>
using RowLanes = Eigen::Array<Real, static_cast<int>(kRowLanes), 1>;

template <class Real>
Eigen::Map<const RowLanes<Real>> lanes_at(const Real* from) {
  return Eigen::Map<const RowLanes<Real>>(from);
}

/// The sixteen sums as one: halves onto halves.
template <class Real>
Real fold(const RowLanes<Real>& sums) {
  const Eigen::Array<Real, 8, 1> eight = sums.template head<8>() + sums.template tail<8>();
  const Eigen::Array<Real, 4, 1> four = eight.template head<4>() + eight.template tail<4>();
  return (four[0] + four[2]) + (four[1] + four[3]);
}

template <class Real>
Real fixed_dot(const Real* a, const Real* b, std::size_t count) {
  RowLanes<Real> sums = RowLanes<Real>::Zero();
  std::size_t i = 0;
  for (; i + kRowLanes <= count; i += kRowLanes)
    sums += lanes_at(a + i) * lanes_at(b + i);
  Real total = fold(sums);
  for (; i < count; ++i)
    total += a[i] * b[i];
  return total;
}

template <class Real>
Real fixed_sum(const Real* a, std::size_t count) {
  RowLanes<Real> sums = RowLanes<Real>::Zero();
  std::size_t i = 0;
  for (; i + kRowLanes <= count; i += kRowLanes)
    sums += lanes_at(a + i);
  Real total = fold(sums);
  for (; i < count; ++i)
    total += a[i];
  return total;
}

/// to += scale from.
template <class Real>
void add_scaled(Real scale, const Real* from, std::size_t count, Real* to) {
  std::size_t i = 0;
  for (; i + kRowLanes <= count; i += kRowLanes) {
    Eigen::Map<RowLanes<Real>> place(to + i);
    place += scale * lanes_at(from + i);
  }
  for (; i < count; ++i)
    to[i] += scale * from[i];
}

}  // namespace accrete::models
