// clang-format off
// One propagation layer over a CSR matrix A and a row-major table x with d columns, on a GPU, as
// cpu/propagate.h has it:
//
//   v[r] = row_scale[r] * sum_e weight_e * x[columns[e]]   over the kept entries e of row r
//   v[r] += noise * sign(v[r]) * n / ||n||                 n uniform in [0, 1)^d, where noise > 0
//   v[r] = factor * (v[r] + base[r])                       where base is given
//   accumulator[r] = factor * (accumulator[r] + v[r])      where accumulator is given
//   y[r] = v[r]                                            where y is given
// clang-format on
//
// weight_e is values[e], or column_scale[columns[e]], or 1. Which entries dropout keeps and what
// the noise is are the hashes of common/random.h, evaluated where they are needed: the same on
// every device.
//
// A group of lanes owns a row and adds its entries in order. Rows of more than kLongRow entries are
// summed beforehand, in pieces: the part of the row within each window of kWindow entries of the
// matrix by one group, and then the pieces in order. So sums depend on the matrix alone, no row
// keeps others waiting, and the host need not know which rows are long.
#pragma once

#include "common/types.h"
#include "cuda/seed.h"

namespace rlmrec_fast::cuda {

constexpr int64_t kWindow = 256;
// More than a window: then a window meets two long rows at most, at its begin and at its end.
constexpr int64_t kLongRow = 256;
static_assert(kLongRow >= kWindow);

template <class T>
struct LayerArgs {
  const int64_t* offsets = nullptr;  // num_rows + 1, not decreasing, within [0, num_entries]
  const int32_t* columns = nullptr;  // num_entries
  int64_t num_rows = 0;
  int64_t num_entries = 0;
  const Accumulate<T>* values = nullptr;
  const Accumulate<T>* column_scale = nullptr;
  const Accumulate<T>* row_scale = nullptr;
  // Dropout, where keep_rate < 1, decides entry (r, c) by the hash of (r, c), or of (c, r) where it
  // is transposed.
  double keep_rate = 1;
  bool transpose = false;
  Seed seed;
  // The layer's number, from 1: its noise is another one than that of the others.
  int64_t layer = 0;
  double noise = 0;
  // Tables; strides in elements. x and base are indexed by node. y must not overlap x; it may be
  // base.
  const T* x = nullptr;
  int64_t x_stride = 0;
  const T* base = nullptr;
  int64_t base_stride = 0;
  T* accumulator = nullptr;
  int64_t accumulator_stride = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
  int64_t d = 0;
  Accumulate<T> factor = 1;
  // The wanted nodes, which need not differ; y has one row per wanted node, NaN for one that does
  // not exist. None: all. Without accumulator.
  const int64_t* rows = nullptr;
  int64_t num_wanted = 0;
  // Room for the pieces of long rows: pieces_size elements.
  Accumulate<T>* pieces = nullptr;
};

// Elements of LayerArgs::pieces.
constexpr int64_t pieces_size(int64_t num_entries, int64_t d) {
  return (num_entries + kWindow - 1) / kWindow * 2 * d;
}

// Whether a matrix of so many entries can have long rows.
constexpr bool may_have_long_rows(int64_t num_entries) { return num_entries > kLongRow; }

// The pieces of the long rows: to be launched first, where there may be any. d > 0.
template <class T>
cudaError_t launch_propagate_pieces(const LayerArgs<T>& args, cudaStream_t stream);

// The layer. d > 0 and at least one row is wanted.
template <class T>
cudaError_t launch_propagate_rows(const LayerArgs<T>& args, cudaStream_t stream);

// kept[e] = whether dropout keeps entry e, of offsets, columns, keep_rate and seed in args.
cudaError_t launch_edge_mask(const LayerArgs<float>& args, bool* kept, cudaStream_t stream);

// grad_values[e] = base[row of e] . x[columns[e]] for all entries, of which there is one at least.
template <class T>
cudaError_t launch_entry_dots(const LayerArgs<T>& args, Accumulate<T>* grad_values,
                              cudaStream_t stream);

// y[i] = x[rows[i]], or x[i] without rows, for num_wanted > 0 rows of d > 0 elements.
template <class T>
cudaError_t launch_copy_rows(const LayerArgs<T>& args, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
