// clang-format off
// Every query against every candidate, without the matrix between them; cpu/contrast.h is the twin
// of this family and defines t, sum, pull and push.
//
//   loss[i] = ln(sum_j w[j] e^(q[i] . k[j] / temperature) + delta) - q[i] . p[i] / temperature
//
// and, with positives and delta > 0, -ln(e^-loss[i] + delta) of that. total = sum_i coefficients[i]
// loss[i], of which the gradients are.
//
// Kernels, in order. Tables are normalised, scaled and padded to whole tiles first (prepare_rows);
// a pass then takes tiles of 64 candidates past blocks of queries and gives `sum` and `pull`; a
// second pass with the roles exchanged gives `push`, as a query's share of the loss is only known
// when its sum is. The others of a block are cut into splits, so that few queries fill a GPU too;
// splits depend on sizes alone and are added in order. No two threads add to one place.
//
// shift[i] is fixed where cosines bound the logits; otherwise passes carry a running maximum, and
// splits are brought to a common one when they are added.
//
// Weights that are negative, infinite or NaN cannot be refused without waiting for the device: the
// losses they touch are NaN.
// clang-format on
#pragma once

#include <cstdint>

#include "common/contrast.h"
#include "cuda/launch.h"
#include "cuda/table.h"

namespace rlmrec_fast::cuda {

// Pointers are to the device's memory. Outputs are contiguous.
template <class T>
struct ContrastCall {
  int64_t num_queries;
  int64_t num_candidates;  // at least 1
  int64_t d;
  Table<T> query, candidates;
  Table<T> positive;  // optional
  const T* weights;   // optional
  double temperature, eps, delta;
  Normalize normalize;
  Products products;
  const T* coefficients;  // null: losses only
  T* losses;
  T* total;  // this and the gradients: null where not wanted
  T* grad_query;
  T* grad_candidates;
  T* grad_positive;
  // Blocks of a pass to aim for: they fill any GPU a few times over.
  int64_t blocks = 1024;
};

// Bytes of working memory that a call needs, to be aligned to 256.
template <class T>
int64_t contrast_workspace(const ContrastCall<T>& call);

template <class T>
LaunchResult launch_contrast(const ContrastCall<T>& call, void* workspace, cudaStream_t stream);

}  // namespace rlmrec_fast::cuda
