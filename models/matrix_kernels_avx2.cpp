// The kernels in vectors of 256 bits.
#if defined(__x86_64__)

#include <immintrin.h>

#define ACCRETE_TARGET __attribute__((target("avx2,fma")))
#include "models/matrix_tile.h"

namespace accrete::models {
namespace {

#define ACCRETE_INLINE ACCRETE_TARGET __attribute__((always_inline)) static inline

struct Floats {
  using Real = float;
  using Vector = __m256;
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kRows = 6;
  static constexpr std::size_t kVectors = 2;
  ACCRETE_INLINE Vector load(const Real* from) { return _mm256_loadu_ps(from); }
  ACCRETE_INLINE void store(Real* to, Vector x) { _mm256_storeu_ps(to, x); }
  ACCRETE_INLINE Vector broadcast(Real x) { return _mm256_set1_ps(x); }
  ACCRETE_INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
};

struct Doubles {
  using Real = double;
  using Vector = __m256d;
  static constexpr std::size_t kLanes = 4;
  static constexpr std::size_t kRows = 6;
  static constexpr std::size_t kVectors = 2;
  ACCRETE_INLINE Vector load(const Real* from) { return _mm256_loadu_pd(from); }
  ACCRETE_INLINE void store(Real* to, Vector x) { _mm256_storeu_pd(to, x); }
  ACCRETE_INLINE Vector broadcast(Real x) { return _mm256_set1_pd(x); }
  ACCRETE_INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_pd(a, b, c); }
};

}  // namespace

template <>
const Kernels<float>& avx2_kernels() {
  static constexpr Kernels<float> kKernels = make_kernels<Floats>("avx2");
  return kKernels;
}

template <>
const Kernels<double>& avx2_kernels() {
  static constexpr Kernels<double> kKernels = make_kernels<Doubles>("avx2");
  return kKernels;
}

}  // namespace accrete::models

#endif
