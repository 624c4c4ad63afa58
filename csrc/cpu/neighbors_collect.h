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

// What a place has collected: estimates, then as many places.
struct Collected {
  float* estimates;
  int32_t* places;
};

struct Near {
  double cosine;
  int32_t row, place;
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
Collected collected_by(const NeighborArgs<T>& args, int64_t place) {
  float* estimates = static_cast<float*>(args.collected) + place * 2 * args.capacity;
  // Nothing else has been stored there, and places are as large as estimates.
  return {estimates, reinterpret_cast<int32_t*>(estimates + args.capacity)};
}

template <class T>
void prefetch_direction(const NeighborArgs<T>& args, int64_t place) {
  const T* direction = args.directions + place * args.stride;
  for (int64_t c = 0; c < args.stride; c += kLine / static_cast<int64_t>(sizeof(T))) {
    __builtin_prefetch(direction + c);
  }
}

// The cosines of a place with those that are named in near.
template <class T>
void find_cosines(const NeighborArgs<T>& args, int64_t place, double* wide, Near* near,
                  int64_t count) {
  const T* direction = args.directions + place * args.stride;
  std::copy(direction, direction + args.stride, wide);
  for (int64_t c = 0; c < count; ++c) {
    // They lie anywhere, so that the processor cannot foresee them.
    if (c + kAhead < count) prefetch_direction(args, near[c + kAhead].place);
    near[c].cosine = dot(wide, args.directions + near[c].place * args.stride, args.stride);
  }
}

// The same in float32, within single_margin. Of several at once: one sum waits for itself.
void find_singles(const NeighborArgs<float>& args, int64_t place, Near* near, int64_t count) {
  constexpr int kAtOnce = 4, kSums = kDirectionLanes / kPanel;
  const float* direction = args.directions + place * args.stride;
  const auto direction_of = [&](int64_t c) {
    return args.directions + near[std::min(c, count - 1)].place * args.stride;
  };
  for (int64_t c = 0; c < count; c += kAtOnce) {
    const float *others[kAtOnce], *next[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      others[i] = direction_of(c + i);
      next[i] = direction_of(c + i + kAtOnce);
    }
    Vec<float> sums[kAtOnce][kSums] = {};
    for (int64_t column = 0; column < args.stride; column += kDirectionLanes) {
      static_assert(kDirectionLanes * sizeof(float) == kLine);
#pragma GCC unroll 4
      for (int i = 0; i < kAtOnce; ++i) __builtin_prefetch(next[i] + column);
#pragma GCC unroll 4
      for (int s = 0; s < kSums; ++s) {
        const Vec<float> own = load(direction + column + s * kPanel);
#pragma GCC unroll 4
        for (int i = 0; i < kAtOnce; ++i) {
          sums[i][s] += own * load(others[i] + column + s * kPanel);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kAtOnce; ++i) {
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
  constexpr int kHalf = 4 * sizeof(Key);  // bits: a lane has room for two counts
  Key keys[kCountedMost];
  const int64_t padded = (count + kLanes<Key> - 1) / kLanes<Key> * kLanes<Key>;
  for (int64_t c = 0; c < padded; ++c) {
    keys[c] = c < count ? static_cast<Key>(near[c].cosine) : -static_cast<Key>(kNever);
  }
  for (int64_t c = 0; c < count; ++c) {
    const Key own = keys[c];
    LaneIndices<Key> above = {}, not_below = {};
    for (int64_t i = 0; i < padded; i += kLanes<Key>) {
      above -= load(keys + i) > own;
      not_below -= load(keys + i) >= own;
    }
    const LaneIndices<Key> lanes = above + (not_below << kHalf);
    int64_t both = 0;
    for (int lane = 0; lane < kLanes<Key>; ++lane) both += lanes[lane];
    int64_t rank = both & ((int64_t{1} << kHalf) - 1);
    if ((both >> kHalf) - rank > 1) {
      for (int64_t i = 0; i < count; ++i) rank += keys[i] == own && near[i].row < near[c].row;
    }
    workspace.sorted[rank] = near[c];
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
                                     float* estimates, int32_t* places) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>(marked);
  _mm512_storeu_ps(estimates, _mm512_maskz_compress_ps(mask, values));
  _mm512_storeu_si512(places, _mm512_maskz_compress_epi32(mask, load_bits<__m512i>(&numbers)));
#elif defined(__AVX2__)
  const __m256i lanes = marked_first(marked);
  const __m256i kept = _mm256_permutevar8x32_epi32(load_bits<__m256i>(&numbers), lanes);
  store(estimates, _mm256_permutevar8x32_ps(values, lanes));
  std::memcpy(places, &kept, sizeof kept);
#else
  int count = 0;
  for (int lane = 0; lane < kPanel; ++lane) {
    estimates[count] = values[lane];
    places[count] = numbers[lane];
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

// A number that at least k of count >= k values are not below: nor more than `most`, if there is
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

// The limit that the rank-th highest of a place's estimates sets: so many cosines are at least that
// estimate less a margin, and no other one is above its own and one.
template <class T>
float find_limit(const NeighborArgs<T>& args, int64_t place, int64_t rank) {
  const int64_t count = args.counts[place];
  if (count < rank) return -kNever;
  float* estimates = collected_by(args, place).estimates;
  const double lowest = find_kth(estimates, count, rank, rank + rank / 32);
  return next_below(lowest - 2.0 * args.margins[place]);
}

// Drops what lies below a limit.
template <class T>
void keep_above(const NeighborArgs<T>& args, int64_t place, float limit) {
  const int64_t count = args.counts[place];
  const auto [estimates, places] = collected_by(args, place);
  std::fill(estimates + count, estimates + (count + kPanel - 1) / kPanel * kPanel, -kNever);
  int32_t kept = 0;
  for (int64_t c = 0; c < count; c += kPanel) {
    const Vec<float> values = load(estimates + c);
    const uint32_t marked = lanes_at_least(values, broadcast<float>(limit));
    store_marked(values, load_bits<Ints>(places + c), marked, estimates + kept, places + kept);
    kept += __builtin_popcount(marked);
  }
  args.limits[place] = limit;
  args.counts[place] = kept;
}

// Writes what a place has collected.
template <class T>
int64_t read_collected(const NeighborArgs<T>& args, int64_t place, Near* near) {
  const int32_t* places = collected_by(args, place).places;
  const int64_t count = args.counts[place];
  for (int64_t c = 0; c < count; ++c) near[c] = {0, args.order[places[c]], places[c]};
  return count;
}

// Keeps the k nearest of what is collected, by cosine.
template <class T>
void drop_by_cosine(const NeighborArgs<T>& args, int64_t place) {
  const Workspace workspace(args);
  Near* near = workspace.near.get();
  const int64_t count = read_collected(args, place, near);
  find_cosines(args, place, workspace.direction.get(), near, count);
  std::nth_element(near, near + (args.k - 1), near + count, Nearer{});
  const auto [estimates, places] = collected_by(args, place);
  for (int64_t c = 0; c < args.k; ++c) {
    estimates[c] = static_cast<float>(near[c].cosine);
    places[c] = near[c].place;
  }
  args.counts[place] = static_cast<int32_t>(args.k);
  const float limit = next_below(near[args.k - 1].cosine - args.margins[place]);
  // Whatever a guess kept out is below the kth of these: it was right.
  if (limit >= args.guesses[place]) args.guesses[place] = -kNever;
  args.limits[place] = std::max(args.limits[place], limit);
}

// How many of the k nearest of a place are among those that it has been compared with: hardly ever
// more (once in a thousand times), if their order is random.
template <class T>
int64_t likely_rank(const NeighborArgs<T>& args, int64_t place) {
  int64_t compared = args.compared[place / kNeighborBlock];
  // Without a limit it has collected all of them, but for a place that is screened once more, when
  // nothing is left to guess.
  if (args.limits[place] == -kNever && compared < args.num_rows) compared = args.counts[place];
  const double mean = static_cast<double>(compared) / static_cast<double>(args.num_rows) *
                      static_cast<double>(args.k);
  const double rank = mean + 3 * std::sqrt(mean) + 4;
  return rank < static_cast<double>(args.k) ? static_cast<int64_t>(rank) : args.k;
}

// Once a place has no room for another panel.
template <class T>
__attribute__((noinline, cold)) void make_room(const NeighborArgs<T>& args, int64_t place) {
  const int64_t rank = likely_rank(args, place);
  const float limit = find_limit(args, place, rank);
  if (limit > args.limits[place]) {
    keep_above(args, place, limit);
    if (rank < args.k) args.guesses[place] = limit;
  }
  // Where margins leave too many, such as of equal rows, only cosines can tell.
  const int64_t most = args.capacity - kCollectedLanes;
  if (args.counts[place] > (args.k + most) / 2) drop_by_cosine(args, place);
}

// Collects a pair for one of its places.
template <class T>
RLMREC_FAST_INLINE void take(const NeighborArgs<T>& args, int64_t place, int64_t other,
                             float estimate) {
  const auto [estimates, places] = collected_by(args, place);
  const int32_t count = args.counts[place];
  estimates[count] = estimate;
  places[count] = static_cast<int32_t>(other);
  args.counts[place] = count + 1;
  if (count >= args.capacity - kCollectedLanes) make_room(args, place);
}

// Calls work(begin, end) for every run that begins among the first k: of numbers in falling order,
// each at most `apart` below the one before.
template <class Work>
void for_runs(const Near* near, int64_t k, int64_t count, double apart, Work work) {
  for (int64_t begin = 0, end; begin < k; begin = end) {
    for (end = begin + 1; end < count && near[end - 1].cosine - near[end].cosine <= apart;) ++end;
    if (end - begin > 1) work(begin, end);
  }
}

// The k nearest of what a place has collected. Of float32 tables cosines are computed in float32
// first: those that lie further apart than both can be wrong tell rows apart, and few do not.
template <class T>
void write_nearest(const NeighborArgs<T>& args, int64_t place, const Workspace& workspace,
                   int64_t* out) {
  Near* near = workspace.near.get();
  const int64_t count = read_collected(args, place, near);
  const auto settle = [&](int64_t begin, int64_t end) {
    find_cosines(args, place, workspace.direction.get(), near + begin, end - begin);
    sort_near<double>(near + begin, end - begin, workspace);
  };
  if constexpr (std::is_same_v<T, float>) {
    find_singles(args, place, near, count);
    sort_near<float>(near, count, workspace);
    for_runs(near, args.k, count, 2.0 * single_margin(args.stride), settle);
  } else {
    settle(0, count);
  }
  for (int64_t j = 0; j < args.k; ++j) out[j] = near[j].row;
}

}  // namespace
}  // namespace rlmrec_fast::RLMREC_FAST_ISA
