// Every function of csrc/cuda/ptx.h once, for test_instructions.py.
#include "cuda/ptx.h"

namespace ptx = rlmrec_fast::ptx;

extern "C" __global__ void convert(const float* x, float* exp2, float* log2, uint32_t* tf32,
                                   uint32_t* bf16, uint32_t* packed, uint32_t* f16,
                                   float* from_bf16, float* from_f16) {
  const unsigned i = threadIdx.x;
  exp2[i] = ptx::exp2_approx(x[i]);
  log2[i] = ptx::log2_approx(x[i]);
  tf32[i] = ptx::to_tf32(x[i]);
  bf16[i] = ptx::bf16_bits(x[i]);
  packed[i] = ptx::pack_bf16(x[i], x[i] + 1.0F);
  f16[i] = ptx::f16_bits(x[i]);
  from_bf16[i] = ptx::from_bf16(ptx::bf16_bits(x[i]));
  from_f16[i] = ptx::from_f16(ptx::f16_bits(x[i]));
}

// c = a b for a 16 x 8, b 8 x 8, one warp.
extern "C" __global__ void multiply_tf32(const float* a, const float* b, float* c) {
  const unsigned g = threadIdx.x >> 2;
  const unsigned t = threadIdx.x & 3U;
  uint32_t first[4];
  uint32_t second[2];
  float sum[4] = {1.0F, 1.0F, 1.0F, 1.0F};
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    first[i] = ptx::to_tf32(a[(g + 8 * (i & 1U)) * 8 + t + 4 * (i >> 1)]);
  }
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) second[i] = ptx::to_tf32(b[(t + 4 * i) * 8 + g]);
  ptx::mma_m16n8k8_tf32(sum, first, second);
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) c[(g + 8 * (i >> 1)) * 8 + 2 * t + (i & 1U)] = sum[i];
}

// c = a b for bfloat16 a 16 x 16 and b, given transposed as 8 x 16 or straight as 16 x 8: by way of
// shared memory, with rows of 48 bytes.
template <bool kTransposed>
__device__ void multiply_bf16(const uint16_t* a, const uint16_t* b, float* c) {
  constexpr int kRow = 24;
  __shared__ alignas(16) uint16_t first[16 * kRow];
  __shared__ alignas(16) uint16_t second[16 * kRow];
  const int lane = static_cast<int>(threadIdx.x);
  ptx::cp_async16(first + lane / 2 * kRow + lane % 2 * 8, a + lane * 8, 16);
  if (lane < 16) {
    const int row = kTransposed ? lane / 2 : lane;
    const int column = kTransposed ? lane % 2 * 8 : 0;
    ptx::cp_async16(second + row * kRow + column, b + lane * 8, 16);
  }
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  uint32_t left[4];
  uint32_t right[2];
  float sum[4] = {0.0F, 0.0F, 0.0F, 0.0F};
  ptx::ldmatrix_x4(left, first + lane % 16 * kRow + lane / 16 * 8);
  if constexpr (kTransposed) {
    ptx::ldmatrix_x2(right, second + lane % 8 * kRow + lane / 8 % 2 * 8);
  } else {
    ptx::ldmatrix_x2_trans(right, second + lane % 16 * kRow);
  }
  ptx::mma_m16n8k16_bf16(sum, left, right);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    c[(lane / 4 + 8 * (i >> 1)) * 8 + 2 * (lane % 4) + (i & 1)] = sum[i];
  }
}
extern "C" __global__ void multiply_bf16_transposed(const uint16_t* a, const uint16_t* b,
                                                    float* c) {
  multiply_bf16<true>(a, b, c);
}
extern "C" __global__ void multiply_bf16_straight(const uint16_t* a, const uint16_t* b, float* c) {
  multiply_bf16<false>(a, b, c);
}

// y[4 lane + i] = word i of the lane for four tiles, transposed, of the 32 rows of x.
extern "C" __global__ void load_transposed(const uint16_t* x, uint32_t* y) {
  __shared__ alignas(16) uint16_t tiles[32 * 8];
  const unsigned lane = threadIdx.x;
  for (unsigned i = 0; i < 8; ++i) tiles[lane * 8 + i] = x[lane * 8 + i];
  __syncwarp();
  uint32_t words[4];
  ptx::ldmatrix_x4_trans(words, tiles + lane * 8);
  for (unsigned i = 0; i < 4; ++i) y[4 * lane + i] = words[i];
}

// y = the first `given` elements of x and then zeros; two groups of copies.
extern "C" __global__ void copy_words(const float* x, float* y, int given) {
  __shared__ float early[32];
  __shared__ float late[32];
  const int lane = static_cast<int>(threadIdx.x);
  ptx::cp_async4(early + lane, x + lane, lane < given ? 4 : 0);
  ptx::cp_async_commit();
  ptx::cp_async4(late + lane, x + 32 + lane, lane + 32 < given ? 4 : 0);
  ptx::cp_async_commit();
  ptx::cp_async_wait<1>();
  __syncwarp();
  y[lane] = early[31 - lane];
#ifndef RLMREC_FAST_TEST_FORGETS_TO_WAIT
  ptx::cp_async_wait<0>();
#endif
  __syncwarp();
  y[32 + lane] = late[31 - lane];
}
