#include "cpu/sample.h"

#include "common/random.h"

namespace rlmrec_fast {

int64_t sample_negatives(const int64_t* offsets, const int32_t* items, int64_t num_items,
                         uint64_t seed, int64_t user_begin, int64_t user_end, int64_t* negatives) {
  for (int64_t user = user_begin; user < user_end; ++user) {
    const int32_t* row = items + offsets[user];
    const int64_t degree = offsets[user + 1] - offsets[user];
    const int64_t missing = num_items - degree;
    if (degree > 0 && missing <= 0) return user;
    for (int64_t e = offsets[user]; e < offsets[user + 1]; ++e) {
      const uint64_t random = child_seed(seed, static_cast<uint64_t>(e));
      const auto rank = static_cast<int64_t>(bounded(random, static_cast<uint64_t>(missing)));
      // row[k] - k items below row[k] are missing: the answer lies after the last k with
      // row[k] - k <= rank. Every interaction of a user takes the same steps and no branch depends
      // on its rank, so that the searches overlap.
      int64_t low = 0, left = degree;
      while (left > 1) {
        const int64_t half = left / 2, middle = low + half;
        low = row[middle - 1] - (middle - 1) <= rank ? middle : low;
        left -= half;
      }
      low += row[low] - low <= rank;
      negatives[e] = rank + low;
    }
  }
  return -1;
}

}  // namespace rlmrec_fast
