// The k best items of each user by dot product, without the users x items matrix.
//
// Scores are made tile by tile in registers; only those above the user's threshold (the k-th best
// so far) are kept, after a look-up in the user's excluded items. Equal scores are ordered by lower
// item number. NaN scores never enter. A score is the sum over columns in order, so it does not
// depend on tiles or threads.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

// Users that one part of the work ranks together, while a tile of items stays in the cache.
constexpr int64_t kRankUsers = 64;

template <class T>
struct RankArgs {
  const T* users;  // num_users x d
  int64_t user_stride;
  int64_t num_users;
  const T* panels;  // packed items, see pack_items
  int64_t num_items;
  int64_t d;
  int64_t k;
  const int64_t* exclude_offsets;  // num_users + 1, or null
  const int32_t* exclude_items;    // sorted in each row
  int64_t* items;                  // num_users x k, -1 where fewer than k items are left
  T* scores;                       // num_users x k, -infinity there
};

RLMREC_FAST_PER_ISA(
    // Items of one panel; packed tables hold ceil(num_items / this) panels of d x this elements.
    template <class T> int64_t panel_width();
    // Packs the panels [begin, end): panel p holds columns of items p * width .. transposed,
    // zero-padded.
    template <class T> void pack_items(const T* items, int64_t stride, int64_t num_items, int64_t d,
                                       T* panels, int64_t begin, int64_t end);
    // Ranks the users [begin, end), at most kRankUsers of them.
    template <class T> void rank_users(const RankArgs<T>& args, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
