// What a row collects for cpu/neighbors.h, and what becomes of it. Included by neighbors.cpp alone.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>

#include "cpu/lanes.h"
#include "cpu/neighbors.h"
#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

constexpr int kPanel = kLanes<float>;
static_assert(kPanel <= kCollectedLanes);

constexpr float kNever = std::numeric_limits<float>::infinity();
// How many rows ahead, and by what steps, memory is asked for directions.
constexpr int64_t kAhead = 2, kLine = 64;
// Between these numbers of rows, counting sorts faster than std::sort, whose branches are random.
constexpr int64_t kCountedLeast = 8, kCountedMost = 256;

using Ints = typename VectorOf<int32_t, kVectorBytes>::type;

// What a row has collected: estimates, then as many row numbers.
struct Collected {
  float* estimates;
  int32_t* rows;
};

struct Near {
  double cosine;
  int32_t row;
};
struct Nearer {
  bool operator()(const Near& a, const Near& b) const {
    return a.cosine > b.cosine || (a.cosine == b.cosine && a.row < b.row);
  }
};

// Room for everything that a row has collected, once more to sort it, and for its direction.
struct Workspace {
  std::unique_ptr<Near[]> near, sorted;
  std::unique_ptr<double[]> direction;

  template <class T>
  explicit Workspace(const NeighborArgs<T>& args)
      : near(new Near[args.capacity]),
        sorted(new Near[args.capacity]),
        direction(new double[args.stride]) {}
};

// kLanes<double> elements, widened.
RLMREC_FAST_INLINE Vec<double> load_doubles(const double* p) { return load(p); }
RLMREC_FAST_INLINE Vec<double> load_doubles(const float* p) {
#if defined(__AVX512F__)
  return _mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(__AVX2__)
  return _mm256_cvtps_pd(_mm_loadu_ps(p));
#else
  using Half = typename VectorOf<float, kVectorBytes / 2>::type;
  return __builtin_convertvector(load_bits<Half>(p), Vec<double>);
#endif
}

// The dot product of two rows padded to a multiple of kDirectionLanes. Column c is added to sum c
// mod kDirectionLanes, whatever the vectors' size.
template <class A, class B>
RLMREC_FAST_INLINE double dot(const A* a, const B* b, int64_t padded) {
  constexpr int kSums = kDirectionLanes / kLanes<double>;
  Vec<double> sums[kSums] = {};
  for (int64_t column = 0; column < padded; column += kDirectionLanes) {
#pragma GCC unroll 8
    for (int s = 0; s < kSums; ++s) {
      const int64_t place = column + s * kLanes<double>;
      sums[s] += load_doubles(a + place) * load_doubles(b + place);
    }
  }
  for (int half = kSums / 2; half > 0; half /= 2) {
    for (int s = 0; s < half; ++s) sums[s] += sums[s + half];
  }
  return horizontal_sum<double>(sums[0]);
}

RLMREC_FAST_INLINE float next_above(double value) {
  return std::nextafter(static_cast<float>(value), kNever);
}
RLMREC_FAST_INLINE float next_below(double value) {
  return std::nextafter(static_cast<float>(value), -kNever);
}

template <class T>
Collected collected_by(const NeighborArgs<T>& args, int64_t row) {
  float* estimates = static_cast<float*>(args.collected) + row * 2 * args.capacity;
  // Nothing else has been stored there, and row numbers are as large as estimates.
  return {estimates, reinterpret_cast<int32_t*>(estimates + args.capacity)};
}

template <class T>
void prefetch_direction(const NeighborArgs<T>& args, int64_t row) {
  const T* direction = args.directions + row * args.stride;
  for (int64_t c = 0; c < args.stride; c += kLine / static_cast<int64_t>(sizeof(T))) {
    __builtin_prefetch(direction + c);
  }
}

// The cosines of a row with the rows that are named in near.
template <class T>
void find_cosines(const NeighborArgs<T>& args, int64_t row, double* wide, Near* near,
                  int64_t count) {
  const T* direction = args.directions + row * args.stride;
  std::copy(direction, direction + args.stride, wide);
  for (int64_t c = 0; c < count; ++c) {
    // They lie anywhere, so that the processor cannot foresee them.
    if (c + kAhead < count) prefetch_direction(args, near[c + kAhead].row);
    near[c].cosine = dot(wide, args.directions + near[c].row * args.stride, args.stride);
  }
}

// The same in float32, within single_margin. Of several rows at once: one sum waits for itself.
void find_singles(const NeighborArgs<float>& args, int64_t row, Near* near, int64_t count) {
  constexpr int kRowsAtOnce = 4, kSums = kDirectionLanes / kPanel;
  const float* direction = args.directions + row * args.stride;
  for (int64_t c = 0; c < count; c += kRowsAtOnce) {
    const float* others[kRowsAtOnce];
    Vec<float> sums[kRowsAtOnce][kSums] = {};
    for (int64_t i = 0; i < kRowsAtOnce; ++i) {
      others[i] = args.directions + near[std::min(c + i, count - 1)].row * args.stride;
      if (c + kRowsAtOnce + i < count) prefetch_direction(args, near[c + kRowsAtOnce + i].row);
    }
    for (int64_t column = 0; column < args.stride; column += kDirectionLanes) {
#pragma GCC unroll 4
      for (int s = 0; s < kSums; ++s) {
        const int64_t place = column + s * kPanel;
        const Vec<float> own = load(direction + place);
#pragma GCC unroll 4
        for (int i = 0; i < kRowsAtOnce; ++i) sums[i][s] += own * load(others[i] + place);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRowsAtOnce; ++i) {
      for (int s = 1; s < kSums; ++s) sums[i][0] += sums[i][s];
      if (c + i < count) near[c + i].cosine = horizontal_sum<float>(sums[i][0]);
    }
  }
}

// A product and every sum are rounded once; directions are not longer than 1 but for rounding.
double single_margin(int64_t stride) {
  const auto roundings = static_cast<double>(stride / kDirectionLanes + 8);
  return roundings < 0x1p18 ? 1.02 * 0x1p-24 * roundings : static_cast<double>(kNever);
}

// Nearest first. Key: a type that holds all of their cosines.
template <class Key>
void sort_near(Near* near, int64_t count, const Workspace& workspace) {
  if (count < kCountedLeast || count > kCountedMost) return std::sort(near, near + count, Nearer{});
  Key keys[kCountedMost];
  const int64_t padded = (count + kLanes<Key> - 1) / kLanes<Key> * kLanes<Key>;
  for (int64_t c = 0; c < padded; ++c) {
    keys[c] = c < count ? static_cast<Key>(near[c].cosine) : -static_cast<Key>(kNever);
  }
  for (int64_t c = 0; c < count; ++c) {
    const Key own = keys[c];
    LaneIndices<Key> above = {}, equal = {};
    for (int64_t i = 0; i < padded; i += kLanes<Key>) {
      above -= load(keys + i) > own;
      equal -= load(keys + i) == own;
    }
    int64_t place = 0, ties = 0;
    for (int lane = 0; lane < kLanes<Key>; ++lane) place += above[lane], ties += equal[lane];
    if (ties > 1) {
      for (int64_t i = 0; i < count; ++i) place += keys[i] == own && near[i].row < near[c].row;
    }
    workspace.sorted[place] = near[c];
  }
  std::copy(workspace.sorted.get(), workspace.sorted.get() + count, near);
}

// One bit for each lane of a that is at least b's.
RLMREC_FAST_INLINE uint32_t lanes_at_least(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
#else
  const auto above = a >= b;
#  if defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(load_bits<__m256>(&above)));
#  elif defined(__SSE2__)
  return static_cast<uint32_t>(_mm_movemask_ps(load_bits<__m128>(&above)));
#  else
  uint32_t lanes = 0;
  for (int lane = 0; lane < kPanel; ++lane) {
    lanes |= static_cast<uint32_t>(above[lane] & 1) << lane;
  }
  return lanes;
#  endif
#endif
}

// Writes the marked lanes one after another. What is written behind them means nothing, but there
// must be room for all.
RLMREC_FAST_INLINE void store_marked(Vec<float> values, Ints numbers, uint32_t marked,
                                     float* estimates, int32_t* rows) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>(marked);
  _mm512_storeu_ps(estimates, _mm512_maskz_compress_ps(mask, values));
  _mm512_storeu_si512(rows, _mm512_maskz_compress_epi32(mask, load_bits<__m512i>(&numbers)));
#elif defined(__AVX2__)
  const __m256i lanes = marked_first(marked);
  const __m256i kept = _mm256_permutevar8x32_epi32(load_bits<__m256i>(&numbers), lanes);
  store(estimates, _mm256_permutevar8x32_ps(values, lanes));
  std::memcpy(rows, &kept, sizeof kept);
#else
  int count = 0;
  for (int lane = 0; lane < kPanel; ++lane) {
    estimates[count] = values[lane];
    rows[count] = numbers[lane];
    count += static_cast<int>(marked >> lane & 1);
  }
#endif
}

RLMREC_FAST_INLINE int64_t count_at_least(const float* values, int64_t padded, float limit) {
  Ints sum = {};
  for (int64_t i = 0; i < padded; i += kPanel) sum -= load(values + i) >= limit;
  int64_t total = 0;
  for (int lane = 0; lane < kPanel; ++lane) total += sum[lane];
  return total;
}

// A number that at least k of count > k values are not below: nor more than `most`, if there is
// one. There must be room for a panel of values.
float find_kth(float* values, int64_t count, int64_t k, int64_t most) {
  const int64_t padded = (count + kPanel - 1) / kPanel * kPanel;
  std::fill(values + count, values + padded, values[0]);
  Vec<float> lowest = load(values), highest = lowest;
  for (int64_t i = kPanel; i < padded; i += kPanel) {
    const Vec<float> some = load(values + i);
    lowest = some < lowest ? some : lowest;
    highest = some > highest ? some : highest;
  }
  std::fill(values + count, values + padded, -kNever);
  float low = lowest[0], high = highest[0];
  for (int lane = 1; lane < kPanel; ++lane) {
    low = std::min<float>(low, lowest[lane]);
    high = std::max<float>(high, highest[lane]);
  }
  while (true) {
    const float middle = low + (high - low) / 2;
    if (!(middle > low && middle < high)) return low;
    const int64_t found = count_at_least(values, padded, middle);
    (found >= k ? low : high) = middle;
    if (found >= k && found <= most) return low;
  }
}

// Drops what cannot be among the k nearest, judging by estimates, and raises the limit.
template <class T>
void drop_by_estimate(const NeighborArgs<T>& args, int64_t row) {
  const int64_t k = args.k, count = args.counts[row];
  if (count <= k) return;
  const auto [estimates, rows] = collected_by(args, row);
  const double kth = find_kth(estimates, count, k, k + k / 16);
  // k cosines are at least this estimate less a margin, and no other one is above its own and one.
  const float limit = std::max(args.limits[row], next_below(kth - 2.0 * args.margins[row]));
  int32_t kept = 0;
  for (int64_t c = 0; c < count; c += kPanel) {  // behind the last one there is -kNever
    const Vec<float> values = load(estimates + c);
    const uint32_t marked = lanes_at_least(values, broadcast<float>(limit));
    store_marked(values, load_bits<Ints>(rows + c), marked, estimates + kept, rows + kept);
    kept += __builtin_popcount(marked);
  }
  args.limits[row] = limit;
  args.counts[row] = kept;
}

// Keeps the k nearest of what is collected, by cosine.
template <class T>
void drop_by_cosine(const NeighborArgs<T>& args, int64_t row) {
  const Workspace workspace(args);
  Near* near = workspace.near.get();
  const int64_t count = args.counts[row];
  const auto [estimates, rows] = collected_by(args, row);
  for (int64_t c = 0; c < count; ++c) near[c].row = rows[c];
  find_cosines(args, row, workspace.direction.get(), near, count);
  std::nth_element(near, near + (args.k - 1), near + count, Nearer{});
  for (int64_t c = 0; c < args.k; ++c) {
    estimates[c] = static_cast<float>(near[c].cosine);
    rows[c] = near[c].row;
  }
  args.counts[row] = static_cast<int32_t>(args.k);
  const double kth = near[args.k - 1].cosine;
  args.limits[row] = std::max(args.limits[row], next_below(kth - args.margins[row]));
}

// Once a row has no room for another panel.
template <class T>
__attribute__((noinline, cold)) void make_room(const NeighborArgs<T>& args, int64_t row) {
  drop_by_estimate(args, row);
  // Where margins leave too many, such as of equal rows, only cosines can tell.
  const int64_t most = args.capacity - kCollectedLanes;
  if (args.counts[row] > (args.k + most) / 2) drop_by_cosine(args, row);
}

// Collects a pair for one of its rows.
template <class T>
RLMREC_FAST_INLINE void take(const NeighborArgs<T>& args, int64_t row, int64_t other,
                             float estimate) {
  const auto [estimates, rows] = collected_by(args, row);
  const int32_t count = args.counts[row];
  estimates[count] = estimate;
  rows[count] = static_cast<int32_t>(other);
  args.counts[row] = count + 1;
  if (count >= args.capacity - kCollectedLanes) make_room(args, row);
}

// Calls work(begin, end) for every run that begins in [first, last): of numbers in falling order,
// each at most `apart` below the one before.
template <class Work>
void for_runs(const Near* near, int64_t first, int64_t last, int64_t count, double apart,
              Work work) {
  for (int64_t begin = first, end; begin < last; begin = end) {
    for (end = begin + 1; end < count && near[end - 1].cosine - near[end].cosine <= apart;) ++end;
    if (end - begin > 1) work(begin, end);
  }
}

// The k nearest of what a row has collected. Estimates that lie further apart than both margins
// tell rows apart; those that do not form runs, of which cosines are computed: of float32 tables in
// float32 first, which leaves few runs.
template <class T>
void write_nearest(const NeighborArgs<T>& args, int64_t row, const Workspace& workspace) {
  Near* near = workspace.near.get();
  drop_by_estimate(args, row);
  const auto [estimates, rows] = collected_by(args, row);
  const int64_t count = args.counts[row], k = args.k;
  for (int64_t c = 0; c < count; ++c) near[c] = {estimates[c], rows[c]};
  sort_near<float>(near, count, workspace);
  const auto settle = [&](int64_t begin, int64_t end) {
    find_cosines(args, row, workspace.direction.get(), near + begin, end - begin);
    sort_near<double>(near + begin, end - begin, workspace);
  };
  for_runs(near, 0, k, count, 2.0 * args.margins[row], [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<T, float>) {
      find_singles(args, row, near + begin, end - begin);
      sort_near<float>(near + begin, end - begin, workspace);
      for_runs(near, begin, std::min(k, end), end, 2.0 * single_margin(args.stride), settle);
    } else {
      settle(begin, end);
    }
  });
  int64_t* out = args.neighbors + row * args.width;
  for (int64_t j = 0; j < k; ++j) out[j] = near[j].row;
}

}  // namespace
}  // namespace rlmrec_fast::RLMREC_FAST_ISA
