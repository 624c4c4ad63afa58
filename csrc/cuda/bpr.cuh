// Device code of cuda/bpr.h.
#pragma once

#include "cuda/bpr.h"
#include "cuda/math.cuh"
#include "cuda/storage.cuh"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kBprThreads = 256;
constexpr int kBprLanes = 8;

template <class T>
__device__ __forceinline__ bool in_range(const BprArgs<T>& args, int64_t sample) {
  const int64_t user = args.users[sample];
  const int64_t positive = args.positives[sample], negative = args.negatives[sample];
  return user >= 0 && user < args.num_users && positive >= 0 && positive < args.num_items &&
         negative >= 0 && negative < args.num_items;
}

// One group of lanes a sample.
template <int kWidth, class T>
__global__ void __launch_bounds__(kBprThreads)
    bpr_losses(const BprArgs<T> args, T* __restrict__ losses, T* __restrict__ slopes) {
  const Group<kBprLanes> group;
  const int64_t sample = group.template number<kBprThreads>();
  const bool exists = sample < args.size && in_range(args, sample);
  T positive_sum = 0, negative_sum = 0;
  if (exists) {
    const T* user = args.user_table + args.users[sample] * args.user_stride;
    const T* positive = args.item_table + args.positives[sample] * args.item_stride;
    const T* negative = args.item_table + args.negatives[sample] * args.item_stride;
    for (int64_t column = group.lane * kWidth; column < args.d; column += kBprLanes * kWidth) {
      const auto u = load<kWidth>(user + column);
      const auto p = load<kWidth>(positive + column);
      const auto n = load<kWidth>(negative + column);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) {
        positive_sum += u.v[c] * p.v[c];
        negative_sum += u.v[c] * n.v[c];
      }
    }
  }
  const T margin = group.sum(negative_sum) - group.sum(positive_sum);
  if (sample >= args.size || group.lane != 0) return;
  // exp of a negative number only, so nothing overflows.
  const T small = exponential(-magnitude(margin));
  T loss = (margin > 0 ? margin : T{0}) + log_of_one_plus(small);
  T slope = (margin > 0 ? T{1} : small) / (1 + small);
  if (!exists) loss = slope = NAN;
  if (margin != margin) loss = slope = margin;
  losses[sample] = loss;
  slopes[sample] = slope;
}

// What entry e is about.
struct BprEntry {
  int64_t sample;
  bool to_item;   // its gradient goes to the item; else to the user
  bool negative;  // the item is the negative one
};

__device__ __forceinline__ BprEntry bpr_entry(BprSide side, int64_t size, int64_t e) {
  const bool to_item = side == BprSide::items || (side == BprSide::both && e >= 2 * size);
  if (side == BprSide::both && to_item) e -= 2 * size;
  return {e < size ? e : e - size, to_item, e >= size};
}

template <class T>
__device__ __forceinline__ int64_t row_of(const BprArgs<T>& args, BprEntry entry, bool item) {
  if (!item) return args.users[entry.sample];
  return entry.negative ? args.negatives[entry.sample] : args.positives[entry.sample];
}

// One thread an entry.
template <class T>
__global__ void __launch_bounds__(kBprThreads)
    bpr_keys(const BprArgs<T> args, BprSide side, int64_t num_rows, int32_t* __restrict__ keys) {
  const int64_t e = static_cast<int64_t>(blockIdx.x) * kBprThreads + threadIdx.x;
  if (e >= count_entries(side, args.size)) return;
  const BprEntry entry = bpr_entry(side, args.size, e);
  const bool kept = in_range(args, entry.sample);
  keys[e] = static_cast<int32_t>(kept ? row_of(args, entry, entry.to_item) : num_rows);
}

// One thread an entry.
template <class T>
__global__ void __launch_bounds__(kBprThreads)
    bpr_entries(const BprArgs<T> args, BprSide side, const int64_t* __restrict__ order,
                const T* __restrict__ slopes, const T* __restrict__ grad_losses,
                int32_t* __restrict__ columns, T* __restrict__ values) {
  const int64_t place = static_cast<int64_t>(blockIdx.x) * kBprThreads + threadIdx.x;
  if (place >= count_entries(side, args.size)) return;
  const BprEntry entry = bpr_entry(side, args.size, order[place]);
  const T slope = slopes[entry.sample] * grad_losses[entry.sample];
  columns[place] = static_cast<int32_t>(row_of(args, entry, !entry.to_item));
  values[place] = entry.negative ? slope : -slope;
}

}  // namespace rlmrec_fast::cuda
