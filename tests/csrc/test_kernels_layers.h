// Small matrices, and layers of propagation over them by the kernels and by brute force.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "cpu/isa.h"
#include "cpu/propagate.h"
#include "native/graph.h"
#include "test_kernels_values.h"

namespace layers {

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
inline Graph make_graph(const std::vector<std::int64_t>& lengths, std::int64_t num_columns,
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
inline Graph small_graph() {
  return make_graph({0, 3, 1, 0, 0, 17, 41, 8, 9, 16, 2, 1, 0, 33, 20, 5, 0}, 19, 8);
}

// The same with the chunks that the library uses.
inline Graph large_graph() {
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
inline std::int64_t table_size(std::int64_t rows, std::int64_t stride, std::int64_t d) {
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

inline const auto keep_all = [](std::int64_t, std::int64_t) { return true; };

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

}  // namespace layers
