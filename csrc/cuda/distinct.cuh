// Device code of cuda/distinct.h: one thread an element.
#pragma once

#include "cuda/distinct.h"

namespace rlmrec_fast::cuda {

constexpr int kDistinctThreads = 256;

__global__ void __launch_bounds__(kDistinctThreads)
    count_ids(const int64_t* __restrict__ ids, int64_t num_ids, int64_t size,
              int64_t* occurrences) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kDistinctThreads + threadIdx.x;
  if (i >= num_ids) return;
  const int64_t id = ids[i];
  if (id >= 0 && id < size) {
    atomicAdd(reinterpret_cast<unsigned long long*>(occurrences + id), 1ULL);
  } else {
    atomicMax(reinterpret_cast<unsigned long long*>(occurrences + size),
              static_cast<unsigned long long>(num_ids - i));
  }
}

__global__ void __launch_bounds__(kDistinctThreads)
    find_ids(const int64_t* __restrict__ occurrences, int64_t size, int64_t* __restrict__ found) {
  const int64_t id = static_cast<int64_t>(blockIdx.x) * kDistinctThreads + threadIdx.x;
  if (id <= size) found[id] = id < size && occurrences[id] > 0;
}

__global__ void __launch_bounds__(kDistinctThreads)
    place_ids(const int64_t* __restrict__ ids, int64_t num_ids, int64_t size,
              const int64_t* __restrict__ occurrences, const int64_t* __restrict__ running,
              int64_t* __restrict__ rows, int64_t* __restrict__ places,
              int64_t* __restrict__ counts) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kDistinctThreads + threadIdx.x;
  if (i < num_ids) places[i] = running[ids[i]] - 1;
  if (i >= size || occurrences[i] == 0) return;
  rows[running[i] - 1] = i;
  counts[running[i] - 1] = occurrences[i];
}

}  // namespace rlmrec_fast::cuda
