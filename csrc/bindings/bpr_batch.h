// What the bindings of bpr share, whatever the device.
#pragma once

#include <optional>

#include "bindings/common.h"

namespace rlmrec_fast {

// A batch of BPR and both tables, checked as far as shapes and types tell.
struct BprBatch {
  Tensor user_table, item_table, users, positives, negatives;
  bool one_table;
  int64_t size;

  BprBatch(const Tensor& embedding, const std::optional<Tensor>& item_embedding,
           const Tensor& users_, const Tensor& positives_, const Tensor& negatives_)
      : user_table(check_table(embedding, "bpr_loss: user_embedding")),
        item_table(item_embedding ? check_table(*item_embedding, "bpr_loss: item_embedding")
                                  : user_table),
        users(check_longs(users_, "bpr_loss: users")),
        positives(check_longs(positives_, "bpr_loss: positives")),
        negatives(check_longs(negatives_, "bpr_loss: negatives")),
        one_table(!item_embedding),
        size(users.numel()) {
    check(user_table.size(1) == item_table.size(1) &&
              user_table.scalar_type() == item_table.scalar_type(),
          "bpr_loss: item_embedding must have the columns and type of user_embedding (got ",
          item_table.size(1), " columns instead of ", user_table.size(1), ")");
    check(positives.numel() == size && negatives.numel() == size,
          "bpr_loss: positives and negatives must have as many elements as users, ", size, " (got ",
          positives.numel(), " and ", negatives.numel(), ")");
  }
};

}  // namespace rlmrec_fast
