#include "cuda/distinct.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "bindings/cuda/common.h"

namespace rlmrec_fast {
namespace {

constexpr const char* kOp = "distinct";

Tensor running_count(const Tensor& numbers) {
  using torch::stable::detail::from;
  std::array<StableIValue, 3> stack{from(numbers), from(int64_t{0}),
                                    from(std::optional<ScalarType>())};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::cumsum", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// Waits for the device and reads numbers from it.
template <size_t kCount>
std::array<int64_t, kCount> read_numbers(const std::array<const int64_t*, kCount>& places,
                                         cudaStream_t stream) {
  std::array<int64_t, kCount> numbers{};
  cudaError_t error = cudaSuccess;
  for (size_t i = 0; i < kCount && error == cudaSuccess; ++i) {
    error =
        cudaMemcpyAsync(&numbers[i], places[i], sizeof(int64_t), cudaMemcpyDeviceToHost, stream);
  }
  const cudaError_t waited = cudaStreamSynchronize(stream);
  if (error == cudaSuccess) error = waited;
  if (error != cudaSuccess) {
    throw std::runtime_error(
        std::string(kOp) +
        ": the number of ids could not be read from the device: " + cudaGetErrorString(error));
  }
  return numbers;
}

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
  const Tensor running = running_count(found);
  const auto* runs = const_data<int64_t>(running);
  int64_t num_rows = std::min(num_ids, size);
  if (!padded) {
    const auto [found_ids, wrong] = read_numbers<2>({runs + size, occurrence + size}, stream);
    check(wrong == 0, "distinct: ids must be in [0, ", size, ") (got another one at position ",
          num_ids - wrong, ")");
    num_rows = found_ids;
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
