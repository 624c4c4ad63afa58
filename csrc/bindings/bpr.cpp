#include "cpu/bpr.h"

#include <tuple>

#include "bindings/bpr_batch.h"
#include "bindings/layer.h"

namespace rlmrec_fast {
namespace {

// The batch with its ids checked.
struct Batch : BprBatch {
  Batch(const Tensor& embedding, const std::optional<Tensor>& item_embedding, const Tensor& users_,
        const Tensor& positives_, const Tensor& negatives_)
      : BprBatch(embedding, item_embedding, users_, positives_, negatives_) {
    check_ids(const_data<int64_t>(users), size, user_table.size(0), "bpr_loss: users");
    check_ids(const_data<int64_t>(positives), size, item_table.size(0), "bpr_loss: positives");
    check_ids(const_data<int64_t>(negatives), size, item_table.size(0), "bpr_loss: negatives");
  }
};

std::tuple<Tensor, Tensor> bpr(const Tensor& embedding, const std::optional<Tensor>& item_embedding,
                               const Tensor& users, const Tensor& positives,
                               const Tensor& negatives) {
  const Batch batch(embedding, item_embedding, users, positives, negatives);
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

// The gradients as sums of weighted rows, grad_u = slope * (n - p), grad_p = -slope * u and
// grad_n = slope * u, each times its loss's gradient. Entry e < B is about the positive of sample
// e, entry B + b about the negative of sample b.
template <class T>
struct Entries {
  int64_t size;
  const int64_t *users, *positives, *negatives;
  const T *slopes, *grad_losses;

  Entries(const Batch& batch, const Tensor& slopes, const Tensor& grad_losses)
      : size(batch.size),
        users(const_data<int64_t>(batch.users)),
        positives(const_data<int64_t>(batch.positives)),
        negatives(const_data<int64_t>(batch.negatives)),
        slopes(const_data<T>(slopes)),
        grad_losses(const_data<T>(grad_losses)) {}

  int64_t sample(int64_t e) const { return e < size ? e : e - size; }
  int64_t user(int64_t e) const { return users[sample(e)]; }
  int64_t item(int64_t e) const { return e < size ? positives[e] : negatives[e - size]; }
  T weight(int64_t e) const {
    const T slope = slopes[sample(e)] * grad_losses[sample(e)];
    return e < size ? -slope : slope;
  }
};

template <class T>
void two_table_gradients(const Batch& batch, const Entries<T>& entries, T* user_grad,
                         T* item_grad) {
  const Tensor& users = batch.user_table;
  const Tensor& items = batch.item_table;
  const auto user = [&](int64_t e) { return entries.user(e); };
  const auto item = [&](int64_t e) { return entries.item(e); };
  const auto weight = [&](int64_t e) { return entries.weight(e); };
  const Scatter<T> to_users({2 * batch.size, users.size(0), user, item, weight});
  to_users.run(const_data<T>(items), items.stride(0), items.size(1), user_grad);
  const Scatter<T> to_items({2 * batch.size, items.size(0), item, user, weight});
  to_items.run(const_data<T>(users), users.stride(0), users.size(1), item_grad);
}

// The same entries twice: first as the users' gradients, then, 2B further, as the items'.
template <class T>
void one_table_gradients(const Batch& batch, const Entries<T>& entries, T* grad) {
  const Tensor& table = batch.user_table;
  const int64_t half = 2 * batch.size;
  const Scatter<T> scatter(
      {2 * half, table.size(0),
       [&](int64_t e) { return e < half ? entries.user(e) : entries.item(e - half); },
       [&](int64_t e) { return e < half ? entries.item(e) : entries.user(e - half); },
       [&](int64_t e) { return entries.weight(e < half ? e : e - half); }});
  scatter.run(const_data<T>(table), table.stride(0), table.size(1), grad);
}

std::tuple<Tensor, Tensor> bpr_backward(const Tensor& grad_losses_, const Tensor& slopes_,
                                        const Tensor& embedding,
                                        const std::optional<Tensor>& item_embedding,
                                        const Tensor& users, const Tensor& positives,
                                        const Tensor& negatives) {
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
    const Entries<T> entries(batch, slopes, grad_losses);
    if (batch.one_table) {
      one_table_gradients<T>(batch, entries, mutable_data<T>(grad));
    } else {
      two_table_gradients<T>(batch, entries, mutable_data<T>(grad), mutable_data<T>(item_grad));
    }
  });
  return {grad, item_grad};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("bpr", TORCH_BOX(&rlmrec_fast::bpr));
  m.impl("bpr_backward", TORCH_BOX(&rlmrec_fast::bpr_backward));
}
