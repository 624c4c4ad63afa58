// One CSR product on torch's threads: what propagation, spmm and the scattering of gradients share.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "bindings/common.h"
#include "cpu/group.h"
#include "cpu/propagate.h"
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

// out[r] = sum over the entries e of group r of weight(e) * table[source(e)]. Writes every row of
// out.
template <class T, class Source, class Weight>
void scatter_sum(const Groups& groups, const T* table, int64_t table_stride, int64_t d, T* out,
                 Source source, Weight weight) {
  constexpr int64_t kScatterChunk = 512;
  std::vector<int32_t> columns(groups.entries.size());
  std::vector<Accumulate<T>> values(groups.entries.size());
  for (size_t i = 0; i < groups.entries.size(); ++i) {
    columns[i] = static_cast<int32_t>(source(groups.entries[i]));
    values[i] = weight(groups.entries[i]);
  }
  const auto partition = native::partition_rows("scatter_sum", groups.offsets, kScatterChunk);
  PropagateArgs<T> args;
  args.offsets = groups.offsets.data();
  args.columns = columns.data();
  args.partition = partition.front().data();
  args.num_rows = static_cast<int64_t>(groups.offsets.size()) - 1;
  args.num_parts = static_cast<int64_t>(partition.size()) - 1;
  args.chunk = kScatterChunk;
  args.values = values.data();
  args.x = table;
  args.x_stride = table_stride;
  args.y = out;
  args.y_stride = d;
  args.d = d;
  run_layer(args);
}

}  // namespace rlmrec_fast
