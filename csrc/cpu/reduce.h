// Sums of long arrays in a fixed order: blocks of kReduceBlock elements, then the blocks in order.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

constexpr int64_t kReduceBlock = 16384;

RLMREC_FAST_PER_ISA(
    // Of x[begin .. end).
    template <class T> T sum(const T* x, int64_t begin, int64_t end);
    template <class T> T sum_squares(const T* x, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
