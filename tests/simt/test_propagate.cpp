// cuda/propagate.h against cpu/propagate.h.
#include <limits>
#include <numeric>

#include "common/cpu_features.h"
#include "cpu/propagate.h"
#include "cuda/propagate.h"
#include "cuda/ptx.h"
#include "simt/compare.h"

namespace {

using rlmrec_fast::Accumulate;
using rlmrec_fast::BFloat16;
using rlmrec_fast::Float16;
using rlmrec_fast::PropagateArgs;
using rlmrec_fast::cuda::LayerArgs;
namespace cuda = rlmrec_fast::cuda;
namespace ptx = rlmrec_fast::ptx;

double widen(float value) { return value; }
double widen(double value) { return value; }
double widen(BFloat16 value) { return ptx::from_bf16(value.bits); }
double widen(Float16 value) { return ptx::from_f16(value.bits); }

template <class T>
T narrow(double value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return {static_cast<uint16_t>(ptx::bf16_bits(static_cast<float>(value)))};
  } else if constexpr (std::is_same_v<T, Float16>) {
    return {static_cast<uint16_t>(ptx::f16_bits(static_cast<float>(value)))};
  } else {
    return static_cast<T>(value);
  }
}

// What a few roundings in the storage type come to.
template <class T>
constexpr double kTolerance = sizeof(T) == 8               ? 1e-13
                              : sizeof(T) == 4             ? 1e-4
                              : std::is_same_v<T, Float16> ? 4e-3
                                                           : 3e-2;

template <class T>
std::vector<T> random_table(int64_t count, uint64_t seed) {
  std::vector<T> table;
  for (const double value : simt::random_values<double>(count, seed)) {
    table.push_back(narrow<T>(value));
  }
  return table;
}

template <class T>
void expect_table(const simt::Buffer<T>& got, const std::vector<T>& wanted, int line) {
  simt::note_bits(got.data(), got.size() * sizeof(T));
  check::expect(got.size() == wanted.size(), __FILE__, line, "another size");
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double mine = widen(got[i]), other = widen(wanted[i]);
    const bool close = std::abs(mine - other) <= kTolerance<T> * (1 + std::abs(other));
    if (close || (mine != mine && other != other)) continue;
    check::expect(false, __FILE__, line,
                  "element " + std::to_string(i) + " is " + std::to_string(mine) + ", not " +
                      std::to_string(other));
    return;
  }
}

// Rows around the lengths at which they are cut, as long ones, side by side and alone.
std::vector<simt::Csr> matrices() {
  std::vector<simt::Csr> all = simt::odd_matrices();
  const auto add = [&](const char* name, const std::vector<int64_t>& lengths) {
    all.push_back(simt::random_csr(name, lengths, 70, all.size(), true));
  };
  add("long rows side by side", {257, 256, 258, 0, 3, 511, 512, 513, 0});
  add("long rows within windows", {100, 300, 5, 0, 400, 256});
  add("one long row", {1500});
  add("a long row that starts and ends with windows", {256, 512, 256});
  return all;
}

struct Variant {
  double keep_rate = 1;
  bool transpose = false;
  double noise = 0;
  bool values = false;
  bool base = false;
  bool accumulator = false;
};

template <class T>
struct Case {
  const simt::Csr& matrix;
  int64_t d, gap, num_rows, num_nodes;
  Variant variant;
  std::vector<T> x, base, accumulator;
  std::vector<Accumulate<T>> scale, values;

  Case(const simt::Csr& matrix_, int64_t d_, int64_t gap_, Variant variant_)
      : matrix(matrix_),
        d(d_),
        gap(gap_),
        num_rows(matrix.num_rows()),
        num_nodes(std::max(matrix.num_rows(), matrix.num_columns)),
        variant(variant_),
        x(random_table<T>(num_nodes * (d + gap), 1)),
        base(random_table<T>(num_nodes * (d + gap), 2)),
        accumulator(random_table<T>(num_rows * d, 3)) {
    const auto draw = [](int64_t count, uint64_t seed) {
      return simt::random_values<Accumulate<T>>(count, seed);
    };
    scale = draw(num_nodes, 4);
    values = draw(matrix.num_entries(), 5);
  }

  // The arguments that both devices share.
  template <class Args>
  void fill(Args& args) const {
    args.offsets = matrix.offsets.data();
    args.columns = matrix.columns.data();
    args.num_rows = num_rows;
    args.d = d;
    args.x_stride = d + gap;
    args.y_stride = d;
    args.factor = static_cast<Accumulate<T>>(0.25);
    args.noise = variant.noise;
  }

  void run_on_cpu(std::vector<T>& y, std::vector<T>& sums) const {
    PropagateArgs<T> args;
    fill(args);
    const int64_t partition[] = {0, 0, num_rows, matrix.num_entries()};
    args.partition = partition;
    args.num_parts = 1;
    args.chunk = matrix.num_entries() + 1;
    std::vector<int32_t> kept(matrix.columns.size() + 1);
    std::vector<int64_t> begin(static_cast<size_t>(num_rows) + 1), end(begin), part_end(1);
    if (variant.keep_rate < 1) {
      const rlmrec_fast::DropoutArgs dropout{
          args.offsets,      args.columns,      partition,
          num_rows,          args.chunk,        rlmrec_fast::child_seed(77, 0),
          variant.keep_rate, variant.transpose, kept.data(),
          begin.data(),      end.data(),        part_end.data()};
      RLMREC_FAST_CALL(drop_edges, dropout, 0, 1);
      args.columns = kept.data();
      args.row_begin = begin.data();
      args.row_end = end.data();
      args.part_end = part_end.data();
    }
    if (variant.values) {
      args.values = values.data();
    } else {
      args.column_scale = args.row_scale = scale.data();
    }
    args.x = x.data();
    if (variant.base) {
      args.base = base.data();
      args.base_stride = d + gap;
    }
    if (variant.accumulator) {
      args.accumulator = sums.data();
      args.accumulator_stride = d;
    }
    args.noise_seed = rlmrec_fast::child_seed(77, 2);
    args.y = y.data();
    RLMREC_FAST_CALL(propagate_parts, args, 0, 1);
  }

  void compare(const std::vector<int64_t>* rows, size_t shift, int line) const {
    std::vector<T> y(static_cast<size_t>(num_rows * d)), sums = accumulator;
    run_on_cpu(y, sums);
    const std::vector<T> all = y;
    if (rows != nullptr) {
      y.clear();
      for (const int64_t row : *rows) {
        const bool exists = row >= 0 && row < num_rows;
        for (int64_t c = 0; c < d; ++c) {
          y.push_back(exists ? all[row * d + c] : narrow<T>(std::nan("")));
        }
      }
    }
    const auto offsets = simt::input("offsets", matrix.offsets);
    const auto columns = simt::input("columns", matrix.columns);
    const auto values_in = simt::input("values", values);
    const auto scale_in = simt::input("scale", scale);
    const auto x_in = simt::input("x", x, shift);
    const auto base_in = simt::input("base", base);
    const auto rows_in = simt::input("rows", rows ? *rows : std::vector<int64_t>{});
    const auto seed_in = simt::input("seed", std::vector<int64_t>{77});
    auto sums_out = simt::inout("accumulator", accumulator);
    auto y_out = simt::output<T>("y", static_cast<int64_t>(y.size()));
    auto pieces = simt::output<Accumulate<T>>("pieces", cuda::pieces_size(matrix.num_entries(), d));

    LayerArgs<T> args;
    fill(args);
    args.offsets = offsets.data();
    args.columns = columns.data();
    args.num_entries = matrix.num_entries();
    args.keep_rate = variant.keep_rate;
    args.transpose = variant.transpose;
    args.seed = shift == 0 ? cuda::Seed{77, nullptr} : cuda::Seed{0, seed_in.data()};
    args.layer = 2;
    if (variant.values) {
      args.values = values_in.data();
    } else {
      args.column_scale = args.row_scale = scale_in.data();
    }
    args.x = x_in.data();
    if (variant.base) {
      args.base = base_in.data();
      args.base_stride = d + gap;
    }
    if (variant.accumulator) {
      args.accumulator = sums_out.data();
      args.accumulator_stride = d;
    }
    args.y = y_out.data();
    args.pieces = pieces.data();
    args.rows = rows ? rows_in.data() : nullptr;
    args.num_wanted = rows ? static_cast<int64_t>(rows->size()) : num_rows;
    if (args.num_wanted == 0) return;
    if (cuda::may_have_long_rows(args.num_entries)) {
      CHECK(cuda::launch_propagate_pieces(args, nullptr) == cudaSuccess);
    }
    CHECK(cuda::launch_propagate_rows(args, nullptr) == cudaSuccess);
    expect_table(y_out, y, line);
    expect_table(sums_out, sums, line);
  }
};

// Of the other types, widths that take another way through the kernels.
template <class T>
const std::vector<int64_t>& widths() {
  static const std::vector<int64_t> few{3, 32, 36, 68};
  return std::is_same_v<T, float> ? simt::odd_widths() : few;
}

template <class T>
void compare_layers() {
  const Variant variants[] = {
      {},
      {.keep_rate = 0.6},
      {.keep_rate = 0.6, .transpose = true, .base = true},
      {.noise = 0.1, .base = true},
      {.keep_rate = 0.8, .noise = 0.2, .accumulator = true},
      {.values = true, .accumulator = true},
  };
  size_t turn = 0;
  for (const simt::Csr& matrix : matrices()) {
    for (const int64_t d : widths<T>()) {
      // One variant each, all of them in turn; rows apart and off the boundary now and then.
      const Variant& variant = variants[turn % std::size(variants)];
      Case<T>(matrix, d, turn % 3 == 0 ? 0 : 4, variant).compare(nullptr, turn % 5 == 0, __LINE__);
      ++turn;
    }
  }
}

TEST(cuda_layers_of_float_are_those_of_the_cpu) { compare_layers<float>(); }
TEST(cuda_layers_of_double_are_those_of_the_cpu) { compare_layers<double>(); }
TEST(cuda_layers_of_bfloat16_are_those_of_the_cpu) { compare_layers<BFloat16>(); }
TEST(cuda_layers_of_float16_are_those_of_the_cpu) { compare_layers<Float16>(); }

TEST(cuda_wanted_rows_are_those_of_the_whole_layer) {
  for (const simt::Csr& matrix : matrices()) {
    const int64_t num_rows = matrix.num_rows();
    std::vector<int64_t> rows =
        simt::random_indices<int64_t>(13, std::max<int64_t>(num_rows, 1), 9);
    rows.insert(rows.end(), {rows[0], rows[0], -1, num_rows, int64_t{1} << 40});
    for (const int64_t d : {5, 32, 64}) {
      Case<float>(matrix, d, 0, {.keep_rate = 0.7, .noise = 0.1, .base = true})
          .compare(&rows, 0, __LINE__);
    }
  }
}

TEST(cuda_edge_masks_are_those_of_dropout) {
  for (const simt::Csr& matrix : matrices()) {
    if (matrix.num_entries() == 0) continue;
    const auto offsets = simt::input("offsets", matrix.offsets);
    const auto columns = simt::input("columns", matrix.columns);
    auto kept = simt::output<bool>("kept", matrix.num_entries());
    LayerArgs<float> args;
    args.offsets = offsets.data();
    args.columns = columns.data();
    args.num_rows = matrix.num_rows();
    args.num_entries = matrix.num_entries();
    args.keep_rate = 0.5;
    args.seed = {77, nullptr};
    CHECK(cuda::launch_edge_mask(args, kept.data(), nullptr) == cudaSuccess);
    const auto hash = rlmrec_fast::pair_hash(rlmrec_fast::child_seed(77, 0));
    std::vector<bool> wanted;
    for (int64_t row = 0; row < matrix.num_rows(); ++row) {
      const uint32_t hashed = rlmrec_fast::hash_first(hash, static_cast<uint32_t>(row));
      for (int64_t e = matrix.offsets[row]; e < matrix.offsets[row + 1]; ++e) {
        const auto column = static_cast<uint32_t>(matrix.columns[e]);
        wanted.push_back(rlmrec_fast::hash_second(hash, hashed, column) < 0x80000000U);
      }
    }
    for (size_t e = 0; e < wanted.size(); ++e) CHECK(kept[e] == wanted[e]);
  }
}

template <class T>
void compare_dots() {
  size_t turn = 0;
  for (const simt::Csr& matrix : matrices()) {
    if (matrix.num_entries() == 0) continue;
    for (const int64_t d : {3, 36}) {
      const Case<T> one(matrix, d, ++turn % 2 == 0 ? 0 : 4, {});
      PropagateArgs<T> twin;
      one.fill(twin);
      const int64_t partition[] = {0, 0, one.num_rows, matrix.num_entries()};
      twin.partition = partition;
      twin.x = one.x.data();
      twin.base = one.base.data();
      twin.base_stride = d + one.gap;
      std::vector<Accumulate<T>> wanted(matrix.columns.size());
      RLMREC_FAST_CALL(entry_dots, twin, wanted.data(), 0, 1);

      const auto offsets = simt::input("offsets", matrix.offsets);
      const auto columns = simt::input("columns", matrix.columns);
      const auto x = simt::input("x", one.x);
      const auto base = simt::input("base", one.base);
      auto dots = simt::output<Accumulate<T>>("grad_values", matrix.num_entries());
      LayerArgs<T> args;
      one.fill(args);
      args.offsets = offsets.data();
      args.columns = columns.data();
      args.num_entries = matrix.num_entries();
      args.x = x.data();
      args.base = base.data();
      args.base_stride = d + one.gap;
      CHECK(cuda::launch_entry_dots(args, dots.data(), nullptr) == cudaSuccess);
      EXPECT_CLOSE(dots, wanted, sizeof(T) == 8 ? 1e-13 : 1e-5);
    }
  }
}

TEST(cuda_gradients_of_values_are_those_of_the_cpu) {
  compare_dots<float>();
  compare_dots<double>();
  compare_dots<BFloat16>();
  compare_dots<Float16>();
}

template <class T>
void copy_rows() {
  for (const int64_t d : {3, 36}) {
    const int64_t num_rows = 33;
    const std::vector<T> table = random_table<T>(num_rows * (d + 4), 1);
    std::vector<int64_t> rows(33);
    std::iota(rows.rbegin(), rows.rend(), 0);
    rows[3] = 5;
    rows[4] = -1;
    rows[5] = num_rows;
    for (const bool chosen : {true, false}) {
      const auto x = simt::input("x", table);
      const auto rows_in = simt::input("rows", rows);
      auto y = simt::output<T>("y", num_rows * d);
      LayerArgs<T> args;
      args.num_rows = args.num_wanted = num_rows;
      args.rows = chosen ? rows_in.data() : nullptr;
      args.x = x.data();
      args.x_stride = d + 4;
      args.y = y.data();
      args.y_stride = args.d = d;
      CHECK(cuda::launch_copy_rows(args, nullptr) == cudaSuccess);
      std::vector<T> wanted;
      for (int64_t i = 0; i < num_rows; ++i) {
        const int64_t row = chosen ? rows[i] : i;
        const bool exists = row >= 0 && row < num_rows;
        for (int64_t c = 0; c < d; ++c) {
          wanted.push_back(exists ? table[row * (d + 4) + c] : narrow<T>(std::nan("")));
        }
      }
      expect_table(y, wanted, __LINE__);
    }
  }
}

TEST(cuda_copies_of_rows) {
  copy_rows<float>();
  copy_rows<double>();
  copy_rows<BFloat16>();
  copy_rows<Float16>();
}

}  // namespace
