#include "cpu/neighbors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Rows whose estimates with kPanels panels of rows stay in registers. Sums of integers are ready
// after one cycle, so a few of them suffice.
#if defined(__AVX512F__)
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif
constexpr int kPanels = 2;
constexpr int kPanel = kLanes<float>;
constexpr int kColumns = kPanels * kPanel;
static_assert(kNeighborBlock % kColumns == 0 && kPanel % kRows == 0);

// Neither an element nor a sum of products may leave its integers. No sum of some products is
// greater than the lengths of both rows multiplied, so those must stay below the root of 2^31.
constexpr double kLargestElement = 32767, kLargestLength = 46340;

constexpr float kNever = std::numeric_limits<float>::infinity();

using Ints = typename VectorOf<int32_t, kVectorBytes>::type;
using Shorts = typename VectorOf<int16_t, kVectorBytes>::type;

struct Collected {
  float estimate;
  int32_t row;
};
static_assert(sizeof(Collected) == kCollectedBytes);

struct Exact {
  double cosine;
  int32_t row;
};

struct HigherEstimate {
  bool operator()(const Collected& a, const Collected& b) const { return a.estimate > b.estimate; }
};
struct Nearer {
  bool operator()(const Exact& a, const Exact& b) const {
    return a.cosine > b.cosine || (a.cosine == b.cosine && a.row < b.row);
  }
};
struct AtLeast {
  float limit;
  bool operator()(const Collected& pair) const { return pair.estimate >= limit; }
};

// kLanes<double> elements, widened.
RLMREC_FAST_INLINE Vec<double> load_doubles(const double* p) { return load(p); }
RLMREC_FAST_INLINE Vec<double> load_doubles(const float* p) {
  using Half = typename VectorOf<float, kVectorBytes / 2>::type;
  return __builtin_convertvector(load_bits<Half>(p), Vec<double>);
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

int64_t even(int64_t d) { return (d + 1) / 2 * 2; }

template <class T>
Collected* collected_by(const NeighborArgs<T>& args, int64_t row) {
  return static_cast<Collected*>(args.collected) + row * args.capacity;
}

// The cosines of a row with those that it has collected. wide has room for a direction.
template <class T>
void find_cosines(const NeighborArgs<T>& args, int64_t row, double* wide, Exact* found) {
  const T* direction = args.directions + row * args.stride;
  std::copy(direction, direction + args.stride, wide);
  const Collected* pairs = collected_by(args, row);
  for (int64_t c = 0; c < args.counts[row]; ++c) {
    const int32_t other = pairs[c].row;
    found[c] = {dot(wide, args.directions + other * args.stride, args.stride), other};
  }
}

// Drops what cannot be among the k nearest, judging by estimates, and raises the limit.
template <class T>
void drop_by_estimate(const NeighborArgs<T>& args, int64_t row) {
  Collected* pairs = collected_by(args, row);
  const int64_t k = args.k, count = args.counts[row];
  if (count <= k) return;
  std::nth_element(pairs, pairs + (k - 1), pairs + count, HigherEstimate{});
  // k cosines are at least this estimate less a margin, and no other one is above its own and one.
  const double kth = pairs[k - 1].estimate, margin = args.margins[row];
  args.limits[row] = std::max(args.limits[row], next_below(kth - 2 * margin));
  Collected* end = std::partition(pairs + k, pairs + count, AtLeast{args.limits[row]});
  args.counts[row] = static_cast<int32_t>(end - pairs);
}

// Keeps the k nearest of what is collected, by cosine.
template <class T>
void drop_by_cosine(const NeighborArgs<T>& args, int64_t row) {
  const std::unique_ptr<double[]> wide(new double[args.stride]);
  const std::unique_ptr<Exact[]> found(new Exact[args.counts[row]]);
  find_cosines(args, row, wide.get(), found.get());
  std::nth_element(found.get(), found.get() + (args.k - 1), found.get() + args.counts[row],
                   Nearer{});
  Collected* pairs = collected_by(args, row);
  for (int64_t c = 0; c < args.k; ++c) {
    pairs[c] = {static_cast<float>(found[c].cosine), found[c].row};
  }
  args.counts[row] = static_cast<int32_t>(args.k);
  const double kth = found[args.k - 1].cosine;
  args.limits[row] = std::max(args.limits[row], next_below(kth - args.margins[row]));
}

template <class T>
void collect(const NeighborArgs<T>& args, int64_t row, int64_t other, float estimate) {
  if (!(estimate >= args.limits[row])) return;  // it rose within this tile
  collected_by(args, row)[args.counts[row]++] = {estimate, static_cast<int32_t>(other)};
  if (args.counts[row] < args.capacity) return;
  drop_by_estimate(args, row);
  // Where margins leave too many, such as of equal rows, only cosines can tell.
  if (args.counts[row] - args.k > (args.capacity - args.k) / 2) drop_by_cosine(args, row);
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

// Offers the pairs of kRows rows and kColumns others to both sides; those within one block once.
template <class T>
void collect_tile(const NeighborArgs<T>& args, const float (&estimates)[kRows][kColumns],
                  int64_t row, int64_t column) {
  const int64_t rows = std::min<int64_t>(kRows, args.num_rows - row);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t own = row + i;
    for (int p = 0; p < kPanels; ++p) {
      const int64_t first = column + p * kPanel;
      // Of the panel's rows only those of higher number than this one, and none of the padding.
      const int64_t end = std::clamp<int64_t>(args.num_rows - first, 0, kPanel);
      const int64_t begin = std::clamp<int64_t>(own + 1 - first, 0, kPanel);
      const auto wanted =
          static_cast<uint32_t>((uint64_t{1} << end) - 1) & ~((uint32_t{1} << begin) - 1);
      const Vec<float> values = load(estimates[i] + p * kPanel);
      uint32_t ours = wanted & lanes_at_least(values, broadcast<float>(args.limits[own]));
      uint32_t theirs = wanted & lanes_at_least(values, load(args.limits + first));
      for (; ours != 0; ours &= ours - 1) {
        const int lane = __builtin_ctz(ours);
        collect(args, own, first + lane, estimates[i][p * kPanel + lane]);
      }
      for (; theirs != 0; theirs &= theirs - 1) {
        const int lane = __builtin_ctz(theirs);
        collect(args, first + lane, own, estimates[i][p * kPanel + lane]);
      }
    }
  }
}

// sum + a[0] * b[0] + a[1] * b[1] of neighbouring 16-bit lanes.
RLMREC_FAST_INLINE Ints add_products(Ints sum, Shorts a, Shorts b) {
#if defined(__AVX512F__)
  const __m512i products = _mm512_madd_epi16(load_bits<__m512i>(&a), load_bits<__m512i>(&b));
  return sum + load_bits<Ints>(&products);
#elif defined(__AVX2__)
  const __m256i products = _mm256_madd_epi16(load_bits<__m256i>(&a), load_bits<__m256i>(&b));
  return sum + load_bits<Ints>(&products);
#elif defined(__SSE2__)
  const __m128i products = _mm_madd_epi16(load_bits<__m128i>(&a), load_bits<__m128i>(&b));
  return sum + load_bits<Ints>(&products);
#else
  for (int lane = 0; lane < kPanel; ++lane) {
    sum[lane] += int32_t{a[2 * lane]} * b[2 * lane] + int32_t{a[2 * lane + 1]} * b[2 * lane + 1];
  }
  return sum;
#endif
}

RLMREC_FAST_INLINE Shorts broadcast_pair(const int16_t* pair) {
  int32_t both;
  std::memcpy(&both, pair, 4);
  const Ints words = both - Ints{};
  return load_bits<Shorts>(&words);
}

// Sums of the products of kRows rows with kPanels panels. Panels hold pairs of columns, row by row:
// [pairs][kPanel][2].
RLMREC_FAST_INLINE void multiply(const int16_t* rows, const int16_t* panels, int64_t pairs,
                                 Ints (&sums)[kRows][kPanels]) {
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) sums[i][0] = sums[i][1] = Ints{};
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const auto low = load_bits<Shorts>(panels + pair * kPanel * 2);
    const auto high = load_bits<Shorts>(panels + (pairs + pair) * kPanel * 2);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Shorts own = broadcast_pair(rows + (pair * kPanel + i) * 2);
      sums[i][0] = add_products(sums[i][0], own, low);
      sums[i][1] = add_products(sums[i][1], own, high);
    }
  }
}

// All cosines of a zero row are equal.
template <class T>
void write_first_rows(const NeighborArgs<T>& args, int64_t row) {
  int64_t* out = args.neighbors + row * args.width;
  for (int64_t j = 0; j < args.k; ++j) out[j] = j < row ? j : j + 1;
}

}  // namespace

template <class T>
int64_t find_directions(const T* table, int64_t table_stride, int64_t d, int64_t begin, int64_t end,
                        T* directions, int64_t stride) {
  int64_t wrong = -1;
  for (int64_t row = begin; row < end; ++row) {
    const T* values = table + row * table_stride;
    T* out = directions + row * stride;
    T size = 0;
    bool finite = true;
    for (int64_t c = 0; c < d; ++c) {
      const T magnitude = std::abs(values[c]);
      finite &= magnitude <= std::numeric_limits<T>::max();
      size = magnitude > size ? magnitude : size;
    }
    if (!finite && wrong < 0) wrong = row;
    const bool zero = !finite || size == 0;
    // The largest element first: squares of large elements would overflow, of small ones vanish.
    for (int64_t c = 0; c < d; ++c) out[c] = zero ? T{0} : values[c] / size;
    std::fill(out + d, out + stride, T{0});
    const double length = zero ? 1.0 : std::sqrt(dot(out, out, stride));
    for (int64_t c = 0; c < d; ++c) out[c] = static_cast<T>(out[c] / length);
  }
  return wrong;
}

template <class T>
void measure_block(const NeighborArgs<T>& args, int64_t block) {
  const double center = dot(args.mean, args.mean, args.stride);
  for (int64_t row = block * kNeighborBlock; row < (block + 1) * kNeighborBlock; ++row) {
    args.shifts[row] = args.radii[row] = args.peaks[row] = 0;
    if (row >= args.num_rows) continue;
    const T* direction = args.directions + row * args.stride;
    Vec<double> squares = {}, peaks = {};
    for (int64_t c = 0; c < args.stride; c += kLanes<double>) {
      const Vec<double> value = load_doubles(direction + c) - load(args.mean + c);
      const Vec<double> magnitude = value < 0 ? -value : value;
      squares += value * value;
      peaks = magnitude > peaks ? magnitude : peaks;
    }
    double peak = 0;
    for (int lane = 0; lane < kLanes<double>; ++lane) peak = std::max<double>(peak, peaks[lane]);
    // x.y = (x - m).(y - m) + (x.m - m.m / 2) + (y.m - m.m / 2)
    args.shifts[row] = static_cast<float>(dot(args.mean, direction, args.stride) - center / 2);
    args.radii[row] = next_above(std::sqrt(horizontal_sum<double>(squares)));
    args.peaks[row] = next_above(peak);
  }
}

template <class T>
void start_screen(NeighborArgs<T>& args) {
  double radius = 0, peak = 0, shift = 0;
  for (int64_t row = 0; row < args.num_rows; ++row) {
    radius = std::max<double>(radius, args.radii[row]);
    peak = std::max<double>(peak, args.peaks[row]);
    shift = std::max<double>(shift, std::abs(args.shifts[row]));
  }
  // Rounding to integers makes a row longer or shorter by at most this many steps.
  const double rounding = 0.5001 * std::sqrt(static_cast<double>(args.d)) + 1;
  const double step = std::max(radius / (kLargestLength - rounding), peak / kLargestElement);
  args.step = step > 0 ? step : 1;
  const double lost = rounding * args.step, longest = radius + lost;
  for (int64_t row = 0; row < args.num_rows; ++row) {
    // Rounded rows: x.y - x'.y' = (x - x').y' + x.(y - y'). Then four roundings of the estimate;
    // 2^-22 is more than what remains: those of shifts, and of exact cosines when kept as float32.
    const double margin =
        lost * (longest + args.radii[row]) + 0x1p-22 * (longest * longest + 2 * shift) + 0x1p-22;
    args.margins[row] = next_above(margin);
    const T* direction = args.directions + row * args.stride;
    const bool zero =
        std::all_of(direction, direction + args.d, [](T value) { return value == 0; });
    args.limits[row] = zero ? kNever : -kNever;
    args.counts[row] = 0;
  }
  std::fill(args.limits + args.num_rows,
            args.limits + neighbor_blocks(args.num_rows) * kNeighborBlock, kNever);
}

template <class T>
void pack_block(const NeighborArgs<T>& args, int64_t block) {
  const int64_t columns = even(args.d);
  const double scale = 1 / args.step;
  for (int64_t row = block * kNeighborBlock; row < (block + 1) * kNeighborBlock; ++row) {
    int16_t* out = args.integers + row / kPanel * kPanel * columns + row % kPanel * 2;
    const T* direction = args.directions + std::min(row, args.num_rows - 1) * args.stride;
    const double kept = row < args.num_rows ? scale : 0;
    for (int64_t c = 0; c < columns; ++c) {
      // Padding of directions and of the mean is zero. No element is larger than kLargestElement.
      const double value = c < args.d ? (direction[c] - args.mean[c]) * kept : 0;
      out[c / 2 * kPanel * 2 + c % 2] = static_cast<int16_t>(value + (value < 0 ? -0.5 : 0.5));
    }
  }
}

template <class T>
void screen_blocks(const NeighborArgs<T>& args, int64_t first, int64_t second) {
  const int64_t columns = even(args.d);
  const int64_t first_row = first * kNeighborBlock, first_column = second * kNeighborBlock;
  const int64_t last_row = std::min(args.num_rows, first_row + kNeighborBlock);
  const int64_t last_column = std::min(args.num_rows, first_column + kNeighborBlock);
  const Vec<float> scale = broadcast<float>(static_cast<float>(args.step * args.step));
  alignas(kVectorBytes) float estimates[kRows][kColumns];
  // Panels stay in the first cache while all rows pass by.
  for (int64_t column = first_column; column < last_column; column += kColumns) {
    // Within one block, a pair belongs to its row of lower number.
    const int64_t row_end = first == second ? std::min(last_row, column + kColumns) : last_row;
    const Vec<float> low = load(args.shifts + column), high = load(args.shifts + column + kPanel);
    for (int64_t row = first_row; row < row_end; row += kRows) {
      Ints sums[kRows][kPanels];
      multiply(args.integers + row / kPanel * kPanel * columns + row % kPanel * 2,
               args.integers + column * columns, columns / 2, sums);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const Vec<float> own = broadcast<float>(args.shifts[row + i]);
        store(estimates[i], __builtin_convertvector(sums[i][0], Vec<float>) * scale + (own + low));
        store(estimates[i] + kPanel,
              __builtin_convertvector(sums[i][1], Vec<float>) * scale + (own + high));
      }
      collect_tile(args, estimates, row, column);
    }
  }
}

template <class T>
void write_neighbors(const NeighborArgs<T>& args, int64_t begin, int64_t end) {
  const std::unique_ptr<double[]> wide(new double[args.stride]);
  const std::unique_ptr<Exact[]> found(new Exact[args.capacity]);
  for (int64_t row = begin; row < end; ++row) {
    int64_t* out = args.neighbors + row * args.width;
    std::fill(out + args.k, out + args.width, int64_t{-1});
    if (args.limits[row] == kNever) {
      write_first_rows(args, row);
      continue;
    }
    drop_by_estimate(args, row);
    find_cosines(args, row, wide.get(), found.get());
    std::partial_sort(found.get(), found.get() + args.k, found.get() + args.counts[row], Nearer{});
    for (int64_t j = 0; j < args.k; ++j) out[j] = found[j].row;
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                             \
  template int64_t find_directions(const T*, int64_t, int64_t, int64_t, int64_t, T*, int64_t); \
  template void measure_block(const NeighborArgs<T>&, int64_t);                                \
  template void start_screen(NeighborArgs<T>&);                                                \
  template void pack_block(const NeighborArgs<T>&, int64_t);                                   \
  template void screen_blocks(const NeighborArgs<T>&, int64_t, int64_t);                       \
  template void write_neighbors(const NeighborArgs<T>&, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
