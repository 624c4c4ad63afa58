// Randomness of AutoCF's graphs, the same on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace rlmrec_fast {

// What a child seed is for. rlmrec_fast/ops/reference.py has the same numbers.
constexpr uint64_t kCandidateDraws = 0, kPairDraws = 1, kNoiseDraws = 2;

// -log(-log u), u in the middle of one of 2^52 equal parts of (0, 1): never one of its ends, where
// the noise is infinite.
RLMREC_FAST_INLINE double gumbel_noise(uint64_t random) {
  const double u = (static_cast<double>(random >> 12) + 0.5) * 0x1p-52;
  return -std::log(-std::log(u));
}

}  // namespace rlmrec_fast
