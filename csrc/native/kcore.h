// The k-core of an interaction graph.
#pragma once

#include <cstdint>
#include <vector>

#include "native/graph.h"

namespace rlmrec_fast::native {

/// 1 for every interaction of the largest part of the graph in which each remaining user has at
/// least user_min distinct items and each remaining item at least item_min distinct users; 0 for
/// the others. A repeated interaction counts once, and all its copies share its fate.
/// Linear time: nodes below their minimum are peeled off a queue.
std::vector<std::uint8_t> k_core(const Interactions& interactions, std::int64_t user_min,
                                 std::int64_t item_min);

}  // namespace rlmrec_fast::native
