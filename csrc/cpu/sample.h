// Uniform negatives: for interaction e of user u, an item that u has no interaction with.
//
// With n = num_items - degree(u) items to choose from, a number r < n is hashed from (seed, e), and
// the r-th item missing from u's sorted row is found by binary search: exact, without rejection,
// and independent of the order of evaluation.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

// Users [user_begin, user_end); offsets has num_users + 1 entries, items holds sorted rows without
// duplicates. Returns a user who has every item (and so no negative), or -1.
int64_t sample_negatives(const int64_t* offsets, const int32_t* items, int64_t num_items,
                         uint64_t seed, int64_t user_begin, int64_t user_end, int64_t* negatives);

}  // namespace rlmrec_fast
