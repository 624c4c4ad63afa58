#include "cpu/distinct.h"

#include <tuple>

#include "bindings/common.h"
#include "common/scratch.h"

namespace rlmrec_fast {
namespace {

std::tuple<Tensor, Tensor, Tensor> distinct(const Tensor& ids_, int64_t size) {
  const Tensor ids = check_longs(ids_, "distinct: ids");
  check(size >= 0, "distinct: size must not be negative (got ", size, ")");
  const int64_t* id = const_data<int64_t>(ids);
  const int64_t num_ids = ids.numel();
  check_ids(id, num_ids, size, "distinct: ids");
  // Nothing of the size of the table for nothing.
  const Scratch<int64_t> occurrences(num_ids == 0 ? 0 : size);
  const int64_t found = num_ids == 0 ? 0 : count_ids(id, num_ids, size, occurrences.get());
  Tensor rows = empty_of(ids, {found}, ScalarType::Long);
  Tensor places = empty_of(ids, {num_ids}, ScalarType::Long);
  Tensor counts = empty_of(ids, {found}, ScalarType::Long);
  if (num_ids > 0) {
    place_ids(id, num_ids, size, occurrences.get(), mutable_data<int64_t>(rows),
              mutable_data<int64_t>(places), mutable_data<int64_t>(counts));
  }
  return {rows, places, counts};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("distinct", TORCH_BOX(&rlmrec_fast::distinct));
}
