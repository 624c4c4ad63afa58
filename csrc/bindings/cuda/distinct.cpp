#include "cuda/distinct.h"

#include <algorithm>
#include <tuple>

#include "bindings/cuda/common.h"

namespace rlmrec_fast {
namespace {

constexpr const char* kOp = "distinct";

// Unpadded, the size of the result depends on what the ids are: then this waits for the device,
// looks at the ids' range too, and cannot be captured.
std::tuple<Tensor, Tensor, Tensor> distinct(const Tensor& ids_, int64_t size, bool padded) {
  check_on_device(kOp, {{"ids", ids_}});
  const OnDevice device(ids_);
  const Tensor ids = check_longs(ids_, "distinct: ids");
  check(size >= 0, "distinct: size must not be negative (got ", size, ")");
  const int64_t num_ids = ids.numel();
  Tensor places = empty_of(ids, {num_ids}, ScalarType::Long);
  if (num_ids == 0) {
    return {empty_of(ids, {0}, ScalarType::Long), places, empty_of(ids, {0}, ScalarType::Long)};
  }
  const cudaStream_t stream = device.stream();
  const auto* id = const_data<int64_t>(ids);
  Tensor occurrences = torch::stable::new_zeros(ids, std::vector<int64_t>{size + 1});
  auto* occurrence = mutable_data<int64_t>(occurrences);
  check_launch(kOp, "count_ids", cuda::launch_count_ids(id, num_ids, size, occurrence, stream));
  Tensor found = empty_of(ids, {size + 1}, ScalarType::Long);
  check_launch(kOp, "find_ids",
               cuda::launch_find_ids(occurrence, size, mutable_data<int64_t>(found), stream));
  const Tensor running = running_sum(found);
  const auto* runs = const_data<int64_t>(running);
  int64_t num_rows = std::min(num_ids, size);
  if (!padded) {
    const auto numbers = read_back<int64_t>(kOp, {runs + size, occurrence + size}, 1, stream);
    const int64_t wrong = numbers[1];
    check(wrong == 0, "distinct: ids must be in [0, ", size, ") (got another one at position ",
          num_ids - wrong, ")");
    num_rows = numbers[0];
  }
  Tensor rows = empty_of(ids, {num_rows}, ScalarType::Long);
  Tensor counts = empty_of(ids, {num_rows}, ScalarType::Long);
  const cuda::PlaceArgs args{id,
                             num_ids,
                             size,
                             occurrence,
                             runs,
                             num_rows,
                             mutable_data<int64_t>(rows),
                             mutable_data<int64_t>(places),
                             mutable_data<int64_t>(counts)};
  check_launch(kOp, "place_ids", cuda::launch_place_ids(args, stream));
  return {rows, places, counts};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("distinct", TORCH_BOX(&rlmrec_fast::distinct));
}
