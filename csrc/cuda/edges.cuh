// Device code of cuda/edges.h.
#pragma once

#include "cuda/csr.cuh"
#include "cuda/edges.h"
#include "cuda/math.cuh"
#include "cuda/storage.cuh"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kEdgeThreads = 128;
constexpr int64_t kEdgeWindow = 256;
constexpr int64_t kLongEdgeRow = 256;  // as in cuda/propagate.h, and for its reasons

// What one group works on: a head of a row or, where there are pieces, of a part of a row.
struct EdgeWork {
  int64_t row = -1;
  int64_t head = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t piece = -1;
};

// The pieces of long rows, as args.pieces holds them.
template <class T>
struct EdgePieces {
  T* slopes;  // [2 * windows][d]
  T* powers;  // the same
  T* totals;  // [2 * windows][num_heads]

  __host__ __device__ explicit EdgePieces(const EdgeArgs<T>& args) {
    const int64_t count = (args.num_entries + kEdgeWindow - 1) / kEdgeWindow * 2;
    slopes = args.pieces;
    powers = slopes + count * args.num_heads * args.head_width;
    totals = powers + count * args.num_heads * args.head_width;
  }
};

template <class T>
__device__ __forceinline__ bool is_long_row(const EdgeArgs<T>& args, int64_t row) {
  return args.offsets[row + 1] - args.offsets[row] > kLongEdgeRow;
}

// Number `group` of the groups of a launch: heads of pieces. Piece 2 w belongs to the row that
// window w begins in, piece 2 w + 1 to a row that begins in it and goes on behind its end.
template <class T>
__device__ __forceinline__ EdgeWork work_on_piece(const EdgeArgs<T>& args, int64_t group) {
  EdgeWork work;
  const int64_t piece = group / args.num_heads;
  const int64_t first = piece / 2 * kEdgeWindow;
  if (first >= args.num_entries) return work;
  const int64_t last = min(first + kEdgeWindow, args.num_entries);
  const bool at_begin = piece % 2 == 0;
  const int64_t row = find_row(args.offsets, args.num_rows, at_begin ? first : last - 1);
  if (row < 0 || row >= args.num_rows || !is_long_row(args, row)) return work;
  const int64_t begin = args.offsets[row], end = args.offsets[row + 1];
  if (!at_begin && begin <= first) return work;  // its piece in this window is the other one
  work.row = row;
  work.head = group % args.num_heads;
  work.begin = max(begin, first);
  work.end = min(end, last);
  work.piece = piece;
  return work;
}

// Number `group` of the groups of a launch: heads of rows. Long rows have no entries left.
template <class T>
__device__ __forceinline__ EdgeWork work_on_row(const EdgeArgs<T>& args, int64_t group) {
  EdgeWork work;
  const int64_t row = group / args.num_heads;
  if (row >= args.num_rows) return work;
  work.row = row;
  work.head = group % args.num_heads;
  work.begin = args.offsets[row];
  work.end = is_long_row(args, row) ? work.begin : args.offsets[row + 1];
  return work;
}

template <class T>
struct Weighed {
  T power;  // weight(s)
  T slope;  // weight'(s)
};

template <class T>
__device__ __forceinline__ Weighed<T> weigh(const EdgeArgs<T>& args, T s) {
  if (args.weight == EdgeWeight::cosine) return {s * T(0.5) + T(0.5), T(0.5)};
  const T inside = s < -args.limit ? -args.limit : (s > args.limit ? args.limit : s);
  const T power = exponential(inside);
  return {power, inside == s ? power : T(0)};
}

// Where head `head` of a node's row begins.
template <class T>
__device__ __forceinline__ const T* head_of(Table<T> table, const EdgeArgs<T>& args, int64_t node,
                                            int64_t head) {
  return table.rows + node * table.stride + head * args.head_width;
}

// 1 / total of a row's head, written down; 1 where it is not wanted.
template <class T>
__device__ __forceinline__ T invert_total(const EdgeArgs<T>& args, const EdgeWork& work, int lane,
                                          T total) {
  if (args.inverses == nullptr) return 1;
  const T inverse = total != 0 ? 1 / (total + args.eps) : T(0);
  if (lane == 0) args.inverses[work.row * args.num_heads + work.head] = inverse;
  return inverse;
}

// Sums of one group in registers: every lane has kWidth neighbouring elements of a head that has at
// most kLanes * kWidth.
template <class T, int kWidth, bool kSlope, bool kPower>
struct EdgeSums {
  Values<T, kWidth> slopes{};
  Values<T, kWidth> powers{};
  T total = 0;
};

template <int kWidth, class T>
__device__ __forceinline__ T dot_of(const Values<T, kWidth>& a, const Values<T, kWidth>& b) {
  T sum = 0;
#pragma unroll
  for (int c = 0; c < kWidth; ++c) sum += a.v[c] * b.v[c];
  return sum;
}
template <int kWidth, class T>
__device__ __forceinline__ void add_scaled(T factor, const Values<T, kWidth>& x,
                                           Values<T, kWidth>& sum) {
#pragma unroll
  for (int c = 0; c < kWidth; ++c) sum.v[c] += factor * x.v[c];
}

// Adds the entries of a group's work. All lanes of a warp call it together, and take as many steps
// as the longest of their rows needs.
template <int kLanes, int kWidth, bool kSlope, bool kPower, class T>
__device__ __forceinline__ void add_edges(const EdgeArgs<T>& args, const EdgeWork& work,
                                          EdgeSums<T, kWidth, kSlope, kPower>& sums) {
  constexpr int kTogether = 4;  // entries whose rows are asked for before the first is needed
  const Group<kLanes> group;
  const int64_t column = group.lane * kWidth;
  const bool active = work.row >= 0 && column < args.head_width;
  const auto length = static_cast<int>(work.end - work.begin);
  const auto longest =
      static_cast<int>(__reduce_max_sync(kAllLanes, static_cast<unsigned>(length)));
  Values<T, kWidth> own_first{}, own_second{};
  if (active) {
    own_first = load<kWidth>(head_of(args.own.first, args, work.row, work.head) + column);
    if constexpr (kSlope) {
      own_second = load<kWidth>(head_of(args.own.second, args, work.row, work.head) + column);
    }
  }
  const int32_t* columns = args.columns + work.begin;
#pragma unroll 1
  for (int entry = 0; entry < longest; entry += kTogether) {
    int32_t node[kTogether];
    Values<T, kWidth> first[kTogether], second[kTogether];
#pragma unroll
    for (int e = 0; e < kTogether; ++e) {
      node[e] = entry + e < length ? columns[entry + e] : -1;
    }
#pragma unroll
    for (int e = 0; e < kTogether; ++e) {
      first[e] = second[e] = {};
      if (node[e] < 0 || !active) continue;
      first[e] = load<kWidth>(head_of(args.others.first, args, node[e], work.head) + column);
      second[e] = load<kWidth>(head_of(args.others.second, args, node[e], work.head) + column);
    }
#pragma unroll
    for (int e = 0; e < kTogether; ++e) {
      const T score = group.sum(dot_of(own_first, first[e]));
      T inner = 0;
      if constexpr (kSlope) inner = group.sum(dot_of(own_second, second[e]));
      if (node[e] < 0) continue;
      const Weighed<T> weighed = weigh(args, score);
      if constexpr (kPower) {
        add_scaled(weighed.power, second[e], sums.powers);
        sums.total += weighed.power;
      }
      if constexpr (kSlope) {
        const int64_t place = args.shift_by_row ? work.row : node[e];
        inner += args.shifts[place * args.num_heads + work.head];
        add_scaled(weighed.slope * inner, first[e], sums.slopes);
      }
    }
  }
}

template <int kLanes, int kWidth, bool kSlope, bool kPower, class T>
__global__ void __launch_bounds__(kEdgeThreads) edge_pieces(const EdgeArgs<T> args) {
  const Group<kLanes> group;
  const EdgeWork work = work_on_piece(args, group.template number<kEdgeThreads>());
  EdgeSums<T, kWidth, kSlope, kPower> sums;
  add_edges<kLanes>(args, work, sums);
  const int64_t column = group.lane * kWidth;
  if (work.row < 0) return;
  const EdgePieces<T> pieces(args);
  const int64_t place = (work.piece * args.num_heads + work.head) * args.head_width + column;
  if (column < args.head_width) {
    if constexpr (kSlope) store<kWidth>(pieces.slopes + place, sums.slopes);
    if constexpr (kPower) store<kWidth>(pieces.powers + place, sums.powers);
  }
  if (kPower && group.lane == 0) {
    pieces.totals[work.piece * args.num_heads + work.head] = sums.total;
  }
}

// Adds a long row's pieces.
template <int kWidth, bool kSlope, bool kPower, class T>
__device__ __forceinline__ void add_edge_pieces(const EdgeArgs<T>& args, const EdgeWork& work,
                                                int64_t column,
                                                EdgeSums<T, kWidth, kSlope, kPower>& sums) {
  const EdgePieces<T> pieces(args);
  const int64_t begin = args.offsets[work.row], end = args.offsets[work.row + 1];
  for (int64_t window = begin / kEdgeWindow; window <= (end - 1) / kEdgeWindow; ++window) {
    const int64_t piece = 2 * window + (window * kEdgeWindow < begin ? 1 : 0);
    const int64_t head = piece * args.num_heads + work.head;
    if (column < args.head_width) {
      const int64_t place = head * args.head_width + column;
      if constexpr (kSlope) add_scaled(T(1), load<kWidth>(pieces.slopes + place), sums.slopes);
      if constexpr (kPower) add_scaled(T(1), load<kWidth>(pieces.powers + place), sums.powers);
    }
    if constexpr (kPower) sums.total += pieces.totals[head];
  }
}

template <int kLanes, int kWidth, bool kSlope, bool kPower, class T>
__global__ void __launch_bounds__(kEdgeThreads) edge_rows(const EdgeArgs<T> args) {
  const Group<kLanes> group;
  const EdgeWork work = work_on_row(args, group.template number<kEdgeThreads>());
  EdgeSums<T, kWidth, kSlope, kPower> sums;
  add_edges<kLanes>(args, work, sums);
  if (work.row < 0) return;
  const int64_t column = group.lane * kWidth;
  if (is_long_row(args, work.row)) add_edge_pieces(args, work, column, sums);
  const T inverse = kPower ? invert_total(args, work, group.lane, sums.total) : T(1);
  if (column >= args.head_width) return;
  const int64_t place = (work.row * args.num_heads + work.head) * args.head_width + column;
  if constexpr (kSlope) {
    if (args.add_slopes) add_scaled(T(1), load<kWidth>(args.slopes + place), sums.slopes);
    store<kWidth>(args.slopes + place, sums.slopes);
  }
  if constexpr (kPower) {
    Values<T, kWidth> scaled{};
    add_scaled(inverse, sums.powers, scaled);
    store<kWidth>(args.powers + place, scaled);
  }
}

}  // namespace rlmrec_fast::cuda
