// Uniform negatives on a GPU: the same samples as the CPU's (cpu/sample.h).
#pragma once

#include "cuda/seed.h"

namespace rlmrec_fast::cuda {

// One negative for each of num_entries > 0 interactions of the sorted rows of items; -1 where a
// user has all items.
cudaError_t launch_sample_negatives(const int64_t* offsets, int64_t num_users, const int32_t* items,
                                    int64_t num_entries, int64_t num_items, Seed seed,
                                    int64_t* negatives, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
