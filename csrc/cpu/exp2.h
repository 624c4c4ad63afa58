// 2^x for vectors, without branches. Relative error below 3e-8 (float) and 3e-16 (double) before
// rounding; results that would be subnormal become the smallest normal number or zero; NaN stays.
#pragma once

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {

// Near-minimax polynomials of 2^f on [-1/2, 1/2] (interpolation in Chebyshev's points).
RLMREC_FAST_INLINE Vec<float> exp2_fraction(Vec<float> f) {
  constexpr float c[] = {1.0f,           0.693147207f,   0.240226509f,   0.0555032723f,
                         0.00961805668f, 0.00134004282f, 0.000154614447f};
  Vec<float> p = broadcast<float>(c[6]);
#pragma GCC unroll 6
  for (int k = 5; k >= 0; --k) p = p * f + c[k];
  return p;
}
RLMREC_FAST_INLINE Vec<double> exp2_fraction(Vec<double> f) {
  constexpr double c[] = {1.0,
                          0.693147180559945309,
                          0.240226506959101596,
                          0.055504108664821627,
                          0.00961812910758725667,
                          0.00133335581464064707,
                          0.000154035304637243542,
                          0.0000152527338415567726,
                          1.32154325359123762e-6,
                          1.01780570877339411e-7,
                          7.07419429728852101e-9,
                          4.45581790833606449e-10};
  Vec<double> p = broadcast<double>(c[11]);
#pragma GCC unroll 11
  for (int k = 10; k >= 0; --k) p = p * f + c[k];
  return p;
}

#ifdef __AVX512F__
RLMREC_FAST_INLINE Vec<float> exp2(Vec<float> x) {
  const Vec<float> whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_ps(exp2_fraction(x - whole), whole);
}
RLMREC_FAST_INLINE Vec<double> exp2(Vec<double> x) {
  const Vec<double> whole = _mm512_roundscale_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm512_scalef_pd(exp2_fraction(x - whole), whole);
}
#else
// Adding 1.5 * 2^23 (2^52) leaves the rounded x in the low bits, from where it goes to the
// exponent.
RLMREC_FAST_INLINE Vec<float> exp2(Vec<float> x) {
  const Vec<float> low = broadcast<float>(-126.0f), high = broadcast<float>(127.0f);
  const Vec<float> inside = x < low ? low : (x > high ? high : x);
  const Vec<float> shifted = inside + 12582912.0f;
  const Vec<float> p = exp2_fraction(inside - (shifted - 12582912.0f));
  const Words bits = load_bits<Words>(&p) + (load_bits<Words>(&shifted) << 23);
  return load_bits<Vec<float> >(&bits);
}
RLMREC_FAST_INLINE Vec<double> exp2(Vec<double> x) {
  typedef uint64_t Longs __attribute__((vector_size(kVectorBytes)));
  const Vec<double> low = broadcast<double>(-1022.0), high = broadcast<double>(1023.0);
  const Vec<double> inside = x < low ? low : (x > high ? high : x);
  const Vec<double> shifted = inside + 6755399441055744.0;
  const Vec<double> p = exp2_fraction(inside - (shifted - 6755399441055744.0));
  const Longs bits = load_bits<Longs>(&p) + (load_bits<Longs>(&shifted) << 52);
  return load_bits<Vec<double> >(&bits);
}
#endif

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
