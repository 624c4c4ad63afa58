// The parts of a matrix that work is divided into; cpu/propagate.h says what they are.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

template <class Args>
RLMREC_FAST_INLINE bool is_long(const Args& args, int64_t row) {
  return args.offsets[row + 1] - args.offsets[row] > 2 * args.chunk;
}

// A long row starts and ends at part boundaries, so a part that starts in one is a chunk of it.
template <class Args>
RLMREC_FAST_INLINE bool is_chunk(const Args& args, int64_t part) {
  const int64_t row = args.partition[2 * part];
  return row < args.num_rows && is_long(args, row);
}

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
