// Loops of a constant count as straight code, so that arrays of vectors become registers.
#pragma once

#if defined(__clang__)
#define ACCRETE_UNROLL _Pragma("unroll")
#else
#define ACCRETE_UNROLL _Pragma("GCC unroll 16")
#endif
