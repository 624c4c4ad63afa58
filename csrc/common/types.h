// Element types of the kernels and the type that each is accumulated in.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

template <class T>
struct AccumulateOf {
  using type = float;
};
template <>
struct AccumulateOf<double> {
  using type = double;
};

// float for 16- and 32-bit storage, double for double.
template <class T>
using Accumulate = typename AccumulateOf<T>::type;

}  // namespace rlmrec_fast
