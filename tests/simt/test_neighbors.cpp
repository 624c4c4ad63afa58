// Directions, nearest rows and overlaps against the CPU's.
#include <numeric>

#include "common/cpu_features.h"
#include "cpu/neighbors.h"
#include "cpu/overlap.h"
#include "cuda/neighbors.h"
#include "cuda/rank.h"
#include "simt/compare.h"

namespace {

using namespace rlmrec_fast;

constexpr int64_t kNoRow = int64_t{1} << 62;

template <class T>
struct Found {
  simt::Buffer<double> directions;
  simt::Buffer<int64_t> offsets;
  simt::Buffer<int32_t> own;
  simt::Buffer<int64_t> wrong;

  Found(const simt::Buffer<T>& table, int64_t rows, int64_t stride, int64_t d)
      : directions("directions", static_cast<size_t>(rows * d), false, true, 0),
        offsets("offsets", static_cast<size_t>(rows + 1), false, true, 0),
        own("own", static_cast<size_t>(rows), false, true, 0),
        wrong("wrong", std::vector<int64_t>{kNoRow}, true, 0) {
    CHECK(cuda::launch_find_directions(cuda::DirectionArgs<T>{rows,
                                                              d,
                                                              {table.data(), stride},
                                                              directions.data(),
                                                              offsets.data(),
                                                              own.data(),
                                                              wrong.data()},
                                       nullptr) == cudaSuccess);
  }
};

// Rows of all sizes, one of zeros, and two that are proportional.
template <class T>
std::vector<T> awkward_table(int64_t rows, int64_t stride, int64_t d) {
  std::vector<T> values = simt::random_values<T>(rows * stride, 1);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < d; ++c) {
      T& value = values[row * stride + c];
      value = row % 7 == 3 ? T{0} : value * static_cast<T>(std::pow(10.0, row % 5 * 9 - 18));
      if (row % 7 == 5) value = values[(row - 1) * stride + c] * T{4};
    }
  }
  return values;
}

template <class T>
void compare(int64_t rows, int64_t d, int64_t k, double tolerance) {
  const int64_t stride = d + 3;
  const auto table = simt::input("table", awkward_table<T>(rows, stride, d));
  const Found<T> found(table, rows, stride, d);
  const int64_t padded = (d + kDirectionLanes - 1) / kDirectionLanes * kDirectionLanes;
  std::vector<T> twin(static_cast<size_t>(rows * padded));
  std::vector<int32_t> order(static_cast<size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  CHECK(RLMREC_FAST_CALL(find_directions, table.data(), stride, d, order.data(), 0, rows,
                         twin.data(), padded) == -1);
  std::vector<double> wanted;
  std::vector<int64_t> nearest;
  for (int64_t row = 0; row < rows; ++row) {
    wanted.insert(wanted.end(), twin.begin() + row * padded, twin.begin() + row * padded + d);
  }
  EXPECT_CLOSE(found.directions, wanted, tolerance);
  EXPECT_SAME(found.wrong, {kNoRow});

  auto best = simt::output<int64_t>("best", rows * k);
  auto scores = simt::output<double>("scores", rows * k);
  const double* directions = found.directions.data();
  CHECK(cuda::launch_rank_users(cuda::RankArgs<double>{directions, d, rows, directions, d, rows, d,
                                                       k, found.offsets.data(), found.own.data(),
                                                       best.data(), scores.data()},
                                nullptr) == cudaSuccess);
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<std::pair<double, int64_t>> order;
    for (int64_t other = 0; other < rows; ++other) {
      double cosine = 0;
      for (int64_t c = 0; c < d; ++c) {
        cosine = std::fma(directions[row * d + c], directions[other * d + c], cosine);
      }
      if (other != row) order.emplace_back(-cosine, other);
    }
    std::sort(order.begin(), order.end());
    for (int64_t j = 0; j < k; ++j) {
      nearest.push_back(j < rows - 1 ? order[static_cast<size_t>(j)].second : -1);
    }
  }
  simt::expect_same(best, nearest, __FILE__, __LINE__);
}

}  // namespace

TEST(neighbors_are_the_nearest_rows) {
  for (const auto& [rows, d] :
       {std::pair<int64_t, int64_t>{1, 1}, {2, 33}, {31, 5}, {33, 33}, {65, 5}}) {
    compare<float>(rows, d, 4, 1e-6);
    compare<double>(rows, d, rows + 1, 1e-14);
  }
}

TEST(neighbors_of_what_is_not_finite_are_refused) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> values(40 * 3, 1.0F);
    values[38 * 3 + 2] = values[12 * 3] = bad;
    const auto table = simt::input("table", values);
    const Found<float> found(table, 40, 3, 3);
    EXPECT_SAME(found.wrong, {12});
  }
}

TEST(neighbors_overlaps_are_those_of_the_cpu) {
  for (const auto& [width, other_width] : {std::pair<int64_t, int64_t>{1, 1}, {5, 33}, {40, 3}}) {
    constexpr int64_t kRows = 33;
    std::vector<int64_t> one, other;
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t j = 0; j < width; ++j) one.push_back(row % 4 == 0 ? -1 : (j * 7 + row) % 41);
      for (int64_t j = 0; j < other_width; ++j) {
        other.push_back(row % 8 == 0 || j % 5 == 4 ? -1 : (j * 3 + 2 * row) % 43);
      }
    }
    const auto first = simt::input("first", one), second = simt::input("second", other);
    auto overlap = simt::output<double>("overlap", kRows);
    auto wrong = simt::inout("wrong", std::vector<int64_t>{kNoRow, kNoRow});
    CHECK(cuda::launch_neighbor_overlap({kRows, first.data(), width, second.data(), other_width,
                                         overlap.data(), wrong.data()},
                                        nullptr) == cudaSuccess);
    std::vector<double> wanted(kRows);
    const RepeatedNeighbors repeated =
        neighbor_overlap(first.data(), width, second.data(), other_width, 0, kRows, wanted.data());
    CHECK(repeated.first < 0 && repeated.second < 0);
    simt::expect_same(overlap, wanted, __FILE__, __LINE__);
    EXPECT_SAME(wrong, {kNoRow, kNoRow});
  }
}

TEST(neighbors_named_twice_are_found) {
  const std::vector<int64_t> once{1, 2, -1, -1, 5, 6, 7, 8, -1}, twice{4, 5, 6, 7, 8, 7, 2, -1, 2};
  const auto good = simt::input("good", once), bad = simt::input("bad", twice);
  auto overlap = simt::output<double>("overlap", 3);
  auto wrong = simt::inout("wrong", std::vector<int64_t>{kNoRow, kNoRow});
  CHECK(cuda::launch_neighbor_overlap(
            {3, good.data(), 3, bad.data(), 3, overlap.data(), wrong.data()}, nullptr) ==
        cudaSuccess);
  EXPECT_SAME(wrong, {kNoRow, 1});
  CHECK(cuda::launch_neighbor_overlap(
            {3, bad.data(), 3, good.data(), 3, overlap.data(), wrong.data()}, nullptr) ==
        cudaSuccess);
  EXPECT_SAME(wrong, {1, 1});
}
