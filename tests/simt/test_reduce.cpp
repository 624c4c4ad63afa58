// Sums against the CPU's.
#include "common/cpu_features.h"
#include "cpu/reduce.h"
#include "cuda/reduce.h"
#include "simt/compare.h"

namespace {

using namespace rlmrec_fast;

template <class T>
void compare_sums(int64_t size, bool square, double tolerance) {
  const auto x = simt::input("x", simt::random_values<T>(size, 1));
  const int64_t blocks = cuda::count_sum_blocks(size);
  auto sums = simt::output<double>("sums", blocks);
  auto total = simt::output<T>("total", 1);
  CHECK(cuda::launch_sum_blocks(x.data(), size, square, sums.data(), nullptr) == cudaSuccess);
  CHECK(cuda::launch_sum_total(sums.data(), blocks, total.data(), nullptr) == cudaSuccess);
  T wanted = 0;
  for (int64_t begin = 0; begin < size; begin += kReduceBlock) {
    const int64_t end = std::min(size, begin + kReduceBlock);
    wanted += square ? RLMREC_FAST_CALL(sum_squares, x.data(), begin, end)
                     : RLMREC_FAST_CALL(sum, x.data(), begin, end);
  }
  EXPECT_CLOSE(total, std::vector<T>{wanted}, tolerance);
}

}  // namespace

TEST(reduce_sums_are_those_of_the_cpu) {
  std::vector<int64_t> sizes = simt::odd_counts();
  sizes.insert(sizes.end(), {255, 257, cuda::kSumBlock, cuda::kSumBlock + 1, 3 * kReduceBlock + 7});
  for (const int64_t size : sizes) {
    for (const bool square : {false, true}) {
      compare_sums<float>(size, square, 1e-5);
      compare_sums<double>(size, square, 1e-13);
    }
  }
}

TEST(reduce_sum_of_no_blocks_is_zero) {
  auto total = simt::output<float>("total", 1);
  CHECK(cuda::launch_sum_total(static_cast<const double*>(nullptr), 0, total.data(), nullptr) ==
        cudaSuccess);
  EXPECT_SAME(total, {0.0F});
}

TEST(reduce_keeps_nan) {
  std::vector<float> values(5000, 1.0F);
  values[4999] = NAN;
  const auto x = simt::input("x", values);
  auto sums = simt::output<double>("sums", 2);
  CHECK(cuda::launch_sum_blocks(x.data(), 5000, false, sums.data(), nullptr) == cudaSuccess);
  EXPECT_SAME(sums, {static_cast<double>(cuda::kSumBlock), double{NAN}});
}
