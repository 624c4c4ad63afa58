#include "bindings/cuda/layer.h"

namespace rlmrec_fast {
namespace {

Tensor spmm(const Tensor& x_, const Tensor& values_, const Tensor& offsets, const Tensor& columns,
            const Tensor& partition, const Tensor& transposed_offsets,
            const Tensor& transposed_columns, const Tensor& transposed_positions,
            const Tensor& transposed_partition) {
  check_on_device("spmm", {{"x", x_},
                           {"values", values_},
                           {"offsets", offsets},
                           {"columns", columns},
                           {"partition", partition},
                           {"transposed_offsets", transposed_offsets},
                           {"transposed_columns", transposed_columns},
                           {"transposed_positions", transposed_positions},
                           {"transposed_partition", transposed_partition}});
  const OnDevice device(x_);
  const Tensor x = check_table(x_, "spmm: x");
  const DeviceMatrix matrix("spmm", offsets, columns);
  const int64_t num_columns = transposed_offsets.numel() - 1;
  check(x.size(0) == num_columns, "spmm: x must have ", num_columns, " rows (got ", x.size(0), ")");
  check(values_.numel() == columns.numel(), "spmm: values must have ", columns.numel(),
        " elements (got ", values_.numel(), ")");
  const Tensor values = torch::stable::contiguous(values_);
  Tensor y = empty_of(x, {matrix.num_rows, x.size(1)}, x.scalar_type());
  if (y.numel() == 0) return y;
  dispatch_storage(x, "spmm: x", [&](auto type) {
    using T = decltype(type);
    check(values.scalar_type() == scalar_type<Accumulate<T>>(),
          "spmm: values must be float64 for float64 tables, else float32");
    cuda::LayerArgs<T> args = matrix.args<T>();
    const auto pieces = room_for_pieces<T>(x, columns.numel(), x.size(1));
    args.pieces = pieces.get();
    args.values = const_data<Accumulate<T>>(values);
    args.x = const_data<T>(x);
    args.x_stride = x.stride(0);
    args.y = mutable_data<T>(y);
    args.y_stride = args.d = x.size(1);
    run_layer("spmm", args, device.stream());
  });
  return y;
}

Tensor spmm_backward_values(const Tensor& grad_, const Tensor& x_, const Tensor& offsets,
                            const Tensor& columns, const Tensor& partition) {
  const char* op = "spmm_backward_values";
  check_on_device(op, {{"grad", grad_},
                       {"x", x_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"partition", partition}});
  const OnDevice device(x_);
  const Tensor grad = check_table(grad_, "spmm_backward_values: grad");
  const Tensor x = check_table(x_, "spmm_backward_values: x");
  const DeviceMatrix matrix(op, offsets, columns);
  check(grad.size(1) == x.size(1) && grad.scalar_type() == x.scalar_type() &&
            grad.size(0) == matrix.num_rows,
        op, ": grad must have ", matrix.num_rows, " rows and x's columns and type");
  const bool wide = x.scalar_type() == ScalarType::Double;
  Tensor grad_values =
      empty_of(x, {columns.numel()}, wide ? ScalarType::Double : ScalarType::Float);
  if (grad_values.numel() == 0) return grad_values;
  dispatch_storage(x, "spmm_backward_values: x", [&](auto type) {
    using T = decltype(type);
    cuda::LayerArgs<T> args = matrix.args<T>();
    args.base = const_data<T>(grad);
    args.base_stride = grad.stride(0);
    args.x = const_data<T>(x);
    args.x_stride = x.stride(0);
    args.d = x.size(1);
    check_launch(
        op, "entry_dots",
        cuda::launch_entry_dots(args, mutable_data<Accumulate<T>>(grad_values), device.stream()));
  });
  return grad_values;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("spmm", TORCH_BOX(&rlmrec_fast::spmm));
  m.impl("spmm_backward_values", TORCH_BOX(&rlmrec_fast::spmm_backward_values));
}
