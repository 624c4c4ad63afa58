#include <atomic>
#include <cstdint>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "common/random.h"
#include "cpu/isa.h"
#include "cpu/propagate.h"
#include "native/graph.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;

struct Graph {
  std::int64_t num_columns;
  std::int64_t chunk;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> partition;

  std::int64_t num_rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t num_parts() const { return static_cast<std::int64_t>(partition.size()) / 2 - 1; }
  std::int64_t num_entries() const { return offsets.back(); }
  bool is_chunk(std::int64_t part) const {
    const std::int64_t row = partition[2 * part];
    return row < num_rows() && offsets[row + 1] - offsets[row] > 2 * chunk;
  }
};

// Columns may repeat within a row: propagation does not mind.
Graph make_graph(const std::vector<std::int64_t>& lengths, std::int64_t num_columns,
                 std::int64_t chunk) {
  Graph graph{num_columns, chunk, {0}, {}, {}};
  for (const std::int64_t length : lengths) graph.offsets.push_back(graph.offsets.back() + length);
  std::mt19937_64 random(3);
  graph.columns = std::vector<std::int32_t>(static_cast<std::size_t>(graph.num_entries()));
  for (auto& column : graph.columns) column = static_cast<std::int32_t>(random() % num_columns);
  for (const auto& [row, position] : native::partition_rows("test", graph.offsets, chunk)) {
    graph.partition.insert(graph.partition.end(), {row, position});
  }
  graph.partition.shrink_to_fit();
  return graph;
}

// Empty rows at both ends and between, rows of one and two chunks, and two hubs.
Graph small_graph() {
  return make_graph({0, 3, 1, 0, 0, 17, 41, 8, 9, 16, 2, 1, 0, 33, 20, 5, 0}, 19, 8);
}

// The same with the chunks that the library uses.
Graph large_graph() {
  return make_graph({0, 5, 8192, 0, 20001, 3, 4097, 8193, 40, 0}, 300, kChunk);
}

template <class T>
PropagateArgs<T> make_args(const Graph& graph, const std::vector<T>& x, std::int64_t stride,
                           std::int64_t d, std::vector<Accumulate<T>>& carry) {
  carry = std::vector<Accumulate<T>>(static_cast<std::size_t>(graph.num_parts() * d), -77);
  PropagateArgs<T> args;
  args.offsets = graph.offsets.data();
  args.columns = graph.columns.data();
  args.partition = graph.partition.data();
  args.num_rows = graph.num_rows();
  args.num_parts = graph.num_parts();
  args.chunk = graph.chunk;
  args.x = x.data();
  args.x_stride = stride;
  args.d = d;
  args.carry = carry.data();
  return args;
}

template <class T>
void finish_hubs(const Graph& graph, const PropagateArgs<T>& args) {
  for (std::int64_t part = 0; part < graph.num_parts();) {
    const std::int64_t begin = part++;
    if (!graph.is_chunk(begin)) continue;
    while (part < graph.num_parts() && graph.partition[2 * part] == graph.partition[2 * begin]) {
      ++part;
    }
    RLMREC_FAST_CALL(propagate_finish, args, begin, part);
  }
}

template <class T>
void run_layer(const Graph& graph, const PropagateArgs<T>& args) {
  RLMREC_FAST_CALL(propagate_parts, args, std::int64_t{0}, graph.num_parts());
  finish_hubs(graph, args);
}

// A table of rows at a stride, without room behind the last one.
std::int64_t table_size(std::int64_t rows, std::int64_t stride, std::int64_t d) {
  return (rows - 1) * stride + d;
}

struct Sum {
  double value = 0;
  double magnitude = 0;  // sum of absolute terms
};

// Column j of row r by brute force, without base, accumulator and noise.
template <class T, class Keep>
Sum brute_sum(const Graph& graph, const PropagateArgs<T>& args, std::int64_t r, std::int64_t j,
              Keep keep) {
  Sum sum;
  for (std::int64_t e = graph.offsets[r]; e < graph.offsets[r + 1]; ++e) {
    const std::int32_t c = graph.columns[e];
    if (!keep(r, c)) continue;
    const double weight = args.values != nullptr ? args.values[e] : args.column_scale[c];
    const double term = weight * decode(args.x[c * args.x_stride + j]);
    sum.value += term;
    sum.magnitude += std::abs(term);
  }
  const double scale = args.row_scale != nullptr ? args.row_scale[r] : 1.0;
  return {sum.value * scale, sum.magnitude * std::abs(scale)};
}

template <class T>
double tolerance(double magnitude, std::int64_t terms) {
  const double accumulate = rounding<Accumulate<T>>() * static_cast<double>(terms + 8);
  return magnitude * (accumulate + 1.001 * rounding<T>()) + 0x1p-24 * (is_half<T> ? 1 : 0);
}

const auto keep_all = [](std::int64_t, std::int64_t) { return true; };

// Rows in some order, one of them twice: y's rows must have the bits of `expected`'s.
template <class T>
void check_rows(PropagateArgs<T> args, const std::vector<T>& expected, std::int64_t stride) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(args.num_rows + 1));
  std::iota(rows.begin(), rows.end(), 0);
  rows.back() = 2;
  std::shuffle(rows.begin(), rows.end(), std::mt19937_64(5));
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<T> y(static_cast<std::size_t>(count * args.d));
  args.y = y.data();
  args.y_stride = args.d;
  args.carry = nullptr;
  RLMREC_FAST_CALL(propagate_rows, args, rows.data(), std::int64_t{0}, count / 2);
  RLMREC_FAST_CALL(propagate_rows, args, rows.data(), count / 2, count);
  for (std::int64_t i = 0; i < count; ++i) {
    CHECK(same_bits(y.data() + i * args.d, expected.data() + rows[i] * stride, args.d));
  }
}

enum Mode { plain, scaled, strided, with_base, in_base, with_accumulator, accumulator_only, modes };

template <class T>
void check_layer(const Graph& graph, std::int64_t d, int mode) {
  using A = Accumulate<T>;
  const std::int64_t rows = graph.num_rows();
  const std::int64_t nodes = std::max(rows, graph.num_columns);
  const std::int64_t wider = mode == strided || mode == with_base ? 3 : 0;
  const std::int64_t stride = d + wider;
  const auto x = random_values<T>(table_size(graph.num_columns, d + wider, d), 11);
  const auto edge_values = random_values<A>(graph.num_entries(), 12);
  const auto scale = random_values<A>(nodes, 13);
  const auto base_before = random_values<T>(table_size(rows, stride, d), 14);
  auto base = base_before;
  const T untouched = encode<T>(7);
  std::vector<T> own(static_cast<std::size_t>(table_size(rows, stride, d)), untouched);
  std::vector<A> carry;
  PropagateArgs<T> args = make_args(graph, x, d + wider, d, carry);
  if (mode % 2 == 0) {
    args.values = edge_values.data();
  } else {
    args.column_scale = scale.data();
  }
  if (mode == scaled || mode == strided || mode == in_base) args.row_scale = scale.data();
  if (mode == with_base || mode == in_base) args.base = base.data();
  if (mode == with_accumulator || mode == accumulator_only) args.accumulator = base.data();
  args.base_stride = args.accumulator_stride = args.y_stride = stride;
  if (mode >= with_base) args.factor = A(0.375);
  if (mode != accumulator_only) args.y = mode == in_base ? base.data() : own.data();
  run_layer(graph, args);

  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t terms = graph.offsets[r + 1] - graph.offsets[r];
    for (std::int64_t j = 0; j < d; ++j) {
      const std::int64_t place = r * stride + j;
      const Sum sum = brute_sum(graph, args, r, j, keep_all);
      const double before = decode(base_before[place]);
      const double close =
          tolerance<T>(sum.magnitude + (mode >= with_base ? std::abs(before) : 0), terms);
      const double combined = 0.375 * (sum.value + before);
      if (args.accumulator != nullptr) CHECK_NEAR(decode(base[place]), combined, close);
      if (args.y == nullptr) continue;
      const double expected = args.base != nullptr ? combined : sum.value;
      CHECK_NEAR(decode(args.y[place]), expected, close);
    }
    for (std::int64_t j = d; j < stride && r + 1 < rows; ++j) {
      CHECK(same_bits(&own[r * stride + j], &untouched, 1));
    }
  }
  if (args.accumulator == nullptr && mode != in_base) check_rows(args, own, stride);
}

// A base that lacks rows, and has the others elsewhere, gives the bits of a whole one.
template <class T>
void check_base_places(const Graph& graph, std::int64_t d) {
  const std::int64_t rows = graph.num_rows();
  const auto x = random_values<T>(graph.num_columns * d, 11);
  const auto scale = random_values<Accumulate<T>>(std::max(rows, graph.num_columns), 13);
  const auto compact = random_values<T>(rows * d, 14);
  std::vector<T> whole(static_cast<std::size_t>(rows * d), encode<T>(0));
  std::vector<std::int32_t> places(static_cast<std::size_t>(rows), -1);
  for (std::int64_t r = 0; r < rows; r += 1 + r % 3) {
    places[r] = static_cast<std::int32_t>(rows - 1 - r);
    std::copy_n(compact.begin() + places[r] * d, d, whole.begin() + r * d);
  }
  std::vector<Accumulate<T>> carry;
  PropagateArgs<T> args = make_args(graph, x, d, d, carry);
  args.column_scale = scale.data();
  args.base_stride = args.y_stride = d;
  args.factor = Accumulate<T>(0.375);
  std::vector<T> expected(whole.size()), got(whole.size());
  args.base = whole.data();
  args.y = expected.data();
  run_layer(graph, args);
  args.base = compact.data();
  args.base_places = places.data();
  args.y = got.data();
  run_layer(graph, args);
  CHECK(same_bits(got.data(), expected.data(), rows * d));
}

TEST(a_base_may_hold_some_rows_only) {
  const Graph graph = small_graph();
  for (const std::int64_t d : widths()) {
    check_base_places<float>(graph, d);
    check_base_places<double>(graph, d);
    check_base_places<BFloat16>(graph, d);
  }
}

TEST(propagation_equals_brute_force) {
  const Graph graph = small_graph();
  for (const std::int64_t d : widths()) {
    for (int mode = 0; mode < modes; ++mode) {
      check_layer<float>(graph, d, mode);
      check_layer<double>(graph, d, mode);
      if (d <= 20 || d == 65 || d == 130) {
        check_layer<BFloat16>(graph, d, mode);
        check_layer<Float16>(graph, d, mode);
      }
    }
  }
}

TEST(propagation_with_hubs_of_many_chunks_equals_brute_force) {
  const Graph graph = large_graph();
  for (const std::int64_t d : {1, 7, 16, 33}) {
    for (const int mode : {plain, scaled, with_base, with_accumulator}) {
      check_layer<float>(graph, d, mode);
      check_layer<double>(graph, d, mode);
      if (d == 7) check_layer<BFloat16>(graph, d, mode);
      if (d == 33) check_layer<Float16>(graph, d, mode);
    }
  }
}

template <class T>
void check_threads(const Graph& graph, std::int64_t d) {
  const auto x = random_values<T>(graph.num_columns * d, 21);
  const auto edge_values = random_values<Accumulate<T>>(graph.num_entries(), 22);
  std::vector<Accumulate<T>> carry;
  PropagateArgs<T> args = make_args(graph, x, d, d, carry);
  args.values = edge_values.data();
  args.noise = 0.1;
  args.noise_seed = 4;
  args.y_stride = d;
  std::vector<T> expected(static_cast<std::size_t>(graph.num_rows() * d));
  args.y = expected.data();
  run_layer(graph, args);
  check_rows(args, expected, d);
  for (unsigned seed = 0; seed < 5; ++seed) {
    std::fill(carry.begin(), carry.end(), Accumulate<T>(-55));
    std::vector<T> y(expected.size());
    args.y = y.data();
    std::vector<std::int64_t> parts(static_cast<std::size_t>(graph.num_parts()));
    std::iota(parts.begin(), parts.end(), 0);
    std::shuffle(parts.begin(), parts.end(), std::mt19937_64(seed));
    std::atomic<std::size_t> next{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (std::size_t i; (i = next++) < parts.size();) {
          RLMREC_FAST_CALL(propagate_parts, args, parts[i], parts[i] + 1);
        }
      });
    }
    for (auto& thread : threads) thread.join();
    finish_hubs(graph, args);
    CHECK(same_bits(y.data(), expected.data(), static_cast<std::int64_t>(y.size())));
  }
}

TEST(bits_do_not_depend_on_threads_and_order) {
  for (const std::int64_t d : {5, 32, 65}) {
    check_threads<float>(small_graph(), d);
    check_threads<double>(small_graph(), d);
    check_threads<Float16>(small_graph(), d);
  }
  check_threads<float>(large_graph(), 33);
  check_threads<double>(large_graph(), 20);
  check_threads<BFloat16>(large_graph(), 17);
}

struct Dropped {
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> row_begin, row_end, part_end;

  Dropped(const Graph& graph, std::uint64_t seed, double keep_rate, bool transpose)
      : columns(graph.columns.size(), -1),
        row_begin(graph.offsets.size() - 1, -1),
        row_end(graph.offsets.size() - 1, -1),
        part_end(static_cast<std::size_t>(graph.num_parts()), -1) {
    const DropoutArgs args{graph.offsets.data(),
                           graph.columns.data(),
                           graph.partition.data(),
                           graph.num_rows(),
                           graph.chunk,
                           seed,
                           keep_rate,
                           transpose,
                           columns.data(),
                           row_begin.data(),
                           row_end.data(),
                           part_end.data()};
    // Backwards: a part must not touch what another one has written.
    for (std::int64_t part = graph.num_parts(); part-- > 0;) {
      RLMREC_FAST_CALL(drop_edges, args, part, part + 1);
    }
  }
};

auto mask(std::uint64_t seed, double keep_rate, bool transpose) {
  return [=](std::int64_t r, std::int64_t c) {
    const PairHash hash = pair_hash(seed);
    const auto first = static_cast<std::uint32_t>(transpose ? c : r);
    const auto second = static_cast<std::uint32_t>(transpose ? r : c);
    return hash_second(hash, hash_first(hash, first), second) < rate_threshold(keep_rate);
  };
}

TEST(dropout_keeps_what_the_hash_says) {
  for (const Graph& graph : {small_graph(), large_graph()}) {
    for (int trial = 0; trial < 24; ++trial) {
      const double keep_rate = std::vector{0.02, 0.5, 0.9, 0.9999999999}[trial % 4];
      const std::uint64_t seed = mix64(trial);
      const bool transpose = trial % 8 >= 4;
      const Dropped dropped(graph, seed, keep_rate, transpose);
      const auto keep = mask(seed, keep_rate, transpose);
      for (std::int64_t part = 0; part < graph.num_parts(); ++part) {
        const std::int64_t* bounds = graph.partition.data() + 2 * part;
        std::int64_t kept = bounds[1];
        const bool chunk = graph.is_chunk(part);
        const std::int64_t row_end = chunk ? bounds[0] + 1 : bounds[2];
        for (std::int64_t r = bounds[0]; r < row_end; ++r) {
          if (!chunk) CHECK(dropped.row_begin[r] == kept);
          const std::int64_t begin = chunk ? bounds[1] : graph.offsets[r];
          const std::int64_t end = chunk ? bounds[3] : graph.offsets[r + 1];
          for (std::int64_t e = begin; e < end; ++e) {
            if (!keep(r, graph.columns[e])) continue;
            CHECK(dropped.columns[kept] == graph.columns[e]);
            ++kept;
          }
          if (!chunk) CHECK(dropped.row_end[r] == kept);
        }
        CHECK(dropped.part_end[part] == kept);
      }
    }
  }
}

template <class T>
void check_dropout_layer(const Graph& graph, std::int64_t d, bool transpose) {
  const auto x = random_values<T>(graph.num_columns * d, 31);
  const auto scale =
      random_values<Accumulate<T>>(std::max(graph.num_rows(), graph.num_columns), 32);
  std::vector<Accumulate<T>> carry;
  PropagateArgs<T> args = make_args(graph, x, d, d, carry);
  args.column_scale = args.row_scale = scale.data();
  const Dropped dropped(graph, 9, 0.6, transpose);
  args.columns = dropped.columns.data();
  args.row_begin = dropped.row_begin.data();
  args.row_end = dropped.row_end.data();
  args.part_end = dropped.part_end.data();
  std::vector<T> y(static_cast<std::size_t>(graph.num_rows() * d));
  args.y = y.data();
  args.y_stride = d;
  run_layer(graph, args);
  check_rows(args, y, d);
  for (std::int64_t r = 0; r < graph.num_rows(); ++r) {
    for (std::int64_t j = 0; j < d; ++j) {
      const Sum sum = brute_sum(graph, args, r, j, mask(9, 0.6, transpose));
      const std::int64_t terms = graph.offsets[r + 1] - graph.offsets[r];
      CHECK_NEAR(decode(y[r * d + j]), sum.value, tolerance<T>(sum.magnitude, terms));
    }
  }
}

TEST(propagation_over_kept_entries_equals_brute_force) {
  for (const bool transpose : {false, true}) {
    for (const std::int64_t d : {1, 8, 31, 64, 150}) {
      check_dropout_layer<float>(small_graph(), d, transpose);
      check_dropout_layer<double>(small_graph(), d, transpose);
      check_dropout_layer<BFloat16>(small_graph(), d, transpose);
    }
    check_dropout_layer<float>(large_graph(), 9, transpose);
    check_dropout_layer<double>(large_graph(), 17, transpose);
  }
}

template <class T>
void check_noise(const Graph& graph, std::int64_t d) {
  constexpr double eps = 0.25;
  const auto x = random_values<T>(graph.num_columns * d, 41);
  const auto edge_values = random_values<Accumulate<T>>(graph.num_entries(), 42);
  std::vector<Accumulate<T>> carry;
  PropagateArgs<T> args = make_args(graph, x, d, d, carry);
  args.values = edge_values.data();
  args.y_stride = d;
  std::vector<T> quiet(static_cast<std::size_t>(graph.num_rows() * d));
  std::vector<T> noisy = quiet;
  args.y = quiet.data();
  run_layer(graph, args);
  args.y = noisy.data();
  args.noise = eps;
  args.noise_seed = 77;
  run_layer(graph, args);
  check_rows(args, noisy, d);
  const PairHash hash = pair_hash(77);
  for (std::int64_t r = 0; r < graph.num_rows(); ++r) {
    std::vector<double> n;
    double norm = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      const std::uint32_t hashed = hash_first(hash, static_cast<std::uint32_t>(r));
      n.push_back((hash_second(hash, hashed, static_cast<std::uint32_t>(j)) >> 8) * 0x1p-24);
      norm += n.back() * n.back();
    }
    double change = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      const double v = decode(quiet[r * d + j]);
      const double delta = decode(noisy[r * d + j]) - v;
      const double sign = v > 0 ? 1 : v < 0 ? -1 : 0;
      const double close = 4e-7 * (1 + std::abs(v));  // n is made from floats for double too
      CHECK_NEAR(delta, sign * eps * n[j] / std::sqrt(norm), close);
      CHECK(sign * delta >= 0);
      change += delta * delta;
    }
    const bool empty = graph.offsets[r] == graph.offsets[r + 1];
    CHECK_NEAR(std::sqrt(change), empty ? 0.0 : eps, 2e-5);
  }
}

TEST(noise_has_its_norm_and_the_signs_of_its_row) {
  for (const std::int64_t d : widths()) {
    check_noise<float>(small_graph(), d);
    check_noise<double>(small_graph(), d);
  }
  check_noise<double>(large_graph(), 10);
}

TEST(noise_comes_before_the_base) {
  const Graph graph = small_graph();
  const std::int64_t d = 13;
  const auto x = random_values<double>(graph.num_columns * d, 1);
  const auto base = random_values<double>(graph.num_rows() * d, 2);
  const auto scale = random_values<double>(graph.num_columns, 3);
  std::vector<double> carry;
  std::vector<double> noisy(base.size());
  std::vector<double> both(base.size());
  PropagateArgs<double> args = make_args(graph, x, d, d, carry);
  args.column_scale = scale.data();
  args.noise = 0.5;
  args.y = noisy.data();
  args.y_stride = args.base_stride = d;
  run_layer(graph, args);
  args.base = base.data();
  args.factor = 0.5;
  args.y = both.data();
  run_layer(graph, args);
  for (std::size_t i = 0; i < both.size(); ++i) {
    CHECK_NEAR(both[i], 0.5 * (noisy[i] + base[i]), 1e-13);
  }
}

template <class T>
void check_entry_dots(const Graph& graph, std::int64_t d) {
  const auto x = random_values<T>(table_size(graph.num_columns, d + 1, d), 51);
  const auto grad = random_values<T>(table_size(graph.num_rows(), d + 2, d), 52);
  std::vector<Accumulate<T>> carry;
  PropagateArgs<T> args = make_args(graph, x, d + 1, d, carry);
  args.base = grad.data();
  args.base_stride = d + 2;
  std::vector<Accumulate<T>> dots(graph.columns.size(), -99);
  const std::int64_t half = graph.num_parts() / 2;
  RLMREC_FAST_CALL(entry_dots, args, dots.data(), std::int64_t{0}, half);
  for (std::int64_t part = half; part < graph.num_parts(); ++part) {
    RLMREC_FAST_CALL(entry_dots, args, dots.data(), part, part + 1);
  }
  for (std::int64_t r = 0; r < graph.num_rows(); ++r) {
    for (std::int64_t e = graph.offsets[r]; e < graph.offsets[r + 1]; ++e) {
      double dot = 0;
      double magnitude = 0;
      for (std::int64_t j = 0; j < d; ++j) {
        const double term =
            decode(grad[r * (d + 2) + j]) * decode(x[graph.columns[e] * (d + 1) + j]);
        dot += term;
        magnitude += std::abs(term);
      }
      CHECK_NEAR(dots[e], dot, tolerance<Accumulate<T>>(magnitude, d));
    }
  }
}

TEST(entry_dots_equal_brute_force) {
  for (const std::int64_t d : widths()) {
    check_entry_dots<float>(small_graph(), d);
    check_entry_dots<double>(small_graph(), d);
    check_entry_dots<BFloat16>(small_graph(), d);
    check_entry_dots<Float16>(small_graph(), d);
  }
  check_entry_dots<float>(large_graph(), 9);
  check_entry_dots<BFloat16>(large_graph(), 5);
}

}  // namespace
