// The passes of the contrastive losses and a sum over edges, for test_passes.py.
#include "cuda/contrast_fma.cuh"
#include "cuda/contrast_mma.cuh"
#include "cuda/edges.cuh"

namespace rlmrec_fast::cuda {

template __global__ void contrast_fma<float, 1, false>(PassArgs<float, float>);
template __global__ void contrast_fma<float, kSumsInMemory, true>(PassArgs<float, float>);
template __global__ void contrast_mma<false, 1, false>(PassArgs<uint32_t, float>);
template __global__ void contrast_mma<false, kSumsInMemory, true>(PassArgs<uint32_t, float>);
template __global__ void contrast_mma<true, 1, false>(PassArgs<uint16_t, float>);
template __global__ void contrast_mma<true, kSumsInMemory, true>(PassArgs<uint16_t, float>);
template __global__ void edge_rows<8, 4, true, true, float>(EdgeArgs<float>);

}  // namespace rlmrec_fast::cuda
