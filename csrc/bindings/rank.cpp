#include "cpu/rank.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "bindings/item_rows.h"
#include "cpu/metrics.h"

namespace rlmrec_fast {
namespace {

// Rows of items, checked: offsets for every row, in order and within the items.
struct CheckedRows : ItemRows {
  CheckedRows(const Tensor& offsets_, const Tensor& items_, int64_t num_rows,
              const char* offsets_name, const char* items_name)
      : ItemRows(offsets_, items_, num_rows, offsets_name, items_name) {
    check_offsets(const_data<int64_t>(offsets), num_rows, items.numel(), offsets_name);
  }
};

template <class T>
void rank_all(RankArgs<T> args, const T* items, int64_t item_stride) {
  const int64_t width = RLMREC_FAST_CALL(panel_width<T>);
  const int64_t panels = (args.num_items + width - 1) / width;
  const std::unique_ptr<T[]> packed(new T[static_cast<size_t>(panels * width * args.d)]);
  torch::stable::parallel_for(0, panels, 16, [&](int64_t begin, int64_t end) {
    RLMREC_FAST_CALL(pack_items, items, item_stride, args.num_items, args.d, packed.get(), begin,
                     end);
  });
  args.panels = packed.get();
  const int64_t parts = (args.num_users + kRankUsers - 1) / kRankUsers;
  parallel_parts(parts, [&](int64_t part) {
    RLMREC_FAST_CALL(rank_users, args, part * kRankUsers,
                     std::min(args.num_users, (part + 1) * kRankUsers));
  });
}

std::tuple<Tensor, Tensor> rank(const Tensor& user_embedding, const Tensor& item_embedding,
                                const std::optional<Tensor>& exclude_offsets,
                                const std::optional<Tensor>& exclude_items, int64_t k) {
  const Tensor users = check_table(user_embedding, "rank: user_embedding");
  const Tensor items = check_table(item_embedding, "rank: item_embedding");
  check(users.size(1) == items.size(1) && users.scalar_type() == items.scalar_type(),
        "rank: item_embedding must have the columns and type of user_embedding (got ",
        items.size(1), " columns instead of ", users.size(1), ")");
  check(k >= 1 && k <= (int64_t{1} << 31), "rank: k must be positive (got ", k, ")");
  const int64_t num_users = users.size(0);
  std::optional<CheckedRows> exclude;
  check(exclude_offsets.has_value() == exclude_items.has_value(),
        "rank: exclude must have both offsets and items");
  if (exclude_offsets) {
    exclude.emplace(*exclude_offsets, *exclude_items, num_users, "rank: exclude offsets",
                    "rank: exclude items");
  }
  Tensor best = empty_of(users, {num_users, k}, ScalarType::Long);
  Tensor scores = empty_of(users, {num_users, k}, users.scalar_type());
  if (num_users == 0) return {best, scores};
  dispatch_float(users, "rank: user_embedding", [&](auto type) {
    using T = decltype(type);
    RankArgs<T> args{const_data<T>(users),
                     users.stride(0),
                     num_users,
                     nullptr,
                     items.size(0),
                     users.size(1),
                     k,
                     exclude ? const_data<int64_t>(exclude->offsets) : nullptr,
                     exclude ? const_data<int32_t>(exclude->items) : nullptr,
                     mutable_data<int64_t>(best),
                     mutable_data<T>(scores)};
    rank_all(args, const_data<T>(items), items.stride(0));
  });
  return {best, scores};
}

Tensor metrics(const Tensor& items_, const Tensor& held_offsets, const Tensor& held_items,
               const Tensor& cutoffs_) {
  check(items_.dim() == 2 && items_.scalar_type() == ScalarType::Long,
        "ranking_metrics: items must be an int64 table");
  const Tensor items = torch::stable::contiguous(items_);
  const Tensor cutoffs = check_longs(cutoffs_, "ranking_metrics: cutoffs");
  const int64_t num_rows = items.size(0), width = items.size(1), num_cutoffs = cutoffs.numel();
  const CheckedRows held(held_offsets, held_items, num_rows, "ranking_metrics: held_out offsets",
                         "ranking_metrics: held_out items");
  for (int64_t c = 0; c < num_cutoffs; ++c) {
    const int64_t cutoff = const_data<int64_t>(cutoffs)[c];
    check(cutoff >= 1 && cutoff <= width, "ranking_metrics: cutoffs must be in [1, ", width,
          "], the number of ranked items (got ", cutoff, ")");
  }
  std::vector<double> gains(static_cast<size_t>(width));
  for (int64_t j = 0; j < width; ++j) gains[j] = 1.0 / std::log2(static_cast<double>(j + 2));
  Tensor out = empty_of(items, {num_rows, 2, num_cutoffs}, ScalarType::Double);
  double* data = mutable_data<double>(out);
  torch::stable::parallel_for(0, num_rows, 64, [&](int64_t begin, int64_t end) {
    ranking_metrics(const_data<int64_t>(items), width, const_data<int64_t>(held.offsets),
                    const_data<int32_t>(held.items), const_data<int64_t>(cutoffs), num_cutoffs,
                    gains.data(), begin, end, data);
  });
  return out;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("rank", TORCH_BOX(&rlmrec_fast::rank));
  m.impl("ranking_metrics", TORCH_BOX(&rlmrec_fast::metrics));
}
