// Device code of cuda/scatter.h: one thread an element.
#pragma once

#include "cuda/csr.cuh"
#include "cuda/scatter.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kScatterThreads = 256;

__global__ void __launch_bounds__(kScatterThreads)
    scatter_keys(const int64_t* __restrict__ rows, int64_t size, int64_t num_rows,
                 int32_t* __restrict__ keys) {
  const int64_t i = thread_number<kScatterThreads>();
  if (i >= size) return;
  const int64_t row = rows[i];
  keys[i] = static_cast<int32_t>(row >= 0 && row < num_rows ? row : num_rows);
}

__global__ void __launch_bounds__(kScatterThreads)
    scatter_offsets(const int32_t* __restrict__ keys, int64_t size, int64_t num_rows,
                    int64_t* __restrict__ offsets) {
  const int64_t row = thread_number<kScatterThreads>();
  if (row > num_rows) return;
  offsets[row] = count_up_to(keys, size, static_cast<int32_t>(row - 1));
}

__global__ void __launch_bounds__(kScatterThreads)
    scatter_columns(const int64_t* __restrict__ order, int64_t size,
                    int32_t* __restrict__ columns) {
  const int64_t p = thread_number<kScatterThreads>();
  if (p < size) columns[p] = static_cast<int32_t>(order[p]);
}

}  // namespace rlmrec_fast::cuda
