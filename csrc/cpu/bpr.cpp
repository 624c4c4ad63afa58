#include "cpu/bpr.h"

#include <cmath>

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

template <class T>
void bpr_losses(const BprArgs<T>& args, int64_t begin, int64_t end) {
  for (int64_t b = begin; b < end; ++b) {
    const T* user = args.user_table + args.users[b] * args.user_stride;
    const T* positive = args.item_table + args.positives[b] * args.item_stride;
    const T* negative = args.item_table + args.negatives[b] * args.item_stride;
    Vec<T> positive_sum = {}, negative_sum = {};
    int64_t column = 0;
    for (; column + kLanes<T> <= args.d; column += kLanes<T>) {
      const Vec<T> u = load(user + column);
      positive_sum += u * load(positive + column);
      negative_sum += u * load(negative + column);
    }
    if (column < args.d) {
      const auto tail = static_cast<int>(args.d - column);
      const Vec<T> u = load_partial(user + column, tail);
      positive_sum += u * load_partial(positive + column, tail);
      negative_sum += u * load_partial(negative + column, tail);
    }
    const T margin = horizontal_sum<T>(negative_sum) - horizontal_sum<T>(positive_sum);
    // exp of a negative number only, so nothing overflows.
    const T small = std::exp(-std::abs(margin));
    args.losses[b] = (margin > 0 ? margin : T{0}) + std::log1p(small);
    args.slopes[b] = (margin > 0 ? T{1} : small) / (1 + small);
    if (margin != margin) args.losses[b] = args.slopes[b] = margin;
  }
}

template void bpr_losses(const BprArgs<float>&, int64_t, int64_t);
template void bpr_losses(const BprArgs<double>&, int64_t, int64_t);

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
