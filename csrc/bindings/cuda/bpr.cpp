#include "cuda/bpr.h"

#include <tuple>

#include "bindings/bpr_batch.h"
#include "bindings/cuda/layer.h"

namespace rlmrec_fast {
namespace {

using cuda::BprSide;

// The batch; what its ids are is not checked, since that would wait for the device.
struct Batch : BprBatch {
  using BprBatch::BprBatch;

  template <class T>
  cuda::BprArgs<T> args() const {
    return {const_data<T>(user_table),
            const_data<T>(item_table),
            user_table.stride(0),
            item_table.stride(0),
            user_table.size(0),
            item_table.size(0),
            user_table.size(1),
            const_data<int64_t>(users),
            const_data<int64_t>(positives),
            const_data<int64_t>(negatives),
            size};
  }
};

void check_batch_on_device(const char* op, const Tensor& embedding,
                           const std::optional<Tensor>& item_embedding, const Tensor& users,
                           const Tensor& positives, const Tensor& negatives) {
  check_on_device(op, {{"user_embedding", embedding},
                       {"item_embedding", item_embedding},
                       {"users", users},
                       {"positives", positives},
                       {"negatives", negatives}});
}

std::tuple<Tensor, Tensor> bpr(const Tensor& embedding, const std::optional<Tensor>& item_embedding,
                               const Tensor& users, const Tensor& positives,
                               const Tensor& negatives) {
  check_batch_on_device("bpr_loss", embedding, item_embedding, users, positives, negatives);
  const OnDevice device(embedding);
  const Batch batch(embedding, item_embedding, users, positives, negatives);
  const Tensor& table = batch.user_table;
  Tensor losses = empty_of(table, {batch.size}, table.scalar_type());
  Tensor slopes = empty_of(table, {batch.size}, table.scalar_type());
  dispatch_float(table, "bpr_loss: user_embedding", [&](auto type) {
    using T = decltype(type);
    if (batch.size == 0) return;
    check_launch("bpr_loss", "bpr_losses",
                 cuda::launch_bpr_losses(batch.args<T>(), mutable_data<T>(losses),
                                         mutable_data<T>(slopes), device.stream()));
  });
  return {losses, slopes};
}

// The gradients of one table, `grad`, which are weighted rows of the other one.
template <class T>
void add_gradients(const Batch& batch, BprSide side, const Tensor& slopes,
                   const Tensor& grad_losses, Tensor& grad, cudaStream_t stream) {
  const char* op = "bpr_backward";
  const cuda::BprArgs<T> args = batch.args<T>();
  const int64_t num_entries = cuda::count_entries(side, batch.size), num_rows = grad.size(0);
  Tensor keys = empty_of(grad, {num_entries}, ScalarType::Int);
  Tensor columns = empty_of(grad, {num_entries}, ScalarType::Int);
  Tensor values = empty_of(grad, {num_entries}, grad.scalar_type());
  Tensor offsets = empty_of(grad, {num_rows + 1}, ScalarType::Long);
  if (num_entries > 0) {
    check_launch(op, "bpr_keys",
                 cuda::launch_bpr_keys(args, side, num_rows, mutable_data<int32_t>(keys), stream));
    const auto [order, sorted] = sort_keys(keys);
    keys = sorted;
    check_launch(
        op, "bpr_entries",
        cuda::launch_bpr_entries(args, side, const_data<int64_t>(order), const_data<T>(slopes),
                                 const_data<T>(grad_losses), mutable_data<int32_t>(columns),
                                 mutable_data<T>(values), stream));
  }
  check_launch(op, "scatter_offsets",
               cuda::launch_scatter_offsets(const_data<int32_t>(keys), num_entries, num_rows,
                                            mutable_data<int64_t>(offsets), stream));
  cuda::LayerArgs<T> layer = DeviceMatrix(op, offsets, columns).args<T>();
  const auto pieces = room_for_pieces<T>(grad, num_entries, args.d);
  layer.pieces = pieces.get();
  layer.values = const_data<T>(values);
  layer.x = side == BprSide::users ? args.item_table : args.user_table;
  layer.x_stride = side == BprSide::users ? args.item_stride : args.user_stride;
  layer.y = mutable_data<T>(grad);
  layer.y_stride = layer.d = args.d;
  run_layer(op, layer, stream);
}

std::tuple<Tensor, Tensor> bpr_backward(const Tensor& grad_losses_, const Tensor& slopes_,
                                        const Tensor& embedding,
                                        const std::optional<Tensor>& item_embedding,
                                        const Tensor& users, const Tensor& positives,
                                        const Tensor& negatives) {
  check_batch_on_device("bpr_backward", embedding, item_embedding, users, positives, negatives);
  check_on_device(
      "bpr_backward",
      {{"user_embedding", embedding}, {"grad_losses", grad_losses_}, {"slopes", slopes_}});
  const OnDevice device(embedding);
  const Batch batch(embedding, item_embedding, users, positives, negatives);
  const Tensor& table = batch.user_table;
  const Tensor grad_losses = torch::stable::contiguous(grad_losses_);
  const Tensor slopes = torch::stable::contiguous(slopes_);
  check(grad_losses.numel() == batch.size && slopes.numel() == batch.size &&
            grad_losses.scalar_type() == table.scalar_type() &&
            slopes.scalar_type() == table.scalar_type(),
        "bpr_backward: grad_losses and slopes must have ", batch.size,
        " elements of the tables' type");
  const int64_t item_rows = batch.one_table ? 0 : batch.item_table.size(0);
  Tensor grad = empty_of(table, {table.size(0), table.size(1)}, table.scalar_type());
  Tensor item_grad = empty_of(table, {item_rows, table.size(1)}, table.scalar_type());
  dispatch_float(table, "bpr_backward: user_embedding", [&](auto type) {
    using T = decltype(type);
    const cudaStream_t stream = device.stream();
    if (batch.one_table) {
      add_gradients<T>(batch, BprSide::both, slopes, grad_losses, grad, stream);
    } else {
      add_gradients<T>(batch, BprSide::users, slopes, grad_losses, grad, stream);
      add_gradients<T>(batch, BprSide::items, slopes, grad_losses, item_grad, stream);
    }
  });
  return {grad, item_grad};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("bpr", TORCH_BOX(&rlmrec_fast::bpr));
  m.impl("bpr_backward", TORCH_BOX(&rlmrec_fast::bpr_backward));
}
