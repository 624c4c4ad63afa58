// Settings of the edge-weighted operators that every device knows.
#pragma once

#include <cstdint>

namespace rlmrec_fast {

// How an edge's weight follows from its score s: e^clamp(s, -limit, limit), or (s + 1) / 2.
enum class EdgeWeight : int64_t { exponential, cosine };

}  // namespace rlmrec_fast
