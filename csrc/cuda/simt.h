// The one header that CUDA sources include: the same kernel file is compiled by nvcc for GPUs and
// by a plain C++ compiler for the emulation in tests/simt (RLMREC_FAST_SIMT), which runs it on a
// CPU and watches every access. Files that only call launchers get cudaError_t and cudaStream_t.
//
// What differs between the two worlds is spelled with the two macros here and the functions of
// cuda/ptx.h; everything else is ordinary CUDA C++.
//
//   SIMT_LAUNCH(kernel, grid, block, dynamic_bytes, stream, arguments...)
//       kernel<<<...>>>(...). A template with several parameters goes in parentheses:
//       SIMT_LAUNCH((kernel<float, 64>), ...). Errors: cudaGetLastError, as usual.
//   SIMT_DYN_SHARED(T, name)
//       T* or T[] name: the block's dynamic shared memory, aligned to 16 bytes. A launch with more
//       than 48 KiB of it needs cudaFuncSetAttribute first, here as there.
//
// The emulation runs blocks one after another and knows no communication between the blocks of a
// launch: reading what another block writes is reported as a race.
#pragma once

#include <cstdint>

#if defined(RLMREC_FAST_SIMT)
#  include "simt/language.h"
#elif defined(__CUDACC__)
#  include <cuda_runtime.h>
#  define SIMT_DYN_SHARED(T, name) extern __shared__ __align__(16) T name[]
#  define SIMT_LAUNCH(kernel, grid, block, dynamic_bytes, stream, ...) \
    (kernel<<<(grid), (block), (dynamic_bytes), (stream)>>>(__VA_ARGS__))
#else
#  include <cuda_runtime_api.h>
#endif
