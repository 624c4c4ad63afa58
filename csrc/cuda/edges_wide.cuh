// Device code of cuda/edges.h for heads of any width: a warp has a head, takes its entries by
// warps, first all their weights and then what they weigh, and adds that up in memory.
#pragma once

#include "cuda/edges.cuh"

namespace rlmrec_fast::cuda {

// Places of a head's sums; null where not wanted.
template <class T>
struct WideSums {
  T* slopes;
  T* powers;
  bool add_slopes;  // to what is there
};

// What an entry adds: the lane of a warp that has it keeps this.
template <class T>
struct WideEntry {
  int32_t node = -1;
  T power = 0;
  T slope = 0;
};

template <class T>
__device__ __forceinline__ T wide_dot(const T* a, const T* b, int64_t width, int lane) {
  T sum = 0;
  for (int64_t c = lane; c < width; c += kWarp) sum += a[c] * b[c];
  return Group<kWarp>().sum(sum);
}

// The entries [begin, begin + count) of a row, one a lane.
template <bool kSlope, class T>
__device__ __forceinline__ WideEntry<T> weigh_entries(const EdgeArgs<T>& args, const EdgeWork& work,
                                                      int64_t begin, int count) {
  const Group<kWarp> warp;
  WideEntry<T> own;
  if (warp.lane < count) own.node = args.columns[begin + warp.lane];
  T score = 0, inner = 0;
#pragma unroll 1
  for (int e = 0; e < count; ++e) {
    const int32_t node = warp.take(own.node, e);
    const T dot =
        wide_dot(head_of(args.own.first, args, work.row, work.head),
                 head_of(args.others.first, args, node, work.head), args.head_width, warp.lane);
    if (warp.lane == e) score = dot;
    if constexpr (kSlope) {
      const T other =
          wide_dot(head_of(args.own.second, args, work.row, work.head),
                   head_of(args.others.second, args, node, work.head), args.head_width, warp.lane);
      if (warp.lane == e) inner = other;
    }
  }
  if (own.node < 0) return own;
  const Weighed<T> weighed = weigh(args, score);
  own.power = weighed.power;
  if constexpr (kSlope) {
    const int64_t place = args.shift_by_row ? work.row : own.node;
    own.slope = weighed.slope * (inner + args.shifts[place * args.num_heads + work.head]);
  }
  return own;
}

// Sums of a warp's work, of zeros where it has no entries; returns the total of the powers.
template <bool kSlope, bool kPower, class T>
__device__ __forceinline__ T sum_wide_edges(const EdgeArgs<T>& args, const EdgeWork& work,
                                            const WideSums<T>& sums) {
  const Group<kWarp> warp;
  T total = 0;
  int64_t begin = work.begin;
  do {
    const auto count = static_cast<int>(min(work.end - begin, static_cast<int64_t>(kWarp)));
    const WideEntry<T> own = weigh_entries<kSlope>(args, work, begin, count);
    total += own.power;
    const bool first = begin == work.begin;
    for (int64_t base = 0; base < args.head_width; base += kWarp) {
      const int64_t column = base + warp.lane;
      const bool active = column < args.head_width;
      T slopes = 0, powers = 0;
      if (kSlope && active && (!first || sums.add_slopes)) slopes = sums.slopes[column];
      if (kPower && active && !first) powers = sums.powers[column];
#pragma unroll 1
      for (int e = 0; e < count; ++e) {
        const int32_t node = warp.take(own.node, e);
        const T power = warp.take(own.power, e), slope = warp.take(own.slope, e);
        if (!active) continue;
        if constexpr (kPower) {
          powers += power * head_of(args.others.second, args, node, work.head)[column];
        }
        if constexpr (kSlope) {
          slopes += slope * head_of(args.others.first, args, node, work.head)[column];
        }
      }
      if (kSlope && active) sums.slopes[column] = slopes;
      if (kPower && active) sums.powers[column] = powers;
    }
    begin += kWarp;
  } while (begin < work.end);
  return warp.sum(total);
}

template <bool kSlope, bool kPower, class T>
__global__ void __launch_bounds__(kEdgeThreads, 4) wide_edge_pieces(const EdgeArgs<T> args) {
  const Group<kWarp> warp;
  const EdgeWork work = work_on_piece(args, warp.template number<kEdgeThreads>());
  if (work.row < 0) return;
  const EdgePieces<T> pieces(args);
  const int64_t head = work.piece * args.num_heads + work.head;
  const T total = sum_wide_edges<kSlope, kPower>(
      args, work,
      {pieces.slopes + head * args.head_width, pieces.powers + head * args.head_width, false});
  if (kPower && warp.lane == 0) pieces.totals[head] = total;
}

template <bool kSlope, bool kPower, class T>
__global__ void __launch_bounds__(kEdgeThreads, 4) wide_edge_rows(const EdgeArgs<T> args) {
  const Group<kWarp> warp;
  const EdgeWork work = work_on_row(args, warp.template number<kEdgeThreads>());
  if (work.row < 0) return;
  const int64_t place = (work.row * args.num_heads + work.head) * args.head_width;
  const WideSums<T> sums{kSlope ? args.slopes + place : nullptr,
                         kPower ? args.powers + place : nullptr, args.add_slopes};
  T total = sum_wide_edges<kSlope, kPower>(args, work, sums);
  const bool in_pieces = is_long_row(args, work.row);
  if (in_pieces) {
    for (int64_t column = warp.lane; column < args.head_width; column += kWarp) {
      EdgeSums<T, 1, kSlope, kPower> added;
      add_edge_pieces(args, work, column, added);
      if constexpr (kSlope) sums.slopes[column] += added.slopes.v[0];
      if constexpr (kPower) sums.powers[column] += added.powers.v[0];
      total = added.total;
    }
    total = warp.take(total, 0);
  }
  if constexpr (kPower) {
    const T inverse = invert_total(args, work, warp.lane, total);
    for (int64_t column = warp.lane; column < args.head_width; column += kWarp) {
      sums.powers[column] *= inverse;
    }
  }
}

}  // namespace rlmrec_fast::cuda
