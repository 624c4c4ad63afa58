#include "cpu/metrics.h"

#include <algorithm>

namespace rlmrec_fast {

void ranking_metrics(const int64_t* items, int64_t width, const int64_t* held_offsets,
                     const int32_t* held_items, const int64_t* cutoffs, int64_t num_cutoffs,
                     const double* gains, int64_t begin, int64_t end, double* metrics) {
  for (int64_t row = begin; row < end; ++row) {
    const int32_t* first = held_items + held_offsets[row];
    const int32_t* last = held_items + held_offsets[row + 1];
    const int64_t held = last - first;
    double* recalls = metrics + row * 2 * num_cutoffs;
    double* ndcgs = recalls + num_cutoffs;
    std::fill(recalls, recalls + 2 * num_cutoffs, 0.0);
    if (held == 0) continue;
    for (int64_t place = 0; place < width; ++place) {
      const int64_t item = items[row * width + place];
      if (item < 0 || !std::binary_search(first, last, item)) continue;
      for (int64_t c = 0; c < num_cutoffs; ++c) {
        if (place >= cutoffs[c]) continue;
        recalls[c] += 1;
        ndcgs[c] += gains[place];
      }
    }
    for (int64_t c = 0; c < num_cutoffs; ++c) {
      double ideal = 0;
      for (int64_t place = 0; place < std::min({cutoffs[c], held, width}); ++place)
        ideal += gains[place];
      recalls[c] /= static_cast<double>(held);
      ndcgs[c] /= ideal;
    }
  }
}

}  // namespace rlmrec_fast
