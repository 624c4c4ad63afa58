// The k nearest rows of every row of a table by cosine, on a GPU, and how far two such
// neighbourhoods agree. cpu/neighbors.h and cpu/overlap.h are the twins of this family.
//
// Directions are found here, as the CPU finds them, and handed to the ranking of cuda/rank.h, which
// multiplies them in float64 and leaves out of each row the row itself.
#pragma once

#include <cstdint>

#include "cuda/simt.h"
#include "cuda/table.h"

namespace rlmrec_fast::cuda {

template <class T>
struct DirectionArgs {
  int64_t num_rows;  // above 0
  int64_t d;
  Table<T> table;
  double* directions;  // num_rows x d
  int64_t* offsets;    // num_rows + 1: where the one number that a row leaves out begins,
  int32_t* own;        // num_rows: and what it is
  int64_t* wrong;      // the first row that is not finite, if it is below what was there
};
template <class T>
cudaError_t launch_find_directions(const DirectionArgs<T>& args, cudaStream_t stream);

struct OverlapArgs {
  int64_t num_rows;      // above 0
  const int64_t* first;  // num_rows x first_width, negative numbers for no neighbour
  int64_t first_width;
  const int64_t* second;
  int64_t second_width;
  double* overlap;  // |A n B| / |A u B|, 1 where both are empty
  int64_t* wrong;   // two: the first rows of each list that name a neighbour twice, as above
};
cudaError_t launch_neighbor_overlap(const OverlapArgs& args, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
