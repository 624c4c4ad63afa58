// Tables of the device's memory.
#pragma once

#include <cstdint>

namespace rlmrec_fast::cuda {

// Rows of neighbouring elements, `stride` elements from one to the next.
template <class T>
struct Table {
  const T* rows = nullptr;
  int64_t stride = 0;
};

}  // namespace rlmrec_fast::cuda
