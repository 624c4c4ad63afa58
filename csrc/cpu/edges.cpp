#include "cpu/edges.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "cpu/exp2.h"
#include "cpu/lanes.h"
#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Calls work(std::integral_constant<int, i>) for i < kCount.
template <class Work, std::size_t... kIndex>
RLMREC_FAST_INLINE void unrolled(Work work, std::index_sequence<kIndex...>) {
  (work(std::integral_constant<int, static_cast<int>(kIndex)>{}), ...);
}

template <class T>
struct Weights {
  Vec<T> power;  // weight(s)
  Vec<T> slope;  // weight'(s)
};

template <EdgeWeight kWeight, class T>
RLMREC_FAST_INLINE Weights<T> weigh(Vec<T> s, T limit) {
  if constexpr (kWeight == EdgeWeight::cosine) {
    return {s * T(0.5) + T(0.5), broadcast<T>(T(0.5))};
  }
  constexpr T log2e = T(1.44269504088896340736L);
  const Vec<T> low = broadcast<T>(-limit), high = broadcast<T>(limit), zero = {};
  const Vec<T> inside = s < low ? low : (s > high ? high : s);
  const Vec<T> power = exp2(inside * log2e);
  return {power, inside == s ? power : zero};
}

// Vectors that are added up: in registers, or in memory where their number is only known later.
template <class T, int kVectors>
struct Sums {
  Vec<T> lanes[kVectors];
  explicit Sums(T*) : lanes{} {}
  inline RLMREC_FAST_ALWAYS_INLINE void add(int64_t v, Vec<T> value) { lanes[v] += value; }
  inline RLMREC_FAST_ALWAYS_INLINE void finish(T* place) const {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(place + v * kLanes<T>, lanes[v]);
  }
};
template <class T>
struct Sums<T, 0> {
  T* place;
  explicit Sums(T* place_) : place(place_) {}
  inline RLMREC_FAST_ALWAYS_INLINE void add(int64_t v, Vec<T> value) {
    T* lanes = place + v * kLanes<T>;
    store(lanes, load(lanes) + value);
  }
  void finish(T*) const {}
};

// What the sums of a row take, as constants. kVectors is 0 where a row may have any number.
template <class T_, int kHeads_, int kVectors_, EdgeWeight kWeight_, bool kSlope_, bool kPower_>
struct Kind {
  using T = T_;
  static constexpr int kHeads = kHeads_;
  static constexpr int kVectors = kVectors_;
  static constexpr EdgeWeight kWeight = kWeight_;
  static constexpr bool kSlope = kSlope_;
  static constexpr bool kPower = kPower_;
  static constexpr int kBatch = kLanes<T> / kHeads;  // edges whose scores share a vector
};

// part(edge) of a batch of edges, kStride apart, folded to one vector of all their scores.
template <class K, int kEdge, int kStride, class Part>
RLMREC_FAST_INLINE Vec<typename K::T> folded(const Part& part) {
  if constexpr (kStride == K::kBatch) {
    return part(std::integral_constant<int, kEdge>{});
  } else {
    return fold<typename K::T, kStride * K::kHeads>(folded<K, kEdge, 2 * kStride>(part),
                                                    folded<K, kEdge + kStride, 2 * kStride>(part));
  }
}

// Calls work(v) for every vector of a packed row.
template <class K, class Work>
RLMREC_FAST_INLINE void for_vectors(int64_t vectors, Work work) {
  if constexpr (K::kVectors > 0) {
#pragma GCC unroll 4
    for (int64_t v = 0; v < K::kVectors; ++v) work(v);
  } else {
#pragma GCC unroll 1
    for (int64_t v = 0; v < vectors; ++v) work(v);
  }
}

// sum + own . other, lane by lane.
template <class K>
RLMREC_FAST_INLINE Vec<typename K::T> add_dot(Vec<typename K::T> sum, const typename K::T* own,
                                              const typename K::T* other, int64_t vectors) {
  constexpr int kL = kLanes<typename K::T>;
  for_vectors<K>(vectors, [&](int64_t v) RLMREC_FAST_ALWAYS_INLINE {
    sum += load(own + v * kL) * load(other + v * kL);
  });
  return sum;
}

// The sums of one row, or of one chunk of a long row: entries [begin, end).
template <class K>
RLMREC_FAST_INLINE void sum_entries(const EdgeArgs<typename K::T>& args, int64_t row, int64_t begin,
                                    int64_t end, typename K::T* out) {
  using T = typename K::T;
  constexpr int kL = kLanes<T>, kBatch = K::kBatch;
  const int64_t vectors = args.shape.width / kL;
  const EdgeTable<T> others = args.others;
  const T* own_first = args.own.first + row * args.own.stride;
  const T* own_second = K::kSlope ? args.own.second + row * args.own.stride : nullptr;
  const T* shifts = args.shifts;
  const bool shift_by_row = args.shift_by_row;
  const T limit = args.limit;
  T* powers_out = out + args.shape.width;
  T* totals_out = powers_out + args.shape.width;
  if (K::kVectors == 0) std::fill(out, totals_out, T{0});
  Sums<T, K::kVectors> slopes(out), powers(powers_out);
  Vec<T> totals = {};

  const auto add_batch = [&](auto is_full, int64_t entry) RLMREC_FAST_ALWAYS_INLINE {
    const auto count = is_full.value ? kBatch : static_cast<int>(end - entry);
    const int32_t* columns = args.columns + entry;
    const auto is_there = [&](int e)
                              RLMREC_FAST_ALWAYS_INLINE { return is_full.value || e < count; };
    const Vec<T> scores = folded<K, 0, 1>([&](auto e) RLMREC_FAST_ALWAYS_INLINE {
      const Vec<T> none = {};
      return is_there(e)
                 ? add_dot<K>(none, own_first, others.first + columns[e] * others.stride, vectors)
                 : none;
    });
    const Weights<T> weights = weigh<K::kWeight, T>(scores, limit);
    Vec<T> slope = {};
    if constexpr (K::kSlope) {
      slope = weights.slope * folded<K, 0, 1>([&](auto e) RLMREC_FAST_ALWAYS_INLINE {
                const Vec<T> none = {};
                if (!is_there(e)) return none;
                const int64_t node = shift_by_row ? row : columns[e];
                const Vec<T> shift = load_partial(shifts + node * K::kHeads, K::kHeads);
                return add_dot<K>(shift, own_second, others.second + columns[e] * others.stride,
                                  vectors);
              });
    }
    unrolled(
        [&](auto e) RLMREC_FAST_ALWAYS_INLINE {
          if (!is_there(e)) return;
          if constexpr (K::kPower) {
            const Vec<T> weight = spread<T, K::kHeads, e>(weights.power);
            const T* second = others.second + columns[e] * others.stride;
            for_vectors<K>(vectors, [&](int64_t v) RLMREC_FAST_ALWAYS_INLINE {
              powers.add(v, weight * load(second + v * kL));
            });
          }
          if constexpr (K::kSlope) {
            const Vec<T> weight = spread<T, K::kHeads, e>(slope);
            const T* first = others.first + columns[e] * others.stride;
            for_vectors<K>(vectors, [&](int64_t v) RLMREC_FAST_ALWAYS_INLINE {
              slopes.add(v, weight * load(first + v * kL));
            });
          }
        },
        std::make_index_sequence<kBatch>{});
    if constexpr (K::kPower) {
      T lanes[kL];
      store(lanes, weights.power);
      totals += load_partial(lanes, count * K::kHeads);
    }
  };
  int64_t entry = begin;
  for (; entry + kBatch <= end; entry += kBatch) add_batch(std::true_type{}, entry);
  if (entry < end) add_batch(std::false_type{}, entry);

  if (K::kSlope) slopes.finish(out);
  if (!K::kPower) return;
  powers.finish(powers_out);
  T lanes[kL];
  store(lanes, totals);
  for (int h = 0; h < K::kHeads; ++h) {
    T total = 0;
    for (int e = 0; e < kBatch; ++e) total += lanes[e * K::kHeads + h];
    totals_out[h] = total;
  }
}

// Heads of two packed vectors apart and together: packed element j * kHeads + h is element
// h * width + j of a row. A tenth of the time of a layer, element by element.
template <class T, int kHeads, bool kPack, int kVector>
RLMREC_FAST_INLINE Vec<T> regroup(Vec<T> low, Vec<T> high) {
  constexpr auto place = [](int lane) {
    constexpr int kInner = kPack ? kHeads : 2 * kLanes<T> / kHeads;
    const int element = kVector * kLanes<T> + lane;
    return element % kInner * (2 * kLanes<T> / kInner) + element / kInner;
  };
  return shuffle<T>(low, high, place, Lanes<T>{});
}

// Whether the rows are such: four heads of which both forms fill two vectors.
template <class T>
bool is_regular(EdgeShape shape, int64_t num_heads, int64_t head_width) {
  return shape.width == 2 * kLanes<T> && num_heads == 4 && 4 * head_width == shape.width;
}

// out = factors[h] * packed, (+ out), heads apart again.
template <class T>
void unpack(const EdgeArgs<T>& args, const T* packed, const T* factors, bool add, T* out) {
  if (is_regular<T>(args.shape, args.num_heads, args.head_width)) {
    constexpr int kHeads = kLanes<T> < 4 ? 1 : 4, kL = kLanes<T>;  // 1: never reached
    const Vec<T> factor = spread<T, kHeads, 0>(load_partial(factors, kHeads));
    const Vec<T> low = load(packed) * factor, high = load(packed + kL) * factor;
    const Vec<T> first = regroup<T, kHeads, false, 0>(low, high);
    const Vec<T> second = regroup<T, kHeads, false, 1>(low, high);
    store(out, add ? load(out) + first : first);
    store(out + kL, add ? load(out + kL) + second : second);
    return;
  }
  for (int64_t h = 0; h < args.num_heads; ++h) {
    const T* head = packed + h;
    T* place = out + h * args.head_width;
    const auto run = [&](int64_t step) RLMREC_FAST_ALWAYS_INLINE {
      for (int64_t j = 0; j < args.head_width; ++j) {
        const T value = head[j * step] * factors[h];
        place[j] = add ? place[j] + value : value;
      }
    };
    args.shape.heads == 1 ? run(1) : run(args.shape.heads);
  }
}

// From the packed sums of a row to the outputs.
template <class T>
void finish_row(const EdgeArgs<T>& args, int64_t row, const T* sums) {
  const T* powers = sums + args.shape.width;
  const T* totals = powers + args.shape.width;
  T factors[kLanes<T>];
  std::fill(factors, factors + kLanes<T>, T{1});
  if (args.slopes != nullptr) {
    unpack(args, sums, factors, args.add_slopes, args.slopes + row * args.stride);
  }
  if (args.inverses != nullptr) {
    for (int64_t h = 0; h < args.num_heads; ++h) {
      factors[h] = totals[h] != 0 ? 1 / (totals[h] + args.eps) : T{0};
      args.inverses[row * args.inverse_stride + h] = factors[h];
    }
  }
  if (args.powers != nullptr) {
    unpack(args, powers, factors, false, args.powers + row * args.stride);
  }
}

template <class K>
__attribute__((noinline)) void run_part(const EdgeArgs<typename K::T>& args, int64_t part) {
  auto* sums = args.sums + part * args.sums_size();
  const int64_t* bounds = args.partition + 2 * part;
  int64_t row = bounds[0];
  if (row < args.num_rows && args.offsets[row + 1] - args.offsets[row] > 2 * args.chunk) {
    return sum_entries<K>(args, row, bounds[1], bounds[3], sums);
  }
  for (; row < bounds[2]; ++row) {
    sum_entries<K>(args, row, args.offsets[row], args.offsets[row + 1], sums);
    finish_row(args, row, sums);
  }
}

template <class T, int kHeads, int kVectors, EdgeWeight kWeight>
void run_kind(const EdgeArgs<T>& args, int64_t part) {
  if (args.slopes == nullptr) {
    run_part<Kind<T, kHeads, kVectors, kWeight, false, true>>(args, part);
  } else if (args.powers == nullptr) {
    run_part<Kind<T, kHeads, kVectors, kWeight, true, false>>(args, part);
  } else {
    run_part<Kind<T, kHeads, kVectors, kWeight, true, true>>(args, part);
  }
}

template <class T, int kHeads, EdgeWeight kWeight>
void run_width(const EdgeArgs<T>& args, int64_t part) {
  const int64_t vectors = args.shape.width / kLanes<T>;
  if (vectors == 2) return run_kind<T, kHeads, 2, kWeight>(args, part);
  if (vectors == 4) return run_kind<T, kHeads, 4, kWeight>(args, part);
  run_kind<T, kHeads, 0, kWeight>(args, part);
}

// Sums are kept in registers for one and four heads, which models have; others go through memory.
template <class T, int kHeads>
void run_heads(const EdgeArgs<T>& args, int64_t part) {
  if (args.shape.heads != kHeads) {
    if constexpr (kHeads < kLanes<T>) run_heads<T, 2 * kHeads>(args, part);
  } else if constexpr (kHeads == 1 || kHeads == 4) {
    run_width<T, kHeads, EdgeWeight::exponential>(args, part);
  } else {
    run_kind<T, kHeads, 0, EdgeWeight::exponential>(args, part);
  }
}

}  // namespace

template <class T>
EdgeShape edge_shape(int64_t num_heads, int64_t head_width) {
  EdgeShape shape{1, 0};
  while (shape.heads < num_heads && shape.heads < kLanes<T>) shape.heads *= 2;
  int64_t vectors = (head_width * shape.heads + kLanes<T> - 1) / kLanes<T>;
  if (vectors == 1 || vectors == 3) ++vectors;  // as those of two and four are in registers
  shape.width = vectors * kLanes<T>;
  return shape;
}

template <class T>
void edge_pack(const EdgePackArgs<T>& args, int64_t begin, int64_t end) {
  constexpr int kHeads = kLanes<T> < 4 ? 1 : 4, kL = kLanes<T>;  // 1: never reached
  const bool regular = is_regular<T>(args.shape, args.num_heads, args.head_width);
  for (int64_t row = begin; row < end; ++row) {
    T* packed = args.packed + row * args.packed_stride;
    const T* x = args.x + row * args.x_stride;
    const T* factors = args.factors ? args.factors + row * args.factor_stride : nullptr;
    if (regular) {
      const Vec<T> factor =
          factors ? spread<T, kHeads, 0>(load_partial(factors, kHeads)) : broadcast<T>(1);
      const Vec<T> low = load(x), high = load(x + kL);
      store(packed, regroup<T, kHeads, true, 0>(low, high) * factor);
      store(packed + kL, regroup<T, kHeads, true, 1>(low, high) * factor);
      continue;
    }
    if (args.num_heads * args.head_width < args.shape.width) {
      std::fill(packed, packed + args.shape.width, T{0});
    }
    for (int64_t h = 0; h < args.num_heads; ++h) {
      const T factor = factors ? factors[h] : T{1};
      const T* head = x + h * args.head_width;
      const auto run = [&](int64_t step) RLMREC_FAST_ALWAYS_INLINE {
        for (int64_t j = 0; j < args.head_width; ++j) packed[j * step + h] = head[j] * factor;
      };
      args.shape.heads == 1 ? run(1) : run(args.shape.heads);
    }
  }
}

template <class T>
void edge_shifts(const EdgePackArgs<T>& args, const T* y, int64_t y_stride, T* shifts,
                 int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    T* out = shifts + row * args.shape.heads;
    std::fill(out, out + args.shape.heads, T{0});
    for (int64_t h = 0; h < args.num_heads; ++h) {
      const int64_t column = h * args.head_width;
      T dot = 0;
      for (int64_t j = column; j < column + args.head_width; ++j) {
        dot += args.x[row * args.x_stride + j] * y[row * y_stride + j];
      }
      out[h] = -dot * args.factors[row * args.factor_stride + h];
    }
  }
}

template <class T>
void edge_parts(const EdgeArgs<T>& args, int64_t part_begin, int64_t part_end) {
  for (int64_t part = part_begin; part < part_end; ++part) {
    if (args.weight == EdgeWeight::cosine) {
      run_width<T, 1, EdgeWeight::cosine>(args, part);
    } else {
      run_heads<T, 1>(args, part);
    }
  }
}

template <class T>
void edge_finish(const EdgeArgs<T>& args, int64_t part_begin, int64_t part_end) {
  const int64_t size = args.sums_size();
  T* sums = args.sums + part_begin * size;
  for (int64_t part = part_begin + 1; part < part_end; ++part) {
    for (int64_t i = 0; i < size; ++i) sums[i] += args.sums[part * size + i];
  }
  finish_row(args, args.partition[2 * part_begin], sums);
}

template <class T>
void unit_backward(const T* x, int64_t stride, int64_t d, const T* inverse, T eps, T* grad,
                   int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* value = x + row * stride;
    T* g = grad + row * d;
    const T factor = inverse[row];
    T along = 0;
    // Below eps the norm is not what divides.
    for (int64_t j = 0; factor * eps < 1 && j < d; ++j) along += value[j] * g[j];
    along *= factor * factor;
    for (int64_t j = 0; j < d; ++j) g[j] = factor * (g[j] - along * value[j]);
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                            \
  template EdgeShape edge_shape<T>(int64_t, int64_t);                                         \
  template void edge_pack(const EdgePackArgs<T>&, int64_t, int64_t);                          \
  template void edge_shifts(const EdgePackArgs<T>&, const T*, int64_t, T*, int64_t, int64_t); \
  template void edge_parts(const EdgeArgs<T>&, int64_t, int64_t);                             \
  template void edge_finish(const EdgeArgs<T>&, int64_t, int64_t);                            \
  template void unit_backward(const T*, int64_t, int64_t, const T*, T, T*, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
