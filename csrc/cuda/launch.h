// What launchers of several kernels return.
#pragma once

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// The first kernel that could not be launched, and why.
struct LaunchResult {
  const char* kernel = "";
  cudaError_t error = cudaSuccess;

  // Notes what became of the launch just made. Whether all is well so far.
  bool note(const char* name) {
    const cudaError_t last = cudaGetLastError();
    if (error == cudaSuccess && last != cudaSuccess) {
      kernel = name;
      error = last;
    }
    return error == cudaSuccess;
  }
};

}  // namespace rlmrec_fast::cuda
