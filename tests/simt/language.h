// CUDA C++ for a plain C++ compiler: keywords, built-in variables, warp and block operations,
// atomics and cached loads. What kernels need and nothing else; the rest fails to compile.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <type_traits>

#include "simt/api.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // blocks run one after another
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

#define threadIdx (simt::self->thread)
#define blockIdx (simt::self->block)
#define blockDim (simt::self->block_dim)
#define gridDim (simt::self->grid_dim)
constexpr int warpSize = 32;

#define SIMT_LAUNCH(kernel, grid, block, dynamic_bytes, stream, ...) \
  simt::launch(#kernel, kernel, grid, block, dynamic_bytes, stream, __VA_ARGS__)
#define SIMT_DYN_SHARED(T, name) T* const name = static_cast<T*>(simt::dynamic_shared())

// --- vector types

// Copying one is a single access of all its bytes, as on a device, and must be aligned to them; the
// compiler would make it several, of an element each.
#define SIMT_VECTOR_COPIES(name)                                             \
  name() = default;                                                          \
  name(const name& other) { simt::copy_vector(this, &other, sizeof *this); } \
  name& operator=(const name& other) {                                       \
    simt::copy_vector(this, &other, sizeof *this);                           \
    return *this;                                                            \
  }
#define SIMT_VECTOR(T, name)                                          \
  struct alignas(2 * sizeof(T)) name##2 {                             \
    T x, y;                                                           \
    SIMT_VECTOR_COPIES(name##2)                                       \
    constexpr name##2(T x, T y) : x(x), y(y) {}                       \
  };                                                                  \
  struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) name##4 {       \
    T x, y, z, w;                                                     \
    SIMT_VECTOR_COPIES(name##4)                                       \
    constexpr name##4(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {} \
  };                                                                  \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }          \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SIMT_VECTOR(float, float)
SIMT_VECTOR(double, double)
SIMT_VECTOR(int, int)
SIMT_VECTOR(unsigned, uint)
SIMT_VECTOR(short, short)
SIMT_VECTOR(unsigned short, ushort)
SIMT_VECTOR(long long, longlong)
SIMT_VECTOR(unsigned long long, ulonglong)
#undef SIMT_VECTOR
#undef SIMT_VECTOR_COPIES

// --- the runtime library

using cudaStream_t = void*;

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaFuncAttributePreferredSharedMemoryCarveout,
};
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };

inline cudaError_t cudaGetLastError() { return simt::last_error(true); }
inline cudaError_t cudaPeekAtLastError() { return simt::last_error(false); }
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "emulated launch failed";
}
inline const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }
template <class Function>
cudaError_t cudaFuncSetAttribute(Function* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  return simt::allow_dynamic_shared(reinterpret_cast<const void*>(kernel), value);
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int /*device*/) {
  *value = attribute == cudaDevAttrMultiProcessorCount
               ? simt::config.multiprocessors
               : static_cast<int>(simt::config.max_dynamic_shared);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
  simt::memset_device(data, value, bytes);
  return cudaSuccess;
}
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3 };
inline cudaError_t cudaMemcpyAsync(void* data, const void* source, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  simt::memcpy_device(data, source, bytes);
  return cudaSuccess;
}

// --- barriers and warp operations; `site` is where the kernel calls them

#define SIMT_SITE simt::Site site = simt::here()
constexpr unsigned kSimtFullWarp = 0xffffffffU;

inline void __syncthreads(SIMT_SITE) { simt::sync_block(0, simt::Vote::any, site); }
inline int __syncthreads_or(int predicate, SIMT_SITE) {
  return simt::sync_block(predicate != 0, simt::Vote::any, site);
}
inline int __syncthreads_and(int predicate, SIMT_SITE) {
  return simt::sync_block(predicate != 0, simt::Vote::all, site);
}
inline int __syncthreads_count(int predicate, SIMT_SITE) {
  return simt::sync_block(predicate != 0, simt::Vote::count, site);
}
inline void __syncwarp(unsigned mask = kSimtFullWarp, SIMT_SITE) {
  simt::collective(simt::Op::syncwarp, mask, 0, 32, nullptr, 0, nullptr, 0, site);
}

namespace simt {

template <class T>
T shuffle(Op op, uint32_t mask, T value, uint32_t argument, int width, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  uint32_t words[2] = {0, 0};
  std::memcpy(words, &value, sizeof value);
  for (size_t i = 0; i < sizeof(T) / 4; ++i) {
    words[i] = collective1(op, mask, words[i], argument, width, site);
  }
  std::memcpy(&value, words, sizeof value);
  return value;
}

// noinline, so that the return address is where the kernel calls it; not instrumented, so that the
// access is reported once.
#define SIMT_ACCESS __attribute__((noinline, no_sanitize("thread")))

template <class T, class Update>
SIMT_ACCESS T atomic_update(T* place, Update update) {
  touch(place, sizeof(T), true, true, __builtin_return_address(0));
  T old;
  __builtin_memcpy(&old, place, sizeof old);
  const T updated = update(old);
  __builtin_memcpy(place, &updated, sizeof updated);
  return old;
}

}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::Op::shfl, mask, value, static_cast<uint32_t>(lane), width, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::Op::shfl_up, mask, value, delta, width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::Op::shfl_down, mask, value, delta, width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMT_SITE) {
  return simt::shuffle(simt::Op::shfl_xor, mask, value, static_cast<uint32_t>(lanes), width, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::collective1(simt::Op::ballot, mask, predicate != 0, 0, 32, site);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return static_cast<int>(simt::collective1(simt::Op::all, mask, predicate != 0, 0, 32, site));
}
inline unsigned __match_any_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::match_any, mask, value, 0, 32, site);
}
// Of int and unsigned only; maxima and minima of unsigned only.
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_add, mask, value, 0, 32, site);
}
inline int __reduce_add_sync(unsigned mask, int value, SIMT_SITE) {
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(value), site));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_max, mask, value, 0, 32, site);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_min, mask, value, 0, 32, site);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_and, mask, value, 0, 32, site);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_or, mask, value, 0, 32, site);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, SIMT_SITE) {
  return simt::collective1(simt::Op::reduce_xor, mask, value, 0, 32, site);
}
// Always a legal answer, for lanes may have diverged: code that relies on more is wrong.
inline unsigned __activemask() { return 1U << simt::self->lane; }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap(SIMT_SITE) { simt::trap("__trap", site); }

// --- atomics and cached accesses

template <class T>
T atomicAdd(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return std::min(old, value); });
}
template <class T>
T atomicAnd(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return old & value; });
}
template <class T>
T atomicOr(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return old | value; });
}
template <class T>
T atomicExch(T* place, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* place, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return simt::atomic_update(place, [&](T old) { return old == expected ? value : old; });
}

#define SIMT_LOAD(name)                                                       \
  template <class T>                                                          \
  SIMT_ACCESS T name(const T* place) {                                        \
    simt::touch(place, sizeof(T), false, false, __builtin_return_address(0)); \
    T value;                                                                  \
    __builtin_memcpy(static_cast<void*>(&value), place, sizeof value);        \
    return value;                                                             \
  }
#define SIMT_STORE(name)                                                     \
  template <class T>                                                         \
  SIMT_ACCESS void name(T* place, const std::type_identity_t<T>& value) {    \
    simt::touch(place, sizeof(T), true, false, __builtin_return_address(0)); \
    __builtin_memcpy(static_cast<void*>(place), &value, sizeof value);       \
  }
SIMT_LOAD(__ldg)
SIMT_LOAD(__ldca)
SIMT_LOAD(__ldcg)
SIMT_LOAD(__ldcs)
SIMT_STORE(__stcg)
SIMT_STORE(__stcs)
#undef SIMT_LOAD
#undef SIMT_STORE

#include "simt/intrinsics.h"
