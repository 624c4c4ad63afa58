// Bayesian personalised ranking (Rendle et al., UAI 2009) on a batch of (user, positive, negative):
//
//   loss[b] = softplus(u . n - u . p),   slope[b] = sigmoid(u . n - u . p)
//
// with u, p, n the rows users[b], positives[b], negatives[b] of their tables. The gradients are
// sums of table rows weighted by +-slope; grouped by destination row they are a CSR product
// (cpu/propagate.h), so rows that occur often in a batch are summed in batch order by one owner.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

template <class T>
struct BprArgs {
  const T* user_table;
  const T* item_table;
  int64_t user_stride;
  int64_t item_stride;
  int64_t d;
  const int64_t* users;
  const int64_t* positives;
  const int64_t* negatives;
  T* losses;
  T* slopes;
};

RLMREC_FAST_PER_ISA(template <class T>
                    void bpr_losses(const BprArgs<T>& args, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
