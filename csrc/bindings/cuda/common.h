// What every binding of CUDA kernels needs: where tensors must be, torch's stream, launch errors.
//
// Nothing but read_back waits for the device or reads its memory; calls of operators that do
// without it can be captured in CUDA graphs. What a kernel works with is allocated by torch, on
// torch's current stream. Symbols of libtorch_cuda are out of bounds: the library must load beside
// a torch that has none.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include <array>
#include <initializer_list>
#include <string>
#include <vector>

#include "bindings/common.h"
#include "cuda/simt.h"

namespace rlmrec_fast {

// An argument as a refusal names it. A missing optional one has no tensor.
struct NamedTensor {
  const char* name;
  const Tensor* tensor;

  NamedTensor(const char* name_, const Tensor& tensor_) : name(name_), tensor(&tensor_) {}
  NamedTensor(const char* name_, const std::optional<Tensor>& tensor_)
      : name(name_), tensor(tensor_ ? &*tensor_ : nullptr) {}
};

inline std::string device_name(const Tensor& tensor) {
  if (tensor.is_cuda()) return "cuda:" + std::to_string(tensor.get_device_index());
  return tensor.is_cpu() ? "cpu" : "another device";
}

// Refuses tensors that are not all on one CUDA device.
inline void check_on_device(const char* op, std::initializer_list<NamedTensor> tensors) {
  const NamedTensor* first = nullptr;
  for (const NamedTensor& named : tensors) {
    if (first == nullptr && named.tensor != nullptr && named.tensor->is_cuda()) first = &named;
  }
  for (const NamedTensor& named : tensors) {
    if (named.tensor == nullptr) continue;
    const std::string got = device_name(*named.tensor);
    if (first == nullptr) {
      check(false, op, ": ", named.name, " must be on a CUDA device (got ", got, ")");
    }
    const std::string wanted = device_name(*first->tensor);
    check(got == wanted, op, ": ", named.name, " must be on ", wanted, " like ", first->name,
          " (got ", got, ")");
  }
}

// Makes the device of a tensor the current one while it lives; kernels go to torch's stream there.
class OnDevice {
 public:
  explicit OnDevice(const Tensor& tensor)
      : guard_(tensor.get_device_index()),
        stream_(torch::stable::accelerator::getCurrentStream(tensor.get_device_index())) {
    // Torch's guard tells torch's copy of the runtime; this one is the library's own.
    const cudaError_t error = cudaSetDevice(tensor.get_device_index());
    if (error != cudaSuccess) {
      throw std::runtime_error(device_name(tensor) +
                               " could not be made current: " + cudaGetErrorString(error));
    }
  }

  cudaStream_t stream() const { return static_cast<cudaStream_t>(stream_.nativeHandle()); }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  torch::stable::accelerator::Stream stream_;
};

// Reports a launch that failed; becomes RuntimeError in Python.
inline void check_launch(const char* op, const char* kernel, cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(op) + ": kernel " + kernel +
                           " could not be launched: " + cudaGetErrorString(error));
}

// Waits for the device and reads `count` elements from each of the places, one after the other.
template <class T>
std::vector<T> read_back(const char* op, std::initializer_list<const T*> places, int64_t count,
                         cudaStream_t stream) {
  std::vector<T> numbers(places.size() * static_cast<size_t>(count));
  cudaError_t error = cudaSuccess;
  T* next = numbers.data();
  for (const T* place : places) {
    if (error == cudaSuccess) {
      error = cudaMemcpyAsync(next, place, static_cast<size_t>(count) * sizeof(T),
                              cudaMemcpyDeviceToHost, stream);
    }
    next += count;
  }
  const cudaError_t waited = cudaStreamSynchronize(stream);
  if (error == cudaSuccess) error = waited;
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(op) + ": results could not be read from the device: " +
                             cudaGetErrorString(error));
  }
  return numbers;
}

// Sums of all numbers up to each one, by torch.
inline Tensor running_sum(const Tensor& numbers) {
  using torch::stable::detail::from;
  std::array<StableIValue, 3> stack{from(numbers), from(int64_t{0}),
                                    from(std::optional<ScalarType>())};
  STABLE_TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::cumsum", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

}  // namespace rlmrec_fast
