// Vectors of 64 bytes for loops that are compiled once a vector width: whoever includes this names
// its instructions by ACCRETE_TARGET, and by ACCRETE_REGISTER_BYTES how long a register is, 16 if
// it does not.
//
// A vector is one, two or four registers; each number has a lane of its own in all of them, and
// products are fused with sums where fused() says so and nowhere else (-ffp-contract=off), so all
// widths say the same bits. Where registers cannot fuse it is the library that does, slowly.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "models/unroll.h"

#if defined(ACCRETE_TARGET)

#if !defined(ACCRETE_REGISTER_BYTES)
#define ACCRETE_REGISTER_BYTES 16
#endif
#if ACCRETE_REGISTER_BYTES > 16
#include <immintrin.h>
#endif

/// A statement for each register r of a vector. No loop: of those in loops that are unrolled only
/// later GCC (12) would keep the vectors in memory.
#define ACCRETE_EACH_REGISTER(...) \
  {                                \
    constexpr std::size_t r = 0;   \
    __VA_ARGS__;                   \
  }                                \
  if constexpr (kRegisters > 1) {  \
    constexpr std::size_t r = 1;   \
    __VA_ARGS__;                   \
  }                                \
  if constexpr (kRegisters > 2) {  \
    {                              \
      constexpr std::size_t r = 2; \
      __VA_ARGS__;                 \
    }                              \
    {                              \
      constexpr std::size_t r = 3; \
      __VA_ARGS__;                 \
    }                              \
  }

#define ACCRETE_LANES   \
  template <class Real> \
  [[gnu::always_inline]] ACCRETE_TARGET inline

namespace accrete::models {
namespace {

template <class Real>
inline constexpr std::size_t kVectorLanes = 64 / sizeof(Real);

inline constexpr std::size_t kRegisters = 64 / ACCRETE_REGISTER_BYTES;

// Of memory anywhere, which may be known by another type. Types of their own: clang (14) forgets
// the alignment of an alias.
template <class Real>
struct RegisterOf {
  using Whole
      [[gnu::vector_size(ACCRETE_REGISTER_BYTES), gnu::aligned(alignof(Real)), gnu::may_alias]] =
          Real;
  using Quarter [[gnu::vector_size(16), gnu::aligned(alignof(Real)), gnu::may_alias]] = Real;
};
template <class Real>
using Register = typename RegisterOf<Real>::Whole;
template <class Real>
using Quarter = typename RegisterOf<Real>::Quarter;

/// What a comparison of two registers says: a number as long as a lane's, −1 where it holds.
template <class Real>
using Holds = decltype(Register<Real>{} < Register<Real>{});

// An array of registers: of one longer than the target's GCC (12) takes comparisons apart into
// single numbers, and keeps none in registers. Copied register by register, else it is copied in
// pieces that are read again before they are written.
template <class Real>
struct [[gnu::may_alias]] Vector {
  Vector() = default;
  [[gnu::always_inline]] ACCRETE_TARGET Vector(const Vector& from) {
    ACCRETE_EACH_REGISTER(part[r] = from.part[r])
  }
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): every register is read before it is written
  [[gnu::always_inline]] ACCRETE_TARGET Vector& operator=(const Vector& from) {
    ACCRETE_EACH_REGISTER(part[r] = from.part[r])
    return *this;
  }

  Register<Real> part[kRegisters];
};

template <class Real>
const Vector<Real>& vector_at(const Real* from) {
  return *reinterpret_cast<const Vector<Real>*>(from);
}
template <class Real>
Vector<Real>& vector_at(Real* to) {
  return *reinterpret_cast<Vector<Real>*>(to);
}

/// One of its numbers: a few go in and out lane by lane.
ACCRETE_LANES Real& lane(Vector<Real>& lanes, std::size_t i) {
  return reinterpret_cast<Real*>(&lanes)[i];
}

/// The number in every lane.
ACCRETE_LANES Vector<Real> all(Real number) {
  Vector<Real> out;
  ACCRETE_EACH_REGISTER(out.part[r] = Register<Real>{} + number)
  return out;
}

#define ACCRETE_OPERATOR(op)                                                             \
  ACCRETE_LANES Vector<Real> operator op(const Vector<Real>& a, const Vector<Real>& b) { \
    Vector<Real> out;                                                                    \
    ACCRETE_EACH_REGISTER(out.part[r] = a.part[r] op b.part[r])                          \
    return out;                                                                          \
  }                                                                                      \
  ACCRETE_LANES Vector<Real> operator op(const Vector<Real>& a, Real b) {                \
    return a op all(b);                                                                  \
  }                                                                                      \
  ACCRETE_LANES Vector<Real> operator op(Real a, const Vector<Real>& b) {                \
    return all(a) op b;                                                                  \
  }
ACCRETE_OPERATOR(+)
ACCRETE_OPERATOR(-)
ACCRETE_OPERATOR(*)
ACCRETE_OPERATOR(/)
#undef ACCRETE_OPERATOR

ACCRETE_LANES Vector<Real> operator-(const Vector<Real>& a) {
  Vector<Real> out;
  ACCRETE_EACH_REGISTER(out.part[r] = -a.part[r])
  return out;
}
ACCRETE_LANES void operator+=(Vector<Real>& a, const Vector<Real>& b) {
  a = a + b;
}

/// Where a > limit: `above`, else `rest`.
ACCRETE_LANES Vector<Real> where_above(const Vector<Real>& a, Real limit, const Vector<Real>& above,
                                       const Vector<Real>& rest) {
  Vector<Real> out;
  const Vector<Real> limits = all(limit);
  ACCRETE_EACH_REGISTER(out.part[r] = a.part[r] > limits.part[r] ? above.part[r] : rest.part[r])
  return out;
}

/// Within [−most, most]; a NaN stays one.
ACCRETE_LANES Vector<Real> cut(const Vector<Real>& a, Real most) {
  const Vector<Real> upper = all(most);
  const Vector<Real> lower = all(-most);
  Vector<Real> out;
  ACCRETE_EACH_REGISTER(out.part[r] = a.part[r] > upper.part[r] ? upper.part[r] : a.part[r])
  ACCRETE_EACH_REGISTER(out.part[r] = out.part[r] < lower.part[r] ? lower.part[r] : out.part[r])
  return out;
}

/// Real is told: of a register's type it is not found out.
ACCRETE_LANES Register<Real> fused_register(Register<Real> a, Register<Real> b, Register<Real> c) {
  constexpr bool kFloats = sizeof(Real) == sizeof(float);
#if ACCRETE_REGISTER_BYTES == 64
  if constexpr (kFloats) return _mm512_fmadd_ps(a, b, c);
  if constexpr (!kFloats) return _mm512_fmadd_pd(a, b, c);
#elif ACCRETE_REGISTER_BYTES == 32
  if constexpr (kFloats) return _mm256_fmadd_ps(a, b, c);
  if constexpr (!kFloats) return _mm256_fmadd_pd(a, b, c);
#else
  Register<Real> out;
  ACCRETE_UNROLL
  for (std::size_t i = 0; i < (kFloats ? 4 : 2); ++i)
    out[i] = std::fma(a[i], b[i], c[i]);
  return out;
#endif
}

/// a b + c, rounded once.
ACCRETE_LANES Vector<Real> fused(const Vector<Real>& a, const Vector<Real>& b,
                                 const Vector<Real>& c) {
  Vector<Real> out;
  ACCRETE_EACH_REGISTER(out.part[r] = fused_register<Real>(a.part[r], b.part[r], c.part[r]))
  return out;
}
ACCRETE_LANES Vector<Real> fused(Real a, const Vector<Real>& b, const Vector<Real>& c) {
  return fused(all(a), b, c);
}
/// The same of one number: what is left over behind the lanes.
ACCRETE_LANES Real fused(Real a, Real b, Real c) {
  return std::fma(a, b, c);
}

ACCRETE_LANES Quarter<Real> quarter(const Vector<Real>& lanes, std::size_t i) {
  constexpr std::size_t kEach = ACCRETE_REGISTER_BYTES / 16;
  const Register<Real> held = lanes.part[i / kEach];
  return reinterpret_cast<const Quarter<Real>*>(&held)[i % kEach];
}

/// Four numbers, or two, as one: halves onto each other.
ACCRETE_LANES Real fold_quarter(Quarter<Real> sum) {
  if constexpr (sizeof(Real) == sizeof(double)) {
    return sum[0] + sum[1];
  } else {
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
}

/// All lanes as one number: quarters onto each other, then the rest by halves.
ACCRETE_LANES Real fold_lanes(const Vector<Real>& lanes) {
  return fold_quarter<Real>((quarter(lanes, 0) + quarter(lanes, 1)) +
                            (quarter(lanes, 2) + quarter(lanes, 3)));
}

}  // namespace
}  // namespace accrete::models
#endif
