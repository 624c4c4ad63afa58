// Device code of cuda/reduce.h.
#pragma once

#include "cuda/reduce.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kSumThreads = 256;

template <class T, bool kSquare>
__global__ void __launch_bounds__(kSumThreads)
    sum_blocks(const T* __restrict__ x, int64_t size, double* __restrict__ sums) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kSumBlock;
  const int64_t last = first + kSumBlock < size ? first + kSumBlock : size;
  T sum{0};
  for (int64_t i = first + threadIdx.x; i < last; i += kSumThreads) {
    sum += kSquare ? x[i] * x[i] : x[i];
  }
  sum = sum_block<kSumThreads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<double>(sum);
}

template <class T>
__global__ void __launch_bounds__(kSumThreads)
    sum_total(const double* __restrict__ sums, int64_t blocks, T* __restrict__ total) {
  double sum = 0;
  for (int64_t block = threadIdx.x; block < blocks; block += kSumThreads) sum += sums[block];
  sum = sum_block<kSumThreads>(sum);
  if (threadIdx.x == 0) *total = static_cast<T>(sum);
}

}  // namespace rlmrec_fast::cuda
