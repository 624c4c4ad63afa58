// Kernels with inline assembly, and a sum over edges, for test_passes.py.
#include "cuda/contrast_fma.cuh"
#include "cuda/contrast_mma.cuh"
#include "cuda/contrast_rows.cuh"
#include "cuda/edges.cuh"
#include "cuda/propagate.cuh"

namespace rlmrec_fast::cuda {

template __global__ void contrast_fma<float, 1, false>(PassArgs<float, float>);
template __global__ void contrast_fma<float, kSumsInMemory, true>(PassArgs<float, float>);
template __global__ void contrast_mma<false, 1, false>(PassArgs<uint32_t, float>);
template __global__ void contrast_mma<false, kSumsInMemory, true>(PassArgs<uint32_t, float>);
template __global__ void contrast_mma<true, 1, false>(PassArgs<uint16_t, float>);
template __global__ void contrast_mma<true, kSumsInMemory, true>(PassArgs<uint16_t, float>);
template __global__ void prepare_rows<float, uint32_t>(PrepareArgs<float, uint32_t>);
template __global__ void prepare_rows<float, uint16_t>(PrepareArgs<float, uint16_t>);
template __global__ void gradient_rows<float>(GradientArgs<float>);
template __global__ void propagate_rows<4, 8, BFloat16>(LayerArgs<BFloat16>);
template __global__ void propagate_rows<4, 8, Float16>(LayerArgs<Float16>);
template __global__ void edge_rows<8, 4, true, true, float>(EdgeArgs<float>);

}  // namespace rlmrec_fast::cuda
