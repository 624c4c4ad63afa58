// Seeds of kernels.
#pragma once

#include "common/macros.h"
#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// A seed that the host knows, or one on the device, where every replay of a captured graph may find
// another.
struct Seed {
  uint64_t value = 0;
  const int64_t* place = nullptr;
};

RLMREC_FAST_INLINE uint64_t read_seed(Seed seed) {
  return seed.place != nullptr ? static_cast<uint64_t>(*seed.place) : seed.value;
}

}  // namespace rlmrec_fast::cuda
