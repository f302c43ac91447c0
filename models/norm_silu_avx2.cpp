// The loops of SiLU(LayerNorm(x)) in vectors of 256 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx2,fma")))
#define ACCRETE_REGISTER_BYTES 32
#include "models/norm_silu_kernels.h"

namespace accrete::models {

template <class Real>
NormSiluKernels<Real> avx2_norm_silu_kernels() {
  return make_norm_silu_kernels<Real>();
}

template NormSiluKernels<float> avx2_norm_silu_kernels();
template NormSiluKernels<double> avx2_norm_silu_kernels();

}  // namespace accrete::models

#endif
