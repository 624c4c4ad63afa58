// Device code of cuda/distinct.h: one thread an element.
#pragma once

#include "cuda/csr.cuh"
#include "cuda/distinct.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kDistinctThreads = 256;

__global__ void __launch_bounds__(kDistinctThreads)
    count_ids(const int64_t* __restrict__ ids, int64_t num_ids, int64_t size,
              int64_t* occurrences) {
  const int64_t i = thread_number<kDistinctThreads>();
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
  const int64_t id = thread_number<kDistinctThreads>();
  if (id <= size) found[id] = id < size && occurrences[id] > 0;
}

__global__ void __launch_bounds__(kDistinctThreads) place_ids(const PlaceArgs args) {
  const int64_t i = thread_number<kDistinctThreads>();
  if (i < args.num_ids) {
    const int64_t id = args.ids[i];
    args.places[i] = id >= 0 && id < args.size ? args.running[id] - 1 : 0;
  }
  if (i < args.size && args.occurrences[i] > 0) {
    args.rows[args.running[i] - 1] = i;
    args.counts[args.running[i] - 1] = args.occurrences[i];
  }
  const int64_t found = args.running[args.size];
  if (i >= found && i < args.num_rows) {
    // The last id is the first one whose running count is the last one.
    args.rows[i] = found > 0 ? count_up_to(args.running, args.size, found - 1) : 0;
    args.counts[i] = 0;
  }
}

}  // namespace rlmrec_fast::cuda
