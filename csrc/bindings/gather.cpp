#include <algorithm>

#include "bindings/layer.h"

namespace rlmrec_fast {
namespace {

Tensor gather(const Tensor& table_, const Tensor& rows_) {
  const Tensor table = check_table(table_, "gather: table");
  const Tensor rows = check_longs(rows_, "gather: rows");
  const auto* row = const_data<int64_t>(rows);
  check_ids(row, rows.numel(), table.size(0), "gather: rows");
  Tensor out = empty_of(table, {rows.numel(), table.size(1)}, table.scalar_type());
  dispatch_storage(table, "gather: table", [&](auto type) {
    using T = decltype(type);
    const T* from = const_data<T>(table);
    T* to = mutable_data<T>(out);
    const int64_t d = table.size(1), stride = table.stride(0);
    torch::stable::parallel_for(0, rows.numel(), 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::copy(from + row[i] * stride, from + row[i] * stride + d, to + i * d);
      }
    });
  });
  return out;
}

Tensor gather_backward(const Tensor& grad_, const Tensor& rows_, int64_t num_rows) {
  const char* op = "gather_backward";
  const Tensor grad = check_table(grad_, "gather_backward: grad");
  const Tensor rows = check_longs(rows_, "gather_backward: rows");
  check(grad.size(0) == rows.numel(), op, ": grad must have ", rows.numel(), " rows (got ",
        grad.size(0), ")");
  check(num_rows >= 0 && num_rows < (int64_t{1} << 31), op, ": num_rows must be in [0, 2^31) (got ",
        num_rows, ")");
  const auto* row = const_data<int64_t>(rows);
  check_ids(row, rows.numel(), num_rows, "gather_backward: rows");
  Tensor out = empty_of(grad, {num_rows, grad.size(1)}, grad.scalar_type());
  dispatch_storage(grad, "gather_backward: grad", [&](auto type) {
    using T = decltype(type);
    if (out.numel() == 0) return;
    const Scatter<T> scatter({rows.numel(), num_rows, [&](int64_t i) { return row[i]; },
                              [](int64_t i) { return i; }, [](int64_t) { return 1; }});
    scatter.run(const_data<T>(grad), grad.stride(0), grad.size(1), mutable_data<T>(out));
  });
  return out;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("gather", TORCH_BOX(&rlmrec_fast::gather));
  m.impl("gather_backward", TORCH_BOX(&rlmrec_fast::gather_backward));
}
