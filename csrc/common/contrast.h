// Settings of the contrast operators that every device knows.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

enum class Normalize : int64_t {
  none = 0,
  root = 1,   // x / sqrt(eps + x . x)
  clamp = 2,  // x / max(|x|, eps), torch.nn.functional.normalize
};

// The factors of float32 products; sums are float32 whatever they are.
enum class Products : int64_t {
  exact = 0,
  tf32 = 1,  // 11 significant bits, where the device has them: elsewhere exact
  bfloat16 =
      2,  // 8 significant bits, where the device has them and shifts are fixed: elsewhere exact
};

}  // namespace rlmrec_fast
