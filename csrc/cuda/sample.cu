#include "cuda/sample.cuh"

namespace rlmrec_fast::cuda {

cudaError_t launch_sample_negatives(const int64_t* offsets, int64_t num_users, const int32_t* items,
                                    int64_t num_entries, int64_t num_items, Seed seed,
                                    int64_t* negatives, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((num_entries + kSampleThreads - 1) / kSampleThreads));
  SIMT_LAUNCH(sample_negatives, grid, dim3(kSampleThreads), 0, stream, offsets, num_users, items,
              num_entries, num_items, seed, negatives);
  return cudaGetLastError();
}

}  // namespace rlmrec_fast::cuda
