// One CSR product on torch's threads: what propagation, spmm and the scattering of gradients share.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "bindings/common.h"
#include "cpu/propagate.h"
#include "cpu/scatter.h"
#include "native/graph.h"

namespace rlmrec_fast {

// [first, last) parts of every long row: parts that start in the same row are chunks of it.
inline std::vector<std::array<int64_t, 2>> long_rows(const int64_t* partition, int64_t num_parts) {
  std::vector<std::array<int64_t, 2>> rows;
  for (int64_t part = 0; part + 1 < num_parts;) {
    int64_t last = part + 1;
    while (last < num_parts && partition[2 * last] == partition[2 * part]) ++last;
    if (last > part + 1) rows.push_back({part, last});
    part = last;
  }
  return rows;
}

// One layer for all rows: parts in parallel, then the chunks of long rows are put together.
template <class T>
void run_layer(PropagateArgs<T> args) {
  const auto rows = long_rows(args.partition, args.num_parts);
  std::unique_ptr<Accumulate<T>[]> carry;
  if (!rows.empty()) {
    carry.reset(new Accumulate<T>[static_cast<size_t>(args.num_parts * args.d)]);
    args.carry = carry.get();
  }
  torch::stable::parallel_for(0, args.num_parts, 1, [&](int64_t begin, int64_t end) {
    RLMREC_FAST_CALL(propagate_parts, args, begin, end);
  });
  torch::stable::parallel_for(0, static_cast<int64_t>(rows.size()), 1,
                              [&](int64_t begin, int64_t end) {
                                for (int64_t i = begin; i < end; ++i) {
                                  RLMREC_FAST_CALL(propagate_finish, args, rows[i][0], rows[i][1]);
                                }
                              });
}

// Parts of a scatter matrix are smaller than a graph's: a batch has few entries.
constexpr int64_t kScatterChunk = 512;

// out = matrix * table, every row of out written.
template <class T>
void scatter_rows(const ScatterMatrix<Accumulate<T>>& matrix, const T* table, int64_t table_stride,
                  int64_t d, T* out) {
  const auto partition = native::partition_rows("scatter_rows", matrix.offsets, kScatterChunk);
  PropagateArgs<T> args;
  args.offsets = matrix.offsets.data();
  args.columns = matrix.columns.data();
  args.values = matrix.values.data();
  args.partition = partition.front().data();
  args.num_rows = static_cast<int64_t>(matrix.offsets.size()) - 1;
  args.num_parts = static_cast<int64_t>(partition.size()) - 1;
  args.chunk = kScatterChunk;
  args.x = table;
  args.x_stride = table_stride;
  args.y = out;
  args.y_stride = d;
  args.d = d;
  run_layer(args);
}

}  // namespace rlmrec_fast
