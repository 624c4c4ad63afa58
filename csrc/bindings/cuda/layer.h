// CSR products on a GPU: what propagation, spmm and the scattering of gradients share.
#pragma once

#include <array>
#include <utility>

#include "bindings/cuda/common.h"
#include "cuda/propagate.h"
#include "cuda/scatter.h"

namespace rlmrec_fast {

// A seed on the CPU, read now, or on the tensors' own device, read by kernels.
inline cuda::Seed device_seed(const char* op, const Tensor& seed, const Tensor& like) {
  if (seed.is_cpu()) return {read_seed(seed, op), nullptr};
  check(seed.numel() == 1 && seed.scalar_type() == ScalarType::Long, op,
        ": seed must be an int64 tensor of one element (got ", seed.numel(), " elements)");
  check(device_name(seed) == device_name(like), op, ": seed must be on the CPU or on ",
        device_name(like), " (got ", device_name(seed), ")");
  return {0, const_data<int64_t>(seed)};
}

// A CSR matrix, checked as far as shapes tell: the graph that it comes from was checked when it was
// built, and looking at it would stop the device.
struct DeviceMatrix {
  Tensor offsets, columns;
  int64_t num_rows;

  DeviceMatrix(const char* op, const Tensor& offsets_, const Tensor& columns_)
      : offsets(check_longs(offsets_, "offsets")),
        columns(check_ints(columns_, "columns")),
        num_rows(offsets.numel() - 1) {
    check(num_rows >= 0, op, ": offsets must not be empty");
  }

  template <class T>
  cuda::LayerArgs<T> args() const {
    cuda::LayerArgs<T> args;
    args.offsets = const_data<int64_t>(offsets);
    args.columns = const_data<int32_t>(columns);
    args.num_rows = args.num_wanted = num_rows;
    args.num_entries = columns.numel();
    return args;
  }
};

// Memory of torch's for `count` elements; none for 0.
template <class T>
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const Tensor& like, int64_t count) {
    if (count > 0) tensor_.emplace(empty_of(like, {count}, scalar_type<T>()));
  }
  T* get() const {
    return tensor_ ? static_cast<T*>(const_cast<void*>(tensor_->const_data_ptr())) : nullptr;
  }
  explicit operator bool() const { return tensor_.has_value(); }

 private:
  std::optional<Tensor> tensor_;
};

// Room for the pieces of long rows, where there can be any.
template <class T>
DeviceMemory<Accumulate<T>> room_for_pieces(const Tensor& like, int64_t num_entries, int64_t d) {
  const bool needed = cuda::may_have_long_rows(num_entries);
  return {like, needed ? cuda::pieces_size(num_entries, d) : 0};
}

// One layer for the wanted rows; args.pieces is null where no row can be long.
template <class T>
void run_layer(const char* op, const cuda::LayerArgs<T>& args, cudaStream_t stream) {
  if (args.num_wanted == 0 || args.d == 0) return;
  if (args.pieces != nullptr) {
    check_launch(op, "propagate_pieces", cuda::launch_propagate_pieces(args, stream));
  }
  check_launch(op, "propagate_rows", cuda::launch_propagate_rows(args, stream));
}

// The order that sorts keys, equal ones as they are, and the sorted keys.
inline std::pair<Tensor, Tensor> sort_keys(const Tensor& keys) {
  using torch::stable::detail::from;
  using torch::stable::detail::to;
  std::array<StableIValue, 4> stack{from(keys), from(std::optional<bool>(true)), from(int64_t{0}),
                                    from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
  return {to<Tensor>(stack[1]), to<Tensor>(stack[0])};
}

// out[r] = sum of the rows i of the table for which rows[i] is r, in their order; every row of the
// contiguous out is written. A row out of range goes nowhere.
template <class T>
void scatter_rows(const char* op, const Tensor& table, const Tensor& rows, int64_t num_rows, T* out,
                  cudaStream_t stream) {
  const int64_t size = rows.numel(), d = table.size(1);
  Tensor keys = empty_of(table, {size}, ScalarType::Int);
  Tensor columns = empty_of(table, {size}, ScalarType::Int);
  Tensor offsets = empty_of(table, {num_rows + 1}, ScalarType::Long);
  if (size > 0) {
    check_launch(op, "scatter_keys",
                 cuda::launch_scatter_keys(const_data<int64_t>(rows), size, num_rows,
                                           mutable_data<int32_t>(keys), stream));
    const auto [order, sorted] = sort_keys(keys);
    keys = sorted;
    check_launch(op, "scatter_columns",
                 cuda::launch_scatter_columns(const_data<int64_t>(order), size,
                                              mutable_data<int32_t>(columns), stream));
  }
  check_launch(op, "scatter_offsets",
               cuda::launch_scatter_offsets(const_data<int32_t>(keys), size, num_rows,
                                            mutable_data<int64_t>(offsets), stream));
  cuda::LayerArgs<T> args = DeviceMatrix(op, offsets, columns).args<T>();
  const auto pieces = room_for_pieces<T>(table, size, d);
  args.pieces = pieces.get();
  args.x = const_data<T>(table);
  args.x_stride = table.stride(0);
  args.y = out;
  args.y_stride = args.d = d;
  run_layer(op, args, stream);
}

}  // namespace rlmrec_fast
