// Device code of cuda/neighbors.h. A warp has a row.
#pragma once

#include "cuda/neighbors.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kNeighborThreads = 256;

// *lowest = row, if that is lower.
__device__ __forceinline__ void keep_lower(int64_t* lowest, int64_t row) {
  atomicMin(reinterpret_cast<long long*>(lowest), static_cast<long long>(row));
}

template <class T>
__global__ void __launch_bounds__(kNeighborThreads) find_directions(const DirectionArgs<T> args) {
  const Group<kWarp> warp;
  const int64_t row = warp.template number<kNeighborThreads>();
  if (row >= args.num_rows) return;
  const T* x = args.table.rows + row * args.table.stride;
  double* direction = args.directions + row * args.d;
  T size = 0;
  bool finite = true;
  for (int64_t c = warp.lane; c < args.d; c += kWarp) {
    const T magnitude = x[c] < 0 ? -x[c] : x[c];
    finite = finite && magnitude - magnitude == 0;
    size = magnitude > size ? magnitude : size;
  }
  finite = __all_sync(kAllLanes, finite) != 0;
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(kAllLanes, size, distance);
    size = other > size ? other : size;
  }
  const bool zero = !finite || size == 0;
  // The largest element first: squares of large elements would overflow, of small ones vanish.
  double square = 0;
  for (int64_t c = warp.lane; !zero && c < args.d; c += kWarp) {
    const double scaled = x[c] / size;
    square += scaled * scaled;
  }
  const double length = sqrt(warp.sum(square));
  for (int64_t c = warp.lane; c < args.d; c += kWarp) {
    // Rounded to T, as the CPU's are.
    direction[c] = zero ? 0.0 : static_cast<double>(static_cast<T>(x[c] / size / length));
  }
  if (warp.lane != 0) return;
  args.offsets[row] = row;
  args.own[row] = static_cast<int32_t>(row);
  if (row == args.num_rows - 1) args.offsets[args.num_rows] = args.num_rows;
  if (!finite) keep_lower(args.wrong, row);
}

// How many of a list's neighbours another list names; of those before each, if it is the same one.
__device__ __forceinline__ int count_named(const int64_t* list, int64_t width, const int64_t* other,
                                           int64_t other_width, bool same, int lane) {
  int count = 0;
  for (int64_t i = lane; i < width; i += kWarp) {
    const int64_t limit = same ? i : other_width;
    bool named = false;
    for (int64_t j = 0; j < limit && list[i] >= 0 && !named; ++j) named = list[i] == other[j];
    count += named ? 1 : 0;
  }
  return Group<kWarp>().sum(count);
}

__device__ __forceinline__ int count_there(const int64_t* list, int64_t width, int lane) {
  int count = 0;
  for (int64_t i = lane; i < width; i += kWarp) count += list[i] >= 0 ? 1 : 0;
  return Group<kWarp>().sum(count);
}

__global__ void __launch_bounds__(kNeighborThreads) neighbor_overlap(const OverlapArgs args) {
  const Group<kWarp> warp;
  const int64_t row = warp.number<kNeighborThreads>();
  if (row >= args.num_rows) return;
  const int64_t* first = args.first + row * args.first_width;
  const int64_t* second = args.second + row * args.second_width;
  const int there = count_there(first, args.first_width, warp.lane) +
                    count_there(second, args.second_width, warp.lane);
  const int shared =
      count_named(first, args.first_width, second, args.second_width, false, warp.lane);
  const int first_twice =
      count_named(first, args.first_width, first, args.first_width, true, warp.lane);
  const int second_twice =
      count_named(second, args.second_width, second, args.second_width, true, warp.lane);
  if (warp.lane != 0) return;
  const int either = there - shared;
  args.overlap[row] = either == 0 ? 1.0 : static_cast<double>(shared) / static_cast<double>(either);
  if (first_twice > 0) keep_lower(args.wrong, row);
  if (second_twice > 0) keep_lower(args.wrong + 1, row);
}

}  // namespace rlmrec_fast::cuda
