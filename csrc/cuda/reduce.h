// Sums of long arrays in a fixed order, on a GPU: blocks of kSumBlock elements, then the blocks.
// The order is another one than the CPU's (cpu/reduce.h), so the last bits differ.
#pragma once

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

constexpr int64_t kSumBlock = 4096;

constexpr int64_t count_sum_blocks(int64_t size) { return (size + kSumBlock - 1) / kSumBlock; }

// sums[b] = sum of the elements, or of their squares, of block b; for size > 0. Of float, double.
template <class T>
cudaError_t launch_sum_blocks(const T* x, int64_t size, bool square, double* sums,
                              cudaStream_t stream);

// total = sum of the blocks; 0 for none.
template <class T>
cudaError_t launch_sum_total(const double* sums, int64_t blocks, T* total, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
