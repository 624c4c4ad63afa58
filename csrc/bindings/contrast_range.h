// How large the logits of a call can be at most, by the lengths of its rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "bindings/contrast_request.h"
#include "common/scratch.h"
#include "cpu/contrast.h"

namespace rlmrec_fast {

// Work on [begin, end) by parts of a size that results do not depend on.
template <class Work>
void in_parts(int64_t begin, int64_t end, int64_t most, Work work) {
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t part = std::clamp<int64_t>((end - begin) / (4 * threads), 1, most);
  parallel_parts((end - begin + part - 1) / part, [&](int64_t index) {
    const int64_t first = begin + index * part;
    work(first, std::min(end, first + part));
  });
}

// Tells which queries' powers of two stay within the range of T though nothing is subtracted from
// their logits: those that by Cauchy and Schwarz have no logit far from 0. That saves a product,
// the search for their maxima. Never those of normalised rows, which have a bound of their own, or
// of candidates with weights, which could be of any size.
template <class T>
class SmallLogits {
 public:
  // scale: what dot products are multiplied by.
  SmallLogits(const Request& request, T scale) : num_queries_(request.num_queries()) {
    if (request.normalize != Normalize::none || request.weights) return;
    const Scratch<T> candidates = lengths_of(request.candidates, request.num_candidates());
    for (int64_t row = 0; row < request.num_candidates(); ++row) {
      const T length = candidates.get()[row];
      if (!(length <= kLongest)) return;  // nor a NaN
      longest_ = std::max(longest_, length * scale);
    }
    lengths_ = lengths_of(request.query, num_queries_);
  }

  bool in_rows(int64_t begin, int64_t end) const {
    if (!lengths_) return false;
    bool small = true;
    for (int64_t row = begin; row < std::min(end, num_queries_); ++row) {
      const T length = lengths_.get()[row];
      small &= length <= kLongest && length * longest_ <= kMostLogit;
    }
    return small;
  }

 private:
  // The sums of 2^31 powers times a row of length kLongest are still within the range.
  static constexpr T kMostLogit = std::is_same_v<T, double> ? 500 : 60;
  static constexpr T kLongest = 0x1p30F;

  static Scratch<T> lengths_of(const Tensor& table, int64_t count) {
    const T* x = const_data<T>(table);
    const int64_t stride = table.stride(0), d = table.size(1);
    Scratch<T> lengths(count);
    in_parts(0, count, 1024, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(row_dots, x, stride, x, stride, d, lengths.get(), begin, end);
      for (int64_t row = begin; row < end; ++row) {
        lengths.get()[row] = std::sqrt(lengths.get()[row]);
      }
    });
    return lengths;
  }

  int64_t num_queries_;
  T longest_ = 0;
  Scratch<T> lengths_;
};

}  // namespace rlmrec_fast
