// How many threads loops over independent rows may use.
#pragma once

#ifdef _OPENMP
#include <omp.h>
#endif

namespace accrete::models {

/// From the next loop of the calling thread on; `threads` > 0. Never changes a result. Without
/// OpenMP (the thread sanitizer's build) there is one thread whatever is said.
inline void set_threads([[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

}  // namespace accrete::models
