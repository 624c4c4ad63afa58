// Sizes, values and matrices that kernels are tried on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/random.h"

namespace simt {

// Around one and two warps.
inline const std::vector<int64_t>& odd_counts() {
  static const std::vector<int64_t> counts{1, 31, 32, 33, 63, 64, 65};
  return counts;
}
// Widths of rows: few that are multiples of anything.
inline const std::vector<int64_t>& odd_widths() {
  static const std::vector<int64_t> widths{1, 3, 4, 8, 31, 32, 36, 65, 130};
  return widths;
}

// Uniform in [-1, 1).
template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t bits = rlmrec_fast::child_seed(seed, i) >> 40;
    values[i] = static_cast<T>(static_cast<double>(bits) * 0x1p-23 - 1);
  }
  return values;
}
// Uniform in 0 .. bound - 1.
template <class T>
std::vector<T> random_indices(int64_t count, int64_t bound, uint64_t seed) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(rlmrec_fast::child_seed(seed, i) % static_cast<uint64_t>(bound));
  }
  return values;
}

struct Csr {
  std::string name;
  int64_t num_columns = 0;
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> columns;  // ascending in a row; the same one again only where the name says

  int64_t num_rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t num_entries() const { return static_cast<int64_t>(columns.size()); }
};

// Rows of these lengths, which must not be longer than there are columns unless columns may repeat.
Csr random_csr(const std::string& name, const std::vector<int64_t>& lengths, int64_t num_columns,
               uint64_t seed, bool repeated = false);

// Matrices with something awkward each: lengths around a warp's, empty rows first, between and
// last, no entries at all, one row, a row with nearly all entries, repeated columns. Square ones of
// 31 to 65 rows, but for "one row" (1 x 40) and "no rows" (0 x 5).
const std::vector<Csr>& odd_matrices();

}  // namespace simt
