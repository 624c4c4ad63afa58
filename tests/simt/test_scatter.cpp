// cuda/scatter.h: from rows to the sorted entries of a matrix.
#include <algorithm>
#include <numeric>

#include "cuda/scatter.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;

TEST(cuda_scatter_matrices_hold_the_entries_of_each_row_in_order) {
  for (const int64_t num_rows : {1, 5, 64, 300}) {
    for (const int64_t size : simt::odd_counts()) {
      std::vector<int64_t> rows = simt::random_indices<int64_t>(size, num_rows, 3);
      if (size > 5) {
        rows[0] = -1;
        rows[2] = num_rows;
        rows[4] = int64_t{1} << 33;  // as int32, row 0
      }
      const auto rows_in = simt::input("rows", rows);
      auto keys = simt::output<int32_t>("keys", size);
      CHECK(cuda::launch_scatter_keys(rows_in.data(), size, num_rows, keys.data(), nullptr) ==
            cudaSuccess);
      std::vector<int32_t> wanted_keys;
      for (const int64_t row : rows) {
        wanted_keys.push_back(static_cast<int32_t>(row >= 0 && row < num_rows ? row : num_rows));
      }
      EXPECT_SAME(keys, wanted_keys);

      std::vector<int64_t> order(rows.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t a, int64_t b) { return wanted_keys[a] < wanted_keys[b]; });
      std::vector<int32_t> sorted;
      for (const int64_t e : order) sorted.push_back(wanted_keys[e]);
      const auto sorted_in = simt::input("sorted keys", sorted);
      const auto order_in = simt::input("order", order);
      auto offsets = simt::output<int64_t>("offsets", num_rows + 1);
      auto columns = simt::output<int32_t>("columns", size);
      CHECK(cuda::launch_scatter_offsets(sorted_in.data(), size, num_rows, offsets.data(),
                                         nullptr) == cudaSuccess);
      CHECK(cuda::launch_scatter_columns(order_in.data(), size, columns.data(), nullptr) ==
            cudaSuccess);
      std::vector<int64_t> wanted_offsets(static_cast<size_t>(num_rows) + 1);
      for (int64_t r = 0; r <= num_rows; ++r) {
        wanted_offsets[r] =
            std::count_if(sorted.begin(), sorted.end(), [&](int32_t key) { return key < r; });
      }
      EXPECT_SAME(offsets, wanted_offsets);
      EXPECT_SAME(columns, std::vector<int32_t>(order.begin(), order.end()));
    }
  }
}

TEST(cuda_scatter_matrices_without_entries) {
  auto offsets = simt::output<int64_t>("offsets", 4);
  CHECK(cuda::launch_scatter_offsets(nullptr, 0, 3, offsets.data(), nullptr) == cudaSuccess);
  EXPECT_SAME(offsets, std::vector<int64_t>(4, 0));
}

}  // namespace
