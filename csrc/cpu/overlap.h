// How far two lists of neighbours agree, row by row: |A n B| / |A u B|.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

// The first row, of those looked at, in which a list names a neighbour twice; -1 if none does.
struct RepeatedNeighbors {
  int64_t first = -1;
  int64_t second = -1;
};

// Rows [begin, end) of first (num_rows x first_width) and second (num_rows x second_width), in any
// order; negative numbers stand for no neighbour. Rows without any in either list overlap wholly.
// What is written for a row with a repeated neighbour means nothing.
RepeatedNeighbors neighbor_overlap(const int64_t* first, int64_t first_width, const int64_t* second,
                                   int64_t second_width, int64_t begin, int64_t end,
                                   double* overlap);

}  // namespace rlmrec_fast
