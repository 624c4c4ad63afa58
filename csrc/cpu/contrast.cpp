#include "cpu/contrast.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/exp2.h"
#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Sums of a strip and a tile that stay in registers: 2 * kStripRows of 32 (16) vectors.
#if defined(__AVX512F__)
constexpr int kStripRows = 12;
constexpr int kPushColumns = 8;
#else
constexpr int kStripRows = 6;
constexpr int kPushColumns = 4;
#endif
// Strips whose contributions are added up before they are added to the rest: longer chains of
// additions round more.
constexpr int64_t kPushStrips = 16;
// Bytes of candidates that all strips of a call meet before the next ones are fetched.
constexpr int64_t kBlockBytes = 256 * 1024;

template <class T>
constexpr int kTile = 2 * kLanes<T>;

template <class T>
using Strip = Vec<T>[kStripRows][2];

// t - shift.
template <class T>
RLMREC_FAST_INLINE void score(const T* strip, const T* panel, const T* shifts, int64_t d,
                              Strip<T>& t) {
#pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) t[i][0] = t[i][1] = broadcast<T>(-shifts[i]);
  for (int64_t column = 0; column < d; ++column) {
    const Vec<T> low = load(panel + column * kTile<T>);
    const Vec<T> high = load(panel + column * kTile<T> + kLanes<T>);
    const T* q = strip + column * kStripRows;
#pragma GCC unroll 12
    for (int i = 0; i < kStripRows; ++i) {
      const Vec<T> value = broadcast<T>(q[i]);
      t[i][0] += value * low;
      t[i][1] += value * high;
    }
  }
}

// powers[i][c] = weights[c] 2^t; totals[i] += their sum over c, lane by lane.
template <class T>
RLMREC_FAST_INLINE void exponentiate(const Strip<T>& t, const T* weights, T* powers,
                                     Vec<T> (&totals)[kStripRows]) {
  if (weights == nullptr) {
#pragma GCC unroll 12
    for (int i = 0; i < kStripRows; ++i) {
      const Vec<T> low = exp2(t[i][0]), high = exp2(t[i][1]);
      totals[i] += low + high;
      store(powers + i * kTile<T>, low);
      store(powers + i * kTile<T> + kLanes<T>, high);
    }
    return;
  }
  // Where the weight is 0 the power may be infinite, as shifts know only candidates that count.
  const Vec<T> first = load(weights), second = load(weights + kLanes<T>), zero = {};
#pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) {
    const Vec<T> low = first > zero ? exp2(t[i][0]) * first : zero;
    const Vec<T> high = second > zero ? exp2(t[i][1]) * second : zero;
    totals[i] += low + high;
    store(powers + i * kTile<T>, low);
    store(powers + i * kTile<T> + kLanes<T>, high);
  }
}

// pulls[i] += sum_c powers[i][c] rows[c], for a block of kVectors vectors of columns.
template <int kVectors, class T>
RLMREC_FAST_INLINE void pull_block(const T* powers, const T* rows, T* pulls) {
  constexpr int kWidth = kVectors * kLanes<T>;
  Vec<T> sum[kStripRows][kVectors] = {};
  for (int c = 0; c < kTile<T>; ++c) {
    Vec<T> k[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) k[v] = load(rows + c * kWidth + v * kLanes<T>);
#pragma GCC unroll 12
    for (int i = 0; i < kStripRows; ++i) {
      const Vec<T> p = broadcast<T>(powers[i * kTile<T> + c]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] += p * k[v];
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kStripRows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* place = pulls + i * kWidth + v * kLanes<T>;
      store(place, load(place) + sum[i][v]);
    }
  }
}

// Calls work(std::integral_constant<int, vectors>, first column) for every block of a group.
template <class T, class Work>
RLMREC_FAST_INLINE void for_blocks(int64_t width, Work work) {
  int64_t column = 0;
  for (; column + kTile<T> <= width; column += kTile<T>) {
    work(std::integral_constant<int, 2>{}, column);
  }
  if (column < width) work(std::integral_constant<int, 1>{}, column);
}

// pushes[c] += sum over the strips' rows of powers[i][c] sources[i], for kPushColumns candidates
// and a block of kVectors vectors.
template <int kVectors, class T>
RLMREC_FAST_INLINE void push_block(const ContrastArgs<T>& args, const T* powers, int64_t strips,
                                   const T* sources, T* pushes) {
  constexpr int kWidth = kVectors * kLanes<T>;
  const int64_t strip_size = kStripRows * args.shape.width;
  Vec<T> sum[kPushColumns][kVectors] = {};
  for (int64_t strip = 0; strip < strips; ++strip) {
    const T* p = powers + strip * args.powers_stride;
    const T* s = sources + strip * strip_size;
    for (int i = 0; i < kStripRows; ++i) {
      Vec<T> source[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) source[v] = load(s + i * kWidth + v * kLanes<T>);
#pragma GCC unroll 8
      for (int c = 0; c < kPushColumns; ++c) {
        const Vec<T> power = broadcast<T>(p[i * kTile<T> + c]);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[c][v] += power * source[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < kPushColumns; ++c) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* place = pushes + c * kWidth + v * kLanes<T>;
      store(place, load(place) + sum[c][v]);
    }
  }
}

// Writes factor * values as row `row` of a blocked group, zero where it is padded.
template <class T>
RLMREC_FAST_INLINE void write_blocked(const T* values, T factor, int64_t d, int64_t width,
                                      int64_t group, int64_t row, T* out) {
  for_blocks<T>(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
    constexpr int kWidth = vectors.value * kLanes<T>;
    T* block = out + column * group + row * kWidth;
    const int64_t left = std::clamp<int64_t>(d - column, 0, kWidth);
    for (int64_t c = 0; c < left; ++c) block[c] = values[column + c] * factor;
    for (int64_t c = left; c < kWidth; ++c) block[c] = 0;
  });
}

// y = inverse * (y - n (n . y) / (n . n)) with n = inverse * x rounded to bfloat16.
template <class T>
RLMREC_FAST_INLINE void project_rounded(const T* x, T inverse, T scale, int64_t d, T* y) {
  const auto rounded = [&](int64_t column) __attribute__((always_inline)) {
    const float value = static_cast<float>(x[column] * inverse * scale);
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    bits = (bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U;
    float result;
    std::memcpy(&result, &bits, 4);
    return static_cast<T>(result);
  };
  T along = 0, square = 0;
  for (int64_t column = 0; column < d; ++column) {
    const T n = rounded(column);
    along += n * y[column];
    square += n * n;
  }
  const T share = square > 0 ? along / square : T{0};
  for (int64_t column = 0; column < d; ++column) {
    y[column] = inverse * (y[column] - share * rounded(column));
  }
}

template <class T>
RLMREC_FAST_INLINE T dot(const T* x, const T* y, int64_t d) {
  Vec<T> sum = {};
  int64_t column = 0;
  for (; column + kLanes<T> <= d; column += kLanes<T>) sum += load(x + column) * load(y + column);
  if (column < d) {
    const auto tail = static_cast<int>(d - column);
    sum += load_partial(x + column, tail) * load_partial(y + column, tail);
  }
  return horizontal_sum<T>(sum);
}

}  // namespace

template <class T>
ContrastShape contrast_shape(int64_t d) {
  return {kStripRows, kTile<T>, (d + kLanes<T> - 1) / kLanes<T> * kLanes<T>};
}

template <class T>
void inverse_norms(const T* x, int64_t stride, int64_t d, Normalize normalize, double eps,
                   T* inverse, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    if (normalize == Normalize::none) {
      inverse[row] = 1;
      continue;
    }
    const T* values = x + row * stride;
    const double square = dot(values, values, d);
    const double root =
        normalize == Normalize::root ? std::sqrt(eps + square) : std::max(eps, std::sqrt(square));
    inverse[row] = static_cast<T>(1 / root);
  }
}

template <class T>
void pack_strips(const T* x, int64_t stride, int64_t num_rows, int64_t d, const T* inverse, T scale,
                 T* strips, int64_t begin, int64_t end) {
  for (int64_t strip = begin; strip < end; ++strip) {
    T* out = strips + strip * d * kStripRows;
    for (int64_t i = 0; i < kStripRows; ++i) {
      const int64_t row = strip * kStripRows + i;
      const T factor = row < num_rows ? inverse[row] * scale : T{0};
      const T* values = x + std::min(row, num_rows - 1) * stride;
      for (int64_t column = 0; column < d; ++column) {
        out[column * kStripRows + i] = row < num_rows ? values[column] * factor : T{0};
      }
    }
  }
}

template <class T>
void pack_tiles(const T* x, int64_t stride, int64_t num_rows, int64_t d, const T* inverse,
                T* panels, T* rows, int64_t begin, int64_t end) {
  const int64_t width = contrast_shape<T>(d).width;
  for (int64_t tile = begin; tile < end; ++tile) {
    T* panel = panels + tile * d * kTile<T>;
    for (int64_t lane = 0; lane < kTile<T>; ++lane) {
      const int64_t row = tile * kTile<T> + lane;
      const bool real = row < num_rows;
      const T* values = x + std::min(row, num_rows - 1) * stride;
      const T factor = real ? inverse[row] : T{0};
      for (int64_t column = 0; column < d; ++column) {
        panel[column * kTile<T> + lane] = real ? values[column] * factor : T{0};
      }
      if (rows == nullptr) continue;
      write_blocked(values, factor, real ? d : 0, width, kTile<T>, lane,
                    rows + tile * kTile<T> * width);
    }
  }
}

template <class T>
void pack_sources(const T* x, int64_t stride, int64_t num_rows, int64_t d, const T* factor,
                  T* sources, int64_t begin, int64_t end) {
  const int64_t width = contrast_shape<T>(d).width;
  for (int64_t strip = begin; strip < end; ++strip) {
    for (int64_t i = 0; i < kStripRows; ++i) {
      const int64_t row = strip * kStripRows + i;
      const bool real = row < num_rows;
      write_blocked(x + (real ? row : 0) * stride, real ? factor[row] : T{0}, real ? d : 0, width,
                    kStripRows, i, sources + strip * kStripRows * width);
    }
  }
}

template <class T>
void row_dots(const T* x, int64_t x_stride, const T* y, int64_t y_stride, int64_t d, T* dots,
              int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    dots[row] = dot(x + row * x_stride, y + row * y_stride, d);
  }
}

template <class T>
void contrast_maxima(const ContrastArgs<T>& args, T* maxima, int64_t strip_begin,
                     int64_t strip_end) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  const T zeros[kStripRows] = {};
  for (int64_t strip = strip_begin; strip < strip_end; ++strip) {
    Vec<T> best[kStripRows];
    for (int i = 0; i < kStripRows; ++i) best[i] = broadcast<T>(kLowest);
    for (int64_t tile = 0; tile < args.num_tiles; ++tile) {
      Strip<T> t;
      score(args.strips + strip * args.d * kStripRows, args.panels + tile * args.d * kTile<T>,
            zeros, args.d, t);
      for (int half = 0; half < 2; ++half) {
        for (int i = 0; i < kStripRows; ++i) {
          Vec<T> value = t[i][half];
          if (args.weights != nullptr) {
            const Vec<T> w = load(args.weights + tile * kTile<T> + half * kLanes<T>);
            value = w > T{0} ? value : broadcast<T>(kLowest);
          }
          // A NaN wins and stays.
          best[i] = value <= best[i] ? best[i] : (best[i] != best[i] ? best[i] : value);
        }
      }
    }
    for (int i = 0; i < kStripRows; ++i) {
      T lanes[kLanes<T>];
      store(lanes, best[i]);
      T most = lanes[0];
      for (const T lane : lanes) most = lane <= most ? most : (most != most ? most : lane);
      maxima[strip * kStripRows + i] = most;
    }
  }
}

template <class T>
void contrast_strips(const ContrastArgs<T>& args, int64_t strip_begin, int64_t strip_end,
                     int64_t tile_begin, int64_t tile_end) {
  const int64_t width = args.shape.width, d = args.d;
  const int64_t tile_bytes =
      (d + (args.pulls ? width : 0)) * kTile<T> * static_cast<int64_t>(sizeof(T));
  const int64_t block = std::max<int64_t>(1, kBlockBytes / std::max<int64_t>(1, tile_bytes));
  T local[kStripRows * kTile<T>];
  for (int64_t first = tile_begin; first < tile_end; first += block) {
    const int64_t last = std::min(tile_end, first + block);
    for (int64_t strip = strip_begin; strip < strip_end; ++strip) {
      Vec<T> totals[kStripRows] = {};
      for (int64_t tile = first; tile < last; ++tile) {
        T* powers = local;
        if (args.powers != nullptr) {
          powers = args.powers + (strip - args.first_strip) * args.powers_stride +
                   (tile - args.first_tile) * kStripRows * kTile<T>;
        }
        Strip<T> t;
        score(args.strips + strip * d * kStripRows, args.panels + tile * d * kTile<T>,
              args.shifts + strip * kStripRows, d, t);
        exponentiate(t, args.weights ? args.weights + tile * kTile<T> : nullptr, powers, totals);
        if (args.pulls != nullptr) {
          const T* rows = args.rows + tile * kTile<T> * width;
          T* pulls = args.pulls + strip * kStripRows * width;
          for_blocks<T>(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
            pull_block<vectors.value>(powers, rows + column * kTile<T>,
                                      pulls + column * kStripRows);
          });
        }
      }
      if (args.sums == nullptr) continue;
      for (int i = 0; i < kStripRows; ++i) {
        args.sums[strip * kStripRows + i] += static_cast<double>(horizontal_sum<T>(totals[i]));
      }
    }
  }
}

template <class T>
void contrast_push(const ContrastArgs<T>& args, int64_t tile, int64_t strip_end) {
  const int64_t width = args.shape.width;
  const T* tile_powers = args.powers + (tile - args.first_tile) * kStripRows * kTile<T>;
  for (int64_t strip = args.first_strip; strip < strip_end; strip += kPushStrips) {
    const int64_t strips = std::min(kPushStrips, strip_end - strip);
    const T* powers = tile_powers + (strip - args.first_strip) * args.powers_stride;
    const T* sources = args.sources + strip * kStripRows * width;
    for (int c = 0; c < kTile<T>; c += kPushColumns) {
      T* pushes = args.pushes + tile * kTile<T> * width;
      for_blocks<T>(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
        push_block<vectors.value>(args, powers + c, strips, sources + column * kStripRows,
                                  pushes + column * kTile<T> + c * vectors.value * kLanes<T>);
      });
    }
  }
}

template <class T>
void normalize_backward(const NormalizeBackwardArgs<T>& args, int64_t begin, int64_t end) {
  const int64_t d = args.d, width = contrast_shape<T>(d).width;
  for (int64_t row = begin; row < end; ++row) {
    T* y = args.y + row * d;
    if (args.blocked != nullptr) {
      const T* group = args.blocked + row / args.group * args.group * width;
      const T factor = args.factor ? args.factor[row] : T{1};
      for_blocks<T>(width, [&](auto vectors, int64_t column) __attribute__((always_inline)) {
        constexpr int kWidth = vectors.value * kLanes<T>;
        const T* block = group + column * args.group + row % args.group * kWidth;
        const int64_t left = std::min<int64_t>(kWidth, d - column);
        for (int64_t c = 0; c < left; ++c) y[column + c] = factor * block[c];
      });
    } else {
      std::fill(y, y + d, T{0});
    }
    if (args.other != nullptr) {
      const T* other = args.other + row * args.other_stride;
      const T factor = args.other_factor[row];
      for (int64_t column = 0; column < d; ++column) y[column] += factor * other[column];
    }
    if (!args.project) continue;
    const T* x = args.x + row * args.x_stride;
    const T inverse = args.inverse[row];
    if (args.round_scale > 0) {
      project_rounded(x, inverse, args.round_scale, d, y);
      continue;
    }
    const T along = dot(x, y, d) * inverse * inverse;
    for (int64_t column = 0; column < d; ++column) {
      y[column] = inverse * (y[column] - along * x[column]);
    }
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                                 \
  template ContrastShape contrast_shape<T>(int64_t);                                               \
  template void inverse_norms(const T*, int64_t, int64_t, Normalize, double, T*, int64_t,          \
                              int64_t);                                                            \
  template void pack_strips(const T*, int64_t, int64_t, int64_t, const T*, T, T*, int64_t,         \
                            int64_t);                                                              \
  template void pack_tiles(const T*, int64_t, int64_t, int64_t, const T*, T*, T*, int64_t,         \
                           int64_t);                                                               \
  template void pack_sources(const T*, int64_t, int64_t, int64_t, const T*, T*, int64_t, int64_t); \
  template void row_dots(const T*, int64_t, const T*, int64_t, int64_t, T*, int64_t, int64_t);     \
  template void contrast_maxima(const ContrastArgs<T>&, T*, int64_t, int64_t);                     \
  template void contrast_strips(const ContrastArgs<T>&, int64_t, int64_t, int64_t, int64_t);       \
  template void contrast_push(const ContrastArgs<T>&, int64_t, int64_t);                           \
  template void normalize_backward(const NormalizeBackwardArgs<T>&, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
