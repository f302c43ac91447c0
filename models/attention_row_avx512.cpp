// The loops of attention in vectors of 512 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx512f,fma")))
#define ACCRETE_REGISTER_BYTES 64
#include "models/attention_kernels.h"

namespace accrete::models {

template <class Real>
AttentionKernels<Real> avx512_attention_kernels() {
  return {attend_loop<Real>, attend_gradient_loop<Real>};
}

template AttentionKernels<float> avx512_attention_kernels();
template AttentionKernels<double> avx512_attention_kernels();

}  // namespace accrete::models

#endif
