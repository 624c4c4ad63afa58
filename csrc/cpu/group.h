// Entries grouped by the row that they belong to, in their given order: CSR offsets by counting.
#pragma once

#include <cstdint>
#include <vector>

namespace rlmrec_fast {

struct Groups {
  std::vector<int64_t> offsets;  // num_rows + 1
  std::vector<int64_t> entries;  // numbers of the entries, row by row
};

// row_of(entry) in [0, num_rows) for every entry.
template <class RowOf>
Groups group_by_row(int64_t num_entries, int64_t num_rows, RowOf row_of) {
  Groups groups{std::vector<int64_t>(num_rows + 1, 0), std::vector<int64_t>(num_entries)};
  for (int64_t entry = 0; entry < num_entries; ++entry) ++groups.offsets[row_of(entry) + 1];
  for (int64_t row = 0; row < num_rows; ++row) groups.offsets[row + 1] += groups.offsets[row];
  std::vector<int64_t> next(groups.offsets.begin(), groups.offsets.end() - 1);
  for (int64_t entry = 0; entry < num_entries; ++entry) {
    groups.entries[next[row_of(entry)]++] = entry;
  }
  return groups;
}

}  // namespace rlmrec_fast
