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

struct PlaceArgs {
  const int64_t* ids;  // num_ids > 0
  int64_t num_ids;
  int64_t size;
  const int64_t* occurrences;  // of launch_count_ids, size + 1
  const int64_t* running;      // running counts of what launch_find_ids found, size + 1
  int64_t num_rows;            // as many as were found, or more
  int64_t* rows;
  int64_t* places;
  int64_t* counts;
};

// rows and counts of the distinct ids, places of all; rows beyond those found repeat the last one
// and have a count of 0. An id out of range is not counted, and its place is 0.
cudaError_t launch_place_ids(const PlaceArgs& args, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
