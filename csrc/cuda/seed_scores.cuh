// Device code of cuda/subgraphs.h: the scores of seeds. Eight lanes have a row.
#pragma once

#include "common/random.h"
#include "common/subgraphs.h"
#include "cuda/subgraphs.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kScoreThreads = 256;
constexpr int kScoreLanes = 8;

struct Similarity {
  double x_length, summary_length, cosine;
};

// Of a row, or of zeros where it does not exist. All lanes of a warp call it together.
template <class T>
__device__ __forceinline__ Similarity similarity(const SeedScoreArgs<T>& args,
                                                 Group<kScoreLanes> group, int64_t row) {
  const bool exists = row < args.num_rows;
  const T* x = args.x.rows + row * args.x.stride;
  const T* summary = args.summary.rows + row * args.summary.stride;
  double xx = 0, ss = 0, xs = 0;
  for (int64_t c = group.lane; exists && c < args.d; c += kScoreLanes) {
    const double a = x[c], b = summary[c];
    xx += a * a;
    ss += b * b;
    xs += a * b;
  }
  // A NaN stays one.
  const double x_length = sqrt(group.sum(xx)), summary_length = sqrt(group.sum(ss));
  Similarity near{x_length < args.eps ? args.eps : x_length,
                  summary_length < args.eps ? args.eps : summary_length, 0};
  near.cosine = group.sum(xs) / near.x_length / near.summary_length;
  return near;
}

template <class T>
__global__ void __launch_bounds__(kScoreThreads)
    seed_scores(const SeedScoreArgs<T> args, Seed seed, T* scores) {
  const Group<kScoreLanes> group;
  const int64_t row = group.template number<kScoreThreads>();
  const Similarity near = similarity(args, group, row);
  if (row >= args.num_rows || group.lane != 0) return;
  const uint64_t draws = child_seed(read_seed(seed), kNoiseDraws);
  const double noise = gumbel_noise(child_seed(draws, static_cast<uint64_t>(row)));
  scores[row] = static_cast<T>(noise - log1p(exp(-near.cosine)));
}

template <class T>
__global__ void __launch_bounds__(kScoreThreads)
    seed_scores_backward(const SeedScoreArgs<T> args, const T* grad, T* grad_x, T* grad_summary) {
  const Group<kScoreLanes> group;
  const int64_t row = group.template number<kScoreThreads>();
  const Similarity near = similarity(args, group, row);
  if (row >= args.num_rows) return;
  const double slope = static_cast<double>(grad[row]) / (1 + exp(near.cosine));
  const double both = slope / near.x_length / near.summary_length;
  // A length below eps is a constant.
  const double shrink = slope * near.cosine;
  const double own_x = near.x_length > args.eps ? shrink / near.x_length / near.x_length : 0;
  const double own_summary =
      near.summary_length > args.eps ? shrink / near.summary_length / near.summary_length : 0;
  for (int64_t c = group.lane; c < args.d; c += kScoreLanes) {
    const double a = args.x.rows[row * args.x.stride + c];
    const double b = args.summary.rows[row * args.summary.stride + c];
    grad_x[row * args.d + c] = static_cast<T>(both * b - own_x * a);
    grad_summary[row * args.d + c] = static_cast<T>(both * a - own_summary * b);
  }
}

}  // namespace rlmrec_fast::cuda
