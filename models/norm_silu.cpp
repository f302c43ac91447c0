// The loops of the processor's vector width, and those without wide instructions.
#include "models/norm_silu.h"

#include "models/register_length.h"

#define ACCRETE_TARGET
#include "models/norm_silu_kernels.h"

namespace accrete::models {
namespace {

template <class Real>
const NormSiluKernels<Real>& widest() {
  static const NormSiluKernels<Real> chosen = [] {
#if defined(__x86_64__)
    if (has_registers_of_64_bytes()) return avx512_norm_silu_kernels<Real>();
    if (has_registers_of_32_bytes()) return avx2_norm_silu_kernels<Real>();
#endif
    return plain_norm_silu_kernels<Real>();
  }();
  return chosen;
}

}  // namespace

template <class Real>
NormSiluKernels<Real> plain_norm_silu_kernels() {
  return make_norm_silu_kernels<Real>();
}

template <class Real>
std::uint64_t norm_silu(const NormSiluRows<Real>& rows) {
  return widest<Real>().forward(rows);
}

template <class Real>
void norm_silu_gradient(const NormSiluGradient<Real>& back) {
  widest<Real>().back(back);
}

template <class Real>
void sigmoids(const Real* in, std::size_t count, Real* out) {
  widest<Real>().sigmoids(in, count, out);
}

template <class Real>
void log_sigmoids(const Real* in, std::size_t count, Real* out) {
  widest<Real>().log_sigmoids(in, count, out);
}

template <class Real>
void exponentials(const Real* in, std::size_t count, Real* out) {
  widest<Real>().exponentials(in, count, out);
}

#define ACCRETE_INSTANTIATE(Real)                                           \
  template NormSiluKernels<Real> plain_norm_silu_kernels();                 \
  template std::uint64_t norm_silu(const NormSiluRows<Real>&);              \
  template void norm_silu_gradient(const NormSiluGradient<Real>&);          \
  template void sigmoids(const Real* in, std::size_t count, Real* out);     \
  template void log_sigmoids(const Real* in, std::size_t count, Real* out); \
  template void exponentials(const Real* in, std::size_t count, Real* out);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
