// SIMD vectors of the instruction set that a file is compiled for, over the compiler's vector
// extension: arithmetic is written with operators, only conversions and partial accesses differ
// between sets.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#  include <immintrin.h>
#endif

#include "common/macros.h"
#include "common/types.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// Lanes of a vector of the accumulation type of T.
template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Accumulate<T>));

template <class Element, int kBytes>
struct VectorOf {
  typedef Element type __attribute__((vector_size(kBytes)));
};

// Values of storage type T while they are worked on.
template <class T>
using Vec = typename VectorOf<Accumulate<T>, kVectorBytes>::type;
using Words = typename VectorOf<uint32_t, kVectorBytes>::type;
// 16-bit storage of one vector of floats.
using Halves = typename VectorOf<uint16_t, kVectorBytes / 2>::type;

template <class Vector, class Element>
RLMREC_FAST_INLINE Vector load_bits(const Element* pointer) {
  Vector vector;
  std::memcpy(&vector, pointer, sizeof(Vector));
  return vector;
}

template <class T>
RLMREC_FAST_INLINE Vec<T> broadcast(Accumulate<T> value) {
  return value - Vec<T>{};
}

RLMREC_FAST_INLINE Words iota(uint32_t first) {
  Words lanes;
  for (int i = 0; i < kVectorBytes / 4; ++i) lanes[i] = first + static_cast<uint32_t>(i);
  return lanes;
}

// The low halves of the words.
RLMREC_FAST_INLINE Halves narrow(Words words) {
#ifdef __AVX512F__
  const __m256i halves = _mm512_cvtepi32_epi16(load_bits<__m512i>(&words));
  return load_bits<Halves>(&halves);
#else
  return __builtin_convertvector(words, Halves);
#endif
}

// Rounds to the nearest bfloat16, ties to even; NaN stays NaN.
RLMREC_FAST_INLINE Halves to_bfloat16(Vec<float> value) {
  const Words bits = load_bits<Words>(&value);
  const Words rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const Words quiet_nan = (bits >> 16) | 0x40U;
  const auto is_nan = value != value;
  return narrow(is_nan ? quiet_nan : rounded);
}

#ifdef __F16C__
RLMREC_FAST_INLINE Vec<float> from_float16(Halves halves) {
#  ifdef __AVX512F__
  return _mm512_cvtph_ps(load_bits<__m256i>(&halves));
#  else
  return _mm256_cvtph_ps(load_bits<__m128i>(&halves));
#  endif
}
RLMREC_FAST_INLINE Halves to_float16(Vec<float> value) {
#  ifdef __AVX512F__
  const __m256i bits = _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
#  else
  const __m128i bits = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
#  endif
  return load_bits<Halves>(&bits);
}
#else
// Out of line: this is the slow way, and inlined lanes would only make the files slow to compile.
#  define RLMREC_FAST_OUT_OF_LINE static __attribute__((noinline, unused))
RLMREC_FAST_OUT_OF_LINE float float16_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t magnitude = half & 0x7fffU;
  float value;
  if (magnitude >= 0x7c00U) {
    const uint32_t bits = 0x7f800000U | ((magnitude & 0x3ffU) << 13);
    std::memcpy(&value, &bits, 4);
  } else if (magnitude < 0x400U) {
    value = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // subnormal: units of 2^-24
  } else {
    const uint32_t bits = (magnitude << 13) + 0x38000000U;
    std::memcpy(&value, &bits, 4);
  }
  return sign ? -value : value;
}
RLMREC_FAST_OUT_OF_LINE uint16_t float_to_float16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  bits &= 0x7fffffffU;
  if (bits > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  if (bits >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);  // rounds to infinity
  if (bits < 0x38800000U) {
    // Subnormal: adding 0.5 aligns the mantissa so that the sum's rounding is the wanted one.
    float shifted;
    std::memcpy(&shifted, &bits, 4);
    shifted += 0.5f;
    std::memcpy(&bits, &shifted, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000U));
  }
  return static_cast<uint16_t>(sign | ((bits - 0x38000000U + 0xfffU + ((bits >> 13) & 1U)) >> 13));
}
RLMREC_FAST_OUT_OF_LINE Vec<float> from_float16(Halves halves) {
  Vec<float> value;
  for (int i = 0; i < kLanes<float>; ++i) value[i] = float16_to_float(halves[i]);
  return value;
}
RLMREC_FAST_OUT_OF_LINE Halves to_float16(Vec<float> value) {
  Halves halves;
  for (int i = 0; i < kLanes<float>; ++i) halves[i] = float_to_float16(value[i]);
  return halves;
}
#endif

RLMREC_FAST_INLINE Vec<float> load(const float* p) { return load_bits<Vec<float>>(p); }
RLMREC_FAST_INLINE Vec<double> load(const double* p) { return load_bits<Vec<double>>(p); }
// Spelled out where it can be: gcc 12 widens in many steps (measured: layers took twice as long).
RLMREC_FAST_INLINE Words widen(Halves halves) {
#if defined(__AVX512F__)
  const __m512i words = _mm512_cvtepu16_epi32(load_bits<__m256i>(&halves));
  return load_bits<Words>(&words);
#elif defined(__AVX2__)
  const __m256i words = _mm256_cvtepu16_epi32(load_bits<__m128i>(&halves));
  return load_bits<Words>(&words);
#else
  return __builtin_convertvector(halves, Words);
#endif
}
RLMREC_FAST_INLINE Vec<float> load(const BFloat16* p) {
  const Words bits = widen(load_bits<Halves>(p)) << 16;
  return load_bits<Vec<float>>(&bits);
}
RLMREC_FAST_INLINE Vec<float> load(const Float16* p) { return from_float16(load_bits<Halves>(p)); }

RLMREC_FAST_INLINE void store(float* p, Vec<float> v) { std::memcpy(p, &v, sizeof v); }
RLMREC_FAST_INLINE void store(double* p, Vec<double> v) { std::memcpy(p, &v, sizeof v); }
RLMREC_FAST_INLINE void store(BFloat16* p, Vec<float> v) {
  const Halves halves = to_bfloat16(v);
  std::memcpy(p, &halves, sizeof halves);
}
RLMREC_FAST_INLINE void store(Float16* p, Vec<float> v) {
  const Halves halves = to_float16(v);
  std::memcpy(p, &halves, sizeof halves);
}

// The first `count` < kLanes<T> elements; the other lanes are zero.
template <class T>
RLMREC_FAST_INLINE Vec<T> load_partial(const T* p, int count) {
  T buffer[kLanes<T>] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count) * sizeof(T));
  return load(buffer);
}
template <class T>
RLMREC_FAST_INLINE void store_partial(T* p, Vec<T> v, int count) {
  T buffer[kLanes<T>];
  store(buffer, v);
  std::memcpy(p, buffer, static_cast<size_t>(count) * sizeof(T));
}

#if defined(__AVX512F__)
RLMREC_FAST_INLINE Vec<float> load_partial(const float* p, int count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), p);
}
RLMREC_FAST_INLINE Vec<double> load_partial(const double* p, int count) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1U << count) - 1U), p);
}
RLMREC_FAST_INLINE void store_partial(float* p, Vec<float> v, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << count) - 1U), v);
}
RLMREC_FAST_INLINE void store_partial(double* p, Vec<double> v, int count) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1U << count) - 1U), v);
}
#elif defined(__AVX2__)
RLMREC_FAST_INLINE __m256i lane_mask32(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RLMREC_FAST_INLINE __m256i lane_mask64(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
RLMREC_FAST_INLINE Vec<float> load_partial(const float* p, int count) {
  return _mm256_maskload_ps(p, lane_mask32(count));
}
RLMREC_FAST_INLINE Vec<double> load_partial(const double* p, int count) {
  return _mm256_maskload_pd(p, lane_mask64(count));
}
RLMREC_FAST_INLINE void store_partial(float* p, Vec<float> v, int count) {
  _mm256_maskstore_ps(p, lane_mask32(count), v);
}
RLMREC_FAST_INLINE void store_partial(double* p, Vec<double> v, int count) {
  _mm256_maskstore_pd(p, lane_mask64(count), v);
}
#endif

// Lanes added in a fixed order: halves folded onto each other.
template <class T>
RLMREC_FAST_INLINE Accumulate<T> horizontal_sum(Vec<T> v) {
  Accumulate<T> lanes[kLanes<T>];
  std::memcpy(lanes, &v, sizeof v);
  for (int width = kLanes<T> / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
