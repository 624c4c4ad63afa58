#include "cuda/distinct.cuh"

namespace rlmrec_fast::cuda {
namespace {

dim3 blocks_for(int64_t threads) {
  return dim3(static_cast<unsigned>((threads + kDistinctThreads - 1) / kDistinctThreads));
}

}  // namespace

cudaError_t launch_count_ids(const int64_t* ids, int64_t num_ids, int64_t size,
                             int64_t* occurrences, cudaStream_t stream) {
  SIMT_LAUNCH(count_ids, blocks_for(num_ids), dim3(kDistinctThreads), 0, stream, ids, num_ids, size,
              occurrences);
  return cudaGetLastError();
}

cudaError_t launch_find_ids(const int64_t* occurrences, int64_t size, int64_t* found,
                            cudaStream_t stream) {
  SIMT_LAUNCH(find_ids, blocks_for(size + 1), dim3(kDistinctThreads), 0, stream, occurrences, size,
              found);
  return cudaGetLastError();
}

cudaError_t launch_place_ids(const PlaceArgs& args, cudaStream_t stream) {
  const dim3 grid = blocks_for(args.num_ids > args.size ? args.num_ids : args.size);
  SIMT_LAUNCH(place_ids, grid, dim3(kDistinctThreads), 0, stream, args);
  return cudaGetLastError();
}

}  // namespace rlmrec_fast::cuda
