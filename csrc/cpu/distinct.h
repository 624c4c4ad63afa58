// The distinct ids of a list, ascending, where each id of the list went, and how often each occurs.
// One pass over a table of all possible ids and two over the list: no sorting.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

// Counts ids, all in [0, size), into occurrences[size], and returns how many differ.
int64_t count_ids(const int64_t* ids, int64_t num_ids, int64_t size, int64_t* occurrences);

// Writes what count_ids found: rows and counts of the distinct ids, places of all. Occurrences
// become places.
void place_ids(const int64_t* ids, int64_t num_ids, int64_t distinct, int64_t* occurrences,
               int64_t* rows, int64_t* places, int64_t* counts);

}  // namespace rlmrec_fast
