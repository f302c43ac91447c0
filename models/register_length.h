// Which loops this processor can run, of those that are compiled once a register length: the long
// ones fuse products with sums.
#pragma once

namespace accrete::models {

inline bool has_registers_of_32_bytes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

inline bool has_registers_of_64_bytes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("fma") != 0;
#else
  return false;
#endif
}

}  // namespace accrete::models
