#include "cpu/contrast_bf16.h"

#if defined(__AVX512BF16__)

#  include <algorithm>
#  include <cstring>
#  include <type_traits>

#  include "cpu/exp2.h"
#  include "cpu/vec.h"

namespace rlmrec_fast::avx512bf16 {
namespace {

constexpr int kStripRows = 12;  // as avx512's, whose shape these kernels share
constexpr int kPushColumns = 8;
constexpr int kLane = kLanes<float>;
constexpr int kTile = 2 * kLane;
constexpr int64_t kPushStrips = 16;
constexpr int64_t kBlockBytes = 256 * 1024;
static_assert(kStripRows % 2 == 0 && kTile % 2 == 0);

using Floats = Vec<float>;
using Strip = Floats[kStripRows][2];

RLMREC_FAST_INLINE BFloat16 round(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return {static_cast<uint16_t>(bits >> 16 | 0x40U)};
  return {static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
}

// sum + first[0] * second[0] + first[1] * second[1], lane by lane.
RLMREC_FAST_INLINE Floats add_products(Floats sum, __m512bh first, __m512bh second) {
  return _mm512_dpbf16_ps(sum, first, second);
}
RLMREC_FAST_INLINE __m512bh load_pairs(const BFloat16* p) { return load_bits<__m512bh>(p); }
RLMREC_FAST_INLINE __m512bh broadcast_pair(const BFloat16* p) {
  int32_t pair;
  std::memcpy(&pair, p, 4);
  const __m512i words = _mm512_set1_epi32(pair);
  return load_bits<__m512bh>(&words);
}

RLMREC_FAST_INLINE void score(const BFloat16* strip, const BFloat16* panel, const float* shifts,
                              int64_t pairs, Strip& t) {
#  pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) t[i][0] = t[i][1] = broadcast<float>(-shifts[i]);
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const __m512bh low = load_pairs(panel + pair * kTile * 2);
    const __m512bh high = load_pairs(panel + pair * kTile * 2 + kTile);
    const BFloat16* q = strip + pair * kStripRows * 2;
#  pragma GCC unroll 12
    for (int i = 0; i < kStripRows; ++i) {
      const __m512bh value = broadcast_pair(q + 2 * i);
      t[i][0] = add_products(t[i][0], value, low);
      t[i][1] = add_products(t[i][1], value, high);
    }
  }
}

// The powers in place of t; totals as in cpu/contrast.cpp.
RLMREC_FAST_INLINE void exponentiate(Strip& t, const float* weights, Floats (&totals)[kStripRows]) {
  const Floats zero = {}, one = broadcast<float>(1.0f);
  const Floats first = weights ? load(weights) : one,
               second = weights ? load(weights + kLane) : one;
#  pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) {
    t[i][0] = first > zero ? exp2(t[i][0]) * first : zero;
    t[i][1] = second > zero ? exp2(t[i][1]) * second : zero;
    totals[i] += t[i][0] + t[i][1];
  }
}

// Rounded, row by row.
RLMREC_FAST_INLINE void store_rows(const Strip& t, BFloat16* rows) {
#  pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) {
    const __m512bh both = _mm512_cvtne2ps_pbh(t[i][1], t[i][0]);
    std::memcpy(rows + i * kTile, &both, sizeof both);
  }
}

// Rounded, two rows interleaved.
RLMREC_FAST_INLINE void store_row_pairs(const Strip& t, BFloat16* powers) {
  alignas(64) uint16_t places[32];
  for (uint16_t k = 0; k < 16; ++k) {
    places[2 * k] = k;
    places[2 * k + 1] = static_cast<uint16_t>(16 + k);
  }
  const __m512i interleave = load_bits<__m512i>(places);
#  pragma GCC unroll 12
  for (int i = 0; i < kStripRows; i += 2) {
#  pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512bh both = _mm512_cvtne2ps_pbh(t[i + 1][half], t[i][half]);
      const __m512i pairs = _mm512_permutexvar_epi16(interleave, load_bits<__m512i>(&both));
      std::memcpy(powers + (i / 2 * kTile + half * kLane) * 2, &pairs, sizeof pairs);
    }
  }
}

template <class Work>
RLMREC_FAST_INLINE void for_blocks(int64_t width, Work work) {
  int64_t column = 0;
  for (; column + kTile <= width; column += kTile) work(std::integral_constant<int, 2>{}, column);
  if (column < width) work(std::integral_constant<int, 1>{}, column);
}

template <int kVectors>
RLMREC_FAST_INLINE void pull_block(const BFloat16* powers, const BFloat16* rows, float* pulls) {
  constexpr int kWidth = kVectors * kLane;
  Floats sum[kStripRows][kVectors] = {};
  for (int c = 0; c < kTile; c += 2) {
    __m512bh k[kVectors];
#  pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) k[v] = load_pairs(rows + (c / 2 * kWidth + v * kLane) * 2);
#  pragma GCC unroll 12
    for (int i = 0; i < kStripRows; ++i) {
      const __m512bh p = broadcast_pair(powers + i * kTile + c);
#  pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] = add_products(sum[i][v], p, k[v]);
    }
  }
#  pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) {
#  pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* place = pulls + i * kWidth + v * kLane;
      store(place, load(place) + sum[i][v]);
    }
  }
}

template <int kVectors>
RLMREC_FAST_INLINE void push_block(const ContrastBf16Args& args, const BFloat16* powers,
                                   int64_t strips, const BFloat16* sources, float* pushes) {
  constexpr int kWidth = kVectors * kLane;
  const int64_t strip_size = kStripRows * args.shape.width;
  Floats sum[kPushColumns][kVectors] = {};
  for (int64_t strip = 0; strip < strips; ++strip) {
    const BFloat16* p = powers + strip * args.powers_stride;
    const BFloat16* s = sources + strip * strip_size;
    for (int pair = 0; pair < kStripRows / 2; ++pair) {
      __m512bh source[kVectors];
#  pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        source[v] = load_pairs(s + (pair * kWidth + v * kLane) * 2);
      }
#  pragma GCC unroll 8
      for (int c = 0; c < kPushColumns; ++c) {
        const __m512bh power = broadcast_pair(p + (pair * kTile + c) * 2);
#  pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[c][v] = add_products(sum[c][v], power, source[v]);
      }
    }
  }
#  pragma GCC unroll 8
  for (int c = 0; c < kPushColumns; ++c) {
#  pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* place = pushes + c * kWidth + v * kLane;
      store(place, load(place) + sum[c][v]);
    }
  }
}

// Writes factor * values as row `row` of a blocked group of paired rows.
RLMREC_FAST_INLINE void write_paired(const float* values, float factor, int64_t d, int64_t width,
                                     int64_t group, int64_t row, BFloat16* out) {
  for_blocks(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
    constexpr int kWidth = vectors.value * kLane;
    BFloat16* block = out + column * group + row / 2 * kWidth * 2 + row % 2;
    const int64_t left = std::clamp<int64_t>(d - column, 0, kWidth);
    for (int64_t c = 0; c < left; ++c) block[2 * c] = round(values[column + c] * factor);
    for (int64_t c = left; c < kWidth; ++c) block[2 * c] = {0};
  });
}

int64_t padded_width(int64_t d) { return (d + kLane - 1) / kLane * kLane; }

}  // namespace

bool compiled() { return true; }

void pack_strips(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* inverse,
                 float scale, BFloat16* strips, int64_t begin, int64_t end) {
  const int64_t padded = (d + 1) / 2 * 2;
  for (int64_t strip = begin; strip < end; ++strip) {
    BFloat16* out = strips + strip * padded * kStripRows;
    for (int64_t i = 0; i < kStripRows; ++i) {
      const int64_t row = strip * kStripRows + i;
      const bool real = row < num_rows;
      const float factor = real ? inverse[row] * scale : 0.0f;
      const float* values = x + (real ? row : 0) * stride;
      for (int64_t column = 0; column < padded; ++column) {
        const bool inside = real && column < d;
        out[(column / 2 * kStripRows + i) * 2 + column % 2] =
            inside ? round(values[column] * factor) : BFloat16{0};
      }
    }
  }
}

void pack_tiles(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* inverse,
                BFloat16* panels, BFloat16* rows, int64_t begin, int64_t end) {
  const int64_t width = padded_width(d), padded = (d + 1) / 2 * 2;
  for (int64_t tile = begin; tile < end; ++tile) {
    BFloat16* panel = panels + tile * padded * kTile;
    for (int64_t lane = 0; lane < kTile; ++lane) {
      const int64_t row = tile * kTile + lane;
      const bool real = row < num_rows;
      const float* values = x + (real ? row : 0) * stride;
      const float factor = real ? inverse[row] : 0.0f;
      for (int64_t column = 0; column < padded; ++column) {
        const bool inside = real && column < d;
        panel[(column / 2 * kTile + lane) * 2 + column % 2] =
            inside ? round(values[column] * factor) : BFloat16{0};
      }
      if (rows == nullptr) continue;
      write_paired(values, factor, real ? d : 0, width, kTile, lane, rows + tile * kTile * width);
    }
  }
}

void pack_sources(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* factor,
                  BFloat16* sources, int64_t begin, int64_t end) {
  const int64_t width = padded_width(d);
  for (int64_t strip = begin; strip < end; ++strip) {
    for (int64_t i = 0; i < kStripRows; ++i) {
      const int64_t row = strip * kStripRows + i;
      const bool real = row < num_rows;
      write_paired(x + (real ? row : 0) * stride, real ? factor[row] : 0.0f, real ? d : 0, width,
                   kStripRows, i, sources + strip * kStripRows * width);
    }
  }
}

void contrast_strips(const ContrastBf16Args& args, int64_t strip_begin, int64_t strip_end,
                     int64_t tile_begin, int64_t tile_end) {
  const int64_t width = args.shape.width, pairs = (args.d + 1) / 2;
  const int64_t tile_bytes = (2 * pairs + (args.pulls ? width : 0)) * kTile * 2;
  const int64_t block = std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, tile_bytes));
  alignas(64) BFloat16 local[kStripRows * kTile];
  for (int64_t first = tile_begin; first < tile_end; first += block) {
    const int64_t last = std::min(tile_end, first + block);
    for (int64_t strip = strip_begin; strip < strip_end; ++strip) {
      Floats totals[kStripRows] = {};
      for (int64_t tile = first; tile < last; ++tile) {
        Strip t;
        score(args.strips + strip * pairs * 2 * kStripRows, args.panels + tile * pairs * 2 * kTile,
              args.shifts + strip * kStripRows, pairs, t);
        exponentiate(t, args.weights ? args.weights + tile * kTile : nullptr, totals);
        if (args.powers != nullptr) {
          store_row_pairs(t, args.powers + (strip - args.first_strip) * args.powers_stride +
                                 (tile - args.first_tile) * kStripRows * kTile);
        }
        if (args.pulls == nullptr) continue;
        store_rows(t, local);
        const BFloat16* rows = args.rows + tile * kTile * width;
        float* pulls = args.pulls + strip * kStripRows * width;
        for_blocks(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
          pull_block<vectors.value>(local, rows + column * kTile, pulls + column * kStripRows);
        });
      }
      if (args.sums == nullptr) continue;
      for (int i = 0; i < kStripRows; ++i) {
        args.sums[strip * kStripRows + i] += static_cast<double>(horizontal_sum<float>(totals[i]));
      }
    }
  }
}

void contrast_push(const ContrastBf16Args& args, int64_t tile, int64_t strip_end) {
  const int64_t width = args.shape.width;
  const BFloat16* tile_powers = args.powers + (tile - args.first_tile) * kStripRows * kTile;
  for (int64_t strip = args.first_strip; strip < strip_end; strip += kPushStrips) {
    const int64_t strips = std::min(kPushStrips, strip_end - strip);
    const BFloat16* powers = tile_powers + (strip - args.first_strip) * args.powers_stride;
    const BFloat16* sources = args.sources + strip * kStripRows * width;
    for (int c = 0; c < kTile; c += kPushColumns) {
      float* pushes = args.pushes + tile * kTile * width;
      for_blocks(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
        push_block<vectors.value>(args, powers + 2 * c, strips, sources + column * kStripRows,
                                  pushes + column * kTile + c * vectors.value * kLane);
      });
    }
  }
}

}  // namespace rlmrec_fast::avx512bf16

#else

namespace rlmrec_fast::avx512bf16 {

bool compiled() { return false; }
void pack_strips(const float*, int64_t, int64_t, int64_t, const float*, float, BFloat16*, int64_t,
                 int64_t) {}
void pack_tiles(const float*, int64_t, int64_t, int64_t, const float*, BFloat16*, BFloat16*,
                int64_t, int64_t) {}
void pack_sources(const float*, int64_t, int64_t, int64_t, const float*, BFloat16*, int64_t,
                  int64_t) {}
void contrast_strips(const ContrastBf16Args&, int64_t, int64_t, int64_t, int64_t) {}
void contrast_push(const ContrastBf16Args&, int64_t, int64_t) {}

}  // namespace rlmrec_fast::avx512bf16

#endif
