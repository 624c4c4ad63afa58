#include "cuda/rank.h"

#include <tuple>

#include "bindings/cuda/common.h"
#include "bindings/item_rows.h"

namespace rlmrec_fast {
namespace {

std::tuple<Tensor, Tensor> rank(const Tensor& user_embedding, const Tensor& item_embedding,
                                const std::optional<Tensor>& exclude_offsets,
                                const std::optional<Tensor>& exclude_items, int64_t k) {
  check_on_device("rank", {{"user_embedding", user_embedding},
                           {"item_embedding", item_embedding},
                           {"exclude offsets", exclude_offsets},
                           {"exclude items", exclude_items}});
  const OnDevice device(user_embedding);
  const Tensor users = check_table(user_embedding, "rank: user_embedding");
  const Tensor items = check_table(item_embedding, "rank: item_embedding");
  check(users.size(1) == items.size(1) && users.scalar_type() == items.scalar_type(),
        "rank: item_embedding must have the columns and type of user_embedding (got ",
        items.size(1), " columns instead of ", users.size(1), ")");
  check(items.size(0) < (int64_t{1} << 31), "rank: item_embedding must have fewer than 2^31 rows");
  check(k >= 1 && k <= (int64_t{1} << 31), "rank: k must be positive (got ", k, ")");
  check(exclude_offsets.has_value() == exclude_items.has_value(),
        "rank: exclude must have both offsets and items");
  const int64_t num_users = users.size(0);
  std::optional<ItemRows> exclude;
  if (exclude_offsets) {
    exclude.emplace(*exclude_offsets, *exclude_items, num_users, "rank: exclude offsets",
                    "rank: exclude items");
  }
  Tensor best = empty_of(users, {num_users, k}, ScalarType::Long);
  Tensor scores = empty_of(users, {num_users, k}, users.scalar_type());
  if (num_users == 0) return {best, scores};
  dispatch_float(users, "rank: user_embedding", [&](auto type) {
    using T = decltype(type);
    const cuda::RankArgs<T> args{const_data<T>(users),
                                 users.stride(0),
                                 num_users,
                                 const_data<T>(items),
                                 items.stride(0),
                                 items.size(0),
                                 users.size(1),
                                 k,
                                 exclude ? const_data<int64_t>(exclude->offsets) : nullptr,
                                 exclude ? const_data<int32_t>(exclude->items) : nullptr,
                                 mutable_data<int64_t>(best),
                                 mutable_data<T>(scores)};
    check_launch("rank", "rank_users", cuda::launch_rank_users(args, device.stream()));
  });
  return {best, scores};
}

Tensor metrics(const Tensor& items_, const Tensor& held_offsets, const Tensor& held_items,
               const Tensor& cutoffs_) {
  const char* op = "ranking_metrics";
  check_on_device(
      op, {{"items", items_}, {"held_out offsets", held_offsets}, {"held_out items", held_items}});
  check(cutoffs_.is_cpu(), op, ": cutoffs must be on the CPU (got ", device_name(cutoffs_), ")");
  check(items_.dim() == 2 && items_.scalar_type() == ScalarType::Long, op,
        ": items must be an int64 table");
  const OnDevice device(items_);
  const Tensor items = torch::stable::contiguous(items_);
  const Tensor cutoffs = check_longs(cutoffs_, "ranking_metrics: cutoffs");
  const int64_t num_rows = items.size(0), width = items.size(1), num_cutoffs = cutoffs.numel();
  const ItemRows held(held_offsets, held_items, num_rows, "ranking_metrics: held_out offsets",
                      "ranking_metrics: held_out items");
  Tensor out = empty_of(items, {num_rows, 2, num_cutoffs}, ScalarType::Double);
  cuda::MetricsArgs args{.items = const_data<int64_t>(items),
                         .num_rows = num_rows,
                         .width = width,
                         .held_offsets = const_data<int64_t>(held.offsets),
                         .held_items = const_data<int32_t>(held.items),
                         .cutoffs = {},
                         .num_cutoffs = 0,
                         .first = 0,
                         .all = num_cutoffs,
                         .metrics = mutable_data<double>(out)};
  for (int64_t c = 0; c < num_cutoffs; ++c) {
    const int64_t cutoff = const_data<int64_t>(cutoffs)[c];
    check(cutoff >= 1 && cutoff <= width, op, ": cutoffs must be in [1, ", width,
          "], the number of ranked items (got ", cutoff, ")");
    args.cutoffs[args.num_cutoffs++] = cutoff;
    if (args.num_cutoffs < cuda::kMaxCutoffs && c + 1 < num_cutoffs) continue;
    if (num_rows > 0) {
      check_launch(op, "ranking_metrics", cuda::launch_ranking_metrics(args, device.stream()));
    }
    args.first = c + 1;
    args.num_cutoffs = 0;
  }
  return out;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("rank", TORCH_BOX(&rlmrec_fast::rank));
  m.impl("ranking_metrics", TORCH_BOX(&rlmrec_fast::metrics));
}
