// The sparse matrix that sums weighted rows of a table into other rows: gradients of gathered rows
// are its product with the table that they come from (cpu/propagate.h).
#pragma once

#include <cstdint>
#include <vector>

namespace rlmrec_fast {

// CSR: entry e adds value(e) * table[column(e)] to row(e). Entries of a row keep their order.
template <class Value>
struct ScatterMatrix {
  std::vector<int64_t> offsets;
  std::vector<int32_t> columns;
  std::vector<Value> values;

  // row(e) in [0, num_rows), column(e) below 2^31, for e in [0, num_entries).
  template <class Row, class Column, class Weight>
  ScatterMatrix(int64_t num_entries, int64_t num_rows, Row row, Column column, Weight weight)
      : offsets(static_cast<size_t>(num_rows) + 1, 0),
        columns(static_cast<size_t>(num_entries)),
        values(static_cast<size_t>(num_entries)) {
    // Counted two places on, the sums are each row's start at its place + 1, and advance to its
    // end.
    for (int64_t e = 0; e < num_entries; ++e) {
      const int64_t place = row(e) + 2;
      if (place <= num_rows) ++offsets[place];
    }
    for (int64_t r = 2; r <= num_rows; ++r) offsets[r] += offsets[r - 1];
    for (int64_t e = 0; e < num_entries; ++e) {
      const int64_t place = offsets[row(e) + 1]++;
      columns[place] = static_cast<int32_t>(column(e));
      values[place] = weight(e);
    }
  }
};

}  // namespace rlmrec_fast
