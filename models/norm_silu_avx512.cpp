// The loops of SiLU(LayerNorm(x)) in vectors of 512 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx512f")))
#include "models/norm_silu_kernels.h"

namespace accrete::models {

template <class Real>
NormSiluKernels<Real> avx512_norm_silu_kernels() {
  return {norm_silu_loop<Real>, norm_silu_gradient_loop<Real>, sigmoid_loop<Real, false>,
          sigmoid_loop<Real, true>};
}

template NormSiluKernels<float> avx512_norm_silu_kernels();
template NormSiluKernels<double> avx512_norm_silu_kernels();

}  // namespace accrete::models

#endif
