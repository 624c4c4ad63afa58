#include "bindings/common.h"
#include "common/scratch.h"

namespace rlmrec_fast {
namespace {

int64_t active(const Tensor&) { return static_cast<int64_t>(active_isa()); }

int64_t release(const Tensor&) { return static_cast<int64_t>(release_idle_scratch()); }

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("active_isa", TORCH_BOX(&rlmrec_fast::active));
  m.impl("release_scratch", TORCH_BOX(&rlmrec_fast::release));
}

// They are about the process: it does not matter where the tensor lies that they are called by.
STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("active_isa", TORCH_BOX(&rlmrec_fast::active));
  m.impl("release_scratch", TORCH_BOX(&rlmrec_fast::release));
}
