// Functions of float and double under one name: C++ and CUDA do not agree on who overloads what.
#pragma once

#include <cmath>

#include "cuda/simt.h"

namespace rlmrec_fast::cuda {

// a * b + c in one rounding.
__device__ __forceinline__ float fused(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return fma(a, b, c); }

__device__ __forceinline__ float magnitude(float x) { return fabsf(x); }
__device__ __forceinline__ double magnitude(double x) { return fabs(x); }

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }

// log(1 + x)
__device__ __forceinline__ float log_of_one_plus(float x) { return log1pf(x); }
__device__ __forceinline__ double log_of_one_plus(double x) { return log1p(x); }

}  // namespace rlmrec_fast::cuda
