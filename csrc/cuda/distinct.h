// The distinct ids of a list on a GPU, as cpu/distinct.h has them: counted in a table of all
// possible ids, whose running count of non-zeros (torch's) is what they are numbered by.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// occurrences[id] += how often it occurs, and occurrences[size] = num_ids - the first place of an
// id outside [0, size), all of them 0 before. For num_ids > 0. Sums of integers, whose order does
// not matter.
cudaError_t launch_count_ids(const int64_t* ids, int64_t num_ids, int64_t size,
                             int64_t* occurrences, cudaStream_t stream);

// found[id] = whether it occurs, as a number; found[size] = 0.
cudaError_t launch_find_ids(const int64_t* occurrences, int64_t size, int64_t* found,
                            cudaStream_t stream);

// rows and counts of the distinct ids, places of all, from running counts of `found`. All ids
// are within [0, size), and there is one at least.
cudaError_t launch_place_ids(const int64_t* ids, int64_t num_ids, int64_t size,
                             const int64_t* occurrences, const int64_t* running, int64_t* rows,
                             int64_t* places, int64_t* counts, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
