// The functions of csrc/cuda/ptx.h for the emulation, where they are described.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "simt/language.h"

namespace rlmrec_fast::ptx {

inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126F ? 0.0F : y;
}
inline float log2_approx(float x) { return std::log2(x); }

inline uint32_t to_tf32(float x) {
  if (!std::isfinite(x)) return __float_as_uint(x);
  return (__float_as_uint(x) + 0x1000U) & ~0x1fffU;
}

inline uint32_t bf16_bits(float x) {
  if (std::isnan(x)) return 0x7fffU;
  const uint32_t bits = __float_as_uint(x);
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return bf16_bits(low) | bf16_bits(high) << 16; }
inline float from_bf16(uint32_t bits) { return __uint_as_float(bits << 16); }

inline float from_f16(uint32_t bits) {
  const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
  const int exponent = static_cast<int>((bits >> 10) & 31U);
  const auto fraction = static_cast<float>(bits & 0x3ffU);
  if (exponent == 31) return fraction != 0 ? __uint_as_float(0x7fffffffU) : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 1024.0F, exponent - 25);
}
inline uint32_t f16_bits(float x) {
  const uint32_t sign = (__float_as_uint(x) >> 16) & 0x8000U;
  const float size = std::fabs(x);
  if (std::isnan(x)) return 0x7fffU;
  if (size >= 65520.0F) return sign | 0x7c00U;
  // In units of the last place that a number of this size has; nearbyint rounds ties to even.
  const int exponent = std::max(size > 0 ? std::ilogb(size) : -14, -14);
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  const auto biased = static_cast<uint32_t>(exponent + 14) << 10;  // units bring one more
  return sign | (units < 1024U ? units : biased + units);
}

inline void mma(simt::Op op, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                simt::Site site) {
  uint32_t in[10];
  std::memcpy(in, a, sizeof a);
  std::memcpy(in + 4, b, sizeof b);
  std::memcpy(in + 6, d, sizeof d);
  uint32_t out[4];
  simt::collective(op, kSimtFullWarp, 0, 32, in, 10, out, 4, site);
  std::memcpy(d, out, sizeof d);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             SIMT_SITE) {
  mma(simt::Op::mma_tf32, d, a, b, site);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              SIMT_SITE) {
  mma(simt::Op::mma_bf16, d, a, b, site);
}

inline void ldmatrix(simt::Op op, uint32_t* r, int tiles, const void* row, simt::Site site) {
  uint32_t address[2];
  std::memcpy(address, &row, sizeof row);
  const auto count = static_cast<uint32_t>(tiles);
  simt::collective(op, kSimtFullWarp, count, 32, address, 2, r, tiles, site);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, SIMT_SITE) {
  ldmatrix(simt::Op::ldmatrix, r, 4, row, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, SIMT_SITE) {
  ldmatrix(simt::Op::ldmatrix_trans, r, 4, row, site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, SIMT_SITE) {
  ldmatrix(simt::Op::ldmatrix, r, 2, row, site);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, SIMT_SITE) {
  ldmatrix(simt::Op::ldmatrix_trans, r, 2, row, site);
}

__forceinline__ void cp_async16(void* shared, const void* global, int source_bytes) {
  simt::copy_async(shared, global, 16, source_bytes);
}
__forceinline__ void cp_async4(void* shared, const void* global, int source_bytes) {
  simt::copy_async(shared, global, 4, source_bytes);
}
inline void cp_async_commit() { simt::copy_commit(); }
template <int kPending>
void cp_async_wait() {
  simt::copy_wait(kPending);
}

}  // namespace rlmrec_fast::ptx
