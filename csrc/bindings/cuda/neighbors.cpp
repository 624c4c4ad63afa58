#include "cuda/neighbors.h"

#include "bindings/cuda/common.h"
#include "cuda/rank.h"

namespace rlmrec_fast {
namespace {

// No row: higher than all.
constexpr int64_t kNoRow = int64_t{1} << 62;

Tensor no_rows(const Tensor& like, int64_t count) {
  Tensor rows = empty_of(like, {count}, ScalarType::Long);
  torch::stable::fill_(rows, static_cast<double>(kNoRow));
  return rows;
}

// Both operators refuse what they find in their tables, so they wait for the device.
Tensor neighbors(const Tensor& table_, int64_t k) {
  constexpr auto op = "neighbors";
  check_on_device(op, {{"table", table_}});
  check(k >= 1 && k <= (int64_t{1} << 31), "neighbors: k must be at least 1 and at most 2^31 (got ",
        k, ")");
  const OnDevice device(table_);
  const Tensor table = check_table(table_, "neighbors: table");
  const int64_t num_rows = table.size(0), d = table.size(1);
  check(num_rows < (int64_t{1} << 31), "neighbors: table must have fewer than 2^31 rows (got ",
        num_rows, ")");
  Tensor found = empty_of(table, {num_rows, k}, ScalarType::Long);
  dispatch_float(table, "neighbors: table", [&](auto type) {
    using T = decltype(type);
    if (num_rows == 0) return;
    Tensor directions = empty_of(table, {num_rows, d}, ScalarType::Double);
    Tensor offsets = empty_of(table, {num_rows + 1}, ScalarType::Long);
    Tensor own = empty_of(table, {num_rows}, ScalarType::Int);
    Tensor wrong = no_rows(table, 1);
    check_launch(
        op, "find_directions",
        cuda::launch_find_directions(cuda::DirectionArgs<T>{num_rows,
                                                            d,
                                                            {const_data<T>(table), table.stride(0)},
                                                            mutable_data<double>(directions),
                                                            mutable_data<int64_t>(offsets),
                                                            mutable_data<int32_t>(own),
                                                            mutable_data<int64_t>(wrong)},
                                     device.stream()));
    const int64_t row = read_back(op, {const_data<int64_t>(wrong)}, 1, device.stream())[0];
    check(row == kNoRow, "neighbors: table must be finite (got NaN or infinity in row ", row, ")");
    Tensor scores = empty_of(table, {num_rows, k}, ScalarType::Double);
    const auto* rows = const_data<double>(directions);
    check_launch(
        op, "rank_users",
        cuda::launch_rank_users(
            cuda::RankArgs<double>{rows, d, num_rows, rows, d, num_rows, d, k,
                                   const_data<int64_t>(offsets), const_data<int32_t>(own),
                                   mutable_data<int64_t>(found), mutable_data<double>(scores)},
            device.stream()));
  });
  return found;
}

Tensor check_neighbors(const Tensor& tensor, const char* name) {
  check(tensor.dim() == 2, name, " must have two dimensions (got ", tensor.dim(), ")");
  check(tensor.scalar_type() == ScalarType::Long, name, " must be of type int64");
  return torch::stable::contiguous(tensor);
}

Tensor overlap(const Tensor& first_, const Tensor& second_) {
  constexpr auto op = "neighbor_overlap";
  check_on_device(op, {{"first", first_}, {"second", second_}});
  const OnDevice device(first_);
  const Tensor first = check_neighbors(first_, "neighbor_overlap: first");
  const Tensor second = check_neighbors(second_, "neighbor_overlap: second");
  const int64_t num_rows = first.size(0);
  check(second.size(0) == num_rows, "neighbor_overlap: second must have ", num_rows,
        " rows like first (got ", second.size(0), ")");
  Tensor result = empty_of(first, {num_rows}, ScalarType::Double);
  if (num_rows == 0) return result;
  Tensor wrong = no_rows(first, 2);
  check_launch(
      op, op,
      cuda::launch_neighbor_overlap(
          {num_rows, const_data<int64_t>(first), first.size(1), const_data<int64_t>(second),
           second.size(1), mutable_data<double>(result), mutable_data<int64_t>(wrong)},
          device.stream()));
  const auto rows = read_back(op, {const_data<int64_t>(wrong)}, 2, device.stream());
  const char* message = " must not name a neighbour twice (got row ";
  check(rows[0] == kNoRow, "neighbor_overlap: first", message, rows[0], ")");
  check(rows[1] == kNoRow, "neighbor_overlap: second", message, rows[1], ")");
  return result;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("neighbors", TORCH_BOX(&rlmrec_fast::neighbors));
  m.impl("neighbor_overlap", TORCH_BOX(&rlmrec_fast::overlap));
}
