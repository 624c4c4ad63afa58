// clang-format off
// Sums over the edges of a symmetric graph whose weights follow from both ends, on a GPU;
// cpu/edges.h is the twin of this family. For each entry (n, m) of row n, head by head,
//
//   s = own.first[n] . others.first[m]
//   a = weight(s)
//   b = weight'(s) * (own.second[n] . others.second[m] + shifts[n or m])
//
// and for each row
//
//   totals[n] = sum a     powers[n] = sum a others.second[m]     slopes[n] = sum b others.first[m]
// clang-format on
//
// A group of lanes has one head of one row and adds its entries in order; neighbouring groups have
// neighbouring heads, so together they read whole rows. Rows of more than kLongRow entries are
// summed beforehand in pieces, one for each window of kWindow entries, as in cuda/propagate.h.
// Rows without entries give zeros.
#pragma once

#include "common/edges.h"
#include "cuda/launch.h"
#include "cuda/table.h"

namespace rlmrec_fast::cuda {

// What a node has in its own role, or in that of a neighbour: num_heads * head_width elements each.
template <class T>
struct EdgeSide {
  Table<T> first;
  Table<T> second;  // none where the sums do not need it
};

template <class T>
struct EdgeArgs {
  const int64_t* offsets = nullptr;
  const int32_t* columns = nullptr;
  int64_t num_rows = 0;
  int64_t num_entries = 0;
  int64_t num_heads = 1;
  int64_t head_width = 0;
  EdgeWeight weight = EdgeWeight::exponential;
  T limit = 0;
  EdgeSide<T> own, others;
  const T* shifts = nullptr;  // [nodes][num_heads]
  bool shift_by_row = false;  // shifts[n], else shifts[m]
  // Out, contiguous; null where not wanted, but never both.
  T* slopes = nullptr;
  bool add_slopes = false;  // to what is there
  T* powers = nullptr;
  // Out, [nodes][num_heads]: 1 / (total + eps), or 0 where the total is 0; then the powers are
  // multiplied by it.
  T* inverses = nullptr;
  T eps = 0;
  // Room for the pieces of long rows: edge_pieces_size elements; none where no row can be long.
  T* pieces = nullptr;

  int64_t d() const { return num_heads * head_width; }
};

// Elements of EdgeArgs::pieces; 0 where no row can be long.
template <class T>
int64_t edge_pieces_size(const EdgeArgs<T>& args);

// For num_rows > 0.
template <class T>
LaunchResult launch_edges(const EdgeArgs<T>& args, cudaStream_t stream);

template <class T>
struct EdgeScaleArgs {
  int64_t num_rows;  // above 0
  int64_t num_heads;
  int64_t head_width;
  Table<T> x;
  const T* factors;  // [num_rows][num_heads]
  Table<T> y;
  T* scaled;  // contiguous: x times its factors
  T* shifts;  // [num_rows][num_heads]: -factor * (x . y), head by head
};
template <class T>
cudaError_t launch_edge_scale(const EdgeScaleArgs<T>& args, cudaStream_t stream);

template <class T>
struct UnitArgs {
  int64_t num_rows;  // above 0
  int64_t d;
  Table<T> x;
  T eps;
  T* inverse;  // 1 / max(|x|, eps)
  T* rows;     // contiguous
};
// rows = x * inverse.
template <class T>
cudaError_t launch_unit_rows(const UnitArgs<T>& args, cudaStream_t stream);
// In place, from the gradient of x * inverse to that of x; inverse is given.
template <class T>
cudaError_t launch_unit_backward(const UnitArgs<T>& args, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
