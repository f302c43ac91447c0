// Vectors of 64 bytes for loops that are compiled once a vector width: whoever includes this names
// its instructions by ACCRETE_TARGET.
//
// A vector is one, two or four registers; each number has a lane of its own in all of them and
// products are never fused with sums (-ffp-contract=off), so all widths say the same bits.
#pragma once

#include <cstddef>

#if defined(ACCRETE_TARGET)
namespace accrete::models {
namespace {

template <class Real>
using Vector [[gnu::vector_size(64), gnu::aligned(alignof(Real)), gnu::may_alias]] = Real;

template <class Real>
inline constexpr std::size_t kVectorLanes = 64 / sizeof(Real);

template <class Real>
using Quarter [[gnu::vector_size(16), gnu::aligned(alignof(Real)), gnu::may_alias]] = Real;

template <class Real>
const Vector<Real>& vector_at(const Real* from) {
  return *reinterpret_cast<const Vector<Real>*>(from);
}
template <class Real>
Vector<Real>& vector_at(Real* to) {
  return *reinterpret_cast<Vector<Real>*>(to);
}

/// All lanes as one number: quarters onto each other, then the rest by halves.
template <class Real>
ACCRETE_TARGET Real fold_lanes(const Vector<Real>& lanes) {
  const auto* const quarter = reinterpret_cast<const Quarter<Real>*>(&lanes);
  const Quarter<Real> sum = (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
  if constexpr (sizeof(Real) == sizeof(double)) {
    return sum[0] + sum[1];
  } else {
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
}

}  // namespace
}  // namespace accrete::models
#endif
