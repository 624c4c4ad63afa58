// Ranking, BPR, sums, sampling and metrics against brute force.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "common/random.h"
#include "cpu/bpr.h"
#include "cpu/metrics.h"
#include "cpu/rank.h"
#include "cpu/reduce.h"
#include "cpu/sample.h"

namespace {

using namespace rlmrec_fast;

// Small whole numbers: scores are exact in any order, and often equal.
template <class T>
std::vector<T> whole_numbers(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values(static_cast<size_t>(size));
  for (T& value : values) value = static_cast<T>(static_cast<int>(random() % 7) - 3);
  return values;
}

template <class T>
void check_rank(int64_t num_users, int64_t num_items, int64_t d, int64_t k) {
  const auto users = whole_numbers<T>(num_users * d, 1);
  auto items = whole_numbers<T>(num_items * d, 2);
  if (num_items > 5) items[5 * d] = std::numeric_limits<T>::quiet_NaN();
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> excluded;
  for (int64_t user = 0; user < num_users; ++user) {
    for (int64_t item = user % 3; item < num_items; item += 4) {
      excluded.push_back(static_cast<int32_t>(item));
    }
    offsets.push_back(static_cast<int64_t>(excluded.size()));
  }
  const int64_t width = RLMREC_FAST_CALL(panel_width<T>);
  const int64_t panels = (num_items + width - 1) / width;
  std::vector<T> packed(static_cast<size_t>(panels * width * d));
  RLMREC_FAST_CALL(pack_items, items.data(), d, num_items, d, packed.data(), 0, panels);
  std::vector<int64_t> best(static_cast<size_t>(num_users * k));
  std::vector<T> scores(best.size());
  const RankArgs<T> args{
      users.data(),    d,           num_users,    packed.data(), num_items, d, k, offsets.data(),
      excluded.data(), best.data(), scores.data()};
  for (int64_t begin = 0; begin < num_users; begin += kRankUsers) {
    RLMREC_FAST_CALL(rank_users, args, begin, std::min(num_users, begin + kRankUsers));
  }
  for (int64_t user = 0; user < num_users; ++user) {
    std::vector<std::pair<T, int64_t>> expected;
    for (int64_t item = 0; item < num_items; ++item) {
      if (item % 4 == user % 3 || item == 5) continue;
      T score = 0;
      for (int64_t c = 0; c < d; ++c) score += users[user * d + c] * items[item * d + c];
      expected.push_back({-score, item});
    }
    std::sort(expected.begin(), expected.end());
    for (int64_t j = 0; j < k; ++j) {
      const bool there = j < static_cast<int64_t>(expected.size());
      CHECK(best[user * k + j] == (there ? expected[j].second : -1));
      CHECK(scores[user * k + j] ==
            (there ? -expected[j].first : -std::numeric_limits<T>::infinity()));
    }
  }
}

TEST(ranking_is_that_of_a_sort) {
  for (const int64_t users : {1, 12, 13, 64, 65}) {
    for (const int64_t items : {1, 31, 32, 33, 100, 700}) {
      check_rank<float>(users, items, 3, 5);
    }
  }
  for (const int64_t k : {1, 20, 90, 1000}) check_rank<float>(20, 700, 9, k);
  check_rank<double>(30, 333, 5, 10);
}

TEST(bpr_losses_are_finite_and_right) {
  const int64_t d = 19;
  for (const double size : {0.3, 40.0}) {
    auto table = whole_numbers<double>(6 * d, 3);
    for (double& value : table) value *= size;
    const std::vector<int64_t> users{0, 1, 2, 0}, positives{3, 3, 5, 4}, negatives{4, 4, 5, 3};
    std::vector<double> losses(4), slopes(4);
    const BprArgs<double> args{
        table.data(),  table.data(), d, d, d, users.data(), positives.data(), negatives.data(),
        losses.data(), slopes.data()};
    RLMREC_FAST_CALL(bpr_losses, args, 0, 4);
    for (int b = 0; b < 4; ++b) {
      double margin = 0;
      for (int64_t c = 0; c < d; ++c) {
        margin +=
            table[users[b] * d + c] * (table[negatives[b] * d + c] - table[positives[b] * d + c]);
      }
      const double loss = std::max(margin, 0.0) + std::log1p(std::exp(-std::abs(margin)));
      CHECK_NEAR(losses[b], loss, 1e-12 * (1 + std::abs(margin)));
      CHECK_NEAR(slopes[b], 1 / (1 + std::exp(-margin)), 1e-12);
    }
  }
}

TEST(sums_are_right_at_odd_sizes) {
  for (const int64_t size : {0, 1, 3, 15, 16, 17, 63, 64, 65, 1000}) {
    const auto x = whole_numbers<float>(size, 4);
    double total = 0, squares = 0;
    for (const float value : x) total += value, squares += value * value;
    CHECK_NEAR(RLMREC_FAST_CALL(sum, x.data(), 0, size), total, 0);
    CHECK_NEAR(RLMREC_FAST_CALL(sum_squares, x.data(), 0, size), squares, 0);
  }
}

TEST(negatives_are_the_drawn_ones_of_the_missing_items) {
  const std::vector<int64_t> offsets{0, 3, 3, 7};
  const std::vector<int32_t> items{0, 4, 5, 1, 2, 3, 8};
  std::vector<int64_t> negatives(items.size());
  CHECK(sample_negatives(offsets.data(), items.data(), 9, 11, 0, 3, negatives.data()) == -1);
  for (int64_t user = 0; user < 3; ++user) {
    std::vector<int64_t> missing;
    for (int32_t item = 0; item < 9; ++item) {
      const auto first = items.begin() + offsets[user], last = items.begin() + offsets[user + 1];
      if (std::find(first, last, item) == last) missing.push_back(item);
    }
    for (int64_t e = offsets[user]; e < offsets[user + 1]; ++e) {
      const uint64_t random = child_seed(11, static_cast<uint64_t>(e));
      CHECK(negatives[e] == missing[bounded(random, missing.size())]);
    }
  }
  CHECK(sample_negatives(offsets.data(), items.data(), 4, 11, 2, 3, negatives.data()) == 2);
}

TEST(metrics_of_a_ranking_by_hand) {
  const std::vector<int64_t> items{7, 2, 9, -1}, offsets{0, 2}, cutoffs{1, 3};
  const std::vector<int32_t> held{2, 9};
  std::vector<double> gains(4), metrics(4);
  for (int j = 0; j < 4; ++j) gains[j] = 1 / std::log2(j + 2);
  ranking_metrics(items.data(), 4, offsets.data(), held.data(), cutoffs.data(), 2, gains.data(), 0,
                  1, metrics.data());
  CHECK_NEAR(metrics[0], 0, 0);
  CHECK_NEAR(metrics[1], 1, 0);
  CHECK_NEAR(metrics[2], 0, 0);
  CHECK_NEAR(metrics[3], (1 / std::log2(3) + 0.5) / (1 + 1 / std::log2(3)), 1e-15);
}

}  // namespace
