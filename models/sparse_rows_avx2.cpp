// The products of sparse rows in vectors of 256 bits.
#if defined(__x86_64__)

#define ACCRETE_TARGET __attribute__((target("avx2,fma")))
#define ACCRETE_REGISTER_BYTES 32
#include "models/sparse_kernels.h"

namespace accrete::models {

template <class Real>
SparseKernels<Real> avx2_sparse_kernels() {
  return make_sparse_kernels<Real>();
}

template SparseKernels<float> avx2_sparse_kernels();
template SparseKernels<double> avx2_sparse_kernels();

}  // namespace accrete::models

#endif
