#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "cpu/isa.h"
#include "cpu/rank.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;

template <class T>
struct Ranking {
  std::int64_t num_users, num_items, d, k, stride;
  std::vector<T> users, items;
  std::vector<std::int64_t> exclude_offsets;
  std::vector<std::int32_t> exclude_items;
  std::vector<std::int64_t> best;
  std::vector<T> scores;

  // Integer-valued tables make many ties and exact scores.
  Ranking(std::int64_t num_users_, std::int64_t num_items_, std::int64_t d_, std::int64_t k_,
          bool integers)
      : num_users(num_users_), num_items(num_items_), d(d_), k(k_), stride(d_ + 1) {
    users = random_values<T>((num_users - 1) * stride + d, 1);
    items = random_values<T>((num_items - 1) * stride + d, 2);
    if (!integers) return;
    for (T& value : users) value = std::round(2 * value);
    for (T& value : items) value = std::round(2 * value);
  }

  // One item in `every`, or all of them.
  void exclude(std::int64_t every) {
    std::mt19937_64 random(3);
    exclude_offsets = {0};
    for (std::int64_t u = 0; u < num_users; ++u) {
      for (std::int64_t i = 0; i < num_items; ++i) {
        if (random() % every == 0) exclude_items.push_back(static_cast<std::int32_t>(i));
      }
      exclude_offsets.push_back(static_cast<std::int64_t>(exclude_items.size()));
    }
    exclude_items.shrink_to_fit();
  }

  void run() {
    const std::int64_t width = RLMREC_FAST_CALL(panel_width<T>);
    const std::int64_t num_panels = (num_items + width - 1) / width;
    std::vector<T> panels(static_cast<std::size_t>(num_panels * width * d), T(-5));
    const auto pack = [&](std::int64_t begin, std::int64_t end) {
      RLMREC_FAST_CALL(pack_items, items.data(), stride, num_items, d, panels.data(), begin, end);
    };
    pack(num_panels / 2, num_panels);
    pack(0, num_panels / 2);
    for (std::int64_t p = 0; p < num_panels; ++p) {
      for (std::int64_t j = 0; j < d; ++j) {
        for (std::int64_t lane = 0; lane < width; ++lane) {
          const std::int64_t item = p * width + lane;
          const T expected = item < num_items ? items[item * stride + j] : T{0};
          CHECK(same_bits(&panels[(p * d + j) * width + lane], &expected, 1));
        }
      }
    }
    best = std::vector<std::int64_t>(static_cast<std::size_t>(num_users * k), -7);
    scores = std::vector<T>(best.size(), T(-7));
    const RankArgs<T> args{users.data(),
                           stride,
                           num_users,
                           panels.data(),
                           num_items,
                           d,
                           k,
                           exclude_offsets.empty() ? nullptr : exclude_offsets.data(),
                           exclude_items.data(),
                           best.data(),
                           scores.data()};
    for (std::int64_t u = 0; u < num_users; u += kRankUsers) {
      RLMREC_FAST_CALL(rank_users, args, u, std::min(u + kRankUsers, num_users));
    }
  }

  double score(std::int64_t u, std::int64_t i) const {
    double sum = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      sum += static_cast<double>(users[u * stride + j]) * items[i * stride + j];
    }
    return sum;
  }

  // Scores within `close` of each other may stand in any order.
  void check(double close) const {
    for (std::int64_t u = 0; u < num_users; ++u) {
      std::vector<std::int64_t> order;
      for (std::int64_t i = 0; i < num_items; ++i) {
        const bool excluded = !exclude_offsets.empty() &&
                              std::binary_search(exclude_items.begin() + exclude_offsets[u],
                                                 exclude_items.begin() + exclude_offsets[u + 1], i);
        if (!excluded && !std::isnan(score(u, i))) order.push_back(i);
      }
      const std::set<std::int64_t> allowed(order.begin(), order.end());
      std::vector<double> all;
      for (std::int64_t i = 0; i < num_items; ++i) all.push_back(score(u, i));
      std::stable_sort(order.begin(), order.end(),
                       [&](std::int64_t a, std::int64_t b) { return all[a] > all[b]; });
      std::set<std::int64_t> seen;
      for (std::int64_t j = 0; j < k; ++j) {
        const std::int64_t item = best[u * k + j];
        const double found = scores[u * k + j];
        if (j >= static_cast<std::int64_t>(order.size())) {
          CHECK(item == -1);
          CHECK(found == -std::numeric_limits<double>::infinity());
          continue;
        }
        CHECK(allowed.contains(item));
        if (!allowed.contains(item)) continue;
        CHECK(seen.insert(item).second);
        CHECK_NEAR(found, all[item], close);
        CHECK_NEAR(found, all[order[j]], close);
        if (close == 0) CHECK(item == order[j]);
        if (j > 0) {
          const double previous = scores[u * k + j - 1];
          CHECK(previous > found || (previous == found && best[u * k + j - 1] < item));
        }
      }
    }
  }
};

template <class T>
void check_sizes(bool integers) {
  for (const std::int64_t num_users : {1, 12, 13, 64, 65}) {
    for (const std::int64_t num_items : {1, 31, 32, 33, 100}) {
      for (const std::int64_t k : {std::int64_t{1}, std::int64_t{5}, num_items + 3}) {
        for (const std::int64_t every : {0, 3, 1}) {
          Ranking<T> ranking(num_users, num_items, every == 3 ? 7 : 2, k, integers);
          if (every > 0) ranking.exclude(every);
          ranking.run();
          ranking.check(integers ? 0 : 16 * rounding<T>());
        }
      }
    }
  }
}

TEST(ranking_with_ties_equals_brute_force) {
  check_sizes<float>(true);
  check_sizes<double>(true);
}

TEST(ranking_equals_brute_force) {
  check_sizes<float>(false);
  check_sizes<double>(false);
}

TEST(ranking_goes_on_over_tiles) {
  for (const std::int64_t every : {0, 2, 40}) {
    Ranking<float> singles(14, 3001, 65, 20, true);
    Ranking<double> doubles(7, 1500, 65, 100, true);
    if (every > 0) singles.exclude(every);
    if (every > 0) doubles.exclude(every);
    singles.run();
    singles.check(0);
    doubles.run();
    doubles.check(0);
  }
}

// Ascending scores replace all candidates again and again, descending ones never.
TEST(ranking_of_sorted_scores) {
  for (const int sign : {-1, 1}) {
    for (const std::int64_t k : {1, 20, 199, 200}) {
      Ranking<float> ranking(3, 200, 1, k, true);
      for (std::size_t i = 0; i < ranking.items.size(); ++i) {
        ranking.items[i] = static_cast<float>(sign * static_cast<int>(i));
      }
      ranking.users = {1, 0, 2, 0, 0};
      ranking.run();
      ranking.check(0);
    }
  }
}

template <class T>
void check_nan() {
  for (const std::int64_t k : {1, 5, 50}) {
    Ranking<T> ranking(13, 40, 3, k, true);
    for (const std::int64_t item : {0, 1, 17, 31, 32, 39}) {
      ranking.items[item * ranking.stride + item % 3] = std::numeric_limits<T>::quiet_NaN();
    }
    ranking.users[4 * ranking.stride] = std::numeric_limits<T>::quiet_NaN();
    ranking.exclude(5);
    ranking.run();
    ranking.check(0);
    CHECK(ranking.best[4 * k] == -1);
  }
}

TEST(ranking_never_returns_nan) {
  check_nan<float>();
  check_nan<double>();
}

}  // namespace
