#include "cuda/reduce.cuh"

namespace rlmrec_fast::cuda {

template <class T>
cudaError_t launch_sum_blocks(const T* x, int64_t size, bool square, double* sums,
                              cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(count_sum_blocks(size)));
  if (square) {
    SIMT_LAUNCH((sum_blocks<T, true>), grid, dim3(kSumThreads), 0, stream, x, size, sums);
  } else {
    SIMT_LAUNCH((sum_blocks<T, false>), grid, dim3(kSumThreads), 0, stream, x, size, sums);
  }
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_sum_total(const double* sums, int64_t blocks, T* total, cudaStream_t stream) {
  SIMT_LAUNCH(sum_total<T>, dim3(1), dim3(kSumThreads), 0, stream, sums, blocks, total);
  return cudaGetLastError();
}

#define RLMREC_FAST_INSTANTIATE(T)                                                        \
  template cudaError_t launch_sum_blocks(const T*, int64_t, bool, double*, cudaStream_t); \
  template cudaError_t launch_sum_total(const double*, int64_t, T*, cudaStream_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::cuda
