// What launchers of several kernels say of the one that failed.
#include <string>

#include "cuda/launch.h"
#include "simt/compare.h"

TEST(launch_names_the_first_kernel_that_failed) {
  const simt::Kernel none{"none", nullptr, nullptr, nullptr, 0};
  rlmrec_fast::cuda::LaunchResult result;
  CHECK(result.note("fine"));
  simt::run_grid(none, dim3(0), dim3(32), 0);
  CHECK(!result.note("broken"));
  CHECK(!result.note("fine again"));
  simt::run_grid(none, dim3(0), dim3(32), 0);
  CHECK(!result.note("broken too"));
  simt::errors().clear();
  CHECK(result.error != cudaSuccess);
  CHECK(std::string(result.kernel) == "broken");
}
