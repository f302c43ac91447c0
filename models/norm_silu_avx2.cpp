// The loops of SiLU(LayerNorm(x)) in vectors of 256 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx2")))
#include "models/norm_silu_kernels.h"

namespace accrete::models {

template <class Real>
NormSiluKernels<Real> avx2_norm_silu_kernels() {
  return {norm_silu_loop<Real>, norm_silu_gradient_loop<Real>, sigmoid_loop<Real, false>,
          sigmoid_loop<Real, true>};
}

template NormSiluKernels<float> avx2_norm_silu_kernels();
template NormSiluKernels<double> avx2_norm_silu_kernels();

}  // namespace accrete::models

#endif
