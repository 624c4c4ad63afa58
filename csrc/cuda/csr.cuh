// Finding one's way in compressed rows.
#pragma once

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// How many of `count` increasing numbers are at most `limit`.
template <class T>
__device__ __forceinline__ int64_t count_up_to(const T* numbers, int64_t count, T limit) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (numbers[middle] <= limit) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The row that an entry belongs to; -1 or num_rows for one that belongs to none.
__device__ __forceinline__ int64_t find_row(const int64_t* offsets, int64_t num_rows,
                                            int64_t entry) {
  return count_up_to(offsets, num_rows + 1, entry) - 1;
}

}  // namespace rlmrec_fast::cuda
