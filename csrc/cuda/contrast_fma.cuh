// The pass over tiles on the ordinary arithmetic units: products of float32 and float64 to the last
// bit but rounding.
//
// Thread (tx, ty) of 16 x 8 has the own rows ty + 8 i and the others tx + 16 j of a tile, so that a
// warp reads neighbouring rows, and of a chunk's sums neighbouring columns. Powers go through
// shared memory, as sums need all of a row's.
#pragma once

#include "cuda/contrast_pass.cuh"

namespace rlmrec_fast::cuda {

template <class T>
struct FmaShape {
  static constexpr int kGranule = kGranuleBytes / static_cast<int>(sizeof(T));  // elements
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));
  static constexpr int kOwn = 32 / static_cast<int>(sizeof(T));  // rows of a thread
  static constexpr int kOthers = 4;
  static constexpr int kColumns = kChunk / 16;  // of a chunk's sums
  static constexpr int kOwnRows = 8 * kOwn;
};

template <class T>
struct alignas(kGranuleBytes) Granule {
  T at[FmaShape<T>::kGranule];
};

template <class T>
__device__ __forceinline__ Granule<T> load_granule(const char* shared) {
  return *reinterpret_cast<const Granule<T>*>(shared);
}

// t += own . others of one chunk.
template <class T>
__device__ __forceinline__ void fma_products(const char* own, const char* others,
                                             T (&t)[FmaShape<T>::kOwn][FmaShape<T>::kOthers]) {
  using Shape = FmaShape<T>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
#pragma unroll 1
  for (int granule = 0; granule < kChunkBytes / kGranuleBytes; ++granule) {
    Granule<T> mine[Shape::kOwn];
    Granule<T> theirs[Shape::kOthers];
#pragma unroll
    for (int i = 0; i < Shape::kOwn; ++i) {
      mine[i] = load_granule<T>(own + (ty + 8 * i) * kChunkBytes + granule_place(ty, granule));
    }
#pragma unroll
    for (int j = 0; j < Shape::kOthers; ++j) {
      theirs[j] =
          load_granule<T>(others + (tx + 16 * j) * kChunkBytes + granule_place(tx, granule));
    }
#pragma unroll
    for (int k = 0; k < Shape::kGranule; ++k) {
#pragma unroll
      for (int i = 0; i < Shape::kOwn; ++i) {
#pragma unroll
        for (int j = 0; j < Shape::kOthers; ++j) t[i][j] += mine[i].at[k] * theirs[j].at[k];
      }
    }
  }
}

// Place of the power of an own row and an other; neighbouring rows are half a turn apart.
template <class T>
__device__ __forceinline__ int power_place(int row, int other) {
  constexpr int kGranule = FmaShape<T>::kGranule;
  const int granule = (other / kGranule) ^ (row % 2 * 4);
  return row * kTileRows + granule * kGranule + other % kGranule;
}

// sum = powers . others of one chunk.
template <class T>
__device__ __forceinline__ void fma_sums(const T* powers, const char* others,
                                         T (&sum)[FmaShape<T>::kOwn][FmaShape<T>::kColumns]) {
  using Shape = FmaShape<T>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  constexpr int kBytes = Shape::kColumns * static_cast<int>(sizeof(T));
#pragma unroll
  for (int i = 0; i < Shape::kOwn; ++i) {
#pragma unroll
    for (int c = 0; c < Shape::kColumns; ++c) sum[i][c] = 0;
  }
#pragma unroll 1
  for (int first = 0; first < kTileRows; first += Shape::kGranule) {
    Granule<T> mine[Shape::kOwn];
#pragma unroll
    for (int i = 0; i < Shape::kOwn; ++i) {
      mine[i] = load_granule<T>(
          reinterpret_cast<const char*>(powers + power_place<T>(ty + 8 * i, first)));
    }
#pragma unroll
    for (int k = 0; k < Shape::kGranule; ++k) {
      const int byte = tx * kBytes;
      const T* theirs = reinterpret_cast<const T*>(others + (first + k) * kChunkBytes +
                                                   granule_place(first + k, byte / kGranuleBytes) +
                                                   byte % kGranuleBytes);
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c) {
#pragma unroll
        for (int i = 0; i < Shape::kOwn; ++i) sum[i][c] += mine[i].at[k] * theirs[c];
      }
    }
  }
}

// From logits of a tile to powers, in shared memory if `powers` is not null, and their totals.
// rescale: what sums so far are to be multiplied by, where shifts run.
template <bool kPush, class T>
__device__ __forceinline__ void fma_powers(const PassArgs<T, T>& args, int64_t first_other,
                                           const T (&t)[FmaShape<T>::kOwn][FmaShape<T>::kOthers],
                                           T* powers, Total<T> (&totals)[FmaShape<T>::kOwn],
                                           T (&shift)[FmaShape<T>::kOwn],
                                           T (&rescale)[FmaShape<T>::kOwn]) {
  using Shape = FmaShape<T>;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  T factors[Shape::kOthers];
  T shifts[Shape::kOthers];
#pragma unroll
  for (int j = 0; j < Shape::kOthers; ++j) {
    factors[j] = __ldg(args.factors + first_other + tx + 16 * j);
    if constexpr (kPush) shifts[j] = __ldg(args.shifts + first_other + tx + 16 * j);
  }
#pragma unroll
  for (int i = 0; i < Shape::kOwn; ++i) {
    if (!kPush && args.running) {
      T most = kLowest<T>;
#pragma unroll
      for (int j = 0; j < Shape::kOthers; ++j) {
        if (factors[j] != T(0)) most = larger(most, t[i][j]);
      }
#pragma unroll
      for (int lanes = 8; lanes > 0; lanes /= 2) {
        most = larger(most, __shfl_xor_sync(kAllLanes, most, lanes));
      }
      most = larger(shift[i], most);
      rescale[i] = power_of_two(shift[i] - most);
      totals[i].scale(rescale[i]);
      shift[i] = most;
    }
    T total = 0;
#pragma unroll
    for (int j = 0; j < Shape::kOthers; ++j) {
      const T power = weighted(factors[j], power_of_two(t[i][j] - (kPush ? shifts[j] : shift[i])));
      total += power;
      if (powers != nullptr) powers[power_place<T>(ty + 8 * i, tx + 16 * j)] = power;
    }
    if constexpr (!kPush) totals[i].add(total);
  }
}

// kChunks as in cuda/contrast_pass.cuh.
template <class T, int kChunks, bool kPush>
__global__ void __launch_bounds__(kPassThreads, kPassBlocks)
    contrast_fma(const PassArgs<T, T> args) {
  using Shape = FmaShape<T>;
  alignas(16) __shared__ char own[2 * Shape::kOwnRows * kChunkBytes];
  alignas(16) __shared__ char others[2 * kTileRows * kChunkBytes];
  alignas(16) __shared__ T powers[Shape::kOwnRows * kTileRows];
  constexpr int kKept = kChunks > 0 ? kChunks : 1;
  const int tx = static_cast<int>(threadIdx.x) % 16, ty = static_cast<int>(threadIdx.x) / 16;
  const int64_t split = blockIdx.y;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * Shape::kOwnRows;
  const int64_t first_tile = split * args.tiles_per_split;
  const int64_t last_tile = min(first_tile + args.tiles_per_split, args.num_tiles);
  const auto place_of = [&](int i, int chunk) {
    const int64_t row = split * args.own_rows + first_row + ty + 8 * i;
    return args.sums + row * args.width + chunk * Shape::kChunk + tx * Shape::kColumns;
  };

  T kept[kKept][Shape::kOwn][Shape::kColumns] = {};
  Total<T> totals[Shape::kOwn];
  T shift[Shape::kOwn];
  T rescale[Shape::kOwn];
#pragma unroll
  for (int i = 0; i < Shape::kOwn; ++i) {
    shift[i] = args.running ? kLowest<T> : args.shift;
    rescale[i] = 1;
  }
  Walk<Shape::kOwnRows> walk(own, others,
                             reinterpret_cast<const char*>(args.own + first_row * args.width),
                             reinterpret_cast<const char*>(args.others),
                             args.width * static_cast<int64_t>(sizeof(T)), kChunks != kNoSums);
  walk.start(first_tile, last_tile);
  for (int64_t tile = first_tile; tile < last_tile; ++tile) {
    T t[Shape::kOwn][Shape::kOthers] = {};
    for (int chunk = 0; chunk < walk.chunks(); ++chunk) {
      walk.next();
      fma_products<T>(walk.own(), walk.others(), t);
    }
    fma_powers<kPush>(args, tile * kTileRows, t, kChunks == kNoSums ? nullptr : powers, totals,
                      shift, rescale);
    if constexpr (kChunks != kNoSums) {
      if (walk.keeps()) __syncthreads();
#pragma unroll kKept
      for (int chunk = 0; chunk < kKept || (kChunks == kSumsInMemory && chunk < walk.chunks());
           ++chunk) {
        if (!walk.keeps()) walk.next();
        T sum[Shape::kOwn][Shape::kColumns];
        fma_sums<T>(powers, walk.others(), sum);
#pragma unroll
        for (int i = 0; i < Shape::kOwn; ++i) {
#pragma unroll
          for (int c = 0; c < Shape::kColumns; ++c) {
            if constexpr (kChunks == kSumsInMemory) {
              T* place = place_of(i, chunk) + c;
              *place = tile == first_tile ? sum[i][c] : *place * rescale[i] + sum[i][c];
            } else {
              kept[chunk][i][c] = kept[chunk][i][c] * rescale[i] + sum[i][c];
            }
          }
        }
      }
    }
  }

#pragma unroll
  for (int i = 0; i < Shape::kOwn; ++i) {
    if constexpr (!kPush) {
      const double total = Group<16>().sum(totals[i].value());
      const int64_t place = split * args.own_rows + first_row + ty + 8 * i;
      if (tx == 0) args.totals[place] = total;
      if (tx == 0 && args.running) args.maxima[place] = shift[i];
    }
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c) place_of(i, chunk)[c] = kept[chunk][i][c];
    }
  }
}

}  // namespace rlmrec_fast::cuda
