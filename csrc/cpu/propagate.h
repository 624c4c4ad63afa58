// clang-format off
// One propagation layer over a CSR matrix A and a row-major table x with d columns:
//
//   v[r] = row_scale[r] * sum_e weight_e * x[columns[e]]   over the entries e of row r
//   v[r] += noise * sign(v[r]) * n / ||n||                 n uniform in [0, 1)^d, where noise > 0
//   v[r] = factor * (v[r] + base[r])                       where base is given
//   accumulator[r] = factor * (accumulator[r] + v[r])      where accumulator is given
//   y[r] = v[r]                                            where y is given
// clang-format on
//
// weight_e is values[e] where values are given, else column_scale[columns[e]].
//
// Work is divided by the graph's partition (see graph.py), never by threads. The entries of a row
// are added in order; those of a long row in order within its chunks, and the chunks in order. So
// results do not depend on the number of threads. Empty rows give zero sums. y must not overlap x;
// it may be base, if every row is finished at its own place.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

// Entries that are summed in one go: the target of the graph's partition, which splits longer rows
// than twice this between parts.
constexpr int64_t kChunk = 4096;

template <class T>
struct PropagateArgs {
  // Matrix. Dropout and place_edges move what they keep of each part to its front: then row r has
  // the entries row_begin[r] .. row_end[r], and a part p that is a chunk of a long row ends at
  // part_end[p]; otherwise all three are null.
  const int64_t* offsets = nullptr;
  const int32_t* columns = nullptr;
  const int64_t* partition = nullptr;
  int64_t num_rows = 0;
  int64_t num_parts = 0;
  int64_t chunk = kChunk;
  const int64_t* row_begin = nullptr;
  const int64_t* row_end = nullptr;
  const int64_t* part_end = nullptr;
  const Accumulate<T>* values = nullptr;
  const Accumulate<T>* column_scale = nullptr;
  const Accumulate<T>* row_scale = nullptr;
  // Tables; strides in elements. x and base are indexed by node, base by base_places[node] where
  // these are given; below 0, it is zero there.
  const T* x = nullptr;
  int64_t x_stride = 0;
  const T* base = nullptr;
  int64_t base_stride = 0;
  const int32_t* base_places = nullptr;
  T* accumulator = nullptr;
  int64_t accumulator_stride = 0;
  T* y = nullptr;
  int64_t y_stride = 0;
  int64_t d = 0;
  Accumulate<T> factor = 1;
  double noise = 0;
  uint64_t noise_seed = 0;
  // Sums of the parts that are chunks of long rows: num_parts x d.
  Accumulate<T>* carry = nullptr;
};

struct DropoutArgs {
  const int64_t* offsets;
  const int32_t* columns;
  const int64_t* partition;
  int64_t num_rows;
  int64_t chunk;
  uint64_t seed;
  double keep_rate;
  bool transpose;  // decide entry (r, c) by the hash of (c, r)
  // Out: the kept columns of each part, moved together from the part's first position on.
  int32_t* kept_columns;
  int64_t* row_begin;
  int64_t* row_end;
  int64_t* part_end;
};

// For a table that has rows for some of the columns only.
struct PlaceArgs {
  const int64_t* offsets;
  const int32_t* columns;
  const int64_t* partition;
  int64_t num_rows;
  int64_t chunk;
  // What dropout kept, or null.
  const int64_t* row_begin;
  const int64_t* row_end;
  const int64_t* part_end;
  const int32_t* places;  // by column: its row in the table, or below 0
  // Out: the rows of those entries that have one, as dropout's kept columns.
  int32_t* kept_places;
  int64_t* kept_begin;
  int64_t* kept_end;
  int64_t* kept_part_end;
};

RLMREC_FAST_PER_ISA(
    // Chooses the kept entries of the parts.
    void drop_edges(const DropoutArgs& args, int64_t part_begin, int64_t part_end);
    // Finds the entries of the parts whose columns have places.
    void place_edges(const PlaceArgs& args, int64_t part_begin, int64_t part_end);
    // The layer for all rows of the parts; a chunk of a long row only fills its carry.
    template <class T>
    void propagate_parts(const PropagateArgs<T>& args, int64_t part_begin, int64_t part_end);
    // Finishes the long row whose chunks are these parts.
    template <class T>
    void propagate_finish(const PropagateArgs<T>& args, int64_t part_begin, int64_t part_end);
    // The layer for the nodes rows[i], which need not differ; y has one row per i. No accumulator.
    template <class T> void propagate_rows(const PropagateArgs<T>& args, const int64_t* rows,
                                           int64_t begin, int64_t end);
    // grad_values[e] = grad[row of e] . x[columns[e]] for the entries of the parts. grad is
    // args.base.
    template <class T> void entry_dots(const PropagateArgs<T>& args, Accumulate<T>* grad_values,
                                       int64_t part_begin, int64_t part_end);)

}  // namespace rlmrec_fast
