#include "simt/shapes.h"

#include <algorithm>
#include <set>

namespace simt {

Csr random_csr(const std::string& name, const std::vector<int64_t>& lengths, int64_t num_columns,
               uint64_t seed, bool repeated) {
  Csr matrix;
  matrix.name = name;
  matrix.num_columns = num_columns;
  uint64_t drawn = 0;
  for (const int64_t length : lengths) {
    std::multiset<int32_t> row;
    while (static_cast<int64_t>(row.size()) < length) {
      const uint64_t bits = rlmrec_fast::child_seed(seed, drawn++);
      const auto column = static_cast<int32_t>(bits % static_cast<uint64_t>(num_columns));
      if (repeated || !row.contains(column)) row.insert(column);
    }
    matrix.columns.insert(matrix.columns.end(), row.begin(), row.end());
    matrix.offsets.push_back(matrix.num_entries());
  }
  return matrix;
}

const std::vector<Csr>& odd_matrices() {
  static const std::vector<Csr> all = [] {
    std::vector<int64_t> around_a_warp;
    for (int64_t i = 0; i < 33; ++i) around_a_warp.push_back(i % 3 == 0 ? 31 + i % 4 : i % 5);
    std::vector<int64_t> hub(65, 1);
    hub[17] = 64;
    hub[0] = hub[40] = hub[41] = hub[64] = 0;
    std::vector<int64_t> many(31, 0);
    many[1] = 500;
    many[30] = 40;
    return std::vector<Csr>{
        random_csr("around a warp", around_a_warp, 40, 1),
        random_csr("a hub and empty rows", hub, 65, 2),
        random_csr("repeated columns", many, 31, 3, true),
        random_csr("no entries", std::vector<int64_t>(32, 0), 32, 4),
        random_csr("one row", {33}, 40, 5),
        random_csr("no rows", {}, 5, 6),
    };
  }();
  return all;
}

}  // namespace simt
