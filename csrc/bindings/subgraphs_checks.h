// Arguments of AutoCF's operators.
#pragma once

#include <limits>

#include "bindings/common.h"
#include "native/graph.h"

namespace rlmrec_fast {

// Entries of the decoder at most: loops, the encoder's, random pairs both ways.
inline int64_t most_decoder_entries(int64_t num_nodes, int64_t num_entries) {
  return num_nodes + 3 * num_entries;
}

// Boundaries of a partition at most: two parts in a row hold more than the target together, but for
// those before and behind a long row, which has chunks enough to make up for them.
inline int64_t most_boundaries(int64_t num_nodes, int64_t num_entries) {
  return 2 * (num_nodes + num_entries) / native::partition_target + 2;
}

inline void check_draw(int64_t num_nodes, int64_t mask_depth, double keep_rate) {
  check(num_nodes >= 0, "draw_subgraphs: offsets must not be empty");
  check(num_nodes <= std::numeric_limits<int32_t>::max(),
        "draw_subgraphs: offsets must describe fewer than 2147483648 nodes (got ", num_nodes, ")");
  check(mask_depth >= 1, "draw_subgraphs: mask_depth must be at least 1 (got ", mask_depth, ")");
  check(keep_rate > 0 && keep_rate <= 1, "draw_subgraphs: keep_rate must be in (0, 1] (got ",
        keep_rate, ")");
}

inline Tensor check_summary(const Tensor& summary_, const Tensor& x, const char* op) {
  const Tensor summary = check_table(summary_, "seed_scores: summary");
  check(summary.size(0) == x.size(0) && summary.size(1) == x.size(1) &&
            summary.scalar_type() == x.scalar_type(),
        op, ": summary must have x's shape and type");
  return summary;
}

inline Tensor check_score_gradient(const Tensor& grad, const Tensor& x) {
  check(grad.dim() == 1 && grad.numel() == x.size(0) && grad.scalar_type() == x.scalar_type(),
        "seed_scores_backward: grad must have one element of x's type for each of ", x.size(0),
        " rows");
  return torch::stable::contiguous(grad);
}

}  // namespace rlmrec_fast
