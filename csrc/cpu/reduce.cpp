#include "cpu/reduce.h"

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

namespace {

template <class T, class Term>
T sum_terms(const T* x, int64_t begin, int64_t end, Term term) {
  constexpr int kChains = 4;
  Vec<T> sums[kChains] = {};
  int64_t i = begin;
  for (; i + kChains * kLanes<T> <= end; i += kChains * kLanes<T>) {
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] += term(load(x + i + chain * kLanes<T>));
    }
  }
  for (; i + kLanes<T> <= end; i += kLanes<T>) sums[0] += term(load(x + i));
  if (i < end) sums[0] += term(load_partial(x + i, static_cast<int>(end - i)));
  return horizontal_sum<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace

template <class T>
T sum(const T* x, int64_t begin, int64_t end) {
  return sum_terms(x, begin, end, [](Vec<T> v) { return v; });
}

template <class T>
T sum_squares(const T* x, int64_t begin, int64_t end) {
  return sum_terms(x, begin, end, [](Vec<T> v) { return v * v; });
}

template float sum(const float*, int64_t, int64_t);
template double sum(const double*, int64_t, int64_t);
template float sum_squares(const float*, int64_t, int64_t);
template double sum_squares(const double*, int64_t, int64_t);

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
