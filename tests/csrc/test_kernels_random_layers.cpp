#include <atomic>
#include <cstdint>
#include <numeric>
#include <vector>

#include "check.h"
#include "common/random.h"
#include "test_kernels_layers.h"

namespace {

using namespace layers;

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
