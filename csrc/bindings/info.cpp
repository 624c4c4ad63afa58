#include "bindings/common.h"

namespace rlmrec_fast {
namespace {

int64_t active(const Tensor&) { return static_cast<int64_t>(active_isa()); }

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("active_isa", TORCH_BOX(&rlmrec_fast::active));
}
