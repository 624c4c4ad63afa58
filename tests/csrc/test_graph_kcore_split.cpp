#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "native/graph.h"
#include "native/kcore.h"
#include "native/split.h"

namespace {

using namespace rlmrec_fast::native;
using Labels = std::vector<std::int8_t>;

Interactions random_interactions(int count, int num_users, int num_items, unsigned seed) {
  std::mt19937_64 random(seed);
  Interactions pairs{num_users, num_items, {}, {}};
  for (int e = 0; e < count; ++e) {
    pairs.users.push_back(static_cast<std::int32_t>(random() % num_users));
    pairs.items.push_back(static_cast<std::int32_t>(random() % num_items));
  }
  return pairs;
}

// Removes users and items below their minimum, again and again until nothing changes.
std::vector<std::uint8_t> k_core_by_sweeps(const Interactions& pairs, int user_min, int item_min) {
  std::vector<std::uint8_t> kept(pairs.users.size(), 1);
  for (bool changed = true; changed;) {
    changed = false;
    Interactions left{pairs.num_users, pairs.num_items, {}, {}};
    for (std::size_t e = 0; e < kept.size(); ++e) {
      if (kept[e] == 0) continue;
      left.users.push_back(pairs.users[e]);
      left.items.push_back(pairs.items[e]);
    }
    const Csr by_user = build_user_items(left);
    const Csr by_item = transpose(by_user).csr;
    const auto degree = [](const Csr& csr, std::int32_t r) {
      return csr.offsets[r + 1] - csr.offsets[r];
    };
    for (std::size_t e = 0; e < kept.size(); ++e) {
      if (kept[e] != 0 && (degree(by_user, pairs.users[e]) < user_min ||
                           degree(by_item, pairs.items[e]) < item_min)) {
        kept[e] = 0;
        changed = true;
      }
    }
  }
  return kept;
}

TEST(k_core_equals_repeated_sweeps) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    const auto pairs = random_interactions(150, 40, 30, seed);
    CHECK(k_core(pairs, 3, 4) == k_core_by_sweeps(pairs, 3, 4));
  }
}

TEST(k_core_counts_copies_once) {
  const Interactions pairs{2, 2, {0, 0, 1, 1}, {0, 0, 0, 1}};
  CHECK((k_core(pairs, 2, 1) == std::vector<std::uint8_t>{0, 0, 1, 1}));
  CHECK((k_core(pairs, 1, 1) == std::vector<std::uint8_t>{1, 1, 1, 1}));
  CHECK_THROWS(k_core(pairs, -1, 0), std::invalid_argument, "user_min must not be negative");
  CHECK_THROWS(k_core(pairs, 0, -2), std::invalid_argument, "item_min must not be negative");
}

TEST(split_counts_follow_the_documented_rounding) {
  const SplitRatios ratios{3, 1, 1};
  CHECK((split_counts(0, ratios, 1) == SplitCounts{0, 0, 0}));
  CHECK((split_counts(1, ratios, 1) == SplitCounts{1, 0, 0}));
  CHECK((split_counts(3, ratios, 1) == SplitCounts{1, 1, 1}));
  CHECK((split_counts(4, ratios, 1) == SplitCounts{2, 1, 1}));
  CHECK((split_counts(5, ratios, 1) == SplitCounts{3, 1, 1}));
  CHECK((split_counts(1000, ratios, 1) == SplitCounts{600, 200, 200}));
  CHECK((split_counts(3, {1000, 1, 1}, 1) == SplitCounts{1, 1, 1}));
  CHECK((split_counts(7, {4, 1, 0}, 1) == SplitCounts{6, 1, 0}));
  CHECK((split_counts(2, {1e300, 1, 0}, 1) == SplitCounts{1, 1, 0}));
}

TEST(split_counts_always_sum_and_cover_every_part) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 3000; ++round) {
    const auto ratio = [&random] { return static_cast<double>(random() % 1000 + 1) / 7.0; };
    const SplitRatios ratios{ratio(), ratio(), ratio()};
    const auto count = static_cast<std::int64_t>(random() % 500);
    const auto counts = split_counts(count, ratios, random());
    CHECK(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == count);
    CHECK(count < 3 || *std::min_element(counts.begin(), counts.end()) >= 1);
  }
}

TEST(ties_of_the_rounding_favour_no_part) {
  int validation = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const auto counts = split_counts(2, {3, 1, 1}, seed);
    CHECK(counts[0] == 1);
    validation += static_cast<int>(counts[1]);
  }
  CHECK(validation > 400 && validation < 600);
}

TEST(users_of_two_interactions_leave_validation_and_test_alike) {
  Interactions pairs{400, 2, {}, {}};
  for (int user = 0; user < 400; ++user) {
    pairs.users.insert(pairs.users.end(), 2, user);
    pairs.items.insert(pairs.items.end(), {0, 1});
  }
  const Labels labels = split_per_user(pairs, {3, 1, 1}, 0);
  CHECK(std::count(labels.begin(), labels.end(), 0) == 400);
  const auto validation = std::count(labels.begin(), labels.end(), 1);
  CHECK(validation > 140 && validation < 260);
}

TEST(split_depends_on_neither_order_nor_other_users) {
  auto pairs = random_interactions(400, 20, 50, 1);
  const Labels labels = split_per_user(pairs, {3, 1, 1}, 9);

  Interactions reversed = pairs;
  std::reverse(reversed.users.begin(), reversed.users.end());
  std::reverse(reversed.items.begin(), reversed.items.end());
  Labels expected = labels;
  std::reverse(expected.begin(), expected.end());
  CHECK(split_per_user(reversed, {3, 1, 1}, 9) == expected);

  Interactions alone{20, 50, {}, {}};
  Labels of_user;
  for (std::size_t e = 0; e < labels.size(); ++e) {
    if (pairs.users[e] != 4) continue;
    alone.users.push_back(4);
    alone.items.push_back(pairs.items[e]);
    of_user.push_back(labels[e]);
  }
  CHECK(split_per_user(alone, {3, 1, 1}, 9) == of_user);
  CHECK(split_per_user(pairs, {3, 1, 1}, 10) != labels);
}

TEST(bad_split_arguments_are_refused_by_name) {
  using Error = std::invalid_argument;
  const Interactions none{1, 1, {}, {}};
  CHECK_THROWS(split_per_user(none, {-1, 1, 1}, 0), Error, "ratios must not be negative or NaN");
  CHECK_THROWS(split_per_user(none, {1, NAN, 1}, 0), Error, "(got nan at position 1)");
  CHECK_THROWS(split_per_user(none, {0, 0, 0}, 0), Error, "ratios must have a positive finite sum");
  CHECK_THROWS(split_per_user(none, {INFINITY, 1, 1}, 0), Error, "positive finite sum (got inf)");
  CHECK_THROWS(split_per_user(none, {1, 1, 1}, -1), Error, "seed must not be negative (got -1)");
}

}  // namespace
