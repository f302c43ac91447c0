// The loops over neighbours in vectors of 512 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx512f,fma")))
#define ACCRETE_REGISTER_BYTES 64
#include "models/neighbour_kernels.h"

namespace accrete::models {

template <class Real>
NeighbourKernels<Real> avx512_neighbour_kernels() {
  return make_neighbour_kernels<Real>();
}

template NeighbourKernels<float> avx512_neighbour_kernels();
template NeighbourKernels<double> avx512_neighbour_kernels();

}  // namespace accrete::models

#endif
