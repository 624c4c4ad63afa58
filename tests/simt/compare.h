// What the tests of a family's kernels include: watched memory, odd shapes, comparison with the CPU
// twin. A test is written once; main.cpp runs it in every schedule, and the bits that it compares
// must be the same in all of them.
//
//   TEST(cuda_sum_is_that_of_the_cpu) {
//     for (const int64_t count : simt::odd_counts()) {
//       const auto x = simt::input("x", simt::random_values<float>(count, 1));
//       auto y = simt::output<float>("y", 1);
//       CHECK(launch_sum(x.data(), count, y.data(), nullptr) == cudaSuccess);
//       EXPECT_CLOSE(y, std::vector{RLMREC_FAST_CALL(sum, x.data(), 0, count)}, 1e-6);
//     }
//   }
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "check.h"
#include "simt/api.h"
#include "simt/buffer.h"
#include "simt/shapes.h"

namespace simt {

// Notes what kernels have written, for the comparison between schedules.
void note_bits(const void* data, size_t bytes);

template <class T, class Close>
void expect_each(const Buffer<T>& got, const std::vector<T>& wanted, Close close, const char* file,
                 int line) {
  note_bits(got.data(), got.size() * sizeof(T));
  check::expect(got.size() == wanted.size(), file, line, got.name() + ": another size");
  for (size_t i = 0; i < std::min(got.size(), wanted.size()); ++i) {
    const bool both_nan = got[i] != got[i] && wanted[i] != wanted[i];
    if (got[i] == wanted[i] || both_nan || close(got[i], wanted[i])) continue;
    char what[160];
    std::snprintf(what, sizeof what, "%s[%zu] is %.9g, not %.9g", got.name().c_str(), i,
                  static_cast<double>(got[i]), static_cast<double>(wanted[i]));
    return check::expect(false, file, line, what);  // one is enough
  }
}

// Equal as numbers, and NaN where NaN is wanted.
template <class T>
void expect_same(const Buffer<T>& got, const std::vector<T>& wanted, const char* file, int line) {
  expect_each(got, wanted, [](T, T) { return false; }, file, line);
}

// |got - wanted| <= relative * (|wanted| + root mean square of everything finite that is wanted).
template <class T>
void expect_close(const Buffer<T>& got, const std::vector<T>& wanted, double relative,
                  const char* file, int line) {
  double squares = 0;
  for (const T value : wanted) {
    if (std::isfinite(value)) squares += static_cast<double>(value) * static_cast<double>(value);
  }
  const double scale = std::sqrt(squares / std::max<double>(1, static_cast<double>(wanted.size())));
  const auto close = [&](T mine, T other) {
    // Written so that NaN fails.
    return std::abs(static_cast<double>(mine) - static_cast<double>(other)) <=
           relative * (std::abs(static_cast<double>(other)) + scale);
  };
  expect_each(got, wanted, close, file, line);
}

}  // namespace simt

#define EXPECT_SAME(got, ...) ::simt::expect_same(got, {__VA_ARGS__}, __FILE__, __LINE__)
#define EXPECT_CLOSE(got, wanted, relative) \
  ::simt::expect_close(got, wanted, relative, __FILE__, __LINE__)
