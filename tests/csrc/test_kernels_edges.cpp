#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "cpu/edges.h"
#include "native/graph.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;

constexpr std::int64_t kNodes = 40, kSmallChunk = 8;

// Symmetric: node 0 alone, node 1 with all others, others at random, some with themselves.
struct Graph {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> partition;

  Graph() {
    std::mt19937_64 random(3);
    std::vector<std::vector<bool>> edges(kNodes, std::vector<bool>(kNodes));
    for (std::int64_t n = 1; n < kNodes; ++n) {
      for (std::int64_t m = 1; m <= n; ++m) {
        edges[n][m] = edges[m][n] = m == 1 || random() % 5 == 0;
      }
    }
    for (const auto& row : edges) {
      for (std::int32_t m = 0; m < kNodes; ++m) {
        if (row[m]) columns.push_back(m);
      }
      offsets.push_back(static_cast<std::int64_t>(columns.size()));
    }
    for (const auto& [row, position] : native::partition_rows("test", offsets, kSmallChunk)) {
      partition.insert(partition.end(), {row, position});
    }
  }
  std::int64_t num_parts() const { return static_cast<std::int64_t>(partition.size()) / 2 - 1; }
};

template <class T>
std::vector<T> packed(const EdgeShape& shape, std::int64_t heads, std::int64_t width,
                      const std::vector<T>& x, const std::vector<T>& factors) {
  std::vector<T> result(static_cast<std::size_t>(kNodes * shape.width), T(-77));
  const EdgePackArgs<T> args{shape,          heads, width,         x.data(),   heads * width,
                             factors.data(), heads, result.data(), shape.width};
  RLMREC_FAST_CALL(edge_pack, args, std::int64_t{0}, kNodes);
  return result;
}

template <class T>
void check_edges(std::int64_t heads, std::int64_t width, EdgeWeight weight, bool slope, bool power,
                 bool shift_by_row) {
  const Graph graph;
  const EdgeShape shape = RLMREC_FAST_CALL(edge_shape<T>, heads, width);
  // As many heads as a vector holds; the rest would be another group's.
  const std::int64_t count = std::min(heads, shape.heads), d = count * width;
  const auto factors = random_values<T>(kNodes * count, 9);
  const auto scaled = [&](std::vector<T> x) {
    for (std::int64_t i = 0; i < kNodes * d; ++i) x[i] *= factors[i / d * count + i % d / width];
    return x;
  };
  std::vector<std::vector<T>> raw, tables;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    raw.push_back(random_values<T>(kNodes * d, seed));
    tables.push_back(packed(shape, count, width, raw.back(), factors));
    raw.back() = scaled(raw.back());
  }
  const auto shifts = random_values<T>(kNodes * shape.heads, 8);
  EdgeArgs<T> args;
  args.offsets = graph.offsets.data();
  args.columns = graph.columns.data();
  args.partition = graph.partition.data();
  args.num_rows = kNodes;
  args.num_parts = graph.num_parts();
  args.chunk = kSmallChunk;
  args.shape = shape;
  args.weight = weight;
  args.limit = T(0.5);
  args.own = {tables[0].data(), tables[1].data(), shape.width};
  args.others = {tables[2].data(), tables[3].data(), shape.width};
  args.shifts = shifts.data();
  args.shift_by_row = shift_by_row;
  std::vector<T> sums(static_cast<std::size_t>(args.num_parts * args.sums_size()));
  std::vector<T> slopes(static_cast<std::size_t>(kNodes * d), T(1)), powers(slopes);
  std::vector<T> inverses(static_cast<std::size_t>(kNodes * count));
  args.sums = sums.data();
  args.slopes = slope ? slopes.data() : nullptr;
  args.add_slopes = true;
  args.powers = power ? powers.data() : nullptr;
  args.stride = d;
  args.num_heads = count;
  args.head_width = width;
  args.inverses = power ? inverses.data() : nullptr;
  args.inverse_stride = count;
  args.eps = T(0.25);
  for (std::int64_t part = 0; part < args.num_parts;) {
    const std::int64_t begin = part;
    do {
      RLMREC_FAST_CALL(edge_parts, args, part, part + 1);
      ++part;
    } while (part < args.num_parts && graph.partition[2 * part] == graph.partition[2 * begin]);
    if (part > begin + 1) RLMREC_FAST_CALL(edge_finish, args, begin, part);
  }

  const auto at = [&](int table, std::int64_t n, std::int64_t h, std::int64_t j) {
    return static_cast<double>(raw[table][n * d + h * width + j]);
  };
  const double close = rounding<T>() * 400;
  for (std::int64_t n = 0; n < kNodes; ++n) {
    for (std::int64_t h = 0; h < count; ++h) {
      double total = 0;
      std::vector<double> slope_sum(static_cast<std::size_t>(width), 1), power_sum(slope_sum);
      power_sum.assign(power_sum.size(), 0);
      for (std::int64_t e = graph.offsets[n]; e < graph.offsets[n + 1]; ++e) {
        const std::int64_t m = graph.columns[e];
        double s = 0, t = shifts[(shift_by_row ? n : m) * shape.heads + h];
        for (std::int64_t j = 0; j < width; ++j) {
          s += at(0, n, h, j) * at(2, m, h, j);
          t += at(1, n, h, j) * at(3, m, h, j);
        }
        const bool inside = std::abs(s) <= 0.5;
        const bool cosine = weight == EdgeWeight::cosine;
        const double a = cosine ? (s + 1) / 2 : std::exp(inside ? s : std::copysign(0.5, s));
        const double b = t * (cosine ? 0.5 : (inside ? a : 0));
        total += a;
        for (std::int64_t j = 0; j < width; ++j) {
          power_sum[j] += a * at(3, m, h, j);
          slope_sum[j] += b * at(2, m, h, j);
        }
      }
      const double inverse = total != 0 ? 1 / (total + 0.25) : 0;
      if (power) CHECK_NEAR(inverses[n * count + h], inverse, close * 10);
      for (std::int64_t j = 0; j < width; ++j) {
        const std::int64_t place = n * d + h * width + j;
        if (power) CHECK_NEAR(powers[place], power_sum[j] * inverse, close);
        if (slope) CHECK_NEAR(slopes[place], slope_sum[j], close);
      }
    }
  }
}

template <class T>
void check_shapes() {
  // Heads and columns of each: two and four vectors, others, padded ones, parts of a vector.
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes{
      {4, 8}, {4, 16}, {1, 32}, {1, 5}, {2, 3}, {3, 4}, {8, 2}, {20, 3}};
  for (const auto& [heads, width] : shapes) {
    for (const bool by_row : {false, true}) {
      check_edges<T>(heads, width, EdgeWeight::exponential, false, true, by_row);
      check_edges<T>(heads, width, EdgeWeight::exponential, true, false, by_row);
      check_edges<T>(heads, width, EdgeWeight::exponential, true, true, by_row);
    }
  }
  for (const std::int64_t width : {1, 16, 32, 64, 70}) {
    check_edges<T>(1, width, EdgeWeight::cosine, false, true, false);
    check_edges<T>(1, width, EdgeWeight::cosine, true, false, true);
    check_edges<T>(1, width, EdgeWeight::cosine, true, true, false);
  }
}

TEST(edge_sums_are_those_of_the_formula_in_floats) { check_shapes<float>(); }
TEST(edge_sums_are_those_of_the_formula_in_doubles) { check_shapes<double>(); }

TEST(the_gradient_of_a_unit_row_is_projected_above_eps_alone) {
  const double x[] = {3, 4, 0.3, 0.4};
  const double inverse[] = {0.2, 1};  // norms 5 and, below eps = 1, 1
  double grad[] = {1, 2, 1, 2};
  RLMREC_FAST_CALL(unit_backward, x, std::int64_t{2}, std::int64_t{2}, inverse, 1.0, grad,
                   std::int64_t{0}, std::int64_t{2});
  CHECK_NEAR(grad[0], 0.2 * (1 - 0.6 * 2.2), 1e-15);
  CHECK_NEAR(grad[1], 0.2 * (2 - 0.8 * 2.2), 1e-15);
  CHECK_NEAR(grad[2], 1, 0);
  CHECK_NEAR(grad[3], 2, 0);
}

}  // namespace
