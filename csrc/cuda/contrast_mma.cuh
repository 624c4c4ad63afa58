// The pass over tiles on tensor cores: factors rounded to TF32 or bfloat16, sums in float32.
//
// A warp has 16 own rows and all others of a tile. Lane 4 g + q of it holds the logits of rows g
// and g + 8 and others 8 n + 2 q and 8 n + 2 q + 1 (cuda/ptx.h), which is also how the factors of
// the next product are to lie: powers stay in registers. For TF32 the others of a step are taken in
// the order 0 2 4 6 1 3 5 7, as the sum over them does not mind.
//
// Exponentials are as dear as products here: half of them are polynomials.
#pragma once

#include <type_traits>

#include "cuda/contrast_pass.cuh"

namespace rlmrec_fast::cuda {

constexpr int kWarpRows = 16;
constexpr int kMmaOwnRows = kPassThreads / 32 * kWarpRows;
constexpr int kMmaTiles = kTileRows / 8;  // of 8 others

// Stored elements of a chunk, and tiles of 8 columns of its sums.
template <bool kBfloat16>
struct MmaShape {
  using Stored = std::conditional_t<kBfloat16, uint16_t, uint32_t>;
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(Stored));
  static constexpr int kColumnTiles = kChunk / 8;
};

template <bool kBfloat16>
__device__ __forceinline__ void multiply(float (&sum)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]) {
  if constexpr (kBfloat16) {
    ptx::mma_m16n8k16_bf16(sum, a, b);
  } else {
    ptx::mma_m16n8k8_tf32(sum, a, b);
  }
}

// 2^x without the special function units, relative error 1e-7 (interpolation in Chebyshev's
// points). What would be subnormal is the smallest normal number.
__device__ __forceinline__ float polynomial_power(float x) {
  const float inside = x < -126.0F ? -126.0F : (x > 127.0F ? 127.0F : x);
  // Leaves the rounded x in the low bits, from where it goes to the exponent.
  const float shifted = inside + 12582912.0F;
  const float f = inside - (shifted - 12582912.0F);
  float p = 0.00133908634F;
  p = p * f + 0.00967603192F;
  p = p * f + 0.0555035711F;
  p = p * f + 0.240221075F;
  p = p * f + 0.693147188F;
  p = p * f + 1.00000008F;
  return p * __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000U);
}

// t += own . others of one chunk: four steps of 32 bytes, two at a time.
template <bool kBfloat16>
__device__ __forceinline__ void mma_products(const char* own, const char* others,
                                             float (&t)[kMmaTiles][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) / 32 * kWarpRows + lane % 16;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t a[2][4];
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const int granule = 4 * half + 2 * step + lane / 16;
      ptx::ldmatrix_x4(a[step], own + row * kChunkBytes + granule_place(row, granule));
    }
#pragma unroll
    for (int n = 0; n < kMmaTiles; ++n) {
      const int other = 8 * n + lane % 8;
      uint32_t b[4];
      ptx::ldmatrix_x4(b, others + other * kChunkBytes + granule_place(other, 4 * half + lane / 8));
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const uint32_t pair[2] = {b[2 * step], b[2 * step + 1]};
        multiply<kBfloat16>(t[n], a[step], pair);
      }
    }
  }
}

// The second factors of kWide tiles of 8 columns from the first one on, for the others of a step.
template <bool kBfloat16>
__device__ __forceinline__ void load_columns(const char* others, int step, int column_tile,
                                             uint32_t (&b)[2][2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if constexpr (kBfloat16) {
    const int row = 16 * step + lane % 16;
    uint32_t both[4];
    ptx::ldmatrix_x4_trans(
        both, others + row * kChunkBytes + granule_place(row, column_tile + lane / 16));
#pragma unroll
    for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = both[i];
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 8 * step + 2 * (lane % 4) + i % 2;
      const int column = 8 * (column_tile + i / 2) + lane / 4;
      const char* word = others + row * kChunkBytes + granule_place(row, column / 4);
      b[i / 2][i % 2] = reinterpret_cast<const uint32_t*>(word)[column % 4];
    }
  }
}

// sum = powers . others of one chunk.
template <bool kBfloat16>
__device__ __forceinline__ void mma_sums(const float (&powers)[kMmaTiles][4], const char* others,
                                         float (&sum)[MmaShape<kBfloat16>::kColumnTiles][4]) {
  constexpr int kTilesOfStep = kBfloat16 ? 2 : 1;
#pragma unroll
  for (int tile = 0; tile < MmaShape<kBfloat16>::kColumnTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[tile][i] = 0.0F;
  }
#pragma unroll
  for (int step = 0; step < kMmaTiles / kTilesOfStep; ++step) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kBfloat16) {
        const float* pair = powers[2 * step + i / 2] + i % 2 * 2;
        a[i] = ptx::pack_bf16(pair[0], pair[1]);
      } else {
        a[i] = ptx::to_tf32(powers[step][i % 2 * 2 + i / 2]);
      }
    }
#pragma unroll
    for (int tile = 0; tile < MmaShape<kBfloat16>::kColumnTiles; tile += 2) {
      uint32_t b[2][2];
      load_columns<kBfloat16>(others, step, tile, b);
      multiply<kBfloat16>(sum[tile], a, b[0]);
      multiply<kBfloat16>(sum[tile + 1], a, b[1]);
    }
  }
}

// From logits of a tile to powers, in place, and the totals of rows g and g + 8. rescale: what sums
// so far are to be multiplied by, where shifts run.
template <bool kPush, class Args>
__device__ __forceinline__ void mma_powers(const Args& args, int64_t first_other,
                                           float (&t)[kMmaTiles][4], Total<float> (&totals)[2],
                                           float (&shift)[2], float (&rescale)[2]) {
  const int q = static_cast<int>(threadIdx.x) % 4;
  const float* factors = args.factors + first_other + 2 * q;
  if (!kPush && args.running) {
    float most[2] = {kLowest<float>, kLowest<float>};
#pragma unroll
    for (int n = 0; n < kMmaTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (__ldg(factors + 8 * n + i % 2) != 0.0F) most[i / 2] = larger(most[i / 2], t[n][i]);
      }
    }
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      most[row] = larger(most[row], __shfl_xor_sync(kAllLanes, most[row], 2));
      most[row] = larger(most[row], __shfl_xor_sync(kAllLanes, most[row], 1));
      most[row] = larger(shift[row], most[row]);
      rescale[row] = power_of_two(shift[row] - most[row]);
      totals[row].scale(rescale[row]);
      shift[row] = most[row];
    }
  }
  float total[2] = {0.0F, 0.0F};
#pragma unroll
  for (int n = 0; n < kMmaTiles; ++n) {
    float factor[2];
    float other_shift[2] = {0.0F, 0.0F};
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      factor[c] = __ldg(factors + 8 * n + c);
      if constexpr (kPush) other_shift[c] = __ldg(args.shifts + first_other + 2 * q + 8 * n + c);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = t[n][i] - (kPush ? other_shift[i % 2] : shift[i / 2]);
      t[n][i] = weighted(factor[i % 2], n % 2 == 0 ? power_of_two(x) : polynomial_power(x));
      total[i / 2] += t[n][i];
    }
  }
  if constexpr (!kPush) {
    totals[0].add(total[0]);
    totals[1].add(total[1]);
  }
}

// kChunks as in cuda/contrast_pass.cuh.
template <bool kBfloat16, int kChunks, bool kPush>
__global__ void __launch_bounds__(kPassThreads, kPassBlocks)
    contrast_mma(const PassArgs<typename MmaShape<kBfloat16>::Stored, float> args) {
  using Shape = MmaShape<kBfloat16>;
  alignas(16) __shared__ char own[2 * kMmaOwnRows * kChunkBytes];
  alignas(16) __shared__ char others[2 * kTileRows * kChunkBytes];
  constexpr int kKept = kChunks > 0 ? kChunks : 1;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, q = lane % 4;
  const int64_t split = blockIdx.y;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kMmaOwnRows;
  const int64_t first_tile = split * args.tiles_per_split;
  const int64_t last_tile = min(first_tile + args.tiles_per_split, args.num_tiles);
  const int64_t rows_place =
      split * args.own_rows + first_row + static_cast<int>(threadIdx.x) / 32 * kWarpRows + g;
  const auto place_of = [&](int i, int chunk, int tile) {
    const int64_t row = rows_place + i / 2 * 8;
    return args.sums + row * args.width + chunk * Shape::kChunk + 8 * tile + 2 * q + i % 2;
  };

  float kept[kKept][Shape::kColumnTiles][4] = {};
  Total<float> totals[2];
  float shift[2];
  float rescale[2] = {1.0F, 1.0F};
  shift[0] = shift[1] = args.running ? kLowest<float> : args.shift;
  Walk<kMmaOwnRows> walk(
      own, others, reinterpret_cast<const char*>(args.own + first_row * args.width),
      reinterpret_cast<const char*>(args.others),
      args.width * static_cast<int64_t>(sizeof(typename Shape::Stored)), kChunks != kNoSums);
  walk.start(first_tile, last_tile);
  for (int64_t tile = first_tile; tile < last_tile; ++tile) {
    float t[kMmaTiles][4] = {};
    for (int chunk = 0; chunk < walk.chunks(); ++chunk) {
      walk.next();
      mma_products<kBfloat16>(walk.own(), walk.others(), t);
    }
    mma_powers<kPush>(args, tile * kTileRows, t, totals, shift, rescale);
    if constexpr (kChunks != kNoSums) {
#pragma unroll kKept
      for (int chunk = 0; chunk < kKept || (kChunks == kSumsInMemory && chunk < walk.chunks());
           ++chunk) {
        if (!walk.keeps()) walk.next();
        float sum[Shape::kColumnTiles][4];
        mma_sums<kBfloat16>(t, walk.others(), sum);
#pragma unroll
        for (int column = 0; column < Shape::kColumnTiles; ++column) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if constexpr (kChunks == kSumsInMemory) {
              float* place = place_of(i, chunk, column);
              *place =
                  tile == first_tile ? sum[column][i] : *place * rescale[i / 2] + sum[column][i];
            } else {
              kept[chunk][column][i] = kept[chunk][column][i] * rescale[i / 2] + sum[column][i];
            }
          }
        }
      }
    }
  }

#pragma unroll
  for (int row = 0; row < 2 && !kPush; ++row) {
    const double total = Group<4>().sum(totals[row].value());
    if (q == 0) args.totals[rows_place + row * 8] = total;
    if (q == 0 && args.running) args.maxima[rows_place + row * 8] = shift[row];
  }
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk) {
#pragma unroll
    for (int column = 0; column < Shape::kColumnTiles; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) *place_of(i, chunk, column) = kept[chunk][column][i];
    }
  }
}

}  // namespace rlmrec_fast::cuda
