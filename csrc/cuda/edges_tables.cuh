// Device code of cuda/edges.h around the sums: scaled and normalised tables. Eight lanes have a
// head of a row, or a whole row.
#pragma once

#include "cuda/edges.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kTableThreads = 256;
constexpr int kTableLanes = 8;

template <class T>
__global__ void __launch_bounds__(kTableThreads) edge_scale(const EdgeScaleArgs<T> args) {
  const Group<kTableLanes> group;
  const int64_t number = group.template number<kTableThreads>();
  const int64_t row = number / args.num_heads, head = number % args.num_heads;
  const bool exists = row < args.num_rows;
  const int64_t begin = head * args.head_width;
  const T factor = exists ? args.factors[number] : T(0);
  T dot = 0;
  for (int64_t c = begin + group.lane; exists && c < begin + args.head_width; c += kTableLanes) {
    const T x = args.x.rows[row * args.x.stride + c];
    dot += x * args.y.rows[row * args.y.stride + c];
    args.scaled[row * args.num_heads * args.head_width + c] = x * factor;
  }
  dot = group.sum(dot);
  if (exists && group.lane == 0) args.shifts[number] = -dot * factor;
}

template <class T>
__global__ void __launch_bounds__(kTableThreads) unit_rows(const UnitArgs<T> args) {
  const Group<kTableLanes> group;
  const int64_t row = group.template number<kTableThreads>();
  const bool exists = row < args.num_rows;
  const T* x = args.x.rows + row * args.x.stride;
  T square = 0;
  for (int64_t c = group.lane; exists && c < args.d; c += kTableLanes) square += x[c] * x[c];
  const double length = sqrt(static_cast<double>(group.sum(square)));
  const auto inverse = static_cast<T>(1 / (length < args.eps ? args.eps : length));
  if (!exists) return;
  if (group.lane == 0) args.inverse[row] = inverse;
  for (int64_t c = group.lane; c < args.d; c += kTableLanes) {
    args.rows[row * args.d + c] = x[c] * inverse;
  }
}

template <class T>
__global__ void __launch_bounds__(kTableThreads) unit_backward(const UnitArgs<T> args) {
  const Group<kTableLanes> group;
  const int64_t row = group.template number<kTableThreads>();
  const bool exists = row < args.num_rows;
  const T* x = args.x.rows + row * args.x.stride;
  T* gradient = args.rows + row * args.d;
  const T inverse = exists ? args.inverse[row] : T(0);
  const bool projects = inverse * args.eps < 1;  // below eps the norm is not what divides
  T along = 0;
  for (int64_t c = group.lane; exists && projects && c < args.d; c += kTableLanes) {
    along += x[c] * gradient[c];
  }
  along = group.sum(along) * inverse * inverse;
  for (int64_t c = group.lane; exists && c < args.d; c += kTableLanes) {
    gradient[c] = inverse * (gradient[c] - along * x[c]);
  }
}

}  // namespace rlmrec_fast::cuda
