// Storage types of the kernels, converted slowly and plainly, and random tables of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "common/types.h"

namespace values {

using rlmrec_fast::BFloat16;
using rlmrec_fast::Float16;

// Significant bits, and the exponents of the smallest and of the first too large number.
template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int bits = 24, smallest = -149, infinite = 128;
};
template <>
struct Format<double> {
  static constexpr int bits = 53, smallest = -1074, infinite = 1024;
};
template <>
struct Format<BFloat16> {
  static constexpr int bits = 8, smallest = -133, infinite = 128;
};
template <>
struct Format<Float16> {
  static constexpr int bits = 11, smallest = -24, infinite = 16;
};

template <class T>
constexpr bool is_half = sizeof(T) == 2;

// Half a unit in the last place, relative.
template <class T>
double rounding() {
  return std::ldexp(1.0, -Format<T>::bits);
}

// The nearest number of the format, ties to even.
template <class T>
double rounded(double value) {
  if (!std::isfinite(value) || value == 0) return value;
  int exponent;
  std::frexp(value, &exponent);
  const int unit = std::max(exponent - Format<T>::bits, Format<T>::smallest);
  const double result = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  const bool overflows = std::abs(result) >= std::ldexp(1.0, Format<T>::infinite);
  return overflows ? std::copysign(std::numeric_limits<double>::infinity(), value) : result;
}

inline double decode(float value) { return value; }
inline double decode(double value) { return value; }
inline double decode(BFloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}
inline double decode(Float16 value) {
  const int exponent = value.bits >> 10 & 31;
  const int mantissa = value.bits & 1023;
  double size = std::ldexp(exponent == 0 ? mantissa : mantissa + 1024, std::max(exponent, 1) - 25);
  if (exponent == 31) {
    size = mantissa == 0 ? std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  return (value.bits & 0x8000) != 0 ? -size : size;
}

// Of ordinary numbers: neither tiny nor too large.
template <class T>
T encode(double value) {
  if constexpr (!is_half<T>) {
    return static_cast<T>(value);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    const auto near = static_cast<float>(rounded<T>(value));
    std::uint32_t bits;
    std::memcpy(&bits, &near, 4);
    return T{static_cast<std::uint16_t>(bits >> 16)};
  } else {
    const int sign = std::signbit(value) ? 0x8000 : 0;
    const double near = std::abs(rounded<T>(value));
    int exponent;
    const double mantissa = std::frexp(near, &exponent);
    if (near < 0x1p-14) return T{static_cast<std::uint16_t>(sign | int(near * 0x1p24))};
    const int bits = (exponent + 14) * 1024 + static_cast<int>(mantissa * 2048) - 1024;
    return T{static_cast<std::uint16_t>(sign | bits)};
  }
}

inline double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-52 - 1;
}

// `size` numbers in [-1, 1); exactly as many on the heap, so that an overrun is seen.
template <class T>
std::vector<T> random_values(std::int64_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<T> result(static_cast<std::size_t>(size));
  for (T& value : result) value = encode<T>(uniform(random));
  return result;
}

template <class T>
bool same_bits(const T* a, const T* b, std::int64_t count) {
  return std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(T)) == 0;
}

inline std::vector<std::int64_t> widths() {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d <= 40; ++d) all.push_back(d);
  all.insert(all.end(), {63, 64, 65, 100, 127, 128, 129, 130, 150});
  return all;
}

}  // namespace values
