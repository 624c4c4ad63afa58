// Sums over the lanes of a warp and over the threads of a block, always in the same order.
#pragma once

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffU;

// The sum over each group of kLanes neighbouring lanes, in all of them. All lanes of the warp call
// it together.
template <int kLanes, class T>
__device__ __forceinline__ T sum_lanes(T value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, distance);
  }
  return value;
}

// The sum over the block, in thread 0. All kThreads threads call it together.
template <int kThreads, class T>
__device__ __forceinline__ T sum_block(T value) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kThreads % kWarp == 0 && kWarps <= kWarp);
  __shared__ T sums[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  value = sum_lanes<kWarp>(value);
  if (lane == 0) sums[warp] = value;
  __syncthreads();
  if (warp == 0) value = sum_lanes<kWarp>(lane < kWarps ? sums[lane] : T{0});
  return value;
}

}  // namespace rlmrec_fast::cuda
