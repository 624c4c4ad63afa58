#include "cpu/distinct.h"

#include <algorithm>

namespace rlmrec_fast {

int64_t count_ids(const int64_t* ids, int64_t num_ids, int64_t size, int64_t* occurrences) {
  std::fill(occurrences, occurrences + size, int64_t{0});
  int64_t distinct = 0;
  for (int64_t i = 0; i < num_ids; ++i) distinct += occurrences[ids[i]]++ == 0;
  return distinct;
}

void place_ids(const int64_t* ids, int64_t num_ids, int64_t distinct, int64_t* occurrences,
               int64_t* rows, int64_t* places, int64_t* counts) {
  // Without a branch, which would be wrong every other time: what an absent id writes is written
  // over by the next one.
  for (int64_t id = 0, place = 0; place < distinct; ++id) {
    const int64_t count = occurrences[id];
    rows[place] = id;
    counts[place] = count;
    occurrences[id] = place;
    place += count != 0;
  }
  for (int64_t i = 0; i < num_ids; ++i) places[i] = occurrences[ids[i]];
}

}  // namespace rlmrec_fast
