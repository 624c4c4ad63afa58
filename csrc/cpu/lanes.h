// Lanes of vectors in another order, and sums of neighbouring ones.
#pragma once

#include <type_traits>
#include <utility>

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

template <class T>
using LaneIndex = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
template <class T>
using LaneIndices = typename VectorOf<LaneIndex<T>, kVectorBytes>::type;

// Lane l is lane place(l) of a, or of b from kLanes<T> on.
template <class T, class Place, std::size_t... kLane>
RLMREC_FAST_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b, Place, std::index_sequence<kLane...>) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, Place{}(static_cast<int>(kLane))...);
#else
  return __builtin_shuffle(a, b, LaneIndices<T>{Place{}(static_cast<int>(kLane))...});
#endif
}
template <class T>
using Lanes = std::make_index_sequence<kLanes<T>>;

// Adds neighbouring blocks of kBlock lanes: those of a into the even blocks, of b into the odd.
template <class T, int kBlock>
RLMREC_FAST_INLINE Vec<T> fold(Vec<T> a, Vec<T> b) {
  constexpr auto stays = [](int lane) {
    return lane % (2 * kBlock) < kBlock ? lane : kLanes<T> + lane;
  };
  constexpr auto comes = [](int lane) {
    return lane % (2 * kBlock) < kBlock ? lane + kBlock : kLanes<T> + lane - kBlock;
  };
  return shuffle<T>(a, b, stays, Lanes<T>{}) + shuffle<T>(a, b, comes, Lanes<T>{});
}

// Block kEdge of kBlock lanes in all blocks.
template <class T, int kBlock, int kEdge>
RLMREC_FAST_INLINE Vec<T> spread(Vec<T> v) {
  constexpr auto place = [](int lane) { return kEdge * kBlock + lane % kBlock; };
  return shuffle<T>(v, v, place, Lanes<T>{});
}

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
