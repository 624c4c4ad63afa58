#include "cuda/seed_scores.cuh"
#include "cuda/subgraphs.cuh"

namespace rlmrec_fast::cuda {
namespace {

// Blocks for so many threads, or so many groups of lanes.
dim3 grid_of(int64_t count, int64_t lanes = 1) {
  const int64_t of_block = kNodeThreads / lanes;
  return dim3(static_cast<unsigned>((count + of_block - 1) / of_block));
}

static_assert(kScoreThreads == kNodeThreads);

}  // namespace

cudaError_t launch_mark_seeds(const int64_t* seeds, int64_t num_seeds, int64_t num_nodes,
                              int32_t* masked, int32_t* wrong, cudaStream_t stream) {
  SIMT_LAUNCH(mark_seeds, grid_of(num_seeds), dim3(kNodeThreads), 0, stream, seeds, num_seeds,
              num_nodes, masked, wrong);
  return cudaGetLastError();
}

cudaError_t launch_spread_mask(NodeRows graph, const int32_t* masked, int32_t* next,
                               int32_t* changed, cudaStream_t stream) {
  SIMT_LAUNCH(spread_mask, grid_of(graph.num_nodes, kWarp), dim3(kNodeThreads), 0, stream, graph,
              masked, next, changed);
  return cudaGetLastError();
}

cudaError_t launch_count_kept(NodeRows graph, const int32_t* masked, int64_t* kept, int64_t* chosen,
                              cudaStream_t stream) {
  SIMT_LAUNCH(count_kept, grid_of(graph.num_nodes, kWarp), dim3(kNodeThreads), 0, stream, graph,
              masked, kept, chosen);
  return cudaGetLastError();
}

cudaError_t launch_draw_nodes(Seed seed, int64_t num_draws, int64_t num_nodes, int64_t* chosen,
                              cudaStream_t stream) {
  SIMT_LAUNCH(draw_nodes, grid_of(num_draws), dim3(kNodeThreads), 0, stream, seed, num_draws,
              num_nodes, chosen);
  return cudaGetLastError();
}

cudaError_t launch_list_candidates(const int64_t* chosen, int64_t num_nodes, int32_t* candidates,
                                   cudaStream_t stream) {
  SIMT_LAUNCH(list_candidates, grid_of(num_nodes), dim3(kNodeThreads), 0, stream, chosen, num_nodes,
              candidates);
  return cudaGetLastError();
}

cudaError_t launch_fill_encoder(NodeRows graph, const int32_t* masked, const int64_t* offsets,
                                int32_t* columns, cudaStream_t stream) {
  SIMT_LAUNCH(fill_encoder, grid_of(graph.num_nodes, kWarp), dim3(kNodeThreads), 0, stream, graph,
              masked, offsets, columns);
  return cudaGetLastError();
}

cudaError_t launch_find_reverse(NodeRows encoder, int64_t* reverse, cudaStream_t stream) {
  SIMT_LAUNCH(find_reverse, grid_of(encoder.num_entries), dim3(kNodeThreads), 0, stream, encoder,
              reverse);
  return cudaGetLastError();
}

cudaError_t launch_decoder_keys(const DecoderArgs& args, int64_t* keys, cudaStream_t stream) {
  const int64_t threads = args.graph.num_nodes + args.graph.num_entries + args.num_pairs;
  SIMT_LAUNCH(decoder_keys, grid_of(threads), dim3(kNodeThreads), 0, stream, args, keys);
  return cudaGetLastError();
}

cudaError_t launch_mark_first(const int64_t* keys, int64_t num_keys, int64_t* first,
                              cudaStream_t stream) {
  SIMT_LAUNCH(mark_first, grid_of(num_keys), dim3(kNodeThreads), 0, stream, keys, num_keys, first);
  return cudaGetLastError();
}

cudaError_t launch_decoder_offsets(const int64_t* keys, int64_t num_keys, const int64_t* first,
                                   int64_t num_nodes, int64_t* offsets, cudaStream_t stream) {
  SIMT_LAUNCH(decoder_offsets, grid_of(num_nodes + 1), dim3(kNodeThreads), 0, stream, keys,
              num_keys, first, num_nodes, offsets);
  return cudaGetLastError();
}

cudaError_t launch_fill_decoder(const int64_t* keys, int64_t num_keys, const int64_t* first,
                                int64_t num_nodes, int32_t* columns, cudaStream_t stream) {
  SIMT_LAUNCH(fill_decoder, grid_of(num_keys), dim3(kNodeThreads), 0, stream, keys, num_keys, first,
              num_nodes, columns);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_seed_scores(const SeedScoreArgs<T>& args, Seed seed, T* scores,
                               cudaStream_t stream) {
  SIMT_LAUNCH(seed_scores<T>, grid_of(args.num_rows, kScoreLanes), dim3(kScoreThreads), 0, stream,
              args, seed, scores);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_seed_scores_backward(const SeedScoreArgs<T>& args, const T* grad, T* grad_x,
                                        T* grad_summary, cudaStream_t stream) {
  SIMT_LAUNCH(seed_scores_backward<T>, grid_of(args.num_rows, kScoreLanes), dim3(kScoreThreads), 0,
              stream, args, grad, grad_x, grad_summary);
  return cudaGetLastError();
}

#define RLMREC_FAST_INSTANTIATE(T)                                                            \
  template cudaError_t launch_seed_scores(const SeedScoreArgs<T>&, Seed, T*, cudaStream_t);   \
  template cudaError_t launch_seed_scores_backward(const SeedScoreArgs<T>&, const T*, T*, T*, \
                                                   cudaStream_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::cuda
