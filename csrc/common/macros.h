// Function attributes shared by kernels.
#pragma once

// Sanitizers watch every access: what is inlined everywhere would take minutes to compile.
#if defined(__SANITIZE_ADDRESS__)
#  define RLMREC_FAST_ALWAYS_INLINE
#else
#  define RLMREC_FAST_ALWAYS_INLINE __attribute__((always_inline))
#endif

// Functions that both CPU and CUDA kernels call.
#if defined(__CUDACC__)
#  define RLMREC_FAST_HOST_DEVICE __host__ __device__
#else
#  define RLMREC_FAST_HOST_DEVICE
#endif

// Functions of the common headers are compiled into files built for different instruction sets.
// Internal linkage keeps the linker from choosing, say, the AVX-512 copy for a machine without it.
#define RLMREC_FAST_INLINE RLMREC_FAST_HOST_DEVICE static inline RLMREC_FAST_ALWAYS_INLINE

#define RLMREC_FAST_RESTRICT __restrict__
