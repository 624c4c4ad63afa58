// Rows of items, as rank and ranking_metrics get them, whatever the device.
#pragma once

#include "bindings/common.h"

namespace rlmrec_fast {

// Rows of items, checked as far as shapes tell.
struct ItemRows {
  Tensor offsets, items;

  ItemRows(const Tensor& offsets_, const Tensor& items_, int64_t num_rows, const char* offsets_name,
           const char* items_name)
      : offsets(check_longs(offsets_, offsets_name)), items(check_ints(items_, items_name)) {
    check(offsets.numel() == num_rows + 1, offsets_name, " must have ", num_rows + 1,
          " elements (got ", offsets.numel(), ")");
  }
};

}  // namespace rlmrec_fast
