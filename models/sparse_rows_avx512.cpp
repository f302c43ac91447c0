// The products of sparse rows in vectors of 512 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx512f,fma")))
#define ACCRETE_REGISTER_BYTES 64
#include "models/sparse_kernels.h"

namespace accrete::models {

template <class Real>
SparseKernels<Real> avx512_sparse_kernels() {
  return make_sparse_kernels<Real>();
}

template SparseKernels<float> avx512_sparse_kernels();
template SparseKernels<double> avx512_sparse_kernels();

}  // namespace accrete::models

#endif
