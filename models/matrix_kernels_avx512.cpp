// The kernels in vectors of 512 bits.
#if defined(__x86_64__)

#include <immintrin.h>

#define ACCRETE_TARGET __attribute__((target("avx512f,fma")))
#include "models/matrix_tile.h"

namespace accrete::models {
namespace {

#define ACCRETE_INLINE ACCRETE_TARGET __attribute__((always_inline)) static inline

struct Floats {
  using Real = float;
  using Vector = __m512;
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kRows = 6;
  static constexpr std::size_t kVectors = 4;
  ACCRETE_INLINE Vector load(const Real* from) { return _mm512_loadu_ps(from); }
  ACCRETE_INLINE void store(Real* to, Vector x) { _mm512_storeu_ps(to, x); }
  ACCRETE_INLINE Vector broadcast(Real x) { return _mm512_set1_ps(x); }
  ACCRETE_INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
};

struct Doubles {
  using Real = double;
  using Vector = __m512d;
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kRows = 6;
  static constexpr std::size_t kVectors = 4;
  ACCRETE_INLINE Vector load(const Real* from) { return _mm512_loadu_pd(from); }
  ACCRETE_INLINE void store(Real* to, Vector x) { _mm512_storeu_pd(to, x); }
  ACCRETE_INLINE Vector broadcast(Real x) { return _mm512_set1_pd(x); }
  ACCRETE_INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_pd(a, b, c); }
};

}  // namespace

template <>
const Kernels<float>& avx512_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels<Floats>("avx512");
  return kKernels;
}

template <>
const Kernels<double>& avx512_kernels() {
  static constexpr Kernels<double> kKernels = make_kernels<Doubles>("avx512");
  return kKernels;
}

}  // namespace accrete::models

#endif
