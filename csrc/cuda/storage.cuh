// Elements of tables, in groups of kWidth neighbours, between storage and accumulation type.
//
// Four neighbours travel in one or two accesses of up to 16 bytes. Such groups must be aligned:
// rows start at multiples of 16 bytes (8 for 16-bit storage) and hold a multiple of four columns.
#pragma once

#include <type_traits>

#include "common/types.h"
#include "cuda/ptx.h"
#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

template <class Element, int kWidth>
struct Values {
  Element v[kWidth];
};

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(BFloat16 value) { return ptx::from_bf16(value.bits); }
__device__ __forceinline__ float widen(Float16 value) { return ptx::from_f16(value.bits); }

template <class T>
__device__ __forceinline__ T narrow(Accumulate<T> value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return {static_cast<uint16_t>(ptx::bf16_bits(value))};
  } else if constexpr (std::is_same_v<T, Float16>) {
    return {static_cast<uint16_t>(ptx::f16_bits(value))};
  } else {
    return value;
  }
}

template <int kWidth, class T>
__device__ __forceinline__ Values<Accumulate<T>, kWidth> load(const T* p) {
  static_assert(kWidth == 1 || (kWidth == 4 && sizeof(T) < 8));
  if constexpr (kWidth == 1) {
    return {{widen(*p)}};
  } else if constexpr (sizeof(T) == 4) {
    const float4 q = *reinterpret_cast<const float4*>(p);
    return {{q.x, q.y, q.z, q.w}};
  } else {
    const uint2 q = *reinterpret_cast<const uint2*>(p);
    const auto element = [](uint32_t bits) { return widen(T{static_cast<uint16_t>(bits)}); };
    return {{element(q.x), element(q.x >> 16), element(q.y), element(q.y >> 16)}};
  }
}

template <int kWidth, class T>
__device__ __forceinline__ void store(T* p, const Values<Accumulate<T>, kWidth>& values) {
  static_assert(kWidth == 1 || (kWidth == 4 && sizeof(T) < 8));
  const auto& v = values.v;
  if constexpr (kWidth == 1) {
    *p = narrow<T>(v[0]);
  } else if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float4*>(p) = {v[0], v[1], v[2], v[3]};
  } else {
    const auto pair = [](float low, float high) {
      return static_cast<uint32_t>(narrow<T>(low).bits) |
             static_cast<uint32_t>(narrow<T>(high).bits) << 16;
    };
    *reinterpret_cast<uint2*>(p) = {pair(v[0], v[1]), pair(v[2], v[3])};
  }
}

// Whether a table's rows can be read in groups of four.
template <class T>
bool rows_aligned(const T* table, int64_t stride) {
  constexpr uintptr_t kBytes = 4 * sizeof(T);
  return reinterpret_cast<uintptr_t>(table) % kBytes == 0 &&
         static_cast<uintptr_t>(stride) * sizeof(T) % kBytes == 0;
}

}  // namespace rlmrec_fast::cuda
