// Recall@K and NDCG@K with binary gain, as RLMRec evaluates:
//
//   recall@K = hits in the first K / |held-out|
//   ndcg@K   = sum over hits at 0-based place j < K of 1 / log2(j + 2), divided by the same sum
//   over the
//              first min(K, |held-out|) places
#pragma once

#include <cstdint>

namespace rlmrec_fast {

// Rows [begin, end) of items (num_rows x width, -1 where there is none; sorted by rank). The
// held-out items of row r are held_items[held_offsets[r] .. held_offsets[r + 1]), sorted. metrics:
// num_rows x 2 x num_cutoffs (recalls, then NDCGs); zeros for rows without held-out items. gains: 1
// / log2(j + 2) for j < width.
void ranking_metrics(const int64_t* items, int64_t width, const int64_t* held_offsets,
                     const int32_t* held_items, const int64_t* cutoffs, int64_t num_cutoffs,
                     const double* gains, int64_t begin, int64_t end, double* metrics);

}  // namespace rlmrec_fast
