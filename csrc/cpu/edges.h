// clang-format off
// Sums over the edges of a symmetric graph whose weights follow from both ends. Every node has two
// vectors, `first` and `second`, in its own role and two in the role of a neighbour, all of them
// cut into heads; for each entry (n, m) of row n, head by head,
//
//   s = own.first[n] . others.first[m]
//   a = weight(s)                 exponential: e^clamp(s, -limit, limit); cosine: (s + 1) / 2
//   b = weight'(s) * (own.second[n] . others.second[m] + shifts[n or m])
//
// and for each row
//
//   totals[n] = sum a     powers[n] = sum a others.second[m]     slopes[n] = sum b others.first[m]
// clang-format on
//
// That is a forward pass (own: queries, others: keys and values, powers / totals), the gradient of
// queries (slopes), and, as the graph is symmetric, those of keys and values with the roles
// exchanged: row n then meets all rows that have n. So nothing is scattered, and nothing is stored
// by edge.
//
// Packed tables hold one group of up to a vector's lanes of heads, heads innermost: element j of
// head h at j * shape.heads + h, zero where it is padded, shape.width elements in all. So a vector
// holds the same elements of all heads, and the products of as many edges as heads fit into a
// vector are folded to one vector of scores, edge by edge.
//
// Work is divided by the graph's partition (see graph.py), never by threads. The entries of a row
// are added in order; those of a long row in order within its chunks, and the chunks in order.
// Rows without entries give zeros.
#pragma once

#include <cstdint>

#include "common/edges.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

// Sizes that depend on the instruction set.
struct EdgeShape {
  int64_t heads;  // a power of two that divides a vector's lanes
  int64_t width;  // elements of a packed row, whole vectors
};

template <class T>
struct EdgeTable {
  const T* first = nullptr;
  const T* second = nullptr;  // null where the sums do not need it
  int64_t stride = 0;
};

template <class T>
struct EdgeArgs {
  const int64_t* offsets;
  const int32_t* columns;
  const int64_t* partition;
  int64_t num_rows;
  int64_t num_parts;
  int64_t chunk;
  EdgeShape shape;
  EdgeWeight weight = EdgeWeight::exponential;  // cosine: one head
  T limit = 0;
  EdgeTable<T> own, others;
  const T* shifts = nullptr;  // [nodes][shape.heads]
  bool shift_by_row = false;  // shifts[n], else shifts[m]
  // Working memory, a row of sums for each part: slopes, powers, totals.
  T* sums = nullptr;
  // Out, the head h of row n from out[n * stride + h * head_width] on; null where not wanted.
  T* slopes = nullptr;
  bool add_slopes = false;  // to what is there
  T* powers = nullptr;
  int64_t stride = 0;
  int64_t num_heads = 0;  // of this group
  int64_t head_width = 0;
  // Out, inverses[n * inverse_stride + h] = 1 / (total + eps), or 0 where the total is 0; then the
  // powers are multiplied by it.
  T* inverses = nullptr;
  int64_t inverse_stride = 0;
  T eps = 0;

  int64_t sums_size() const { return 2 * shape.width + shape.heads; }
};

template <class T>
struct EdgePackArgs {
  EdgeShape shape;
  int64_t num_heads;
  int64_t head_width;
  const T* x;
  int64_t x_stride;
  const T* factors;  // of row n and head h at n * factor_stride + h; null for 1
  int64_t factor_stride;
  T* packed;
  int64_t packed_stride;
};

RLMREC_FAST_PER_ISA(
    // The form of the first group of heads; all but the last have as many heads.
    template <class T> EdgeShape edge_shape(int64_t num_heads, int64_t head_width);
    // Rows [begin, end), times their factors.
    template <class T> void edge_pack(const EdgePackArgs<T>& args, int64_t begin, int64_t end);
    // shifts[n] = -factor * (x[n] . y[n]), head by head; y has x's stride.
    template <class T> void edge_shifts(const EdgePackArgs<T>& args, const T* y, int64_t y_stride,
                                        T* shifts, int64_t begin, int64_t end);
    // The sums of all rows of the parts; a chunk of a long row only fills its row of sums.
    template <class T>
    void edge_parts(const EdgeArgs<T>& args, int64_t part_begin, int64_t part_end);
    // Finishes the long row whose chunks are these parts.
    template <class T>
    void edge_finish(const EdgeArgs<T>& args, int64_t part_begin, int64_t part_end);
    // In place, from the gradient of x / max(|x|, eps) to that of x. inverse = 1 / max(|x|, eps).
    template <class T> void unit_backward(const T* x, int64_t stride, int64_t d, const T* inverse,
                                          T eps, T* grad, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
