#include "cpu/subgraphs.h"

#include <algorithm>
#include <cmath>

#include "common/random.h"
#include "common/subgraphs.h"

namespace rlmrec_fast {
namespace {

struct Similarity {
  double x_length, summary_length, cosine;
};

template <class T>
Similarity similarity(const T* x, const T* summary, int64_t d, double eps) {
  double xx = 0, ss = 0, xs = 0;
  for (int64_t j = 0; j < d; ++j) {
    const double a = x[j], b = summary[j];
    xx += a * a;
    ss += b * b;
    xs += a * b;
  }
  const double x_length = std::max(std::sqrt(xx), eps);
  const double summary_length = std::max(std::sqrt(ss), eps);
  return {x_length, summary_length, xs / x_length / summary_length};
}

}  // namespace

void mask_around(NodeRows graph, const int64_t* seeds, int64_t num_seeds, int64_t depth,
                 uint8_t* masked) {
  std::fill(masked, masked + graph.num_nodes, uint8_t{0});
  std::vector<int32_t> level, next;
  const auto visit = [&](int64_t node) {
    if (masked[node] != 0) return;
    masked[node] = 1;
    next.push_back(static_cast<int32_t>(node));
  };
  for (int64_t i = 0; i < num_seeds; ++i) visit(seeds[i]);
  for (int64_t distance = 1; distance < depth && !next.empty(); ++distance) {
    level.swap(next);
    next.clear();
    for (const int32_t node : level) {
      for (int64_t p = graph.offsets[node]; p < graph.offsets[node + 1]; ++p) {
        visit(graph.columns[p]);
      }
    }
  }
}

void count_encoder(NodeRows graph, const uint8_t* masked, int64_t* offsets) {
  int64_t kept = 0;
  offsets[0] = 0;
  for (int64_t row = 0; row < graph.num_nodes; ++row) {
    if (masked[row] == 0) {
      for (int64_t p = graph.offsets[row]; p < graph.offsets[row + 1]; ++p) {
        kept += 1 - masked[graph.columns[p]];
      }
    }
    offsets[row + 1] = kept;
  }
}

bool fill_encoder(NodeRows graph, const uint8_t* masked, const int64_t* offsets, int32_t* columns,
                  int64_t* reverse) {
  int64_t kept = 0;
  for (int64_t row = 0; row < graph.num_nodes; ++row) {
    if (masked[row] != 0) continue;
    for (int64_t p = graph.offsets[row]; p < graph.offsets[row + 1]; ++p) {
      if (masked[graph.columns[p]] == 0) columns[kept++] = graph.columns[p];
    }
  }
  // Edges are met by row, so row c must hold the rows that have c in exactly that order.
  const Scratch<int64_t> next(graph.num_nodes + 1);
  std::copy(offsets, offsets + graph.num_nodes, next.get());
  for (int64_t row = 0; row < graph.num_nodes; ++row) {
    for (int64_t p = offsets[row]; p < offsets[row + 1]; ++p) {
      const int32_t column = columns[p];
      const int64_t mirror = next.get()[column]++;
      if (mirror >= offsets[column + 1] || columns[mirror] != row) return false;
      reverse[p] = mirror;
    }
  }
  return true;
}

std::vector<int32_t> draw_candidates(const uint8_t* masked, int64_t num_nodes, int64_t num_draws,
                                     uint64_t seed) {
  std::vector<uint8_t> chosen(masked, masked + num_nodes);
  const uint64_t draws = child_seed(seed, kCandidateDraws);
  for (int64_t i = 0; i < num_draws; ++i) {
    const uint64_t random = child_seed(draws, static_cast<uint64_t>(i));
    chosen[bounded(random, static_cast<uint64_t>(num_nodes))] = 1;
  }
  std::vector<int32_t> candidates;
  for (int64_t node = 0; node < num_nodes; ++node) {
    if (chosen[node] != 0) candidates.push_back(static_cast<int32_t>(node));
  }
  return candidates;
}

DecoderRows::DecoderRows(NodeRows encoder, const std::vector<int32_t>& candidates,
                         int64_t num_pairs, uint64_t seed)
    : num_nodes_(encoder.num_nodes), begin_(num_nodes_ + 1), rows_(num_nodes_ + 1) {
  const int64_t num_ends = candidates.empty() ? 0 : 2 * num_pairs;
  // The pairs, with how often each node is an end of one.
  const Scratch<int32_t> ends(num_ends + 1);
  const Scratch<int64_t> place(num_nodes_ + 1);
  std::fill(place.get(), place.get() + num_nodes_, int64_t{0});
  const uint64_t draws = child_seed(seed, kPairDraws);
  for (int64_t i = 0; i < num_ends; ++i) {
    const uint64_t random = child_seed(draws, static_cast<uint64_t>(i));
    const int32_t node = candidates[bounded(random, candidates.size())];
    ends.get()[i] = node;
    ++place.get()[node];
  }
  // Room for every row, and the other ends of every node's pairs, in the order of the draws.
  int64_t room = 0, first = 0;
  for (int64_t node = 0; node < num_nodes_; ++node) {
    const int64_t count = place.get()[node];
    place.get()[node] = first;
    begin_.get()[node] = room;
    rows_.get()[node] = {room, -1};
    first += count;
    room += count + 1 + encoder.offsets[node + 1] - encoder.offsets[node];
  }
  columns_ = Scratch<int32_t>(room + 1);
  const Scratch<int32_t> others(num_ends + 1);
  for (int64_t i = 0; i < num_ends; i += 2) {
    const int32_t row = ends.get()[i], column = ends.get()[i + 1];
    others.get()[place.get()[row]++] = column;
    others.get()[place.get()[column]++] = row;
  }
  // Rows are met in order, so every row's columns arrive sorted, and equal ones one after another.
  int64_t other = 0;
  for (int64_t node = 0; node < num_nodes_; ++node) {
    const auto add = [&](int64_t column) {
      Row& row = rows_.get()[column];
      columns_.get()[row.end] = static_cast<int32_t>(node);
      row.end += row.last != node;
      row.last = static_cast<int32_t>(node);
    };
    add(node);
    for (int64_t p = encoder.offsets[node]; p < encoder.offsets[node + 1]; ++p) {
      add(encoder.columns[p]);
    }
    for (; other < place.get()[node]; ++other) add(others.get()[other]);
  }
}

void DecoderRows::count(int64_t* offsets) const {
  offsets[0] = 0;
  for (int64_t node = 0; node < num_nodes_; ++node) {
    offsets[node + 1] = offsets[node] + rows_.get()[node].end - begin_.get()[node];
  }
}

void DecoderRows::fill(const int64_t* offsets, int32_t* columns) const {
  for (int64_t node = 0; node < num_nodes_; ++node) {
    const int32_t* row = columns_.get() + begin_.get()[node];
    std::copy(row, row + (offsets[node + 1] - offsets[node]), columns + offsets[node]);
  }
}

template <class T>
void seed_scores(const SeedScoreArgs<T>& args, double eps, uint64_t seed, T* scores, int64_t begin,
                 int64_t end) {
  const uint64_t draws = child_seed(seed, kNoiseDraws);
  for (int64_t row = begin; row < end; ++row) {
    const auto near = similarity(args.x + row * args.x_stride,
                                 args.summary + row * args.summary_stride, args.d, eps);
    const double noise = gumbel_noise(child_seed(draws, static_cast<uint64_t>(row)));
    scores[row] = static_cast<T>(noise - std::log1p(std::exp(-near.cosine)));
  }
}

template <class T>
void seed_scores_backward(const SeedScoreArgs<T>& args, double eps, const T* grad, T* grad_x,
                          T* grad_summary, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const T* x = args.x + row * args.x_stride;
    const T* summary = args.summary + row * args.summary_stride;
    const auto near = similarity(x, summary, args.d, eps);
    const double slope = static_cast<double>(grad[row]) / (1 + std::exp(near.cosine));
    const double both = slope / near.x_length / near.summary_length;
    // A length below eps is a constant.
    const double shrink = slope * near.cosine;
    const double own_x = near.x_length > eps ? shrink / near.x_length / near.x_length : 0;
    const double own_summary =
        near.summary_length > eps ? shrink / near.summary_length / near.summary_length : 0;
    for (int64_t j = 0; j < args.d; ++j) {
      const double a = x[j], b = summary[j];
      grad_x[row * args.d + j] = static_cast<T>(both * b - own_x * a);
      grad_summary[row * args.d + j] = static_cast<T>(both * a - own_summary * b);
    }
  }
}

#define RLMREC_FAST_INSTANTIATE(T)                                                               \
  template void seed_scores(const SeedScoreArgs<T>&, double, uint64_t, T*, int64_t, int64_t);    \
  template void seed_scores_backward(const SeedScoreArgs<T>&, double, const T*, T*, T*, int64_t, \
                                     int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)
#undef RLMREC_FAST_INSTANTIATE

}  // namespace rlmrec_fast
