// What is done row by row around the passes (cuda/contrast.h). One warp has a row, unless said
// otherwise; sums over a row are taken lane by lane and then across the lanes in a fixed order.
#pragma once

#include "cuda/contrast.h"
#include "cuda/contrast_pass.cuh"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kRowThreads = 256;
constexpr int kRowWarps = kRowThreads / 32;

__device__ __forceinline__ int64_t warp_row() {
  return static_cast<int64_t>(blockIdx.x) * kRowWarps + static_cast<int>(threadIdx.x) / 32;
}

// x . y in every lane.
template <class T>
__device__ __forceinline__ T row_dot(const T* x, const T* y, int64_t d) {
  T sum = 0;
  for (int64_t c = static_cast<int>(threadIdx.x) % 32; c < d; c += 32) sum += x[c] * y[c];
  return Group<kWarp>().sum(sum);
}

// 1 / norm of a row.
template <class T>
__device__ __forceinline__ T inverse_norm(const T* x, int64_t d, Normalize normalize, double eps) {
  if (normalize == Normalize::none) return 1;
  const double square = static_cast<double>(row_dot(x, x, d));
  const double length = sqrt(square);
  // A NaN stays one.
  return static_cast<T>(
      1 / (normalize == Normalize::root ? sqrt(eps + square) : (length < eps ? eps : length)));
}

// Stored forms of a factor.
__device__ __forceinline__ void store(float* place, float x) { *place = x; }
__device__ __forceinline__ void store(double* place, double x) { *place = x; }
__device__ __forceinline__ void store(uint32_t* place, float x) { *place = ptx::to_tf32(x); }
__device__ __forceinline__ void store(uint16_t* place, float x) {
  *place = static_cast<uint16_t>(ptx::bf16_bits(x));
}

template <class T, class Stored>
struct PrepareArgs {
  Table<T> table;
  int64_t num_rows;
  int64_t padded_rows;
  int64_t d;
  int64_t width;
  Normalize normalize;
  double eps;
  T scale;
  const T* weights;  // null: 1
  T* inverse;        // 1 / norm
  Stored* packed;    // x * inverse * scale, zero where it is padded
  T* factors;        // weights, 0 where they are padded, NaN where they are none; null to leave out
};

template <class T, class Stored>
__global__ void __launch_bounds__(kRowThreads) prepare_rows(const PrepareArgs<T, Stored> args) {
  const int64_t row = warp_row();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= args.padded_rows) return;
  const bool real = row < args.num_rows;
  const T* x = args.table.rows + row * args.table.stride;
  T inverse = 0;
  if (real) inverse = inverse_norm(x, args.d, args.normalize, args.eps);
  Stored* packed = args.packed + row * args.width;
  const T factor = inverse * args.scale;
  for (int64_t c = lane; c < args.width; c += 32) {
    store(packed + c, real && c < args.d ? x[c] * factor : T(0));
  }
  if (lane != 0) return;
  args.inverse[row] = inverse;
  if (args.factors == nullptr) return;
  T weight = real ? T(1) : T(0);
  if (real && args.weights != nullptr) {
    weight = args.weights[row];
    if (!(weight >= 0 && weight <= -kLowest<T>)) weight = static_cast<T>(NAN);
  }
  args.factors[row] = weight;
}

template <class T>
struct PositiveArgs {
  Table<T> query, positive;
  int64_t num_queries;
  int64_t d;
  Normalize normalize;
  double eps;
  T temperature;
  const T* inverse_query;
  T* inverse;  // of positives
  T* logits;   // of every query with its positive, in units of e
};

template <class T>
__global__ void __launch_bounds__(kRowThreads) positive_logits(const PositiveArgs<T> args) {
  const int64_t row = warp_row();
  if (row >= args.num_queries) return;
  const T* x = args.query.rows + row * args.query.stride;
  const T* p = args.positive.rows + row * args.positive.stride;
  const T inverse = inverse_norm(p, args.d, args.normalize, args.eps);
  const T dot = row_dot(x, p, args.d);
  if (threadIdx.x % 32 != 0) return;
  args.inverse[row] = inverse;
  args.logits[row] = dot * (args.inverse_query[row] * inverse / args.temperature);
}

template <class T>
struct FinishArgs {
  int64_t num_queries;
  int64_t padded_rows;
  int64_t splits;
  const double* totals;
  const T* maxima;  // null where shifts are fixed
  T shift;          // then
  const T* logits;  // null without positives
  double temperature, delta;
  const T* coefficients;  // null: losses only
  T* losses;
  // Of padded rows too, 0.
  T* shifts;       // common to all splits
  T* shares;       // coefficient x slope / temperature / sum
  T* own_factors;  // -coefficient x slope / temperature
};

// One thread a query: from the totals of its splits to its loss and its share of the gradients.
template <class T>
__global__ void __launch_bounds__(kRowThreads) finish_queries(const FinishArgs<T> args) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kRowThreads + threadIdx.x;
  if (row >= args.padded_rows) return;
  T most = args.shift;
  if (args.maxima != nullptr) {
    most = args.maxima[row];
    for (int64_t split = 1; split < args.splits; ++split) {
      most = larger(most, args.maxima[split * args.padded_rows + row]);
    }
  }
  const double shift = most;
  double sum = args.delta * exp2(-shift);
  for (int64_t split = 0; split < args.splits; ++split) {
    const int64_t place = split * args.padded_rows + row;
    const double scale = args.maxima != nullptr ? exp2(args.maxima[place] - shift) : 1.0;
    sum += args.totals[place] * scale;
  }
  const bool real = row < args.num_queries;
  double loss = (shift + log2(sum)) * 0.69314718055994530942;
  double slope = 1;
  if (real && args.logits != nullptr) {
    loss -= static_cast<double>(args.logits[row]);
    if (args.delta > 0) {
      const double ratio = exp(-loss);
      loss = -log(ratio + args.delta);
      slope = ratio / (ratio + args.delta);
    }
  }
  if (real) args.losses[row] = static_cast<T>(loss);
  if (args.coefficients == nullptr) return;
  const double weight =
      real ? slope * static_cast<double>(args.coefficients[row]) / args.temperature : 0.0;
  args.shifts[row] = real ? most : T(0);
  args.shares[row] = real ? static_cast<T>(weight / sum) : T(0);
  args.own_factors[row] = static_cast<T>(-weight);
}

// Gradient of a table of rows x from sums over the other side, and from the other row of a pair:
//   g = factor (sum over splits of scale sums) + other_factor other_inverse other
//   y = inverse (g - n (n . g)), n = x inverse, or g itself without `project`
template <class T>
struct GradientArgs {
  int64_t num_rows;
  int64_t padded_rows;
  int64_t d;
  int64_t width;
  Table<T> x;
  const T* inverse;
  bool project;
  bool round;     // take n rounded to bfloat16, as products did: see cpu/contrast.h
  const T* sums;  // null: none
  int64_t splits;
  const T* maxima;  // null: all scales 1
  const T* shifts;
  const T* factors;
  T scale;         // of factors
  Table<T> other;  // null rows: none
  const T* other_factors;
  const T* other_inverse;
  T* y;  // contiguous
};

template <class T>
__device__ __forceinline__ T rounded(T x) {
  return static_cast<T>(ptx::from_bf16(ptx::bf16_bits(static_cast<float>(x))));
}

// factor (sum over splits of scale sums) of one column.
template <class T>
__device__ __forceinline__ T sum_of_splits(const GradientArgs<T>& args, int64_t row,
                                           int64_t column) {
  if (args.sums == nullptr) return 0;
  // Sums of a candidate without weight may be infinite: no shift knows of it.
  const T factor = args.factors[row] * args.scale;
  if (factor == T(0)) return 0;
  const T shift = args.maxima != nullptr ? args.shifts[row] : T(0);
  T sum = 0;
#pragma unroll 1
  for (int64_t split = 0; split < args.splits; ++split) {
    const int64_t place = split * args.padded_rows + row;
    const T scale = args.maxima != nullptr ? power_of_two(args.maxima[place] - shift) : T(1);
    sum += scale * args.sums[place * args.width + column];
  }
  return factor * sum;
}

template <class T>
__global__ void __launch_bounds__(kRowThreads) gradient_rows(const GradientArgs<T> args) {
  const int64_t row = warp_row();
  if (row >= args.num_rows) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* x = args.x.rows + row * args.x.stride;
  const T* other = args.other.rows == nullptr ? nullptr : args.other.rows + row * args.other.stride;
  const T other_factor =
      other == nullptr ? T(0) : args.other_factors[row] * args.other_inverse[row];
  const T inverse = args.project ? args.inverse[row] : T(1);
  T* y = args.y + row * args.d;
  T along = 0, square = 0;
#pragma unroll 1
  for (int64_t c = lane; c < args.d; c += kWarp) {
    T g = sum_of_splits(args, row, c);
    if (other != nullptr) g += other_factor * other[c];
    y[c] = g;
    if (!args.project) continue;
    const T n = args.round ? rounded(x[c] * inverse) : x[c] * inverse;
    along += n * g;
    square += n * n;
  }
  if (!args.project) return;
  along = Group<kWarp>().sum(along);
  square = Group<kWarp>().sum(square);
  if (args.round) along = square > 0 ? along / square : T(0);
#pragma unroll 1
  for (int64_t c = lane; c < args.d; c += kWarp) {
    const T n = args.round ? rounded(x[c] * inverse) : x[c] * inverse;
    y[c] = inverse * (y[c] - along * n);
  }
}

// total = sum of coefficients[i] losses[i], by one block.
template <class T>
__global__ void __launch_bounds__(kRowThreads)
    weighted_sum(const T* coefficients, const T* losses, int64_t count, T* total) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kRowThreads) {
    sum += static_cast<double>(coefficients[i]) * static_cast<double>(losses[i]);
  }
  sum = sum_block<kRowThreads>(sum);
  if (threadIdx.x == 0) *total = static_cast<T>(sum);
}

}  // namespace rlmrec_fast::cuda
