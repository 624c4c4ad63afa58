#include "cuda/bpr.cuh"

namespace rlmrec_fast::cuda {
namespace {

dim3 blocks_for(int64_t threads) {
  return dim3(static_cast<unsigned>((threads + kBprThreads - 1) / kBprThreads));
}

}  // namespace

template <class T>
cudaError_t launch_bpr_losses(const BprArgs<T>& args, T* losses, T* slopes, cudaStream_t stream) {
  const dim3 grid = blocks_for(args.size * kBprLanes), block(kBprThreads);
  if constexpr (sizeof(T) == 4) {
    if (args.d % 4 == 0 && rows_aligned(args.user_table, args.user_stride) &&
        rows_aligned(args.item_table, args.item_stride)) {
      SIMT_LAUNCH((bpr_losses<4, T>), grid, block, 0, stream, args, losses, slopes);
      return cudaGetLastError();
    }
  }
  SIMT_LAUNCH((bpr_losses<1, T>), grid, block, 0, stream, args, losses, slopes);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_bpr_keys(const BprArgs<T>& args, BprSide side, int64_t num_rows, int32_t* keys,
                            cudaStream_t stream) {
  const dim3 grid = blocks_for(count_entries(side, args.size));
  SIMT_LAUNCH(bpr_keys<T>, grid, dim3(kBprThreads), 0, stream, args, side, num_rows, keys);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_bpr_entries(const BprArgs<T>& args, BprSide side, const int64_t* order,
                               const T* slopes, const T* grad_losses, int32_t* columns, T* values,
                               cudaStream_t stream) {
  const dim3 grid = blocks_for(count_entries(side, args.size));
  SIMT_LAUNCH(bpr_entries<T>, grid, dim3(kBprThreads), 0, stream, args, side, order, slopes,
              grad_losses, columns, values);
  return cudaGetLastError();
}

#define RLMREC_FAST_INSTANTIATE(T)                                                              \
  template cudaError_t launch_bpr_losses(const BprArgs<T>&, T*, T*, cudaStream_t);              \
  template cudaError_t launch_bpr_keys(const BprArgs<T>&, BprSide, int64_t, int32_t*,           \
                                       cudaStream_t);                                           \
  template cudaError_t launch_bpr_entries(const BprArgs<T>&, BprSide, const int64_t*, const T*, \
                                          const T*, int32_t*, T*, cudaStream_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::cuda
