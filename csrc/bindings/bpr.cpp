#include "cpu/bpr.h"

#include <tuple>

#include "bindings/layer.h"

namespace rlmrec_fast {
namespace {

// The batch and both tables, checked.
struct Batch {
  Tensor user_table, item_table, users, positives, negatives;
  int64_t size;

  Batch(const Tensor& user_embedding, const Tensor& item_embedding, const Tensor& users_,
        const Tensor& positives_, const Tensor& negatives_)
      : user_table(check_table(user_embedding, "bpr_loss: user_embedding")),
        item_table(check_table(item_embedding, "bpr_loss: item_embedding")),
        users(check_longs(users_, "bpr_loss: users")),
        positives(check_longs(positives_, "bpr_loss: positives")),
        negatives(check_longs(negatives_, "bpr_loss: negatives")),
        size(users.numel()) {
    check(user_table.size(1) == item_table.size(1) &&
              user_table.scalar_type() == item_table.scalar_type(),
          "bpr_loss: item_embedding must have the columns and type of user_embedding (got ",
          item_table.size(1), " columns instead of ", user_table.size(1), ")");
    check(positives.numel() == size && negatives.numel() == size,
          "bpr_loss: positives and negatives must have as many elements as users, ", size, " (got ",
          positives.numel(), " and ", negatives.numel(), ")");
    check_ids(const_data<int64_t>(users), size, user_table.size(0), "bpr_loss: users");
    check_ids(const_data<int64_t>(positives), size, item_table.size(0), "bpr_loss: positives");
    check_ids(const_data<int64_t>(negatives), size, item_table.size(0), "bpr_loss: negatives");
  }
};

std::tuple<Tensor, Tensor> bpr(const Tensor& user_embedding, const Tensor& item_embedding,
                               const Tensor& users, const Tensor& positives, const Tensor& negatives) {
  const Batch batch(user_embedding, item_embedding, users, positives, negatives);
  const Tensor& table = batch.user_table;
  Tensor losses = empty_of(table, {batch.size}, table.scalar_type());
  Tensor slopes = empty_of(table, {batch.size}, table.scalar_type());
  dispatch_float(table, "bpr_loss: user_embedding", [&](auto type) {
    using T = decltype(type);
    const BprArgs<T> args{const_data<T>(table),
                          const_data<T>(batch.item_table),
                          table.stride(0),
                          batch.item_table.stride(0),
                          table.size(1),
                          const_data<int64_t>(batch.users),
                          const_data<int64_t>(batch.positives),
                          const_data<int64_t>(batch.negatives),
                          mutable_data<T>(losses),
                          mutable_data<T>(slopes)};
    torch::stable::parallel_for(0, batch.size, 256, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(bpr_losses, args, begin, end);
    });
  });
  return {losses, slopes};
}

// grad_u = sum of slope * (n - p), grad_p = -slope * u, grad_n = slope * u, each times its loss's gradient.
// Entry e < B is the positive of sample e, entry B + b the negative of sample b, everywhere.
template <class T>
void scatter_gradients(const Batch& batch, const T* slopes, const T* grad_losses, T* user_grad,
                       T* item_grad) {
  const int64_t size = batch.size;
  const int64_t d = batch.user_table.size(1);
  const int64_t* users = const_data<int64_t>(batch.users);
  const int64_t* positives = const_data<int64_t>(batch.positives);
  const int64_t* negatives = const_data<int64_t>(batch.negatives);
  const auto sample = [size](int64_t entry) { return entry < size ? entry : entry - size; };
  const auto user = [&](int64_t entry) { return users[sample(entry)]; };
  const auto item = [&](int64_t entry) {
    return entry < size ? positives[entry] : negatives[entry - size];
  };
  const auto weight = [&](int64_t entry) {
    const T slope = slopes[sample(entry)] * grad_losses[sample(entry)];
    return entry < size ? -slope : slope;
  };
  scatter_sum<T>(group_by_row(2 * size, batch.user_table.size(0), user),
                 const_data<T>(batch.item_table), batch.item_table.stride(0), d, user_grad, item, weight);
  scatter_sum<T>(group_by_row(2 * size, batch.item_table.size(0), item),
                 const_data<T>(batch.user_table), batch.user_table.stride(0), d, item_grad, user, weight);
}

std::tuple<Tensor, Tensor> bpr_backward(const Tensor& grad_losses_, const Tensor& slopes_,
                                        const Tensor& user_embedding, const Tensor& item_embedding,
                                        const Tensor& users, const Tensor& positives,
                                        const Tensor& negatives) {
  const Batch batch(user_embedding, item_embedding, users, positives, negatives);
  const Tensor& table = batch.user_table;
  const Tensor grad_losses = torch::stable::contiguous(grad_losses_);
  const Tensor slopes = torch::stable::contiguous(slopes_);
  check(grad_losses.numel() == batch.size && slopes.numel() == batch.size &&
            grad_losses.scalar_type() == table.scalar_type() &&
            slopes.scalar_type() == table.scalar_type(),
        "bpr_backward: grad_losses and slopes must have ", batch.size, " elements of the tables' type");
  Tensor user_grad = empty_of(table, {table.size(0), table.size(1)}, table.scalar_type());
  Tensor item_grad =
      empty_of(table, {batch.item_table.size(0), table.size(1)}, table.scalar_type());
  dispatch_float(table, "bpr_backward: user_embedding", [&](auto type) {
    using T = decltype(type);
    scatter_gradients<T>(batch, const_data<T>(slopes), const_data<T>(grad_losses),
                         mutable_data<T>(user_grad), mutable_data<T>(item_grad));
  });
  return {user_grad, item_grad};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("bpr", TORCH_BOX(&rlmrec_fast::bpr));
  m.impl("bpr_backward", TORCH_BOX(&rlmrec_fast::bpr_backward));
}
