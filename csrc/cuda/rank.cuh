// Device code of cuda/rank.h.
#pragma once

#include "cuda/csr.cuh"
#include "cuda/math.cuh"
#include "cuda/rank.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kRankThreads = 256;
constexpr int kRankWarps = kRankThreads / kWarp;
// Users of a warp, all of whose scores with the tile the warp computes; items of a lane.
constexpr int kWarpUsers = 8;
constexpr int kLaneItems = 4;
constexpr int kRankUsers = kRankWarps * kWarpUsers;
constexpr int kTileItems = kWarp * kLaneItems;
// Columns that are in shared memory at a time.
constexpr int kDepth = 16;
// Rows of the tiles lie a little further apart, so that writing columns hits different banks.
constexpr int kSkew = 4;

template <class T>
struct RankTile {
  T users[kDepth][kRankUsers + kSkew];
  T items[kDepth][kTileItems + kSkew];
};

// columns[c][r] = rows[first + r][column + c], zero outside of the table.
template <class T, int kRows>
__device__ __forceinline__ void load_columns(const T* __restrict__ table, int64_t stride,
                                             int64_t num_rows, int64_t first, int64_t d,
                                             int64_t column, T (&columns)[kDepth][kRows + kSkew]) {
#pragma unroll
  for (int i = 0; i < kRows * kDepth / kRankThreads; ++i) {
    const int place = static_cast<int>(threadIdx.x) + i * kRankThreads;
    const int row = place / kDepth, c = place % kDepth;
    const bool inside = first + row < num_rows && column + c < d;
    columns[c][row] = inside ? table[(first + row) * stride + column + c] : T{0};
  }
}

// sums[u][i] += the products of the tile's columns, of the warp's users and the lane's items.
template <class T>
__device__ __forceinline__ void add_products(const RankTile<T>& tile, int warp, int lane,
                                             T (&sums)[kWarpUsers][kLaneItems]) {
#pragma unroll 4
  for (int c = 0; c < kDepth; ++c) {
    T items[kLaneItems];
#pragma unroll
    for (int i = 0; i < kLaneItems; ++i) items[i] = tile.items[c][i * kWarp + lane];
#pragma unroll
    for (int u = 0; u < kWarpUsers; ++u) {
      const T user = tile.users[c][warp * kWarpUsers + u];
#pragma unroll
      for (int i = 0; i < kLaneItems; ++i) sums[u][i] = fused(user, items[i], sums[u][i]);
    }
  }
}

template <class T>
struct Ranked {
  T score;
  int64_t item;

  __device__ __forceinline__ bool better_than(const Ranked& other) const {
    return score > other.score || (score == other.score && item < other.item);
  }
};

// Puts a candidate into a sorted list of k, whose last one goes; returns the new last one. The
// whole warp calls it; each lane reads and writes its own places only.
template <class T>
__device__ __forceinline__ Ranked<T> insert(Ranked<T> candidate, int64_t* items, T* scores,
                                            int64_t k, int lane) {
  Ranked<T> last = candidate;
  for (int64_t first = 0; first < k; first += kWarp) {
    const int64_t place = first + lane;
    const bool inside = place < k;
    Ranked<T> mine{-INFINITY, -1};
    if (inside) mine = {scores[place], items[place]};
    const unsigned ahead = __ballot_sync(kAllLanes, inside && !candidate.better_than(mine));
    const int position = __popc(ahead);
    // What was before moves on, and the last one of this stretch goes to the next.
    const Ranked<T> before{__shfl_up_sync(kAllLanes, mine.score, 1),
                           __shfl_up_sync(kAllLanes, mine.item, 1)};
    const Ranked<T> pushed{__shfl_sync(kAllLanes, mine.score, kWarp - 1),
                           __shfl_sync(kAllLanes, mine.item, kWarp - 1)};
    if (position < kWarp) {
      if (lane == position) mine = candidate;
      if (lane > position) mine = before;
      if (inside && lane >= position) {
        scores[place] = mine.score;
        items[place] = mine.item;
      }
      candidate = pushed;
    }
    if (first + kWarp >= k) {
      const int end = static_cast<int>(k - 1 - first);
      last = {__shfl_sync(kAllLanes, mine.score, end), __shfl_sync(kAllLanes, mine.item, end)};
    }
  }
  return last;
}

template <class T>
__device__ __forceinline__ bool is_excluded(const RankArgs<T>& args, int64_t user, int64_t item) {
  if (args.exclude_offsets == nullptr) return false;
  const int32_t* row = args.exclude_items + args.exclude_offsets[user];
  const int64_t count = args.exclude_offsets[user + 1] - args.exclude_offsets[user];
  const int64_t up_to = count_up_to(row, count, static_cast<int32_t>(item));
  return up_to > 0 && row[up_to - 1] == item;
}

// The k-th best of each of a warp's users.
template <class T>
struct Thresholds {
  T scores[kWarpUsers];
  int32_t items[kWarpUsers];
};

// Offers the lanes' items `item` to a user whose k-th best is `last`; returns the new k-th best.
template <class T>
__device__ __forceinline__ Ranked<T> offer(const RankArgs<T>& args, int64_t user, Ranked<T> mine,
                                           int lane, Ranked<T> last) {
  const bool wanted = (mine.item < args.num_items) && mine.better_than(last) &&
                      (mine.score > -INFINITY) && !is_excluded(args, user, mine.item);
  unsigned candidates = __ballot_sync(kAllLanes, wanted);
  for (; candidates != 0; candidates &= candidates - 1) {
    const int from = __ffs(static_cast<int>(candidates)) - 1;
    const Ranked<T> candidate{__shfl_sync(kAllLanes, mine.score, from),
                              __shfl_sync(kAllLanes, mine.item, from)};
    if (!candidate.better_than(last)) continue;
    last = insert(candidate, args.best + user * args.k, args.scores + user * args.k, args.k, lane);
  }
  return last;
}

// Offers the scores of a tile. Few of them are candidates once some items were seen, so that all
// are compared first, and what follows is there once for all users of the warp.
template <class T>
__device__ __forceinline__ void offer_tile(const RankArgs<T>& args, int64_t first_user,
                                           int64_t first_item, int lane,
                                           const T (&scores)[kWarpUsers][kLaneItems],
                                           Thresholds<T>& last) {
  static_assert(kWarpUsers * kLaneItems == 32);
  unsigned pending = 0;
#pragma unroll
  for (int u = 0; u < kWarpUsers; ++u) {
#pragma unroll
    for (int i = 0; i < kLaneItems; ++i) {
      const bool exists = first_user + u < args.num_users;
      const bool some = __any_sync(kAllLanes, exists && scores[u][i] >= last.scores[u]) != 0;
      pending |= some ? 1U << (u * kLaneItems + i) : 0U;
    }
  }
  for (; pending != 0; pending &= pending - 1) {
    const int chosen = __ffs(static_cast<int>(pending)) - 1;
    const int user = chosen / kLaneItems;
    const int64_t item = first_item + chosen % kLaneItems * kWarp + lane;
    Ranked<T> mine{0, item};
    Ranked<T> worst{0, 0};
#pragma unroll
    for (int u = 0; u < kWarpUsers; ++u) {
#pragma unroll
      for (int i = 0; i < kLaneItems; ++i) {
        if (chosen == u * kLaneItems + i) mine.score = scores[u][i];
      }
      if (user == u) worst = {last.scores[u], last.items[u]};
    }
    worst = offer(args, first_user + user, mine, lane, worst);
#pragma unroll
    for (int u = 0; u < kWarpUsers; ++u) {
      if (user != u) continue;
      last.scores[u] = worst.score;
      last.items[u] = static_cast<int32_t>(worst.item);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kRankThreads, sizeof(T) == 8 ? 1 : 2)
    rank_users(const RankArgs<T> args) {
  __shared__ RankTile<T> tile;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t first_user = static_cast<int64_t>(blockIdx.x) * kRankUsers;
  const int64_t my_user = first_user + warp * kWarpUsers;
  Thresholds<T> last;
#pragma unroll
  for (int u = 0; u < kWarpUsers; ++u) {
    last.scores[u] = -INFINITY;
    last.items[u] = -1;
    for (int64_t j = lane; j < args.k && my_user + u < args.num_users; j += kWarp) {
      args.best[(my_user + u) * args.k + j] = -1;
      args.scores[(my_user + u) * args.k + j] = -INFINITY;
    }
  }
  for (int64_t first_item = 0; first_item < args.num_items; first_item += kTileItems) {
    T sums[kWarpUsers][kLaneItems] = {};
    for (int64_t column = 0; column < args.d; column += kDepth) {
      __syncthreads();
      load_columns<T, kRankUsers>(args.users, args.user_stride, args.num_users, first_user, args.d,
                                  column, tile.users);
      load_columns<T, kTileItems>(args.items, args.item_stride, args.num_items, first_item, args.d,
                                  column, tile.items);
      __syncthreads();
      add_products(tile, warp, lane, sums);
    }
    offer_tile(args, my_user, first_item, lane, sums, last);
  }
}

// One thread a row.
__global__ void __launch_bounds__(kRankThreads) ranking_metrics(const MetricsArgs args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRankThreads + threadIdx.x;
  if (row >= args.num_rows) return;
  const int32_t* held = args.held_items + args.held_offsets[row];
  const int64_t num_held = args.held_offsets[row + 1] - args.held_offsets[row];
  double* recalls = args.metrics + row * 2 * args.all + args.first;
  double* ndcgs = recalls + args.all;
  for (int c = 0; c < args.num_cutoffs; ++c) {
    double hits = 0, gain = 0, ideal = 0;
    for (int64_t place = 0; num_held > 0 && place < args.cutoffs[c]; ++place) {
      const double one = 1.0 / log2(static_cast<double>(place + 2));
      if (place < num_held) ideal += one;
      const int64_t item = args.items[row * args.width + place];
      if (item < 0) continue;
      const int64_t up_to = count_up_to(held, num_held, static_cast<int32_t>(item));
      if (up_to == 0 || held[up_to - 1] != item) continue;
      hits += 1;
      gain += one;
    }
    recalls[c] = num_held > 0 ? hits / static_cast<double>(num_held) : 0.0;
    ndcgs[c] = num_held > 0 ? gain / ideal : 0.0;
  }
}

}  // namespace rlmrec_fast::cuda
