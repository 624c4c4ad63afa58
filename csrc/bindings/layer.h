// One CSR product on torch's threads: what propagation, spmm and the scattering of gradients share.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include "bindings/common.h"
#include "common/scratch.h"
#include "cpu/propagate.h"
#include "cpu/scatter.h"
#include "native/graph.h"

namespace rlmrec_fast {

// A CSR matrix and its partition, checked as far as that takes no look at the columns: those were
// validated when the graph was built, and looking at them would cost a tenth of a layer. A padded
// one may have columns behind its last row, and parts without any row.
struct Matrix {
  Tensor offsets, columns, partition;
  int64_t num_rows, num_parts;

  Matrix(const char* op, const Tensor& offsets_, const Tensor& columns_, const Tensor& partition_,
         bool padded = false)
      : offsets(check_longs(offsets_, "offsets")),
        columns(check_ints(columns_, "columns")),
        partition(torch::stable::contiguous(partition_)),
        num_rows(offsets.numel() - 1),
        num_parts(0) {
    check(partition.dim() == 2 && partition.size(0) >= 1 && partition.size(1) == 2 &&
              partition.scalar_type() == ScalarType::Long,
          op, ": partition must be an int64 table of two columns");
    num_parts = partition.size(0) - 1;
    check_partition(op, check_lengths(padded));
  }

  template <class T>
  PropagateArgs<T> args() const {
    PropagateArgs<T> args;
    args.offsets = const_data<int64_t>(offsets);
    args.columns = const_data<int32_t>(columns);
    args.partition = const_data<int64_t>(partition);
    args.num_rows = num_rows;
    args.num_parts = num_parts;
    return args;
  }

 private:
  // Offsets go up from 0 to the number of columns, or not as far where the matrix may be padded;
  // returns how many rows are long. One pass without branches, as this runs in every call.
  int64_t check_lengths(bool padded) const {
    const int64_t* row_offsets = const_data<int64_t>(offsets);
    int64_t signs = 0, long_rows = 0;
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t length = row_offsets[row + 1] - row_offsets[row];
      signs |= length;
      long_rows += static_cast<int64_t>(static_cast<uint64_t>(2 * kChunk - length) >> 63);
    }
    check(num_rows >= 0, "offsets must not be empty");
    const int64_t last = row_offsets[num_rows];
    const int64_t end = padded ? std::min(last, columns.numel()) : columns.numel();
    if (signs < 0 || row_offsets[0] != 0 || last != end) {
      check_offsets(row_offsets, num_rows, end, "offsets");  // says what is wrong
    }
    return long_rows;
  }

  // Boundaries cover the matrix in order; rows are whole, but for long ones, which are cut alone.
  void check_partition(const char* op, int64_t long_rows) const {
    const int64_t* row_offsets = const_data<int64_t>(offsets);
    const int64_t* bounds = const_data<int64_t>(partition);
    const auto is_long = [&](int64_t row) {
      return row < num_rows && row_offsets[row + 1] - row_offsets[row] > 2 * kChunk;
    };
    bool good = bounds[0] == 0 && bounds[1] == 0 && bounds[2 * num_parts] == num_rows &&
                bounds[2 * num_parts + 1] == row_offsets[num_rows];
    for (int64_t part = 0; good && part < num_parts; ++part) {
      const int64_t row = bounds[2 * part], next = bounds[2 * part + 2];
      const int64_t position = bounds[2 * part + 1], next_position = bounds[2 * part + 3];
      good = row <= next && next <= num_rows && position <= next_position;
      if (!good) break;
      const bool chunk = is_long(row);
      const bool ends_inside = next == row && position < next_position;
      good = chunk ? ends_inside ? next_position < row_offsets[row + 1]
                                 : next == row + 1 && next_position == row_offsets[next]
                   : next_position == row_offsets[next];
      long_rows -= chunk && !ends_inside;
    }
    check(good && long_rows == 0, op, ": partition must be the one that belongs to offsets");
  }
};

// [first, last) parts of every long row: parts that start in the same row are chunks of it, but for
// those that start behind the last row.
inline std::vector<std::array<int64_t, 2>> long_rows(const int64_t* partition, int64_t num_parts) {
  std::vector<std::array<int64_t, 2>> rows;
  for (int64_t part = 0; part + 1 < num_parts;) {
    int64_t last = part + 1;
    while (last < num_parts && partition[2 * last] == partition[2 * part]) ++last;
    if (last > part + 1 && partition[2 * part] < partition[2 * num_parts]) {
      rows.push_back({part, last});
    }
    part = last;
  }
  return rows;
}

// One layer for all rows: parts in parallel, then the chunks of long rows are put together.
template <class T>
void run_layer(PropagateArgs<T> args) {
  const auto rows = long_rows(args.partition, args.num_parts);
  Scratch<Accumulate<T>> carry;
  if (!rows.empty()) {
    carry = Scratch<Accumulate<T>>(args.num_parts * args.d);
    args.carry = carry.get();
  }
  parallel_parts(args.num_parts,
                 [&](int64_t part) { RLMREC_FAST_CALL(propagate_parts, args, part, part + 1); });
  parallel_parts(static_cast<int64_t>(rows.size()), [&](int64_t i) {
    RLMREC_FAST_CALL(propagate_finish, args, rows[i][0], rows[i][1]);
  });
}

// Parts of a scatter matrix are smaller than a graph's: a batch has few entries.
constexpr int64_t kScatterChunk = 512;

// A scatter matrix and its partition, to be multiplied with one table or several.
template <class T>
class Scatter {
 public:
  explicit Scatter(ScatterMatrix<Accumulate<T>> matrix)
      : matrix_(std::move(matrix)),
        partition_(native::partition_rows("scatter", matrix_.offsets, kScatterChunk)) {}

  // out = matrix * table, every row of the contiguous out written.
  void run(const T* table, int64_t table_stride, int64_t d, T* out) const {
    PropagateArgs<T> args;
    args.offsets = matrix_.offsets.data();
    args.columns = matrix_.columns.data();
    args.values = matrix_.values.data();
    args.partition = partition_.front().data();
    args.num_rows = static_cast<int64_t>(matrix_.offsets.size()) - 1;
    args.num_parts = static_cast<int64_t>(partition_.size()) - 1;
    args.chunk = kScatterChunk;
    args.x = table;
    args.x_stride = table_stride;
    args.y = out;
    args.y_stride = d;
    args.d = d;
    run_layer(args);
  }

 private:
  ScatterMatrix<Accumulate<T>> matrix_;
  std::vector<native::Boundary> partition_;
};

}  // namespace rlmrec_fast
