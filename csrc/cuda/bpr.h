// Bayesian personalised ranking on a GPU; the formulas are those of cpu/bpr.h.
//
// The gradients are sums of weighted rows: grad_u = slope * (n - p), grad_p = -slope * u and
// grad_n = slope * u, each times its loss's gradient. Entry e < B is about the positive of sample
// e, entry B + b about the negative of sample b. They are sorted by the row that they go to
// (cuda/scatter.h), which leaves those of a row in the order of the batch, and added by a layer of
// cuda/propagate.h.
//
// Ids are looked at here for the first time. A sample with one out of range has a loss and a slope
// of NaN, and no gradient.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

template <class T>
struct BprArgs {
  const T* user_table;
  const T* item_table;  // the same one where users and items are rows of one table
  int64_t user_stride;
  int64_t item_stride;
  int64_t num_users;  // rows of user_table
  int64_t num_items;  // rows of item_table
  int64_t d;
  const int64_t* users;
  const int64_t* positives;
  const int64_t* negatives;
  int64_t size;
};

// For size > 0.
template <class T>
cudaError_t launch_bpr_losses(const BprArgs<T>& args, T* losses, T* slopes, cudaStream_t stream);

// The gradients of which table: both means one table, with the users' entries first, then, 2 B
// further, the items'.
enum class BprSide { users, items, both };

constexpr int64_t count_entries(BprSide side, int64_t size) {
  return (side == BprSide::both ? 4 : 2) * size;
}

// keys[e] = the row that entry e goes to; num_rows for entries of samples that are out of range.
template <class T>
cudaError_t launch_bpr_keys(const BprArgs<T>& args, BprSide side, int64_t num_rows, int32_t* keys,
                            cudaStream_t stream);

// The entries in the given order: row of the other table, weight.
template <class T>
cudaError_t launch_bpr_entries(const BprArgs<T>& args, BprSide side, const int64_t* order,
                               const T* slopes, const T* grad_losses, int32_t* columns, T* values,
                               cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
