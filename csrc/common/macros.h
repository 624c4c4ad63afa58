// Function attributes shared by kernels.
#pragma once

// Functions of the common headers are compiled into files built for different instruction sets.
// Internal linkage keeps the linker from choosing, say, the AVX-512 copy for a machine without it.
#define RLMREC_FAST_INLINE static inline __attribute__((always_inline))

#define RLMREC_FAST_RESTRICT __restrict__
