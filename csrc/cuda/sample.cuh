// Device code of cuda/sample.h.
#pragma once

#include "common/random.h"
#include "cuda/csr.cuh"
#include "cuda/sample.h"

namespace rlmrec_fast::cuda {

constexpr int kSampleThreads = 256;

// One thread an interaction.
__global__ void __launch_bounds__(kSampleThreads)
    sample_negatives(const int64_t* __restrict__ offsets, int64_t num_users,
                     const int32_t* __restrict__ items, int64_t num_entries, int64_t num_items,
                     Seed seed, int64_t* __restrict__ negatives) {
  const int64_t entry = static_cast<int64_t>(blockIdx.x) * kSampleThreads + threadIdx.x;
  if (entry >= num_entries) return;
  const int64_t user = find_row(offsets, num_users, entry);
  const int32_t* row = items + offsets[user];
  const int64_t degree = offsets[user + 1] - offsets[user];
  const int64_t missing = num_items - degree;
  int64_t negative = -1;
  if (missing > 0) {
    const uint64_t random = child_seed(read_seed(seed), static_cast<uint64_t>(entry));
    const auto rank = static_cast<int64_t>(bounded(random, static_cast<uint64_t>(missing)));
    // row[k] - k items below row[k] are missing: the answer lies after the last k with
    // row[k] - k <= rank.
    int64_t low = 0, high = degree;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (row[middle] - middle <= rank) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    negative = rank + low;
  }
  negatives[entry] = negative;
}

}  // namespace rlmrec_fast::cuda
