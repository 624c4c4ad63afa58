// Random split of every user's interactions into training, validation and test.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "native/graph.h"

namespace rlmrec_fast::native {

/// Labels a part of the split carries.
inline constexpr int num_split_parts = 3;
using SplitRatios = std::array<double, num_split_parts>;
using SplitCounts = std::array<std::int64_t, num_split_parts>;

/// How many of a user's `count` distinct interactions go to each part: the whole part of
/// count * ratio / sum(ratios); what is left goes one by one to the largest fractions, ties decided
/// by `seed`. Then, if count allows every part with a positive ratio one, each that got none takes
/// one from the part with most (ties: the earlier).
SplitCounts split_counts(std::int64_t count, const SplitRatios& ratios, std::uint64_t seed);

/// 0 (training), 1 (validation) or 2 (test) for every interaction. A user's distinct items are
/// ordered by a hash of (seed, user, item), so labels depend on neither the order of the input nor
/// on other users; copies of an interaction share its label.
std::vector<std::int8_t> split_per_user(const Interactions& interactions, const SplitRatios& ratios,
                                        std::int64_t seed);

}  // namespace rlmrec_fast::native
