// Instructions without a CUDA C++ spelling, one function each. tests/simt/ptx.h holds the twins
// that the emulation uses; tests/ptx executes the PTX itself.
//
// Fragments of a warp's matrix products (lane = 4 g + t) are those of the PTX manual:
//   m16n8k8 tf32:   a[i] = A[g + 8 (i & 1)][t + 4 (i >> 1)], b[i] = B[t + 4 i][g]
//   m16n8k16 bf16:  a[i] = A[g + 8 (i & 1)][c + 8 (i >> 1)], b[i] = B[c + 8 i][g],
//                   for c = 2 t in the low and 2 t + 1 in the high half of the word
//   both:           d[i] = D[g + 8 (i >> 1)][2 t + (i & 1)]
#pragma once

#include "cuda/simt.h"

#if defined(RLMREC_FAST_SIMT)
#  include "simt/ptx.h"
#else

namespace rlmrec_fast::ptx {

#  define RLMREC_FAST_PTX __device__ __forceinline__

// 2^x, log2 x and 1 / sqrt x on the special function units: about 2 units in the last place;
// results below the normal range become 0.
RLMREC_FAST_PTX float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
RLMREC_FAST_PTX float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The nearest TF32 number, ties away from zero.
RLMREC_FAST_PTX uint32_t to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// 16-bit storage: conversions round to nearest, ties to even.
RLMREC_FAST_PTX uint32_t pack_bf16(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
RLMREC_FAST_PTX uint32_t bf16_bits(float x) { return pack_bf16(x, 0.0F) & 0xffffU; }
RLMREC_FAST_PTX float from_bf16(uint32_t bits) { return __uint_as_float(bits << 16); }
RLMREC_FAST_PTX uint32_t f16_bits(float x) {
  uint16_t r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}
RLMREC_FAST_PTX float from_f16(uint32_t bits) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(static_cast<uint16_t>(bits)));
  return y;
}

// d += a b, by a whole warp.
RLMREC_FAST_PTX void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
RLMREC_FAST_PTX void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

RLMREC_FAST_PTX uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// 8 x 8 tiles of 16-bit elements from shared memory: lane 8 j + r gives the address of row r of
// tile j (16 bytes, aligned), r[j] receives elements (g, 2 t) and (g, 2 t + 1) of tile j; _trans of
// the transposed tile.
RLMREC_FAST_PTX void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
RLMREC_FAST_PTX void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
RLMREC_FAST_PTX void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1},[%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
RLMREC_FAST_PTX void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1},[%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

// Copies from global to shared memory in the background, 16 or 4 bytes to an address aligned to as
// many, of which source_bytes come from the source and the rest are zeros. They have landed for the
// thread that asked once it has waited for their group, for others after a barrier on top.
RLMREC_FAST_PTX void cp_async16(void* shared, const void* global, int source_bytes) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(source_bytes)
               : "memory");
}
RLMREC_FAST_PTX void cp_async4(void* shared, const void* global, int source_bytes) {
  asm volatile("cp.async.ca.shared.global [%0],[%1],4,%2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(source_bytes)
               : "memory");
}
RLMREC_FAST_PTX void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kPending of this thread's groups are under way.
template <int kPending>
RLMREC_FAST_PTX void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#  undef RLMREC_FAST_PTX

}  // namespace rlmrec_fast::ptx

#endif
