// Sizes checked, then the loops of the processor's vector width.
#include "models/attention_row.h"

#include "models/register_length.h"
#include "proto/result.h"

#define ACCRETE_TARGET
#include "models/attention_kernels.h"

namespace accrete::models {
namespace {

template <class Real>
const AttentionKernels<Real>& widest() {
  static const AttentionKernels<Real> chosen = [] {
#if defined(__x86_64__)
    if (has_registers_of_64_bytes()) return avx512_attention_kernels<Real>();
    if (has_registers_of_32_bytes()) return avx2_attention_kernels<Real>();
#endif
    return plain_attention_kernels<Real>();
  }();
  return chosen;
}

}  // namespace

template <class Real>
AttentionKernels<Real> plain_attention_kernels() {
  return {attend_loop<Real>, attend_gradient_loop<Real>};
}

template <class Real>
void attend_row(const AttentionRow<Real>& row) {
  ACCRETE_CHECK(!row.nodes.empty());
  widest<Real>().forward(row);
}

template <class Real>
void attend_row_gradient(const AttentionGradient<Real>& back) {
  ACCRETE_CHECK(!back.nodes.empty());
  widest<Real>().back(back);
}

#define ACCRETE_INSTANTIATE(Real)                            \
  template AttentionKernels<Real> plain_attention_kernels(); \
  template void attend_row(const AttentionRow<Real>&);       \
  template void attend_row_gradient(const AttentionGradient<Real>&);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
