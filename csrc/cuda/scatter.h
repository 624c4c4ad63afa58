// The sparse matrix that sums rows of a table into other rows, built on a GPU: entries are sorted
// by the row that they go to, entries of a row keep their order, and so every row has one owner
// that adds in a fixed order, without atomics. The sorting is torch's; this is what comes before
// and after it. The product is a layer of cuda/propagate.h.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// keys[i] = rows[i], or num_rows where that is no row, so that sorting puts it last. size > 0.
cudaError_t launch_scatter_keys(const int64_t* rows, int64_t size, int64_t num_rows, int32_t* keys,
                                cudaStream_t stream);

// offsets[r] = how many of the sorted keys are below r, for r in [0, num_rows].
cudaError_t launch_scatter_offsets(const int32_t* keys, int64_t size, int64_t num_rows,
                                   int64_t* offsets, cudaStream_t stream);

// columns[p] = order[p]: entry e adds row e of the table. size > 0.
cudaError_t launch_scatter_columns(const int64_t* order, int64_t size, int32_t* columns,
                                   cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
