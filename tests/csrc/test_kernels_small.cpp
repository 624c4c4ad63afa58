// BPR losses, distinct ids, sums, negatives and metrics.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "common/random.h"
#include "cpu/bpr.h"
#include "cpu/distinct.h"
#include "cpu/isa.h"
#include "cpu/metrics.h"
#include "cpu/reduce.h"
#include "cpu/sample.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;
using Ids = std::vector<std::int64_t>;

template <class T>
void check_bpr(std::int64_t d) {
  const std::int64_t stride = d + 2;
  const auto users = random_values<T>(4 * stride + d, 1);
  const auto items = random_values<T>(6 * (d + 1) + d, 2);
  Ids user_ids, positives, negatives;
  for (std::int64_t b = 0; b < 35; ++b) {
    user_ids.push_back(b % 5);
    positives.push_back(b % 7);
    negatives.push_back((b * b + 1) % 7);
  }
  std::vector<T> losses(35, T(-9));
  std::vector<T> slopes(35, T(-9));
  const BprArgs<T> args{
      users.data(),    items.data(),     stride,           d + 1,         d,
      user_ids.data(), positives.data(), negatives.data(), losses.data(), slopes.data()};
  RLMREC_FAST_CALL(bpr_losses, args, std::int64_t{1}, std::int64_t{20});
  RLMREC_FAST_CALL(bpr_losses, args, std::int64_t{20}, std::int64_t{35});
  CHECK(losses[0] == -9 && slopes[0] == -9);
  for (std::int64_t b = 1; b < 35; ++b) {
    double margin = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      margin += static_cast<double>(users[user_ids[b] * stride + j]) *
                (static_cast<double>(items[negatives[b] * (d + 1) + j]) -
                 items[positives[b] * (d + 1) + j]);
    }
    const double close = static_cast<double>(2 * d + 8) * rounding<T>();
    CHECK_NEAR(losses[b], std::log1p(std::exp(margin)), close);
    CHECK_NEAR(slopes[b], 1 / (1 + std::exp(-margin)), close);
  }
}

TEST(bpr_losses_equal_brute_force) {
  for (const std::int64_t d : widths()) {
    check_bpr<float>(d);
    check_bpr<double>(d);
  }
}

template <class T>
void check_margins() {
  const std::vector<T> user{1};
  const std::vector<T> items{
      0,  1e4, -1e4, 30, std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN(),
      700};
  const Ids zeros(items.size(), 0);
  Ids others;
  for (std::size_t i = 0; i < items.size(); ++i) others.push_back(static_cast<std::int64_t>(i));
  std::vector<T> losses(items.size());
  std::vector<T> slopes(items.size());
  BprArgs<T> args{user.data(),   items.data(), 1, 1, 1, zeros.data(), zeros.data(), others.data(),
                  losses.data(), slopes.data()};
  const auto count = static_cast<std::int64_t>(items.size());
  RLMREC_FAST_CALL(bpr_losses, args, std::int64_t{0}, count);
  CHECK_NEAR(losses[0], std::log(2.0), 1e-7);
  CHECK(slopes[0] == T(0.5));
  CHECK(losses[1] == T(1e4) && slopes[1] == 1);
  CHECK(losses[2] == 0 && slopes[2] == 0);
  CHECK_NEAR(losses[3], 30, 1e-5);
  CHECK(losses[4] == items[4] && slopes[4] == 1);
  CHECK(std::isnan(losses[5]) && std::isnan(slopes[5]));
  CHECK(losses[6] == 700 && slopes[6] == 1);
  std::swap(args.positives, args.negatives);
  RLMREC_FAST_CALL(bpr_losses, args, std::int64_t{0}, count);
  CHECK(losses[1] == 0 && slopes[1] == 0);
  CHECK(losses[2] == T(1e4) && slopes[2] == 1);
  // Small losses keep their relative precision.
  CHECK_NEAR(losses[3] / std::exp(-30.0), 1, 1e-5);
  CHECK_NEAR(slopes[3] / std::exp(-30.0), 1, 1e-5);
  CHECK(losses[4] == 0 && slopes[4] == 0);
}

TEST(bpr_losses_of_extreme_margins_are_finite) {
  check_margins<float>();
  check_margins<double>();
}

TEST(distinct_ids_are_ascending_and_found_again) {
  const Ids ids{6, 0, 6, 2, 6, 0};
  Ids occurrences(8, -5), places(ids.size(), -5);
  const std::int64_t found = count_ids(ids.data(), 6, 8, occurrences.data());
  CHECK(found == 3);
  Ids rows(3), counts(3);
  place_ids(ids.data(), 6, found, occurrences.data(), rows.data(), places.data(), counts.data());
  CHECK(rows == Ids({0, 2, 6}));
  CHECK(counts == Ids({2, 1, 3}));
  CHECK(places == Ids({2, 0, 2, 1, 2, 0}));
}

template <class T>
void check_sums() {
  Ids sizes{255, 256, 257, 1023, kReduceBlock - 1, kReduceBlock, kReduceBlock + 5};
  for (std::int64_t size = 0; size <= 140; ++size) sizes.push_back(size);
  for (const std::int64_t size : sizes) {
    auto x = random_values<T>(size, 5);
    for (const std::int64_t begin : {std::int64_t{0}, std::min<std::int64_t>(3, size)}) {
      double total = 0;
      double squares = 0;
      double magnitude = 0;
      for (std::int64_t i = begin; i < size; ++i) {
        total += x[i];
        squares += static_cast<double>(x[i]) * x[i];
        magnitude += std::abs(x[i]);
      }
      const double steps = static_cast<double>(size / 8 + 8) * rounding<T>();
      CHECK_NEAR(RLMREC_FAST_CALL(sum, x.data(), begin, size), total, steps * magnitude);
      CHECK_NEAR(RLMREC_FAST_CALL(sum_squares, x.data(), begin, size), squares, steps * squares);
    }
    // Integers: exact in any order.
    std::int64_t total = 0;
    std::int64_t squares = 0;
    for (T& value : x) {
      value = std::round(20 * value);
      total += static_cast<std::int64_t>(value);
      squares += static_cast<std::int64_t>(value * value);
    }
    CHECK(RLMREC_FAST_CALL(sum, x.data(), std::int64_t{0}, size) == T(total));
    CHECK(RLMREC_FAST_CALL(sum_squares, x.data(), std::int64_t{0}, size) == T(squares));
  }
}

TEST(sums_of_all_sizes) {
  check_sums<float>();
  check_sums<double>();
}

struct Positives {
  Ids offsets{0};
  std::vector<std::int32_t> items;

  void add(const std::vector<std::int32_t>& row) {
    items.insert(items.end(), row.begin(), row.end());
    offsets.push_back(static_cast<std::int64_t>(items.size()));
  }
};

TEST(negatives_are_the_chosen_missing_items) {
  constexpr std::int32_t num_items = 37;
  Positives positives;
  positives.add({});
  positives.add({0});
  positives.add({num_items - 1});
  positives.add({0, 1, 2, 3, 4, 5, 6, 7, 8});
  positives.add({});
  for (std::int32_t left_out = 0; left_out < num_items; left_out += 9) {
    std::vector<std::int32_t> row;
    for (std::int32_t i = 0; i < num_items; ++i) {
      if (i != left_out) row.push_back(i);
    }
    positives.add(row);
  }
  std::mt19937_64 random(8);
  for (int user = 0; user < 100; ++user) {
    std::vector<std::int32_t> row;
    for (std::int32_t i = 0; i < num_items; ++i) {
      if (random() % 100 < static_cast<unsigned>(user)) row.push_back(i);
    }
    if (row.size() == num_items) row.pop_back();
    positives.add(row);
  }
  positives.items.shrink_to_fit();
  const auto num_users = static_cast<std::int64_t>(positives.offsets.size()) - 1;
  std::set<std::int64_t> drawn_for_user_1;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Ids negatives(positives.items.size(), -1);
    for (const auto& [begin, end] : {std::pair{num_users / 2, num_users}, {0L, num_users / 2}}) {
      CHECK(sample_negatives(positives.offsets.data(), positives.items.data(), num_items, seed,
                             begin, end, negatives.data()) == -1);
    }
    drawn_for_user_1.insert(negatives[0]);
    for (std::int64_t u = 0; u < num_users; ++u) {
      Ids missing;
      const auto row = positives.items.begin() + positives.offsets[u];
      const auto row_end = positives.items.begin() + positives.offsets[u + 1];
      for (std::int64_t i = 0; i < num_items; ++i) {
        if (!std::binary_search(row, row_end, i)) missing.push_back(i);
      }
      for (std::int64_t e = positives.offsets[u]; e < positives.offsets[u + 1]; ++e) {
        CHECK(!std::binary_search(row, row_end, negatives[e]));
        const std::uint64_t hashed = child_seed(seed, static_cast<std::uint64_t>(e));
        CHECK(negatives[e] == missing[bounded(hashed, missing.size())]);
      }
    }
  }
  CHECK(drawn_for_user_1.size() == num_items - 1);
}

TEST(a_user_with_every_item_is_reported) {
  Positives positives;
  positives.add({1});
  positives.add({0, 1, 2});
  positives.add({0, 1, 2});
  Ids negatives(positives.items.size());
  const auto sample = [&](std::int64_t num_items, std::int64_t begin, std::int64_t end) {
    return sample_negatives(positives.offsets.data(), positives.items.data(), num_items, 1, begin,
                            end, negatives.data());
  };
  CHECK(sample(3, 0, 3) == 1);
  CHECK(sample(3, 2, 3) == 2);
  CHECK(sample(3, 0, 1) == -1);
  CHECK(sample(4, 0, 3) == -1);
  CHECK(std::all_of(negatives.begin() + 1, negatives.end(), [](auto i) { return i == 3; }));
}

TEST(metrics_of_a_small_example) {
  // Row 0 hits in places 1 and 2; row 1 holds nothing out; row 2 finds one of five; row 3 all.
  const Ids items{5, 2, 9, -1, 1, 2, 3, 4, 8, -1, -1, -1, 4, 6, 0, 1};
  const Ids offsets{0, 3, 3, 8, 10};
  const std::vector<std::int32_t> held{2, 7, 9, 0, 1, 2, 3, 8, 4, 6};
  const Ids cutoffs{1, 3, 4};
  const double third = 1 / std::log2(3.0);
  const double fifth = 1 / std::log2(5.0);
  const std::vector<double> gains{1, third, 0.5, fifth};
  std::vector<double> metrics(4 * 2 * 3, -1);
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    ranking_metrics(items.data(), 4, offsets.data(), held.data(), cutoffs.data(), 3, gains.data(),
                    begin, end, metrics.data());
  };
  run(0, 2);
  CHECK(metrics[12] == -1);
  run(2, 4);
  const double row_0 = (third + 0.5) / (1.5 + third);
  const std::vector<double> expected{0,
                                     2. / 3,
                                     2. / 3,
                                     0,
                                     row_0,
                                     row_0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0.2,
                                     0.2,
                                     0.2,
                                     1,
                                     1 / (1.5 + third),
                                     1 / (1.5 + third + fifth),
                                     0.5,
                                     1,
                                     1,
                                     1,
                                     1,
                                     1};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(metrics[i], expected[i], 1e-14);
}

}  // namespace
