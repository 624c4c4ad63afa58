// The k best items of each user on a GPU, as cpu/rank.h has them, and the metrics of a ranking.
//
// A block scores kRankUsers users against one tile of items after another; a score is the sum of
// fused multiply-adds over columns in order. Each warp owns some of the users and keeps their best
// items so far, sorted, where the results are to lie; only scores above the k-th of them are looked
// at. Of equal scores the lower item is better. NaN and -infinity never enter.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

template <class T>
struct RankArgs {
  const T* users;
  int64_t user_stride;
  int64_t num_users;
  const T* items;
  int64_t item_stride;
  int64_t num_items;  // below 2^31
  int64_t d;
  int64_t k;
  const int64_t* exclude_offsets;  // num_users + 1, or null
  const int32_t* exclude_items;    // sorted in each row
  int64_t* best;                   // num_users x k, -1 where fewer than k items are left
  T* scores;                       // num_users x k, -infinity there
};

// For at least one user.
template <class T>
cudaError_t launch_rank_users(const RankArgs<T>& args, cudaStream_t stream);

// Cutoffs of one launch.
constexpr int kMaxCutoffs = 16;

struct MetricsArgs {
  const int64_t* items;  // num_rows x width, best first, -1 where there is none
  int64_t num_rows;
  int64_t width;
  const int64_t* held_offsets;
  const int32_t* held_items;  // sorted in each row
  int64_t cutoffs[kMaxCutoffs];
  int num_cutoffs;  // of this launch
  int64_t first;    // where the launch's cutoffs stand among all
  int64_t all;      // how many there are
  double* metrics;  // num_rows x 2 x all: recalls, then NDCGs
};

// For at least one row.
cudaError_t launch_ranking_metrics(const MetricsArgs& args, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
