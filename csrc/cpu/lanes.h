// Lanes of vectors in another order, and sums of neighbouring ones.
#pragma once

#include <array>
#include <cstdint>
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

#if defined(__AVX2__) && !defined(__AVX512F__)
// By mask: the lanes of 32-bit numbers that it marks, lowest first.
constexpr auto kMarked = [] {
  std::array<std::array<uint8_t, 8>, 256> marked{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    unsigned count = 0;
    for (uint8_t lane = 0; lane < 8; ++lane) {
      if ((mask >> lane & 1) != 0) marked[mask][count++] = lane;
    }
  }
  return marked;
}();

// The shuffle that moves the marked lanes to the front, for _mm256_permutevar8x32_*.
RLMREC_FAST_INLINE __m256i marked_first(uint32_t marked) {
  const auto* bytes = reinterpret_cast<const __m128i*>(&kMarked[marked]);
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes));
}
#endif

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
