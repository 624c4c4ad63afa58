#include "cuda/rank.cuh"

namespace rlmrec_fast::cuda {

template <class T>
cudaError_t launch_rank_users(const RankArgs<T>& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((args.num_users + kRankUsers - 1) / kRankUsers));
  SIMT_LAUNCH(rank_users<T>, grid, dim3(kRankThreads), 0, stream, args);
  return cudaGetLastError();
}

template cudaError_t launch_rank_users(const RankArgs<float>&, cudaStream_t);
template cudaError_t launch_rank_users(const RankArgs<double>&, cudaStream_t);

cudaError_t launch_ranking_metrics(const MetricsArgs& args, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((args.num_rows + kRankThreads - 1) / kRankThreads));
  SIMT_LAUNCH(ranking_metrics, grid, dim3(kRankThreads), 0, stream, args);
  return cudaGetLastError();
}

}  // namespace rlmrec_fast::cuda
