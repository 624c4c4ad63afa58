#include "bindings/cuda/layer.h"

namespace rlmrec_fast {
namespace {

// A row that does not exist gives NaN: the host does not look.
Tensor gather(const Tensor& table_, const Tensor& rows_) {
  check_on_device("gather", {{"table", table_}, {"rows", rows_}});
  const OnDevice device(table_);
  const Tensor table = check_table(table_, "gather: table");
  const Tensor rows = check_longs(rows_, "gather: rows");
  Tensor out = empty_of(table, {rows.numel(), table.size(1)}, table.scalar_type());
  dispatch_storage(table, "gather: table", [&](auto type) {
    using T = decltype(type);
    if (out.numel() == 0) return;
    cuda::LayerArgs<T> args;
    args.num_rows = table.size(0);
    args.rows = const_data<int64_t>(rows);
    args.num_wanted = rows.numel();
    args.x = const_data<T>(table);
    args.x_stride = table.stride(0);
    args.y = mutable_data<T>(out);
    args.y_stride = args.d = table.size(1);
    check_launch("gather", "copy_rows", cuda::launch_copy_rows(args, device.stream()));
  });
  return out;
}

Tensor gather_backward(const Tensor& grad_, const Tensor& rows_, int64_t num_rows) {
  const char* op = "gather_backward";
  check_on_device(op, {{"grad", grad_}, {"rows", rows_}});
  const OnDevice device(grad_);
  const Tensor grad = check_table(grad_, "gather_backward: grad");
  const Tensor rows = check_longs(rows_, "gather_backward: rows");
  check(grad.size(0) == rows.numel(), op, ": grad must have ", rows.numel(), " rows (got ",
        grad.size(0), ")");
  check(num_rows >= 0 && num_rows < (int64_t{1} << 31), op, ": num_rows must be in [0, 2^31) (got ",
        num_rows, ")");
  Tensor out = empty_of(grad, {num_rows, grad.size(1)}, grad.scalar_type());
  dispatch_storage(grad, "gather_backward: grad", [&](auto type) {
    using T = decltype(type);
    if (out.numel() > 0) {
      scatter_rows(op, grad, rows, num_rows, mutable_data<T>(out), device.stream());
    }
  });
  return out;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("gather", TORCH_BOX(&rlmrec_fast::gather));
  m.impl("gather_backward", TORCH_BOX(&rlmrec_fast::gather_backward));
}
