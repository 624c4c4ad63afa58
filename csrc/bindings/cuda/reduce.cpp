#include "cuda/reduce.h"

#include "bindings/cuda/common.h"

namespace rlmrec_fast {
namespace {

Tensor stable_sum(const Tensor& x_, bool square) {
  check_on_device("stable_sum", {{"x", x_}});
  const OnDevice device(x_);
  const Tensor x = torch::stable::contiguous(x_);
  Tensor sum = empty_of(x, {}, x.scalar_type());
  dispatch_float(x, "stable_sum: x", [&](auto type) {
    using T = decltype(type);
    const int64_t size = x.numel();
    const int64_t blocks = cuda::count_sum_blocks(size);
    Tensor sums = empty_of(x, {blocks}, ScalarType::Double);
    if (size > 0) {
      check_launch("stable_sum", "sum_blocks",
                   cuda::launch_sum_blocks(const_data<T>(x), size, square,
                                           mutable_data<double>(sums), device.stream()));
    }
    check_launch("stable_sum", "sum_total",
                 cuda::launch_sum_total(const_data<double>(sums), blocks, mutable_data<T>(sum),
                                        device.stream()));
  });
  return sum;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("stable_sum", TORCH_BOX(&rlmrec_fast::stable_sum));
}
