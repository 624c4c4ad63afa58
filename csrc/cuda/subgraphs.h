// The pair of graphs that AutoCF trains on, and the scores that its seeds are chosen by, on a GPU:
// the same graphs as cpu/subgraphs.h draws, which says what they are.
//
// A launch for each step; between some of them the caller sorts or adds up whole arrays. Where
// threads meet at one place they all write the same there, or add integers.
#pragma once

#include <cstdint>

#include "cuda/seed.h"
#include "cuda/simt.h"
#include "cuda/table.h"

namespace rlmrec_fast::cuda {

// Rows of a symmetric graph, sorted; columns in [0, num_nodes).
struct NodeRows {
  const int64_t* offsets;
  const int32_t* columns;
  int64_t num_nodes;    // in [1, 2^31)
  int64_t num_entries;  // or more, for an encoder
};

// masked[s] = 1 for seeds; the others were set to 0 before. *wrong, likewise 0 before: how many
// seeds there are outside of [0, num_nodes). num_seeds > 0.
cudaError_t launch_mark_seeds(const int64_t* seeds, int64_t num_seeds, int64_t num_nodes,
                              int32_t* masked, int32_t* wrong, cudaStream_t stream);

// Masks what is next to a masked node too. Where that changes something, *changed becomes 1.
cudaError_t launch_spread_mask(NodeRows graph, const int32_t* masked, int32_t* next,
                               int32_t* changed, cudaStream_t stream);

// kept[n + 1] = how many entries of row n the encoder has; chosen[n + 1] = whether n is masked, for
// now; kept[0] = chosen[0] = 0.
cudaError_t launch_count_kept(NodeRows graph, const int32_t* masked, int64_t* kept, int64_t* chosen,
                              cudaStream_t stream);
// chosen[n + 1] = 1 for num_draws > 0 nodes drawn at random.
cudaError_t launch_draw_nodes(Seed seed, int64_t num_draws, int64_t num_nodes, int64_t* chosen,
                              cudaStream_t stream);
// The chosen nodes, ascending; chosen is now the running sum of what it was.
cudaError_t launch_list_candidates(const int64_t* chosen, int64_t num_nodes, int32_t* candidates,
                                   cudaStream_t stream);

// The encoder's columns, for offsets that are the running sum of `kept`, and for every entry (r, c)
// the position of (c, r); -1 if there is none.
cudaError_t launch_fill_encoder(NodeRows graph, const int32_t* masked, const int64_t* offsets,
                                int32_t* columns, cudaStream_t stream);
cudaError_t launch_find_reverse(NodeRows encoder, int64_t* reverse, cudaStream_t stream);

// Keys of decoder_keys that stand for no entry. They come last where keys are sorted.
constexpr int64_t kNoKey = int64_t{1} << 62;

struct DecoderArgs {
  NodeRows graph;
  const int32_t* masked;
  const int32_t* candidates;
  const int64_t* num_candidates;  // on the device
  int64_t num_pairs;
  Seed seed;

  int64_t num_keys() const { return graph.num_nodes + graph.num_entries + 2 * num_pairs; }
};
// row * num_nodes + column of the decoder's entries: self-loops, the encoder's entries, random
// pairs both ways.
cudaError_t launch_decoder_keys(const DecoderArgs& args, int64_t* keys, cudaStream_t stream);
// first[i + 1] = whether sorted keys[i] is one, and the first of its kind; first[0] = 0.
cudaError_t launch_mark_first(const int64_t* keys, int64_t num_keys, int64_t* first,
                              cudaStream_t stream);
// The decoder's offsets, from sorted keys and the running sum of `first`.
cudaError_t launch_decoder_offsets(const int64_t* keys, int64_t num_keys, const int64_t* first,
                                   int64_t num_nodes, int64_t* offsets, cudaStream_t stream);
cudaError_t launch_fill_decoder(const int64_t* keys, int64_t num_keys, const int64_t* first,
                                int64_t num_nodes, int32_t* columns, cudaStream_t stream);

// How a node's embedding x and the summary g of its neighbourhood make its score.
template <class T>
struct SeedScoreArgs {
  int64_t num_rows;  // above 0
  int64_t d;
  Table<T> x, summary;
  double eps;
};

// scores[r] = log sigmoid(cos(x_r, g_r)) + Gumbel noise.
template <class T>
cudaError_t launch_seed_scores(const SeedScoreArgs<T>& args, Seed seed, T* scores,
                               cudaStream_t stream);
// Contiguous gradients of x and g.
template <class T>
cudaError_t launch_seed_scores_backward(const SeedScoreArgs<T>& args, const T* grad, T* grad_x,
                                        T* grad_summary, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
