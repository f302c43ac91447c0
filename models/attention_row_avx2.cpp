// The loops of attention in vectors of 256 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx2,fma")))
#define ACCRETE_REGISTER_BYTES 32
#include "models/attention_kernels.h"

namespace accrete::models {

template <class Real>
AttentionKernels<Real> avx2_attention_kernels() {
  return {attend_loop<Real>, attend_gradient_loop<Real>};
}

template AttentionKernels<float> avx2_attention_kernels();
template AttentionKernels<double> avx2_attention_kernels();

}  // namespace accrete::models

#endif
