// Conversions between 16-bit storage and float, seen through products with a weighted identity.
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "cpu/isa.h"
#include "cpu/propagate.h"
#include "native/graph.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;

// weight * x, with x cut into rows of d columns.
template <class T>
std::vector<T> weighted(const std::vector<T>& x, std::int64_t d, float weight) {
  const auto rows = static_cast<std::int64_t>(x.size()) / d;
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(rows + 1));
  std::iota(offsets.begin(), offsets.end(), 0);
  std::vector<std::int32_t> columns(static_cast<std::size_t>(rows));
  std::iota(columns.begin(), columns.end(), 0);
  const auto partition = native::partition_rows("test", offsets);
  const std::vector<float> scale(static_cast<std::size_t>(rows), weight);
  std::vector<T> y(x.size());
  PropagateArgs<T> args;
  args.offsets = offsets.data();
  args.columns = columns.data();
  args.partition = partition.front().data();
  args.num_rows = rows;
  args.num_parts = static_cast<std::int64_t>(partition.size()) - 1;
  args.column_scale = scale.data();
  args.x = x.data();
  args.y = y.data();
  args.x_stride = args.y_stride = args.d = d;
  RLMREC_FAST_CALL(propagate_parts, args, std::int64_t{0}, args.num_parts);
  return y;
}

template <class T>
std::vector<T> all_patterns() {
  std::vector<T> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  return all;
}

// Columns in full vectors, in tails only, and in one long row.
constexpr std::int64_t row_lengths[] = {1, 2, 64, 65536};

template <class T>
void check_exact() {
  const auto x = all_patterns<T>();
  for (const std::int64_t d : row_lengths) {
    const auto y = weighted(x, d, 1.0F);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(decode(x[i]))) {
        CHECK(std::isnan(decode(y[i])));
      } else if (x[i].bits == 0x8000) {
        CHECK(y[i].bits == 0);  // -0 added to the sum 0
      } else {
        CHECK(y[i].bits == x[i].bits);
      }
    }
  }
}

TEST(storage_types_survive_an_identity_product) {
  check_exact<BFloat16>();
  check_exact<Float16>();
}

template <class T>
void check_rounding(float weight, std::int64_t d) {
  const auto x = all_patterns<T>();
  const auto y = weighted(x, d, weight);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float product = weight * static_cast<float>(decode(x[i]));
    const double actual = decode(y[i]);
    if (std::isnan(product)) {
      CHECK(std::isnan(actual));
    } else {
      CHECK(actual == rounded<T>(product));
    }
  }
}

template <class T>
void check_rounding() {
  // 1.5 and 3 make many ties, 1 + 2^-8 and 1 + 2^-11 ties at powers of two.
  std::vector<float> weights{1.5F,        3,           -1.5F,        1.25F,        1 + 0x1p-8F,
                             1 + 0x1p-9F, 1 - 0x1p-9F, 1 + 0x1p-11F, 1 + 0x1p-12F, 0x1p-1F,
                             0x1.8p-2F,   0x1.8p-9F,   0x1p-11F,     0x1p-24F,     0x1p-30F};
  std::mt19937_64 random(1);
  for (int i = 0; i < 12; ++i) {
    weights.push_back(static_cast<float>(std::ldexp(uniform(random), i % 2 == 0 ? 1 : 3 * i - 16)));
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    check_rounding<T>(weights[i], row_lengths[i % 2 == 0 ? 2 : 1]);
  }
  check_rounding<T>(1.5F, 1);
  check_rounding<T>(std::numeric_limits<float>::infinity(), 64);
}

TEST(stores_round_to_nearest_even) {
  check_rounding<BFloat16>();
  check_rounding<Float16>();
}

}  // namespace
