// The exponential of sixteen floats at once, for loops that are compiled once a vector width
// (vector_lanes.h): ours, so that no library changes a bit.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "models/vector_lanes.h"

#if defined(ACCRETE_TARGET)
namespace accrete::models {
namespace {

inline constexpr float kRounds = 12'582'912;  // 1.5 · 2^23

/// 2^n of 1.5 · 2^23 + n.
ACCRETE_LANES Vector<Real> power_of_two(const Vector<Real>& rounded) {
  using Bits [[gnu::vector_size(ACCRETE_REGISTER_BYTES)]] = std::uint32_t;
  constexpr std::uint32_t kRoundsBits = 0x4B40'0000;
  Vector<Real> out;
  ACCRETE_EACH_REGISTER(const Register<Real> told = rounded.part[r];
                        const Bits power = (__builtin_bit_cast(Bits, told) - kRoundsBits + 127U)
                                           << 23U;
                        out.part[r] = __builtin_bit_cast(Register<Real>, power))
  return out;
}

/// exp(x) = 2^n exp(r), r within half a log 2, |x| cut at 87; the polynomial is that of the Cephes
/// library (Moshier 1992). n is read off the lowest bits of x / log 2 + 1.5 · 2^23, where it is
/// rounded.
[[gnu::always_inline]] ACCRETE_TARGET inline Vector<float> exponential_lanes(
    const Vector<float>& x) {
  constexpr float kMost = 87;  // 2^±126: neither infinite nor subnormal
  const Vector<float> a = cut(x, kMost);
  const Vector<float> rounded = fused(1.44269504F, a, all(kRounds));
  const Vector<float> n = rounded - kRounds;
  const Vector<float> r = fused(2.12194440e-4F, n, fused(-0.693359375F, n, a));
  Vector<float> p = fused(1.9875691500e-4F, r, all(1.3981999507e-3F));
  p = fused(p, r, all(8.3334519073e-3F));
  p = fused(p, r, all(4.1665795894e-2F));
  p = fused(p, r, all(1.6666665459e-1F));
  p = fused(p, r, all(5.0000001201e-1F));
  p = fused(p, r * r, r) + 1.0F;
  return p * power_of_two(rounded);
}

/// Doubles are for checks: the library's, one after another.
[[gnu::always_inline]] ACCRETE_TARGET inline Vector<double> exponential_lanes(
    const Vector<double>& x) {
  Vector<double> out = x;
  for (Register<double>& part : out.part) {
    for (std::size_t i = 0; i < sizeof(part) / sizeof(double); ++i)
      part[i] = std::exp(part[i]);
  }
  return out;
}

}  // namespace
}  // namespace accrete::models
#endif
