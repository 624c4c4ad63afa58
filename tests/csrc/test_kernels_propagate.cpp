// The propagation kernels against brute force in double, at every width, on exactly sized buffers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "common/random.h"
#include "cpu/propagate.h"
#include "native/graph.h"

namespace {

using namespace rlmrec_fast;

// Rows of 0 .. 14 entries, and one hub of several chunks, over as many columns as rows.
struct Matrix {
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> columns;
  std::vector<native::Boundary> partition;
  static constexpr int64_t kRows = 400;
  static constexpr int64_t kHub = 7;

  Matrix() {
    std::mt19937 random(3);
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t length = row == kHub ? 3 * kChunk + 17 : static_cast<int64_t>(random() % 15);
      for (int64_t e = 0; e < length; ++e)
        columns.push_back(static_cast<int32_t>(random() % kRows));
      std::sort(columns.end() - length, columns.end());
      offsets.push_back(static_cast<int64_t>(columns.size()));
    }
    partition = native::partition_rows("test", offsets, kChunk);
  }
  int64_t num_parts() const { return static_cast<int64_t>(partition.size()) - 1; }

  template <class T>
  PropagateArgs<T> args(int64_t d) const {
    PropagateArgs<T> args;
    args.offsets = offsets.data();
    args.columns = columns.data();
    args.partition = partition.front().data();
    args.num_rows = kRows;
    args.num_parts = num_parts();
    args.d = d;
    return args;
  }
};

const Matrix& matrix() {
  static const Matrix shared;
  return shared;
}

template <class T>
std::vector<T> random_values(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> values(static_cast<size_t>(size));
  for (T& value : values) value = static_cast<T>(uniform(random));
  return values;
}

// All parts in an order of their own on several threads, then the hub.
template <class T>
void run(PropagateArgs<T> args, unsigned order_seed) {
  std::vector<T> carry(static_cast<size_t>(args.num_parts * args.d));
  args.carry = carry.data();
  std::vector<int64_t> parts(static_cast<size_t>(args.num_parts));
  for (size_t i = 0; i < parts.size(); ++i) parts[i] = static_cast<int64_t>(i);
  std::shuffle(parts.begin(), parts.end(), std::mt19937(order_seed));
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = t; i < parts.size(); i += 3) {
        RLMREC_FAST_CALL(propagate_parts, args, parts[i], parts[i] + 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int64_t first = 0;
  while (args.partition[2 * first] != Matrix::kHub) ++first;
  int64_t last = first;
  while (args.partition[2 * last] == Matrix::kHub) ++last;
  CHECK(last - first >= 3);
  RLMREC_FAST_CALL(propagate_finish, args, first, last);
}

template <class T>
void check_width(int64_t d, double tolerance) {
  const Matrix& m = matrix();
  const int64_t rows = Matrix::kRows;
  const auto x = random_values<T>(rows * d, 1), base = random_values<T>(rows * d, 2);
  const auto scale = random_values<T>(rows, 4);
  const auto values = random_values<T>(static_cast<int64_t>(m.columns.size()), 5);
  for (const bool weighted : {false, true}) {
    std::vector<T> y(x.size()), again(x.size()), some(static_cast<size_t>(3 * d));
    PropagateArgs<T> args = m.args<T>(d);
    args.x = x.data();
    args.base = base.data();
    args.x_stride = args.base_stride = args.y_stride = d;
    args.factor = static_cast<T>(0.5);
    args.row_scale = args.column_scale = scale.data();
    args.values = weighted ? values.data() : nullptr;
    args.y = y.data();
    run(args, 1);
    args.y = again.data();
    run(args, 2);
    CHECK(y == again);
    const int64_t wanted[] = {Matrix::kHub, 0, Matrix::kHub};
    args.y = some.data();
    RLMREC_FAST_CALL(propagate_rows, args, wanted, 0, 3);
    for (int64_t i = 0; i < 3; ++i) {
      CHECK(
          std::equal(some.begin() + i * d, some.begin() + (i + 1) * d, y.begin() + wanted[i] * d));
    }
    double worst = 0;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t c = 0; c < d; ++c) {
        long double sum = 0, size = 1;
        for (int64_t e = m.offsets[row]; e < m.offsets[row + 1]; ++e) {
          const long double w = weighted ? values[e] : scale[m.columns[e]];
          sum += w * x[m.columns[e] * d + c];
          size += 1;
        }
        const long double expected = 0.5L * (scale[row] * sum + base[row * d + c]);
        worst = std::max(
            worst, static_cast<double>(std::abs(y[row * d + c] - expected) / std::sqrt(size)));
      }
    }
    CHECK_NEAR(worst, 0, tolerance);
  }
}

TEST(propagation_is_right_at_every_width) {
  for (int64_t d = 1; d <= 40; ++d) check_width<float>(d, 3e-5);
  for (const int64_t d : {63, 64, 65, 127, 128, 129, 150}) check_width<float>(d, 3e-5);
  for (const int64_t d : {1, 7, 8, 9, 33, 70}) check_width<double>(d, 5e-14);
}

struct Kept {
  std::vector<int32_t> columns;
  std::vector<int64_t> row_begin, row_end, part_end;

  explicit Kept(bool transpose) {
    const Matrix& m = matrix();
    columns.resize(m.columns.size());
    row_end.resize(Matrix::kRows);
    row_begin.resize(Matrix::kRows);
    part_end.resize(static_cast<size_t>(m.num_parts()));
    const DropoutArgs args{m.offsets.data(),
                           m.columns.data(),
                           m.partition.front().data(),
                           Matrix::kRows,
                           kChunk,
                           77,
                           0.6,
                           transpose,
                           columns.data(),
                           row_begin.data(),
                           row_end.data(),
                           part_end.data()};
    RLMREC_FAST_CALL(drop_edges, args, 0, m.num_parts());
  }
};

bool kept(int64_t row, int32_t column, bool transpose) {
  const auto first = static_cast<uint32_t>(transpose ? column : row);
  const auto second = static_cast<uint32_t>(transpose ? row : column);
  const PairHash hash = pair_hash(77);
  return hash_second(hash, hash_first(hash, first), second) < rate_threshold(0.6);
}

TEST(dropout_keeps_the_entries_that_the_hash_says) {
  const Matrix& m = matrix();
  for (const bool transpose : {false, true}) {
    const Kept found(transpose);
    for (int64_t part = 0; part < m.num_parts(); ++part) {
      const auto [row_begin, begin] = m.partition[part];
      const int64_t end = m.partition[part + 1][1];
      std::vector<int32_t> expected;
      int64_t row = row_begin;
      for (int64_t e = begin; e < end; ++e) {
        while (e >= m.offsets[row + 1]) ++row;
        if (kept(row, m.columns[e], transpose)) expected.push_back(m.columns[e]);
      }
      CHECK(found.part_end[part] == begin + static_cast<int64_t>(expected.size()));
      CHECK(std::equal(expected.begin(), expected.end(), found.columns.begin() + begin));
    }
    for (int64_t row = 0; row < Matrix::kRows; ++row) {
      if (row == Matrix::kHub) continue;
      int32_t count = 0;
      for (int64_t e = m.offsets[row]; e < m.offsets[row + 1]; ++e) {
        count += kept(row, m.columns[e], transpose);
      }
      CHECK(found.row_end[row] - found.row_begin[row] == count);
    }
  }
}

TEST(propagation_over_kept_entries_is_right) {
  const Matrix& m = matrix();
  for (const int64_t d : {5, 64, 130}) {
    const auto x = random_values<double>(Matrix::kRows * d, 1);
    const auto scale = random_values<double>(Matrix::kRows, 4);
    const Kept found(true);
    std::vector<double> y(x.size());
    PropagateArgs<double> args = m.args<double>(d);
    args.columns = found.columns.data();
    args.row_begin = found.row_begin.data();
    args.row_end = found.row_end.data();
    args.part_end = found.part_end.data();
    args.column_scale = scale.data();
    args.x = x.data();
    args.y = y.data();
    args.x_stride = args.y_stride = d;
    run(args, 3);
    double worst = 0;
    for (int64_t row = 0; row < Matrix::kRows; ++row) {
      for (int64_t c = 0; c < d; ++c) {
        long double sum = 0;
        for (int64_t e = m.offsets[row]; e < m.offsets[row + 1]; ++e) {
          const int32_t column = m.columns[e];
          if (kept(row, column, true))
            sum += static_cast<long double>(scale[column]) * x[column * d + c];
        }
        worst = std::max(worst, static_cast<double>(std::abs(y[row * d + c] - sum)));
      }
    }
    CHECK_NEAR(worst, 0, 1e-11);
  }
}

TEST(propagation_of_a_table_of_some_rows_is_that_of_a_table_with_zeros) {
  const Matrix& m = matrix();
  const int64_t d = 9;
  const Kept dropped(false);
  const auto scale = random_values<float>(Matrix::kRows, 4);
  auto x = random_values<float>(Matrix::kRows * d, 1);
  // Two rows in three, in an order of their own.
  std::vector<int32_t> places(Matrix::kRows, -1);
  std::vector<float> some, some_scale;
  for (int64_t row = Matrix::kRows - 1; row >= 0; --row) {
    if (row % 3 == 1) {
      std::fill_n(x.begin() + row * d, d, 0.0f);
    } else {
      places[row] = static_cast<int32_t>(some_scale.size());
      some.insert(some.end(), x.begin() + row * d, x.begin() + (row + 1) * d);
      some_scale.push_back(scale[row]);
    }
  }
  for (const bool dropout : {false, true}) {
    PropagateArgs<float> args = m.args<float>(d);
    if (dropout) {
      args.columns = dropped.columns.data();
      args.row_begin = dropped.row_begin.data();
      args.row_end = dropped.row_end.data();
      args.part_end = dropped.part_end.data();
    }
    std::vector<float> expected(x.size()), y(x.size());
    args.column_scale = scale.data();
    args.x = x.data();
    args.y = expected.data();
    args.x_stride = args.y_stride = d;
    run(args, 2);

    std::vector<int32_t> kept_places(m.columns.size());
    std::vector<int64_t> begin(Matrix::kRows), end(Matrix::kRows), part_end(m.num_parts());
    const PlaceArgs place_args{args.offsets,   args.columns,       args.partition, args.num_rows,
                               args.chunk,     args.row_begin,     args.row_end,   args.part_end,
                               places.data(),  kept_places.data(), begin.data(),   end.data(),
                               part_end.data()};
    RLMREC_FAST_CALL(place_edges, place_args, 0, m.num_parts());
    args.columns = kept_places.data();
    args.row_begin = begin.data();
    args.row_end = end.data();
    args.part_end = part_end.data();
    args.column_scale = some_scale.data();
    args.x = some.data();
    args.y = y.data();
    run(args, 2);
    CHECK(y == expected);
  }
}

// y = weight * x through a matrix of one entry.
template <class T>
void scale_row(const T* x, T* y, int64_t d, float weight) {
  const int64_t offsets[] = {0, 1}, partition[] = {0, 0, 1, 1};
  const int32_t column = 0;
  PropagateArgs<T> args;
  args.offsets = offsets;
  args.columns = &column;
  args.partition = partition;
  args.num_rows = args.num_parts = 1;
  args.values = &weight;
  args.x = x;
  args.y = y;
  args.x_stride = args.y_stride = args.d = d;
  RLMREC_FAST_CALL(propagate_parts, args, 0, 1);
}

template <class T>
void check_conversions(uint32_t exponent_mask, uint32_t mantissa_mask) {
  const int64_t size = 65536;
  std::vector<T> x(size), y(size);
  for (uint32_t bits = 0; bits < size; ++bits) x[bits].bits = static_cast<uint16_t>(bits);
  scale_row(x.data(), y.data(), size, 1.0f);
  int wrong = 0;
  for (uint32_t bits = 0; bits < size; ++bits) {
    const bool nan = (bits & exponent_mask) == exponent_mask && (bits & mantissa_mask) != 0;
    const uint32_t got = y[bits].bits;
    const bool got_nan = (got & exponent_mask) == exponent_mask && (got & mantissa_mask) != 0;
    // The sum starts at +0, so -0 becomes +0.
    const bool same = got == bits || (bits == 0x8000U && got == 0);
    wrong += nan ? !got_nan : !same;
  }
  CHECK(wrong == 0);
}

TEST(sixteen_bit_numbers_survive_a_product_with_one) {
  check_conversions<BFloat16>(0x7f80U, 0x7fU);
  check_conversions<Float16>(0x7c00U, 0x3ffU);
}

}  // namespace
