#include "cuda/scatter.cuh"

namespace rlmrec_fast::cuda {
namespace {

dim3 threads_for(int64_t size) {
  return dim3(static_cast<unsigned>((size + kScatterThreads - 1) / kScatterThreads));
}

}  // namespace

cudaError_t launch_scatter_keys(const int64_t* rows, int64_t size, int64_t num_rows, int32_t* keys,
                                cudaStream_t stream) {
  SIMT_LAUNCH(scatter_keys, threads_for(size), dim3(kScatterThreads), 0, stream, rows, size,
              num_rows, keys);
  return cudaGetLastError();
}

cudaError_t launch_scatter_offsets(const int32_t* keys, int64_t size, int64_t num_rows,
                                   int64_t* offsets, cudaStream_t stream) {
  SIMT_LAUNCH(scatter_offsets, threads_for(num_rows + 1), dim3(kScatterThreads), 0, stream, keys,
              size, num_rows, offsets);
  return cudaGetLastError();
}

cudaError_t launch_scatter_columns(const int64_t* order, int64_t size, int32_t* columns,
                                   cudaStream_t stream) {
  SIMT_LAUNCH(scatter_columns, threads_for(size), dim3(kScatterThreads), 0, stream, order, size,
              columns);
  return cudaGetLastError();
}

}  // namespace rlmrec_fast::cuda
