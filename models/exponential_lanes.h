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

/// exp(x) = 2^n exp(r), r within half a log 2, |x| cut at 87; the polynomial is that of the Cephes
/// library (Moshier 1992). n is read off the lowest bits of x / log 2 + 1.5 · 2^23, where it is
/// rounded.
[[gnu::always_inline]] ACCRETE_TARGET inline void exponential_lanes(const Vector<float>& x,
                                                                    Vector<float>& out) {
  using Bits [[gnu::vector_size(64)]] = std::uint32_t;
  constexpr float kMost = 87;  // 2^±126: neither infinite nor subnormal
  constexpr float kRounds = 12'582'912;
  constexpr std::uint32_t kRoundsBits = 0x4B40'0000;
  const Vector<float> most = Vector<float>{} + kMost;
  Vector<float> a = x > most ? most : x;
  a = a < -most ? -most : a;
  const Vector<float> rounded = a * 1.44269504F + kRounds;
  const Vector<float> n = rounded - kRounds;
  const Vector<float> r = (a - n * 0.693359375F) + n * 2.12194440e-4F;
  Vector<float> p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const Bits power = (__builtin_bit_cast(Bits, rounded) - kRoundsBits + 127U) << 23U;
  out = p * __builtin_bit_cast(Vector<float>, power);
}

/// Doubles are for checks: the library's, one after another.
[[gnu::always_inline]] ACCRETE_TARGET inline void exponential_lanes(const Vector<double>& x,
                                                                    Vector<double>& out) {
  for (std::size_t i = 0; i < kVectorLanes<double>; ++i)
    out[i] = std::exp(x[i]);
}

}  // namespace
}  // namespace accrete::models
#endif
