// Device code of cuda/propagate.h.
//
// kLanes lanes own a row of the matrix, each kWidth neighbouring columns of the tables; tables that
// are wider than that are cut between blockIdx.y. The lanes read as many entries at once, one each,
// and hand them round.
#pragma once

#include "common/random.h"
#include "cuda/csr.cuh"
#include "cuda/propagate.h"
#include "cuda/storage.cuh"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kThreads = 256;

// Entries whose rows of x are asked for before the first of them is needed.
template <class T>
constexpr int kInFlight = sizeof(T) == 8 ? 4 : 8;  // as registers allow

// Dropout of one row.
struct Keeper {
  bool all;
  bool transpose;
  uint32_t threshold;
  PairHash hash;
  uint32_t hashed_row;

  template <class T>
  __device__ __forceinline__ Keeper(const LayerArgs<T>& args, int64_t row)
      : all(args.keep_rate >= 1), transpose(args.transpose), threshold(0), hash{}, hashed_row(0) {
    if (all) return;
    threshold = rate_threshold(args.keep_rate);
    hash = pair_hash(child_seed(read_seed(args.seed), 0));
    const auto node = static_cast<uint32_t>(row);
    hashed_row = transpose ? mix32(node ^ hash.second_key) : hash_first(hash, node);
  }

  __device__ __forceinline__ bool keeps(int32_t column) const {
    if (all) return true;
    const auto node = static_cast<uint32_t>(column);
    const uint32_t bits = transpose ? mix32(hashed_row ^ hash_first(hash, node))
                                    : hash_second(hash, hashed_row, node);
    return bits < threshold;
  }
};

// What one lane of a group works on: kWidth columns from `column` on, if there are any.
template <int kWidth, int kLanes>
struct Lane {
  Group<kLanes> group;
  int64_t column;
  bool active;

  __device__ __forceinline__ explicit Lane(int64_t d)
      : column((static_cast<int64_t>(blockIdx.y) * kLanes + group.lane) * kWidth),
        active(column < d) {}
};

// sum += the kept ones of the entries [begin, end) of a row, at most kLongRow. All lanes of a warp
// call it together and take as many steps as the longest of their rows needs.
template <int kWidth, int kLanes, class T>
__device__ __forceinline__ void add_entries(const LayerArgs<T>& args, Lane<kWidth, kLanes> lane,
                                            int64_t row, int64_t begin, int64_t end,
                                            Values<Accumulate<T>, kWidth>& sum) {
  const Keeper keeper(args, row);
  const auto length = static_cast<int>(end - begin);
  const auto longest =
      static_cast<int>(__reduce_max_sync(kAllLanes, static_cast<unsigned>(length)));
  const int32_t* columns = args.columns + begin;
  const T* x = args.x + lane.column;
  int entry = lane.group.lane;
  int32_t ahead = entry < length ? columns[entry] : -1;
  for (int first = 0; first < longest; first += kLanes) {
    const int32_t own = ahead >= 0 && keeper.keeps(ahead) ? ahead : -1;
    Accumulate<T> own_weight = 0;
    if (own >= 0) {
      own_weight = args.values != nullptr         ? args.values[begin + entry]
                   : args.column_scale != nullptr ? args.column_scale[own]
                                                  : Accumulate<T>{1};
    }
    entry += kLanes;
    ahead = entry < length ? columns[entry] : -1;
#pragma unroll 1
    for (int start = 0; start < kLanes; start += kInFlight<T>) {
      if (first + start >= longest) break;
      Values<Accumulate<T>, kWidth> neighbor[kInFlight<T>];
#pragma unroll
      for (int i = 0; i < kInFlight<T>; ++i) {
        const int32_t node = lane.group.take(own, start + i);
        neighbor[i] = {};
        if (node >= 0 && lane.active) neighbor[i] = load<kWidth>(x + node * args.x_stride);
      }
#pragma unroll
      for (int i = 0; i < kInFlight<T>; ++i) {
        const Accumulate<T> weight = lane.group.take(own_weight, start + i);
#pragma unroll
        for (int c = 0; c < kWidth; ++c) sum.v[c] += weight * neighbor[i].v[c];
      }
    }
  }
}

__device__ __forceinline__ bool is_long(const int64_t* offsets, int64_t row) {
  return offsets[row + 1] - offsets[row] > kLongRow;
}

template <class Element, int kWidth>
__device__ __forceinline__ void scale_by(Element scale, Values<Element, kWidth>& values) {
#pragma unroll
  for (int c = 0; c < kWidth; ++c) values.v[c] *= scale;
}

// What a row that does not exist holds.
template <class Element, int kWidth>
__device__ __forceinline__ Values<Element, kWidth> nothing() {
  Values<Element, kWidth> values;
#pragma unroll
  for (int c = 0; c < kWidth; ++c) values.v[c] = NAN;
  return values;
}

// Element `column` of the noise of a row, uniform in [0, 1).
__device__ __forceinline__ float noise_element(PairHash hash, uint32_t hashed_row, int64_t column) {
  const uint32_t bits = hash_second(hash, hashed_row, static_cast<uint32_t>(column)) >> 8;
  return static_cast<float>(bits) * 5.9604644775390625e-8F;  // 2^-24
}

template <int kWidth, int kLanes, class T>
__device__ __forceinline__ void add_noise(const LayerArgs<T>& args, Lane<kWidth, kLanes> lane,
                                          int64_t node, Values<Accumulate<T>, kWidth>& value) {
  const PairHash hash =
      pair_hash(child_seed(read_seed(args.seed), static_cast<uint64_t>(args.layer)));
  const uint32_t hashed_row = hash_first(hash, static_cast<uint32_t>(node));
  double squares = 0;
  for (int64_t column = lane.group.lane; column < args.d; column += kLanes) {
    const double n = noise_element(hash, hashed_row, column);
    squares += n * n;
  }
  squares = lane.group.sum(squares);
  const auto scale = static_cast<Accumulate<T>>(squares > 0 ? args.noise / sqrt(squares) : 0.0);
#pragma unroll
  for (int c = 0; c < kWidth; ++c) {
    const Accumulate<T> size = noise_element(hash, hashed_row, lane.column + c) * scale;
    value.v[c] += value.v[c] > 0 ? size : (value.v[c] < 0 ? -size : Accumulate<T>{0});
  }
}

// From the value of a node's row to the outputs, y's at row `out`.
template <int kWidth, int kLanes, class T>
__device__ __forceinline__ void finish_row(const LayerArgs<T>& args, Lane<kWidth, kLanes> lane,
                                           int64_t node, int64_t out,
                                           Values<Accumulate<T>, kWidth> value) {
  if (args.base != nullptr) {
    const auto base = load<kWidth>(args.base + node * args.base_stride + lane.column);
#pragma unroll
    for (int c = 0; c < kWidth; ++c) value.v[c] = (value.v[c] + base.v[c]) * args.factor;
  }
  if (args.accumulator != nullptr) {
    T* place = args.accumulator + node * args.accumulator_stride + lane.column;
    auto total = load<kWidth>(place);
#pragma unroll
    for (int c = 0; c < kWidth; ++c) total.v[c] = (total.v[c] + value.v[c]) * args.factor;
    store<kWidth>(place, total);
  }
  if (args.y != nullptr) store<kWidth>(args.y + out * args.y_stride + lane.column, value);
}

// One group a window of entries. Piece 2 w belongs to the row that window w begins in, piece 2 w +
// 1 to a row that begins in it and goes on behind its end.
template <int kWidth, int kLanes, class T>
__global__ void __launch_bounds__(kThreads, 3) propagate_pieces(const LayerArgs<T> args) {
  const Lane<kWidth, kLanes> lane(args.d);
  const int64_t window = lane.group.template number<kThreads>();
  const int64_t first = window * kWindow;
  const int64_t last = first + kWindow < args.num_entries ? first + kWindow : args.num_entries;
#pragma unroll 1
  for (int piece = 0; piece < 2; ++piece) {
    int64_t row = -1, begin = 0, end = 0;
    if (first < last) row = find_row(args.offsets, args.num_rows, piece == 0 ? first : last - 1);
    if (row >= 0 && row < args.num_rows && is_long(args.offsets, row)) {
      begin = args.offsets[row], end = args.offsets[row + 1];
      if (piece == 1 && begin <= first) row = -1;  // its piece in this window is the other one
      begin = begin > first ? begin : first;
      end = end < last ? end : last;
    } else {
      row = -1;
    }
    if (row < 0) begin = end = 0;
    Values<Accumulate<T>, kWidth> sum{};
    add_entries(args, lane, row, begin, end, sum);
    if (row >= 0 && lane.active) {
      store<kWidth>(args.pieces + (2 * window + piece) * args.d + lane.column, sum);
    }
  }
}

// The sum of a long row from its pieces.
template <int kWidth, int kLanes, class T>
__device__ __forceinline__ void add_pieces(const LayerArgs<T>& args, Lane<kWidth, kLanes> lane,
                                           int64_t begin, int64_t end,
                                           Values<Accumulate<T>, kWidth>& sum) {
  if (!lane.active) return;
  const int64_t first = begin / kWindow, last = (end - 1) / kWindow;
#pragma unroll 4
  for (int64_t window = first; window <= last; ++window) {
    const bool begins_inside = window * kWindow < begin;
    const auto piece =
        load<kWidth>(args.pieces + (2 * window + (begins_inside ? 1 : 0)) * args.d + lane.column);
#pragma unroll
    for (int c = 0; c < kWidth; ++c) sum.v[c] += piece.v[c];
  }
}

// One group a wanted row.
template <int kWidth, int kLanes, class T>
__global__ void __launch_bounds__(kThreads, 3) propagate_rows(const LayerArgs<T> args) {
  const Lane<kWidth, kLanes> lane(args.d);
  const int64_t out = lane.group.template number<kThreads>();
  const bool wanted = out < args.num_wanted;
  const int64_t node = !wanted ? -1 : args.rows != nullptr ? args.rows[out] : out;
  const bool exists = node >= 0 && node < args.num_rows;
  const int64_t begin = exists ? args.offsets[node] : 0;
  const int64_t end = exists ? args.offsets[node + 1] : 0;
  const bool in_pieces = end - begin > kLongRow;
  Values<Accumulate<T>, kWidth> sum{};
  add_entries(args, lane, node, begin, in_pieces ? begin : end, sum);
  if (in_pieces) add_pieces(args, lane, begin, end, sum);
  if (args.row_scale != nullptr && exists) scale_by(args.row_scale[node], sum);
  if (args.noise > 0) add_noise(args, lane, node, sum);
  if (!wanted || !lane.active) return;
  if (exists) {
    finish_row(args, lane, node, out, sum);
  } else {
    store<kWidth>(args.y + out * args.y_stride + lane.column, nothing<Accumulate<T>, kWidth>());
  }
}

// One thread an entry.
__global__ void __launch_bounds__(kThreads)
    edge_mask(const LayerArgs<float> args, bool* __restrict__ kept) {
  const int64_t entry = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (entry >= args.num_entries) return;
  const int64_t row = find_row(args.offsets, args.num_rows, entry);
  kept[entry] = Keeper(args, row).keeps(args.columns[entry]);
}

// Neighbouring entries that one group takes, for they often share a row.
constexpr int kDots = 8;

// One group kDots entries.
template <int kWidth, int kLanes, class T>
__global__ void __launch_bounds__(kThreads)
    entry_dots(const LayerArgs<T> args, Accumulate<T>* __restrict__ grad_values) {
  const Group<kLanes> group;
  const int64_t begin = group.template number<kThreads>() * kDots;
  const int64_t end = begin + kDots < args.num_entries ? begin + kDots : args.num_entries;
  int64_t row = -1, row_end = -1;
  for (int64_t entry = begin; entry < begin + kDots; ++entry) {
    Accumulate<T> sum = 0;
    if (entry < end) {
      if (entry >= row_end) {
        row = find_row(args.offsets, args.num_rows, entry);
        row_end = args.offsets[row + 1];
      }
      const T* grad = args.base + row * args.base_stride;
      const T* x = args.x + args.columns[entry] * args.x_stride;
      for (int64_t column = group.lane * kWidth; column < args.d; column += kLanes * kWidth) {
        const auto a = load<kWidth>(grad + column);
        const auto b = load<kWidth>(x + column);
#pragma unroll
        for (int c = 0; c < kWidth; ++c) sum += a.v[c] * b.v[c];
      }
    }
    sum = group.sum(sum);
    if (entry < end && group.lane == 0) grad_values[entry] = sum;
  }
}

// One group a row.
template <int kWidth, int kLanes, class T>
__global__ void __launch_bounds__(kThreads) copy_rows(const LayerArgs<T> args) {
  const Lane<kWidth, kLanes> lane(args.d);
  const int64_t out = lane.group.template number<kThreads>();
  if (out >= args.num_wanted || !lane.active) return;
  const int64_t node = args.rows != nullptr ? args.rows[out] : out;
  const bool exists = node >= 0 && node < args.num_rows;
  const auto value = exists ? load<kWidth>(args.x + node * args.x_stride + lane.column)
                            : nothing<Accumulate<T>, kWidth>();
  store<kWidth>(args.y + out * args.y_stride + lane.column, value);
}

}  // namespace rlmrec_fast::cuda
