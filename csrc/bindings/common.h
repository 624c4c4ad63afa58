// What every binding needs: checks with messages, views of tensors, dispatch on the element type.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "common/cpu_features.h"
#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// eps of torch.nn.functional.normalize.
constexpr double kUnitEps = 1e-12;

// Refuses an argument: becomes ValueError in Python. Messages read `op: NAME must ... (got ...)`.
template <class... Parts>
void check(bool condition, const Parts&... parts) {
  if (condition) return;
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

template <class T>
constexpr ScalarType scalar_type() {
  if constexpr (std::is_same_v<T, double>) return ScalarType::Double;
  if constexpr (std::is_same_v<T, float>) return ScalarType::Float;
  if constexpr (std::is_same_v<T, BFloat16>) return ScalarType::BFloat16;
  if constexpr (std::is_same_v<T, Float16>) return ScalarType::Half;
  if constexpr (std::is_same_v<T, int64_t>) return ScalarType::Long;
  if constexpr (std::is_same_v<T, int32_t>) return ScalarType::Int;
  if constexpr (std::is_same_v<T, bool>) return ScalarType::Bool;
}

template <class T>
const T* const_data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <class T>
T* mutable_data(Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// A contiguous vector of the wanted type. name reads `op: argument`.
template <class T>
Tensor check_vector(const Tensor& tensor, const char* name, const char* type_name) {
  check(tensor.dim() == 1, name, " must have one dimension (got ", tensor.dim(), ")");
  check(tensor.scalar_type() == scalar_type<T>(), name, " must be of type ", type_name);
  return torch::stable::contiguous(tensor);
}
inline Tensor check_longs(const Tensor& tensor, const char* name) {
  return check_vector<int64_t>(tensor, name, "int64");
}
inline Tensor check_ints(const Tensor& tensor, const char* name) {
  return check_vector<int32_t>(tensor, name, "int32");
}

// A row-major table: the last dimension is contiguous, rows may be apart.
inline Tensor check_table(const Tensor& tensor, const char* name) {
  check(tensor.dim() == 2, name, " must have two dimensions (got ", tensor.dim(), ")");
  const bool rows_apart = tensor.stride(1) == 1 && tensor.stride(0) >= tensor.size(1);
  return rows_apart ? tensor : torch::stable::contiguous(tensor);
}

// Offsets of `num_rows` rows: from 0 to `end` without decreasing. name reads `op: argument`.
inline void check_offsets(const int64_t* offsets, int64_t num_rows, int64_t end, const char* name) {
  check(num_rows >= 0, name, " must not be empty");
  check(offsets[0] == 0 && offsets[num_rows] == end, name, " must go from 0 to ", end, " (got ",
        offsets[0], " to ", offsets[num_rows], ")");
  int64_t signs = 0;  // without branches: this runs in every call
  for (int64_t row = 0; row < num_rows; ++row) signs |= offsets[row + 1] - offsets[row];
  for (int64_t row = 0; signs < 0 && row < num_rows; ++row) {
    check(offsets[row] <= offsets[row + 1], name, " must not decrease (got ", offsets[row + 1],
          " after ", offsets[row], ")");
  }
}

// Calls work(part) for every part, on torch's threads. A thread takes the next part when it is done
// with one, so a slow or late thread holds nobody up; what a part computes must not depend on it.
template <class Work>
void parallel_parts(int64_t num_parts, Work work) {
  std::atomic<int64_t> next{0};
  const auto workers = std::min<int64_t>(num_parts, torch::stable::get_num_threads());
  torch::stable::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t part = next++; part < num_parts; part = next++) work(part);
  });
}

inline void check_ids(const int64_t* ids, int64_t count, int64_t size, const char* name) {
  // Several at a time, as nearly all calls find nothing; then which one it was.
  const auto end = static_cast<uint64_t>(size);
  bool wrong = false;
  for (int64_t i = 0; i < count; ++i) wrong |= static_cast<uint64_t>(ids[i]) >= end;
  for (int64_t i = 0; wrong && i < count; ++i) {
    check(ids[i] >= 0 && ids[i] < size, name, " must be in [0, ", size, ") (got ", ids[i],
          " at position ", i, ")");
  }
}

inline uint64_t read_seed(const Tensor& seed, const char* op) {
  check(seed.numel() == 1 && seed.scalar_type() == ScalarType::Long, op,
        ": seed must be an int64 tensor of one element (got ", seed.numel(), " elements)");
  return static_cast<uint64_t>(*const_data<int64_t>(seed));
}

// Calls work(T{}) with the storage type of the tensor.
template <class Work>
void dispatch_storage(const Tensor& tensor, const char* name, Work work) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return work(float{});
    case ScalarType::Double:
      return work(double{});
    case ScalarType::BFloat16:
      return work(BFloat16{});
    case ScalarType::Half:
      return work(Float16{});
    default:
      check(false, name, " must be of type float32, float64, bfloat16 or float16");
  }
}
template <class Work>
void dispatch_float(const Tensor& tensor, const char* name, Work work) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return work(float{});
    case ScalarType::Double:
      return work(double{});
    default:
      check(false, name, " must be of type float32 or float64");
  }
}

inline Tensor empty_of(const Tensor& like, const std::vector<int64_t>& sizes, ScalarType type) {
  return torch::stable::new_empty(like, sizes, type);
}

}  // namespace rlmrec_fast
