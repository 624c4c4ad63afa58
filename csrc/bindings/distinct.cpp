#include "cpu/distinct.h"

#include <algorithm>
#include <tuple>

#include "bindings/common.h"
#include "common/scratch.h"

namespace rlmrec_fast {
namespace {

std::tuple<Tensor, Tensor, Tensor> distinct(const Tensor& ids_, int64_t size, bool padded) {
  const Tensor ids = check_longs(ids_, "distinct: ids");
  check(size >= 0, "distinct: size must not be negative (got ", size, ")");
  const int64_t* id = const_data<int64_t>(ids);
  const int64_t num_ids = ids.numel();
  check_ids(id, num_ids, size, "distinct: ids");
  // Nothing of the size of the table for nothing.
  const Scratch<int64_t> occurrences(num_ids == 0 ? 0 : size);
  const int64_t found = num_ids == 0 ? 0 : count_ids(id, num_ids, size, occurrences.get());
  const int64_t num_rows = padded ? std::min(num_ids, size) : found;
  Tensor rows = empty_of(ids, {num_rows}, ScalarType::Long);
  Tensor places = empty_of(ids, {num_ids}, ScalarType::Long);
  Tensor counts = empty_of(ids, {num_rows}, ScalarType::Long);
  if (num_ids > 0) {
    auto* row = mutable_data<int64_t>(rows);
    auto* count = mutable_data<int64_t>(counts);
    place_ids(id, num_ids, found, occurrences.get(), row, mutable_data<int64_t>(places), count);
    std::fill(row + found, row + num_rows, row[found - 1]);
    std::fill(count + found, count + num_rows, int64_t{0});
  }
  return {rows, places, counts};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("distinct", TORCH_BOX(&rlmrec_fast::distinct));
}
