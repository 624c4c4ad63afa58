// The unit tests as one program. Where this machine lacks the instruction set that RLMREC_FAST_ISA
// asks for there is nothing to test: the exit code says that the run was skipped.
#define CHECK_OWN_MAIN
#include "check.h"
#include "cpu/isa.h"

namespace {
constexpr int kSkipped = 77;
}

int main(int argc, char** argv) {
  try {
    rlmrec_fast::active_isa();
  } catch (const std::exception& error) {
    std::printf("skipped: %s\n", error.what());
    return kSkipped;
  }
  return check::run(argc, argv);
}
