// What the passes over tiles share (cuda/contrast.h): their arguments, the chunks of rows in shared
// memory and the order that these arrive in.
//
// A chunk is 128 bytes of a row, a tile of rows is walked chunk by chunk. In shared memory a row's
// eight granules of 16 bytes are permuted by its number: eight neighbouring rows that are read at
// one column, or one row that is read as a whole, meet all banks once.
#pragma once

#include "cuda/ptx.h"
#include "cuda/simt.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kPassThreads = 128;
constexpr int kPassBlocks = 2;  // of a multiprocessor, at least
constexpr int kTileRows = 64;   // others of a tile
constexpr int kChunkBytes = 128;
constexpr int kGranuleBytes = 16;

// A pass keeps the sums of so many chunks in registers; or any number of them in memory, where they
// end up anyway; or none.
constexpr int kSumsInMemory = 0;
constexpr int kNoSums = -1;

// Tables are [padded rows][width], S: type of sums. A forward pass has queries for its own rows and
// gives sums of powers, totals and, where shifts run, maxima; a push has candidates.
template <class Stored, class S>
struct PassArgs {
  const Stored* own;
  const Stored* others;
  int64_t num_tiles;  // of others
  int64_t tiles_per_split;
  int64_t own_rows;  // padded
  int64_t width;     // whole chunks
  const S* factors;  // of others, 0 where they are padded
  const S* shifts;   // push: of others
  S shift;           // forward, unless it is
  bool running;
  double* totals;  // [splits][own_rows]
  S* maxima;       // [splits][own_rows], if running
  S* sums;         // [splits][own_rows][width]; null to leave out
};

// The place of 16 bytes of a chunk in shared memory, from the start of its row.
__device__ __forceinline__ int granule_place(int row, int granule) {
  return (granule ^ (row & 7)) * kGranuleBytes;
}

// kRows rows' chunks on their way to shared memory; stride in bytes.
template <int kRows>
__device__ __forceinline__ void fetch_chunk(char* shared, const char* rows, int64_t stride) {
  constexpr int kGranules = kChunkBytes / kGranuleBytes;
#pragma unroll
  for (int i = 0; i < kRows * kGranules / kPassThreads; ++i) {
    const int index = i * kPassThreads + static_cast<int>(threadIdx.x);
    const int row = index / kGranules, granule = index % kGranules;
    ptx::cp_async16(shared + row * kChunkBytes + granule_place(row, granule),
                    rows + row * stride + granule * kGranuleBytes, kGranuleBytes);
  }
}

// The chunks that a block meets, one at a time while the next one is under way: for every tile
// `chunks` of both sides for the products and, if sums do not find them still there, as many of the
// others for the sums. A single chunk of own rows is fetched once and stays.
template <int kOwnRows>
class Walk {
 public:
  __device__ __forceinline__ Walk(char* own, char* others, const char* own_rows,
                                  const char* other_rows, int64_t stride, bool sums)
      : own_(own),
        others_(others),
        own_rows_(own_rows),
        other_rows_(other_rows),
        stride_(stride),
        chunks_(static_cast<int>(stride / kChunkBytes)),
        steps_(sums && chunks_ > 1 ? 2 * chunks_ : chunks_) {}

  __device__ __forceinline__ void start(int64_t tile, int64_t last) {
    tile_ = tile;
    last_ = last;
    fetch();
  }

  // Waits for the chunk that is due and asks for the one after it.
  __device__ __forceinline__ void next() {
    ptx::cp_async_wait<0>();
    __syncthreads();  // also: all are done with the buffer that is filled now
    due_ = arriving_;
    arriving_ ^= 1;
    if (++step_ == steps_) {
      step_ = 0;
      ++tile_;
    }
    if (tile_ < last_) fetch();
  }

  __device__ __forceinline__ int chunks() const { return chunks_; }
  __device__ __forceinline__ bool keeps() const { return chunks_ == 1; }
  __device__ __forceinline__ const char* own() const {
    return own_ + (keeps() ? 0 : due_ * kOwnRows * kChunkBytes);
  }
  __device__ __forceinline__ const char* others() const {
    return others_ + due_ * kTileRows * kChunkBytes;
  }

 private:
  __device__ __forceinline__ void fetch() {
    const bool products = step_ < chunks_;
    const int64_t column = static_cast<int64_t>(products ? step_ : step_ - chunks_) * kChunkBytes;
    fetch_chunk<kTileRows>(others_ + arriving_ * kTileRows * kChunkBytes,
                           other_rows_ + tile_ * kTileRows * stride_ + column, stride_);
    if (products && !(keeps() && started_)) {
      fetch_chunk<kOwnRows>(own_ + arriving_ * kOwnRows * kChunkBytes, own_rows_ + column, stride_);
    }
    started_ = true;
    ptx::cp_async_commit();
  }

  char* own_;
  char* others_;
  const char* own_rows_;
  const char* other_rows_;
  int64_t stride_;
  int chunks_;
  int steps_;
  int step_ = 0;
  int arriving_ = 0;
  int due_ = 0;
  bool started_ = false;
  int64_t tile_ = 0;
  int64_t last_ = 0;
};

// A sum and what rounding took from it (Knuth's two-sum): a total may have millions of terms.
template <class S>
struct Total {
  S sum = 0;
  S lost = 0;

  __device__ __forceinline__ void add(S value) {
    const S next = sum + value;
    const S part = next - sum;
    lost += (sum - (next - part)) + (value - part);
    sum = next;
  }
  __device__ __forceinline__ void scale(S factor) {
    sum *= factor;
    lost *= factor;
  }
  __device__ __forceinline__ double value() const {
    return static_cast<double>(sum) + static_cast<double>(lost);
  }
};

// The larger one; a NaN wins and stays.
template <class S>
__device__ __forceinline__ S larger(S a, S b) {
  return b <= a ? a : (a != a ? a : b);
}

// Below every logit, but finite: differences to it are not NaN.
template <class S>
constexpr S kLowest = S(sizeof(S) == 8 ? -1.7e308 : -3.4e38);

__device__ __forceinline__ float power_of_two(float x) { return ptx::exp2_approx(x); }
__device__ __forceinline__ double power_of_two(double x) { return exp2(x); }

// Power of an other with this factor; 0 for a factor of 0, whose logit no shift knows of.
template <class S>
__device__ __forceinline__ S weighted(S factor, S power) {
  return factor != S(0) ? factor * power : S(0);
}

}  // namespace rlmrec_fast::cuda
