// cuda/sample.h: the same samples as cpu/sample.h.
#include "cpu/sample.h"
#include "cuda/sample.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;

TEST(cuda_negatives_are_those_of_the_cpu) {
  for (const simt::Csr& matrix : simt::odd_matrices()) {
    if (matrix.num_entries() == 0 || matrix.name == "repeated columns") continue;
    for (const int64_t more : {1, 1000}) {
      const int64_t num_items = matrix.num_columns + more;
      const auto size = static_cast<size_t>(matrix.num_entries());
      std::vector<int64_t> wanted(size);
      rlmrec_fast::sample_negatives(matrix.offsets.data(), matrix.columns.data(), num_items, 5, 0,
                                    matrix.num_rows(), wanted.data());
      const auto offsets = simt::input("offsets", matrix.offsets);
      const auto items = simt::input("items", matrix.columns);
      const auto seed = simt::input("seed", std::vector<int64_t>{5});
      for (const cuda::Seed& either : {cuda::Seed{5, nullptr}, cuda::Seed{9, seed.data()}}) {
        auto negatives = simt::output<int64_t>("negatives", matrix.num_entries());
        CHECK(cuda::launch_sample_negatives(offsets.data(), matrix.num_rows(), items.data(),
                                            matrix.num_entries(), num_items, either,
                                            negatives.data(), nullptr) == cudaSuccess);
        EXPECT_SAME(negatives, wanted);
      }
    }
  }
}

TEST(cuda_negatives_of_a_user_with_all_items_are_none) {
  const auto offsets = simt::input("offsets", std::vector<int64_t>{0, 2, 5});
  const auto items = simt::input("items", std::vector<int32_t>{0, 2, 0, 1, 2});
  auto negatives = simt::output<int64_t>("negatives", 5);
  CHECK(cuda::launch_sample_negatives(offsets.data(), 2, items.data(), 5, 3, {1, nullptr},
                                      negatives.data(), nullptr) == cudaSuccess);
  EXPECT_SAME(negatives, {1, 1, -1, -1, -1});
}

}  // namespace
