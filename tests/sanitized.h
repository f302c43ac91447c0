// Whether this build is instrumented: slower by an order of magnitude where matrices are large, and
// what is given back stays for a while.
#pragma once

namespace accrete {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace accrete
