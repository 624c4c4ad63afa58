#include "cpu/propagate.h"

#include <algorithm>

#include "common/random.h"
#include "cpu/parts.h"
#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Vectors of one row that stay in registers while its entries are added.
constexpr int kMaxVectors = 8;

constexpr int kCacheLine = 64;

// Entries ahead of the current one whose rows of x are asked for.
constexpr int64_t kLookAhead = 16;

// Entries [begin, end) of one row; `limit` is the end of the entries that will be wanted soon.
struct Span {
  int64_t begin;
  int64_t end;
  int64_t limit;
};

// kVectors neighbouring vectors of columns; with kTail the last one holds only `tail` elements.
template <class T, int kVectors_, bool kTail>
struct Block {
  static constexpr int kVectors = kVectors_;
  int64_t column;
  int tail;

  template <class Element>
  inline __attribute__((always_inline)) Vec<T> get(const Element* row, int v) const {
    const Element* p = row + column + v * kLanes<T>;
    return kTail && v == kVectors - 1 ? load_partial(p, tail) : load(p);
  }
  template <class Element>
  inline __attribute__((always_inline)) void set(Element* row, int v, Vec<T> value) const {
    Element* p = row + column + v * kLanes<T>;
    if (kTail && v == kVectors - 1) {
      store_partial(p, value, tail);
    } else {
      store(p, value);
    }
  }
};

// Calls work(block) for blocks of up to kMaxVectors vectors that cover d columns.
template <class T, class Work>
RLMREC_FAST_INLINE void for_blocks(int64_t d, Work work) {
  constexpr int kLane = kLanes<T>;
  int64_t column = 0;
  for (; column + kMaxVectors * kLane <= d; column += kMaxVectors * kLane) {
    work(Block<T, kMaxVectors, false>{column, 0});
  }
  const auto full = static_cast<int>((d - column) / kLane);
  if (full & 4) {
    work(Block<T, 4, false>{column, 0});
    column += 4 * kLane;
  }
  if (full & 2) {
    work(Block<T, 2, false>{column, 0});
    column += 2 * kLane;
  }
  if (full & 1) {
    work(Block<T, 1, false>{column, 0});
    column += kLane;
  }
  if (column < d) work(Block<T, 1, true>{column, static_cast<int>(d - column)});
}

// What the loop over entries reads, apart from the arguments so that it stays in registers.
template <bool kValues, class T>
struct Entries {
  const int32_t* columns;
  const Accumulate<T>* weights;  // by entry, else by column
  const T* x;
  int64_t stride;

  explicit Entries(const PropagateArgs<T>& args)
      : columns(args.columns),
        weights(kValues ? args.values : args.column_scale),
        x(args.x),
        stride(args.x_stride) {}

  // sum += the entries of the span.
  template <class Block>
  inline __attribute__((always_inline)) void add(Block block, Span span,
                                                 Vec<T> (&sum)[Block::kVectors]) const {
    constexpr int kVectors = Block::kVectors;
    for (int64_t entry = span.begin; entry < span.end; ++entry) {
      const int64_t column = columns[entry];
      // Rows of few cache lines arrive in time by themselves (measured: 20 % slower at two lines
      // with the look-ahead, 20 % faster at four).
      constexpr int kBytes = kVectors * kLanes<T> * static_cast<int>(sizeof(T));
      if constexpr (kBytes >= 4 * kCacheLine) {
        const int64_t ahead = columns[std::min(entry + kLookAhead, span.limit - 1)];
        const T* wanted = x + ahead * stride + block.column;
#pragma GCC unroll 8
        for (int byte = 0; byte < kBytes; byte += kCacheLine) {
          __builtin_prefetch(reinterpret_cast<const char*>(wanted) + byte);
        }
      }
      const Vec<T> w = broadcast<T>(weights[kValues ? entry : column]);
      const T* row = x + column * stride;
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[v] += w * block.get(row, v);
    }
  }
};

// The kept entries of a part.
template <class T>
RLMREC_FAST_INLINE Span part_span(const PropagateArgs<T>& args, int64_t part) {
  const int64_t begin = args.partition[2 * part + 1];
  const int64_t end = args.part_end ? args.part_end[part] : args.partition[2 * part + 3];
  return {begin, end, end};
}

// Number of the first part of a long row.
template <class T>
int64_t first_part(const PropagateArgs<T>& args, int64_t row) {
  int64_t low = 0, high = args.num_parts;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (args.partition[2 * middle] < row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Where the entries of rows that are not long begin and end.
struct RowSpans {
  const int64_t* begin;
  const int64_t* end;

  template <class T>
  explicit RowSpans(const PropagateArgs<T>& args)
      : begin(args.row_begin ? args.row_begin : args.offsets),
        end(args.row_end ? args.row_end : args.offsets + 1) {}
};

// Lanes of the noise of one row from `column` on, uniform in [0, 1).
RLMREC_FAST_INLINE Vec<float> noise_lanes(PairHash hash, uint32_t hashed_row, int64_t column) {
  const Words bits = hash_second(hash, hashed_row, iota(static_cast<uint32_t>(column))) >> 8;
  return __builtin_convertvector(bits, Vec<float>) * 5.9604644775390625e-8f;  // 2^-24
}

// noise / ||n|| of a row.
double noise_scale(PairHash hash, uint32_t hashed_row, int64_t d, double noise) {
  double squares = 0;
  for (int64_t column = 0; column < d; column += kLanes<float>) {
    const Vec<float> n = noise_lanes(hash, hashed_row, column);
    for (int64_t i = 0; i < std::min<int64_t>(kLanes<float>, d - column); ++i) {
      squares += static_cast<double>(n[i]) * n[i];
    }
  }
  return squares > 0 ? noise / __builtin_sqrt(squares) : 0.0;
}

// Out of line and through memory, so that layers without noise keep their registers.
template <class T, class Block>
__attribute__((noinline)) void add_noise(const PropagateArgs<T>& args, Block block, int64_t node,
                                         Accumulate<T>* value) {
  constexpr int kWidth = Block::kVectors * kLanes<T>;
  const PairHash hash = pair_hash(args.noise_seed);
  const uint32_t hashed_row = hash_first(hash, static_cast<uint32_t>(node));
  const auto scale = static_cast<Accumulate<T>>(noise_scale(hash, hashed_row, args.d, args.noise));
  for (int i = 0; i < kWidth; i += kLanes<float>) {
    const Vec<float> n = noise_lanes(hash, hashed_row, block.column + i);
    for (int j = 0; j < std::min(kLanes<float>, kWidth - i); ++j) {
      const Accumulate<T> size = n[j] * scale;
      value[i + j] += value[i + j] > 0 ? size : (value[i + j] < 0 ? -size : 0);
    }
  }
}

// From the weighted sum of a node's row to the outputs, y's at row `out`. kPlain: there is neither
// noise nor an accumulator, which saves most layers a tenth of their time.
template <bool kPlain, class T, class Block>
RLMREC_FAST_INLINE void finish_row(const PropagateArgs<T>& args, Block block, int64_t node,
                                   int64_t out, Vec<T> (&value)[Block::kVectors]) {
  constexpr int kVectors = Block::kVectors;
  if (args.row_scale != nullptr) {
    for (int v = 0; v < kVectors; ++v) value[v] *= args.row_scale[node];
  }
  if (!kPlain && args.noise > 0) {
    Accumulate<T> lanes[kVectors * kLanes<T>];
    for (int v = 0; v < kVectors; ++v) store(lanes + v * kLanes<T>, value[v]);
    add_noise(args, block, node, lanes);
    for (int v = 0; v < kVectors; ++v) value[v] = load(lanes + v * kLanes<T>);
  }
  if (args.base != nullptr) {
    const int64_t place = args.base_places != nullptr ? args.base_places[node] : node;
    const T* base = args.base + place * args.base_stride;
    for (int v = 0; v < kVectors; ++v) {
      if (place >= 0) value[v] += block.get(base, v);
      value[v] *= args.factor;
    }
  }
  if (!kPlain && args.accumulator != nullptr) {
    T* row = args.accumulator + node * args.accumulator_stride;
    for (int v = 0; v < kVectors; ++v) {
      block.set(row, v, (block.get(row, v) + value[v]) * args.factor);
    }
  }
  if (kPlain || args.y != nullptr) {
    T* row = args.y + out * args.y_stride;
    for (int v = 0; v < kVectors; ++v) block.set(row, v, value[v]);
  }
}

template <class T>
bool is_plain(const PropagateArgs<T>& args) {
  return !(args.noise > 0) && args.accumulator == nullptr && args.y != nullptr;
}

template <bool kValues, bool kPlain, class T, class Block>
__attribute__((noinline)) void run_part(const PropagateArgs<T>& args, Block block, int64_t part) {
  constexpr int kVectors = Block::kVectors;
  const Entries<kValues, T> entries(args);
  const Span whole = part_span(args, part);
  if (is_chunk(args, part)) {
    Vec<T> sum[kVectors] = {};
    entries.add(block, whole, sum);
    for (int v = 0; v < kVectors; ++v) block.set(args.carry + part * args.d, v, sum[v]);
    return;
  }
  const RowSpans spans(args);
  const int64_t row_end = args.partition[2 * part + 2];
  for (int64_t row = args.partition[2 * part]; row < row_end; ++row) {
    Vec<T> sum[kVectors] = {};
    entries.add(block, {spans.begin[row], spans.end[row], whole.limit}, sum);
    finish_row<kPlain>(args, block, row, row, sum);
  }
}

template <bool kValues, class T>
void run_rows(const PropagateArgs<T>& args, const int64_t* rows, int64_t begin, int64_t end) {
  const Entries<kValues, T> entries(args);
  const RowSpans spans(args);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = rows[i];
    for_blocks<T>(args.d, [&](auto block) __attribute__((always_inline)) {
      constexpr int kVectors = decltype(block)::kVectors;
      Vec<T> sum[kVectors] = {};
      if (is_long(args, row)) {
        // In the same order of additions as its chunks and propagate_finish.
        for (int64_t part = first_part(args, row); args.partition[2 * part] == row; ++part) {
          Vec<T> chunk[kVectors] = {};
          entries.add(block, part_span(args, part), chunk);
          for (int v = 0; v < kVectors; ++v) sum[v] += chunk[v];
        }
      } else {
        entries.add(block, {spans.begin[row], spans.end[row], spans.end[row]}, sum);
      }
      finish_row<false>(args, block, row, i, sum);
    });
  }
}

}  // namespace

template <class T>
void propagate_parts(const PropagateArgs<T>& args, int64_t part_begin, int64_t part_end) {
  const bool plain = is_plain(args);
  for (int64_t part = part_begin; part < part_end; ++part) {
    for_blocks<T>(args.d, [&](auto block) {
      if (args.values != nullptr) {
        plain ? run_part<true, true>(args, block, part) : run_part<true, false>(args, block, part);
      } else {
        plain ? run_part<false, true>(args, block, part)
              : run_part<false, false>(args, block, part);
      }
    });
  }
}

template <class T>
void propagate_finish(const PropagateArgs<T>& args, int64_t part_begin, int64_t part_end) {
  const int64_t row = args.partition[2 * part_begin];
  for_blocks<T>(args.d, [&](auto block) __attribute__((always_inline)) {
    Vec<T> sum[decltype(block)::kVectors] = {};
    for (int64_t part = part_begin; part < part_end; ++part) {
      const Accumulate<T>* carry = args.carry + part * args.d;
      for (int v = 0; v < decltype(block)::kVectors; ++v) sum[v] += block.get(carry, v);
    }
    finish_row<false>(args, block, row, row, sum);
  });
}

template <class T>
void propagate_rows(const PropagateArgs<T>& args, const int64_t* rows, int64_t begin, int64_t end) {
  if (args.values != nullptr) {
    run_rows<true>(args, rows, begin, end);
  } else {
    run_rows<false>(args, rows, begin, end);
  }
}

template <class T>
void entry_dots(const PropagateArgs<T>& args, Accumulate<T>* grad_values, int64_t part_begin,
                int64_t part_end) {
  const int64_t last = args.partition[2 * part_end + 1];
  int64_t row = args.partition[2 * part_begin];
  for (int64_t entry = args.partition[2 * part_begin + 1]; entry < last; ++entry) {
    while (entry >= args.offsets[row + 1]) ++row;
    const T* grad = args.base + row * args.base_stride;
    const T* x = args.x + args.columns[entry] * args.x_stride;
    Vec<T> sum = {};
    int64_t column = 0;
    for (; column + kLanes<T> <= args.d; column += kLanes<T>) {
      sum += load(grad + column) * load(x + column);
    }
    if (column < args.d) {
      const auto tail = static_cast<int>(args.d - column);
      sum += load_partial(grad + column, tail) * load_partial(x + column, tail);
    }
    grad_values[entry] = horizontal_sum<T>(sum);
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                         \
  template void propagate_parts(const PropagateArgs<T>&, int64_t, int64_t);                \
  template void propagate_finish(const PropagateArgs<T>&, int64_t, int64_t);               \
  template void propagate_rows(const PropagateArgs<T>&, const int64_t*, int64_t, int64_t); \
  template void entry_dots(const PropagateArgs<T>&, Accumulate<T>*, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)
RLMREC_FAST_INSTANTIATE(BFloat16)
RLMREC_FAST_INSTANTIATE(Float16)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
