#include "cpu/reduce.h"

#include <algorithm>
#include <vector>

#include "bindings/common.h"

namespace rlmrec_fast {
namespace {

Tensor stable_sum(const Tensor& x_, bool square) {
  const Tensor x = torch::stable::contiguous(x_);
  Tensor sum = empty_of(x, {}, x.scalar_type());
  dispatch_float(x, "stable_sum: x", [&](auto type) {
    using T = decltype(type);
    const int64_t size = x.numel();
    const int64_t blocks = (size + kReduceBlock - 1) / kReduceBlock;
    std::vector<T> sums(static_cast<size_t>(blocks));
    const T* data = const_data<T>(x);
    torch::stable::parallel_for(0, blocks, 4, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t first = block * kReduceBlock;
        const int64_t last = std::min(size, first + kReduceBlock);
        sums[block] = square ? RLMREC_FAST_CALL(sum_squares, data, first, last)
                             : RLMREC_FAST_CALL(sum, data, first, last);
      }
    });
    double total = 0;
    for (const T block : sums) total += block;
    *mutable_data<T>(sum) = static_cast<T>(total);
  });
  return sum;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("stable_sum", TORCH_BOX(&rlmrec_fast::stable_sum));
}
