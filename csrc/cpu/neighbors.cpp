#include "cpu/neighbors.h"

#include "cpu/lanes.h"
#include "cpu/neighbors_collect.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Rows whose sums with kPanels panels stay in registers. Few rows: to spread an integer over a
// vector costs more than to load one.
#if defined(__AVX512F__)
constexpr int kRows = 4;
#else
constexpr int kRows = 2;
#endif
constexpr int kPanels = 4;
constexpr int kColumns = kPanels * kPanel;
static_assert(kPanels == 4 && kNeighborBlock % kColumns == 0 && kPanel % kRows == 0);

// Columns of which the panels' part stays in the first cache while all rows pass by.
constexpr int64_t kChunk = (24 << 10) / (kColumns * sizeof(int16_t));
// Neither an element nor a sum of products may leave its integers. No sum of some products is
// greater than the lengths of both rows multiplied, so those must stay below the root of 2^31.
constexpr double kLargestElement = 32767, kLargestLength = 46340;

using Shorts = typename VectorOf<int16_t, kVectorBytes>::type;
// Sums of integers until all columns have been added.
using Estimates = float[kNeighborBlock][kColumns];

int64_t even(int64_t d) { return (d + 1) / 2 * 2; }

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

// A vector that stays in its register, where gcc would load it again for every use.
RLMREC_FAST_INLINE Shorts load_once(const int16_t* place) {
  Shorts vector = load_bits<Shorts>(place);
#ifdef __x86_64__
  asm("" : "+v"(vector));
#endif
  return vector;
}

RLMREC_FAST_INLINE Shorts broadcast_pair(const int16_t* pair) {
  int32_t both;
  std::memcpy(&both, pair, 4);
  const Ints words = both - Ints{};
  return load_bits<Shorts>(&words);
}

// Adds the products of kRows rows with kPanels panels, which are `apart`. Panels hold pairs of
// columns, row by row: [pairs][kPanel][2].
RLMREC_FAST_INLINE void multiply(const int16_t* rows, const int16_t* panels, int64_t apart,
                                 int64_t pairs, Ints (&sums)[kRows][kPanels]) {
#pragma GCC unroll 2
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const int16_t* place = panels + pair * kPanel * 2;
    const Shorts values[kPanels] = {load_once(place), load_once(place + apart),
                                    load_once(place + 2 * apart), load_once(place + 3 * apart)};
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const Shorts own = broadcast_pair(rows + (pair * kPanel + i) * 2);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sums[i][p] = add_products(sums[i][p], own, values[p]);
    }
  }
}

// Estimates of the places [row, row_end) with kPanels panels from column on.
template <class T>
void estimate_columns(const NeighborArgs<T>& args, int64_t row, int64_t row_end, int64_t column,
                      Estimates& estimates) {
  const int64_t columns = even(args.d);
  const Vec<float> scale = broadcast<float>(static_cast<float>(args.step * args.step));
  for (int64_t chunk = 0; chunk < columns; chunk += kChunk) {
    const int64_t pairs = std::min(kChunk, columns - chunk) / 2;
    const bool last = chunk + kChunk >= columns;
    const int16_t* panels = args.integers + column * columns + chunk * kPanel;
    for (int64_t r = row; r < row_end; r += kRows) {
      float (*out)[kColumns] = estimates + (r - row);
      Ints sums[kRows][kPanels] = {};
      if (chunk > 0) std::memcpy(sums, out, sizeof sums);
      multiply(args.integers + r / kPanel * kPanel * columns + chunk * kPanel + r % kPanel * 2,
               panels, columns * kPanel, pairs, sums);
      if (!last) {
        std::memcpy(out, sums, sizeof sums);
        continue;
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const Vec<float> own = broadcast<float>(args.shifts[r + i]);
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) {
          const Vec<float> sum = __builtin_convertvector(sums[i][p], Vec<float>);
          const Vec<float> shift = own + load(args.shifts + column + p * kPanel);
          store(out[i] + p * kPanel, shift + sum * scale);
        }
      }
    }
  }
}

// One bit for each of the places [first, first + kPanel) that lies in [begin, end).
RLMREC_FAST_INLINE uint32_t lanes_within(int64_t first, int64_t begin, int64_t end) {
  const int64_t low = std::clamp<int64_t>(begin - first, 0, kPanel);
  const int64_t high = std::clamp<int64_t>(end - first, low, kPanel);
  return static_cast<uint32_t>((uint64_t{1} << high) - (uint64_t{1} << low));
}

// Offers the rows of two panels, of which the first is not the later one, to each other. kWhole:
// the panels are different ones, of rows that are all there.
template <bool kWhole, class T>
RLMREC_FAST_INLINE void offer_panels(const NeighborArgs<T>& args, int64_t row, int64_t column,
                                     const float* estimates) {
  constexpr int kTogether = std::min(kPanel, 64 / kPanel);  // rows whose pairs are bits of a word
  const Vec<float> column_limits = load(args.limits + column);
  for (int64_t first = 0; first < kPanel; first += kTogether) {
    uint64_t by_row = 0, by_column = 0;
#pragma GCC unroll 8
    for (int i = 0; i < kTogether; ++i) {
      const int64_t own = row + first + i;
      const Vec<float> values = load(estimates + (first + i) * kColumns);
      const uint64_t wanted = kWhole ? ~uint64_t{0} : lanes_within(column, own + 1, args.num_rows);
      by_row |= (wanted & lanes_at_least(values, broadcast<float>(args.limits[own])))
                << (i * kPanel);
      by_column |= (wanted & lanes_at_least(values, column_limits)) << (i * kPanel);
    }
    for (; by_row != 0; by_row &= by_row - 1) {
      const int64_t place = __builtin_ctzll(by_row), i = first + place / kPanel, j = place % kPanel;
      take(args, row + i, column + j, estimates[i * kColumns + j]);
    }
    for (; by_column != 0; by_column &= by_column - 1) {
      const int64_t place = __builtin_ctzll(by_column), i = first + place / kPanel,
                    j = place % kPanel;
      take(args, column + j, row + i, estimates[i * kColumns + j]);
    }
  }
}

// All cosines of a zero row are equal.
void write_first_rows(int64_t row, int64_t k, int64_t* out) {
  for (int64_t j = 0; j < k; ++j) out[j] = j < row ? j : j + 1;
}

template <class T>
bool is_zero(const NeighborArgs<T>& args, int64_t place) {
  const T* direction = args.directions + place * args.stride;
  return std::all_of(direction, direction + args.d, [](T value) { return value == 0; });
}

// Collects for one place alone, with all others.
template <class T>
void screen_place(const NeighborArgs<T>& args, int64_t place) {
  alignas(kVectorBytes) Estimates estimates;
  const int64_t first = place / kRows * kRows;
  for (int64_t column = 0; column < args.num_rows; column += kColumns) {
    estimate_columns(args, first, first + kRows, column, estimates);
    const int64_t end = std::min(args.num_rows, column + kColumns);
    for (int64_t other = column; other < end; ++other) {
      const float estimate = estimates[place - first][other - column];
      if (other != place && estimate >= args.limits[place]) take(args, place, other, estimate);
    }
  }
}

}  // namespace

template <class T>
int64_t find_directions(const T* table, int64_t table_stride, int64_t d, const int32_t* order,
                        int64_t begin, int64_t end, T* directions, int64_t stride) {
  int64_t wrong = -1;
  for (int64_t place = begin; place < end; ++place) {
    const int64_t row = order[place];
    const T* values = table + row * table_stride;
    T* out = directions + place * stride;
    T size = 0;
    bool finite = true;
    for (int64_t c = 0; c < d; ++c) {
      const T magnitude = std::abs(values[c]);
      finite &= magnitude <= std::numeric_limits<T>::max();
      size = magnitude > size ? magnitude : size;
    }
    if (!finite && (wrong < 0 || row < wrong)) wrong = row;
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
  // Rounding makes a row longer by at most half the root of its columns.
  const double longest = kLargestLength - std::sqrt(static_cast<double>(args.d)) / 2 - 1;
  for (int64_t row = block * kNeighborBlock; row < (block + 1) * kNeighborBlock; ++row) {
    args.shifts[row] = args.radii[row] = args.steps[row] = 0;
    if (row >= args.num_rows) continue;
    const T* direction = args.directions + row * args.stride;
    Vec<double> squares = {}, peaks = {};
    for (int64_t c = 0; c < args.stride; c += kLanes<double>) {
      const Vec<double> value = load_doubles(direction + c) - load(args.mean + c);
      const Vec<double> magnitude = value < 0 ? -value : value;
      squares += value * value;
      peaks = magnitude > peaks ? magnitude : peaks;
    }
    const double length = std::sqrt(horizontal_sum<double>(squares));
    double peak = 0;
    for (int lane = 0; lane < kLanes<double>; ++lane) peak = std::max<double>(peak, peaks[lane]);
    // x.y = (x - m).(y - m) + (x.m - m.m / 2) + (y.m - m.m / 2)
    args.shifts[row] = static_cast<float>(dot(args.mean, direction, args.stride) - center / 2);
    args.radii[row] = next_above(length);
    args.steps[row] = next_above(std::max(peak / kLargestElement, length / longest));
  }
}

template <class T>
void choose_step(NeighborArgs<T>& args) {
  args.step = *std::max_element(args.steps, args.steps + args.num_rows);
  if (args.step == 0) args.step = 1;
}

template <class T>
void pack_block(const NeighborArgs<T>& args, int64_t block) {
  constexpr double kRound = 0x1.8p52;  // added and subtracted, leaves a whole number
  using Whole = typename VectorOf<int32_t, kVectorBytes / 2>::type;
  const int64_t columns = even(args.d);
  const double scale = 1 / args.step;
  const std::unique_ptr<int32_t[]> whole(new int32_t[args.stride]);
  for (int64_t row = block * kNeighborBlock; row < (block + 1) * kNeighborBlock; ++row) {
    const bool real = row < args.num_rows;
    const T* direction = args.directions + (real ? row : 0) * args.stride;
    const double kept_scale = real ? scale : 0;
    Vec<double> squares = {};
    for (int64_t c = 0; c < args.stride; c += kLanes<double>) {
      const Vec<double> value = (load_doubles(direction + c) - load(args.mean + c)) * kept_scale;
      const Vec<double> rounded = (value + kRound) - kRound;
      squares += (rounded - value) * (rounded - value);
      const Whole numbers = __builtin_convertvector(rounded, Whole);
      std::memcpy(whole.get() + c, &numbers, sizeof numbers);
    }
    int16_t* out = args.integers + row / kPanel * kPanel * columns + row % kPanel * 2;
    for (int64_t c = 0; c < columns; c += 2) {
      out[c * kPanel] = static_cast<int16_t>(whole[c]);
      out[c * kPanel + 1] = static_cast<int16_t>(whole[c + 1]);
    }
    args.errors[row] = next_above(std::sqrt(horizontal_sum<double>(squares)) * args.step);
  }
}

template <class T>
void start_screen(const NeighborArgs<T>& args) {
  double radius = 0, error = 0, shift = 0;
  for (int64_t row = 0; row < args.num_rows; ++row) {
    radius = std::max<double>(radius, args.radii[row]);
    error = std::max<double>(error, args.errors[row]);
    shift = std::max<double>(shift, std::abs(args.shifts[row]));
  }
  const double longest = radius + error;
  const double roundings = 6 * 0x1.1p-24;
  for (int64_t row = 0; row < args.num_rows; ++row) {
    // Rounded rows: x.y - x'.y' = (x - x').y' + x.(y - y'). Then the sum as float32, and 2^-22 is
    // more than what remains: the rounding of shifts, and of exact cosines when kept as float32.
    const double margin = args.errors[row] * longest + args.radii[row] * error +
                          roundings * (longest * longest + 2 * shift) + 0x1p-22;
    args.margins[row] = next_above(1.0001 * margin);
    args.limits[row] = is_zero(args, row) ? kNever : -kNever;
    args.guesses[row] = -kNever;
    args.counts[row] = 0;
  }
  const int64_t blocks = neighbor_blocks(args.num_rows);
  std::fill(args.limits + args.num_rows, args.limits + blocks * kNeighborBlock, kNever);
  std::fill(args.compared, args.compared + blocks, int64_t{0});
}

template <class T>
void screen_blocks(const NeighborArgs<T>& args, int64_t first, int64_t second) {
  const int64_t first_row = first * kNeighborBlock, first_column = second * kNeighborBlock;
  const int64_t whole_rows = (args.num_rows + kPanel - 1) / kPanel * kPanel;
  const int64_t last_row = std::min(whole_rows, first_row + kNeighborBlock);
  const int64_t last_column = std::min(args.num_rows, first_column + kNeighborBlock);
  args.compared[first] += last_column - first_column;
  if (first != second) args.compared[second] += std::min(last_row, args.num_rows) - first_row;
  if (args.d == 0) return;  // all cosines are equal
  alignas(kVectorBytes) Estimates estimates;
  for (int64_t column = first_column; column < last_column; column += kColumns) {
    // Within one block, a pair belongs to its row of lower number.
    const int64_t row_end = first == second ? std::min(last_row, column + kColumns) : last_row;
    estimate_columns(args, first_row, row_end, column, estimates);
    for (int64_t row = first_row; row < row_end; row += kPanel) {
      for (int64_t panel = 0; panel < kColumns; panel += kPanel) {
        if (row > column + panel || column + panel >= last_column) continue;
        const float* tile = estimates[row - first_row] + panel;
        const bool whole = row != column + panel && column + panel + kPanel <= args.num_rows;
        if (whole) {
          offer_panels<true>(args, row, column + panel, tile);
        } else {
          offer_panels<false>(args, row, column + panel, tile);
        }
      }
    }
  }
}

template <class T>
void write_neighbors(const NeighborArgs<T>& args, int64_t begin, int64_t end) {
  const Workspace workspace(args);
  for (int64_t place = begin; place < end; ++place) {
    const int64_t row = args.order[place];
    int64_t* out = args.neighbors + row * args.width;
    std::fill(out + args.k, out + args.width, int64_t{-1});
    if (args.limits[place] == kNever) {
      write_first_rows(row, args.k, out);
      continue;
    }
    float limit = find_limit(args, place, args.k);
    if (limit < args.guesses[place]) {
      args.limits[place] = args.guesses[place] = -kNever;
      args.counts[place] = 0;
      screen_place(args, place);
      limit = find_limit(args, place, args.k);
    }
    keep_above(args, place, std::max(limit, args.limits[place]));
    write_nearest(args, place, workspace, out);
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                               \
  template int64_t find_directions(const T*, int64_t, int64_t, const int32_t*, int64_t, int64_t, \
                                   T*, int64_t);                                                 \
  template void measure_block(const NeighborArgs<T>&, int64_t);                                  \
  template void choose_step(NeighborArgs<T>&);                                                   \
  template void pack_block(const NeighborArgs<T>&, int64_t);                                     \
  template void start_screen(const NeighborArgs<T>&);                                            \
  template void screen_blocks(const NeighborArgs<T>&, int64_t, int64_t);                         \
  template void write_neighbors(const NeighborArgs<T>&, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
