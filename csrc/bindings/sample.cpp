#include "cpu/sample.h"

#include <atomic>

#include "bindings/common.h"

namespace rlmrec_fast {
namespace {

Tensor sample(const Tensor& offsets_, const Tensor& items_, const Tensor& seed_,
              int64_t num_items) {
  const Tensor offsets = check_longs(offsets_, "sample_negatives: offsets");
  const Tensor items = check_ints(items_, "sample_negatives: items");
  const uint64_t seed = read_seed(seed_, "sample_negatives");
  const int64_t num_users = offsets.numel() - 1;
  check_offsets(const_data<int64_t>(offsets), num_users, items.numel(),
                "sample_negatives: offsets");
  Tensor negatives = empty_of(offsets, {items.numel()}, ScalarType::Long);
  std::atomic<int64_t> full_user{-1};
  const auto* offset = const_data<int64_t>(offsets);
  const auto* item = const_data<int32_t>(items);
  auto* out = mutable_data<int64_t>(negatives);
  constexpr int64_t kUsers = 512;
  parallel_parts((num_users + kUsers - 1) / kUsers, [&](int64_t part) {
    const int64_t end = std::min(num_users, (part + 1) * kUsers);
    const int64_t user = sample_negatives(offset, item, num_items, seed, part * kUsers, end, out);
    // The first such user, whichever thread finds one first.
    for (int64_t seen = full_user; user >= 0 && (seen < 0 || user < seen);) {
      if (full_user.compare_exchange_weak(seen, user)) break;
    }
  });
  check(full_user < 0,
        "sample_negatives: graph must leave every user at least one item without interaction "
        "(got user ",
        full_user.load(), " with all ", num_items, " items)");
  return negatives;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("sample_negatives", TORCH_BOX(&rlmrec_fast::sample));
}
