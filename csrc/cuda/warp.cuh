// Lanes that work together, and sums over lanes and blocks, always in the same order.
#pragma once

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffU;

// Number of the thread in the grid, of blocks of kThreads.
template <int kThreads>
__device__ __forceinline__ int64_t thread_number() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
}

// kLanes neighbouring lanes of a warp. What a group does together all groups of its warp do at the
// same time: shuffles of a whole warp take one instruction, those of a part of it take many.
template <int kLanes>
struct Group {
  static_assert(kLanes <= kWarp && kWarp % kLanes == 0);
  int lane;  // of this thread, in [0, kLanes)

  __device__ __forceinline__ Group() : lane(static_cast<int>(threadIdx.x) % kLanes) {}

  // Number of the group in the grid, of blocks of kThreads.
  template <int kThreads>
  __device__ __forceinline__ int64_t number() const {
    return static_cast<int64_t>(blockIdx.x) * (kThreads / kLanes) +
           static_cast<int>(threadIdx.x) / kLanes;
  }

  // What lane `from` has.
  template <class T>
  __device__ __forceinline__ T take(T value, int from) const {
    return __shfl_sync(kAllLanes, value, from, kLanes);
  }

  // The sum over the lanes, in all of them.
  template <class T>
  __device__ __forceinline__ T sum(T value) const {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, distance, kLanes);
    }
    return value;
  }
};

// The sum over the block, in thread 0. All kThreads threads call it together.
template <int kThreads, class T>
__device__ __forceinline__ T sum_block(T value) {
  constexpr int kWarps = kThreads / kWarp;
  static_assert(kThreads % kWarp == 0 && kWarps <= kWarp);
  __shared__ T sums[kWarps];
  const Group<kWarp> warp;
  const int number = static_cast<int>(threadIdx.x) / kWarp;
  value = warp.sum(value);
  if (warp.lane == 0) sums[number] = value;
  __syncthreads();
  if (number == 0) value = warp.sum(warp.lane < kWarps ? sums[warp.lane] : T{0});
  return value;
}

}  // namespace rlmrec_fast::cuda
