// Counter-based random numbers: every value is a hash of a seed and the place that it belongs to,
// so nothing is stored, no order of evaluation matters, and every device and thread count sees the
// same values.
//
// rlmrec_fast/ops/random.py states the same functions in plain PyTorch.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace rlmrec_fast {

// A bijection of 32-bit words with low bias ("lowbias32", C. Wellons, 2018). Word may be a SIMD
// vector.
template <class Word>
RLMREC_FAST_INLINE Word mix32(Word x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

// The output function of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
// generators", OOPSLA 2014), applied after one step of its Weyl sequence.
RLMREC_FAST_INLINE uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Child seed number `counter` of `seed`.
RLMREC_FAST_INLINE uint64_t child_seed(uint64_t seed, uint64_t counter) {
  return mix64(mix64(seed) + counter);
}

// Hashes pairs of 32-bit numbers. The first is folded in once per row, the second per entry.
struct PairHash {
  uint32_t first_key;
  uint32_t second_key;
};

RLMREC_FAST_INLINE PairHash pair_hash(uint64_t seed) {
  const uint64_t key = mix64(seed);
  return {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

RLMREC_FAST_INLINE uint32_t hash_first(PairHash hash, uint32_t first) {
  return mix32(first ^ hash.first_key);
}

template <class Word>
RLMREC_FAST_INLINE Word hash_second(PairHash hash, uint32_t hashed_first, Word second) {
  return mix32(mix32(second ^ hash.second_key) ^ hashed_first);
}

// An event of this probability happens when a 32-bit hash is below the threshold. Only rates < 1
// have one.
RLMREC_FAST_INLINE uint32_t rate_threshold(double rate) {
  const double scaled = rate * 4294967296.0;
  return scaled >= 4294967295.0 ? 4294967295U : static_cast<uint32_t>(scaled);
}

// Uniform in {0, .., bound - 1}: the high word of a 64 x 64 bit product, bias below bound / 2^64.
RLMREC_FAST_INLINE uint64_t bounded(uint64_t random, uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random) * bound) >> 64);
}

}  // namespace rlmrec_fast
