#include "cuda/sample.h"

#include "bindings/cuda/layer.h"

namespace rlmrec_fast {
namespace {

Tensor sample(const Tensor& offsets_, const Tensor& items_, const Tensor& seed, int64_t num_items) {
  const char* op = "sample_negatives";
  check_on_device(op, {{"offsets", offsets_}, {"items", items_}});
  const OnDevice device(offsets_);
  const Tensor offsets = check_longs(offsets_, "sample_negatives: offsets");
  const Tensor items = check_ints(items_, "sample_negatives: items");
  const int64_t num_users = offsets.numel() - 1, num_entries = items.numel();
  check(num_users >= 0, op, ": offsets must not be empty");
  const cuda::Seed read = device_seed(op, seed, offsets);
  Tensor negatives = empty_of(offsets, {num_entries}, ScalarType::Long);
  if (num_entries == 0) return negatives;
  check_launch(op, "sample_negatives",
               cuda::launch_sample_negatives(
                   const_data<int64_t>(offsets), num_users, const_data<int32_t>(items), num_entries,
                   num_items, read, mutable_data<int64_t>(negatives), device.stream()));
  return negatives;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("sample_negatives", TORCH_BOX(&rlmrec_fast::sample));
}
