#include "test_kernels_layers.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "check.h"

namespace {

using namespace layers;

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

}  // namespace
