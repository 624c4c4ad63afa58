// The pair of graphs that AutoCF trains on (Xia et al., WWW 2023), drawn from a symmetric graph of
// N nodes in compressed rows, and the scores that its seeds are chosen by.
//
// Masked nodes: those at most depth - 1 edges away from a seed. So says a breadth-first search of
// `depth` levels that removes every edge of a level's nodes and goes on with these edges' ends.
// Encoder: the edges between nodes that are not masked.
// Candidates: the masked nodes and num_draws random ones, with replacement, each once.
// Decoder: num_pairs random pairs of candidates both ways, a self-loop for every node, and the
// encoder's edges; each edge once.
//
// Randomness is a hash of the seed and of the number of the draw, so the graphs are a function of
// the arguments. Rows of both graphs are sorted. Time is linear in edges and pairs: two counting
// passes sort the pairs.
#pragma once

#include <cstdint>
#include <vector>

#include "common/scratch.h"

namespace rlmrec_fast {

// Rows that were checked: offsets from 0 without decreasing, columns in [0, num_nodes).
struct NodeRows {
  const int64_t* offsets;
  const int32_t* columns;
  int64_t num_nodes;
};

// masked[n] = 1 for the masked nodes, 0 for the others; seeds are in [0, num_nodes).
void mask_around(NodeRows graph, const int64_t* seeds, int64_t num_seeds, int64_t depth,
                 uint8_t* masked);

// Offsets of the encoder's rows: num_nodes + 1.
void count_encoder(NodeRows graph, const uint8_t* masked, int64_t* offsets);

// Columns of the encoder, and for the edge (r, c) at a position the position of (c, r). False if
// there is no such edge, that is, if the graph is not symmetric or a row not sorted.
bool fill_encoder(NodeRows graph, const uint8_t* masked, const int64_t* offsets, int32_t* columns,
                  int64_t* reverse);

// The candidates, ascending.
std::vector<int32_t> draw_candidates(const uint8_t* masked, int64_t num_nodes, int64_t num_draws,
                                     uint64_t seed);

// The decoder, first with room between its rows, because only at the end it is known how many pairs
// were drawn more than once.
class DecoderRows {
 public:
  // `encoder` must be symmetric. No pairs are drawn if there are no candidates.
  DecoderRows(NodeRows encoder, const std::vector<int32_t>& candidates, int64_t num_pairs,
              uint64_t seed);
  // Offsets without the room: num_nodes + 1.
  void count(int64_t* offsets) const;
  // Columns, for the offsets that `count` gave.
  void fill(const int64_t* offsets, int32_t* columns) const;

 private:
  struct Row {
    int64_t end;
    int32_t last;  // the column before end
  };
  int64_t num_nodes_;
  Scratch<int64_t> begin_;
  Scratch<Row> rows_;
  Scratch<int32_t> columns_;
};

// How a node's embedding x and the summary g of its neighbourhood make its score.
template <class T>
struct SeedScoreArgs {
  const T* x;
  int64_t x_stride;
  const T* summary;
  int64_t summary_stride;
  int64_t d;
};

// scores[r] = log sigmoid(cos(x_r, g_r)) + Gumbel noise, for rows [begin, end). cos divides by
// max(length, eps). The noise is -log(-log u), u a hash of seed and row, uniform in (0, 1).
template <class T>
void seed_scores(const SeedScoreArgs<T>& args, double eps, uint64_t seed, T* scores, int64_t begin,
                 int64_t end);

// Gradients of x and g for rows [begin, end); rows of d elements.
template <class T>
void seed_scores_backward(const SeedScoreArgs<T>& args, double eps, const T* grad, T* grad_x,
                          T* grad_summary, int64_t begin, int64_t end);

}  // namespace rlmrec_fast
