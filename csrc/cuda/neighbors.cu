#include "cuda/neighbors.cuh"

namespace rlmrec_fast::cuda {
namespace {

dim3 grid_of(int64_t rows) {
  constexpr int64_t kRows = kNeighborThreads / kWarp;
  return dim3(static_cast<unsigned>((rows + kRows - 1) / kRows));
}

}  // namespace

template <class T>
cudaError_t launch_find_directions(const DirectionArgs<T>& args, cudaStream_t stream) {
  SIMT_LAUNCH(find_directions<T>, grid_of(args.num_rows), dim3(kNeighborThreads), 0, stream, args);
  return cudaGetLastError();
}
template cudaError_t launch_find_directions(const DirectionArgs<float>&, cudaStream_t);
template cudaError_t launch_find_directions(const DirectionArgs<double>&, cudaStream_t);

cudaError_t launch_neighbor_overlap(const OverlapArgs& args, cudaStream_t stream) {
  SIMT_LAUNCH(neighbor_overlap, grid_of(args.num_rows), dim3(kNeighborThreads), 0, stream, args);
  return cudaGetLastError();
}

}  // namespace rlmrec_fast::cuda
