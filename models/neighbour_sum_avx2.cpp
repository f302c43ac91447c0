// The loops over neighbours in vectors of 256 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx2,fma")))
#define ACCRETE_REGISTER_BYTES 32
#include "models/neighbour_kernels.h"

namespace accrete::models {

template <class Real>
NeighbourKernels<Real> avx2_neighbour_kernels() {
  return make_neighbour_kernels<Real>();
}

template NeighbourKernels<float> avx2_neighbour_kernels();
template NeighbourKernels<double> avx2_neighbour_kernels();

}  // namespace accrete::models

#endif
