// Nearest rows and their overlap against brute force.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "cpu/neighbors.h"
#include "cpu/overlap.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;

// Everything that a call works on; as many elements on the heap as the contract says.
template <class T>
struct Problem {
  std::int64_t n, d, k, blocks, padded;
  std::vector<std::int32_t> order;
  std::vector<T> directions;
  std::vector<double> mean;
  std::vector<float> shifts, radii, steps, errors, margins, limits, guesses;
  std::vector<std::int32_t> counts;
  std::vector<std::int64_t> compared;
  std::vector<std::int16_t> integers;
  std::vector<std::uint64_t> collected;
  std::vector<std::int64_t> neighbors;
  std::int64_t guesses_made = 0, guesses_wrong = 0;
  NeighborArgs<T> args{};

  Problem(const std::vector<T>& table, std::int64_t stride, std::int64_t rows, std::int64_t columns,
          std::int64_t width, std::int64_t capacity, std::vector<std::int32_t> rows_in_order)
      : n(rows),
        d(columns),
        k(std::min(width, rows - 1)),
        blocks(neighbor_blocks(rows)),
        padded(blocks * kNeighborBlock),
        order(std::move(rows_in_order)) {
    args.num_rows = n;
    args.d = d;
    args.k = k;
    args.width = width;
    args.stride = (d + kDirectionLanes - 1) / kDirectionLanes * kDirectionLanes;
    args.capacity = capacity;
    directions.resize(n * args.stride);
    args.directions = directions.data();
    args.order = order.data();
    CHECK(RLMREC_FAST_CALL(find_directions, table.data(), stride, d, order.data(), 0, n,
                           directions.data(), args.stride) == -1);
    mean.assign(args.stride, 0);
    for (std::int64_t c = 0; c < d; ++c) {
      for (std::int64_t row = 0; row < n; ++row) mean[c] += directions[row * args.stride + c];
      mean[c] /= static_cast<double>(n);
    }
    args.mean = mean.data();
    for (auto [field, values] :
         {std::pair{&args.shifts, &shifts}, std::pair{&args.radii, &radii},
          std::pair{&args.steps, &steps}, std::pair{&args.errors, &errors},
          std::pair{&args.margins, &margins}, std::pair{&args.limits, &limits},
          std::pair{&args.guesses, &guesses}}) {
      values->assign(padded, std::numeric_limits<float>::quiet_NaN());
      *field = values->data();
    }
    counts.assign(padded, 0);
    args.counts = counts.data();
    compared.assign(blocks, -7);
    args.compared = compared.data();
    integers.assign(padded * ((d + 1) / 2 * 2), 30000);
    args.integers = integers.data();
    collected.resize(n * capacity);
    args.collected = collected.data();
    neighbors.assign(n * width, -99);
    args.neighbors = neighbors.data();
  }

  // Pairs of blocks in an order of their own, or each block with itself and the later ones.
  void run(unsigned seed, bool in_order = false) {
    for (std::int64_t b = 0; b < blocks; ++b) RLMREC_FAST_CALL(measure_block, args, b);
    RLMREC_FAST_CALL(choose_step, args);
    for (std::int64_t b = 0; b < blocks; ++b) RLMREC_FAST_CALL(pack_block, args, b);
    RLMREC_FAST_CALL(start_screen, args);
    std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
    for (std::int64_t a = 0; a < blocks; ++a) {
      for (std::int64_t b = a; b < blocks; ++b) pairs.push_back({a, b});
    }
    if (!in_order) std::shuffle(pairs.begin(), pairs.end(), std::mt19937(seed));
    for (const auto& [a, b] : pairs) {
      RLMREC_FAST_CALL(screen_blocks, args, a, b);
      for (const std::int32_t count : counts) CHECK(count <= args.capacity - kCollectedLanes);
    }
    for (const std::int64_t most : compared) CHECK(most == n);
    const std::vector<float> guessed = guesses;
    for (std::int64_t place = 0; place < n; place += 50) {
      RLMREC_FAST_CALL(write_neighbors, args, place, std::min(n, place + 50));
    }
    for (std::int64_t place = 0; place < n; ++place) {
      guesses_made += std::isfinite(guessed[place]);
      guesses_wrong += guessed[place] != guesses[place];
    }
  }

  // Of two places. As the contract has it: column c is added to sum c mod kDirectionLanes, and
  // halves to each other.
  double cosine(std::int64_t a, std::int64_t b) const {
    double sums[kDirectionLanes] = {};
    for (std::int64_t c = 0; c < args.stride; ++c) {
      sums[c % kDirectionLanes] += static_cast<double>(directions[a * args.stride + c]) *
                                   static_cast<double>(directions[b * args.stride + c]);
    }
    for (std::int64_t half = kDirectionLanes / 2; half > 0; half /= 2) {
      for (std::int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    return sums[0];
  }

  // Products of doubles are rounded, or not, as the instruction set has it.
  void check_against_brute_force() const {
    const double tolerance = std::is_same_v<T, double> ? 1e-14 : 0;
    std::vector<std::int64_t> place_of(n);
    for (std::int64_t place = 0; place < n; ++place) place_of[order[place]] = place;
    for (std::int64_t place = 0; place < n; ++place) {
      std::vector<std::pair<double, std::int64_t>> expected;
      for (std::int64_t other = 0; other < n; ++other) {
        if (other != place) expected.push_back({-cosine(place, other), order[other]});
      }
      std::sort(expected.begin(), expected.end());
      std::set<std::int64_t> found;
      for (std::int64_t j = 0; j < args.width; ++j) {
        const std::int64_t id = neighbors[order[place] * args.width + j];
        if (j >= k) {
          CHECK(id == -1);
        } else if (tolerance == 0) {
          CHECK(id == expected[j].second);
        } else {
          CHECK(id >= 0 && id < n && id != order[place] && found.insert(id).second);
          CHECK_NEAR(cosine(place, place_of[id]), -expected[j].first, tolerance);
        }
      }
    }
  }

  void check_margins() const {
    for (std::int64_t row = 0; row < n; ++row) CHECK(margins[row] > 0 && margins[row] < 0.01);
    CHECK(args.step > 0 && std::isfinite(args.step));
    for (const std::int16_t value : integers) CHECK(value >= -32767 && value <= 32767);
  }
};

std::vector<std::int32_t> shuffled(std::int64_t n) {
  std::vector<std::int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<unsigned>(n)));
  return order;
}

enum class Kind { random, alike, equal, zeros, signs };

template <class T>
std::vector<T> make_table(Kind kind, std::int64_t n, std::int64_t stride) {
  auto table = values::random_values<T>(n * stride, 3);
  for (std::int64_t i = 0; i < n * stride; ++i) {
    const std::int64_t row = i / stride, c = i % stride;
    const T noise = table[i], common = static_cast<T>(std::sin(1.0 + c));
    if (kind == Kind::alike) table[i] = common + noise * static_cast<T>(1e-3);
    if (kind == Kind::equal) table[i] = row % 4 == 0 ? common * static_cast<T>(row + 1) : noise;
    if (kind == Kind::zeros && row % 3 == 1) table[i] = 0;
    if (kind == Kind::signs) table[i] = noise > 0 ? T{1} : T{-1};
  }
  return table;
}

template <class T>
void check_neighbors(Kind kind, std::int64_t n, std::int64_t d, std::int64_t width,
                     std::int64_t slack) {
  const std::int64_t stride = d + 2;
  const std::int64_t k = std::min(width, n - 1);
  Problem<T> problem(make_table<T>(kind, n, stride), stride, n, d, width,
                     (std::min(k + slack, n) / 16 + 2) * 16, shuffled(n));
  problem.run(static_cast<unsigned>(n + d));
  problem.check_margins();
  problem.check_against_brute_force();
}

TEST(neighbors_are_those_of_brute_force) {
  for (const std::int64_t n : {2, 3, 16, 17, 191, 192, 193, 400}) {
    for (const std::int64_t d : {1, 2, 15, 16, 33}) {
      check_neighbors<float>(Kind::random, n, d, 5, 32);
    }
  }
  for (const std::int64_t width : {1, 60, 399, 400, 450}) {
    check_neighbors<float>(Kind::random, 400, 7, width, 32);
    check_neighbors<double>(Kind::random, 400, 7, width, 32);
  }
}

TEST(neighbors_that_estimates_cannot_tell_apart) {
  for (const Kind kind : {Kind::alike, Kind::equal, Kind::zeros, Kind::signs}) {
    for (const std::int64_t slack : {1, 60}) {
      check_neighbors<float>(kind, 420, 9, 13, slack);
      check_neighbors<float>(kind, 200, 1, 30, slack);
    }
    check_neighbors<double>(kind, 300, 24, 13, 32);
  }
}

TEST(estimates_stay_within_their_margins) {
  const std::int64_t n = 60, d = 31;
  for (const Kind kind : {Kind::random, Kind::alike, Kind::zeros}) {
    // Nothing is dropped, so that every estimate can be looked at.
    Problem<float> p(make_table<float>(kind, n, d), d, n, d, n - 1, 80, shuffled(n));
    p.run(1);
    for (std::int64_t place = 0; place < n; ++place) {
      if (p.limits[place] == std::numeric_limits<float>::infinity()) continue;
      CHECK(p.counts[place] == n - 1);
      for (std::int64_t c = 0; c < n - 1; ++c) {
        float estimate;
        std::int32_t other;
        const auto* own = reinterpret_cast<const char*>(&p.collected[place * 80]);
        std::memcpy(&estimate, own + 4 * c, 4);
        std::memcpy(&other, own + 4 * (80 + c), 4);
        CHECK_NEAR(estimate, p.cosine(place, other), p.margins[place]);
      }
    }
  }
}

TEST(neighbors_where_the_order_misleads) {
  // Rows along a curve: in this order a place first meets its nearest ones, in its own block.
  const std::int64_t n = 1500, d = 6, k = 40;
  std::vector<float> table(n * d);
  for (std::int64_t row = 0; row < n; ++row) {
    for (std::int64_t c = 0; c < d; ++c) {
      const double angle = 1.5 * static_cast<double>(row * (c / 2 + 1)) / n;
      table[row * d + c] = static_cast<float>(c % 2 == 0 ? std::cos(angle) : std::sin(angle));
    }
  }
  std::vector<std::int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (const bool in_order : {false, true}) {
    Problem<float> misled(table, d, n, d, k, 80, order);
    misled.run(2, in_order);
    misled.check_against_brute_force();
    CHECK(misled.guesses_wrong > n / 10);
  }

  Problem<float> problem(table, d, n, d, k, 80, shuffled(n));
  problem.run(2);
  problem.check_against_brute_force();
  CHECK(problem.guesses_made == n && problem.guesses_wrong < n / 100);
}

TEST(directions_of_large_small_and_wrong_rows) {
  const float large = std::numeric_limits<float>::max(), nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> table{3 * 1e-45f, -4 * 1e-45f, large, large, 0,        0,
                                 1,          7,           7,     nan,   infinity, 1};
  std::vector<float> out(6 * kDirectionLanes, 5.0f);
  const std::vector<std::int32_t> order{2, 0, 3, 1, 5, 4};
  CHECK(RLMREC_FAST_CALL(find_directions, table.data(), 2, 2, order.data(), 0, 4, out.data(),
                         kDirectionLanes) == -1);
  const std::vector<float> expected{0.6f, -0.8f, 0.70710678f, 0.70710678f,
                                    0,    0,     0.14142136f, 0.98994949f};
  for (int row = 0; row < 4; ++row) {
    for (int c = 0; c < kDirectionLanes; ++c) {
      const float wanted = c < 2 ? expected[2 * order[row] + c] : 0;
      CHECK_NEAR(out[row * kDirectionLanes + c], wanted, c < 2 ? 3e-8 : 0);
    }
  }
  for (const auto [first, last, wrong] :
       {std::array{0, 6, 4}, std::array{4, 6, 4}, std::array{0, 5, 5}, std::array{5, 6, 4}}) {
    CHECK(RLMREC_FAST_CALL(find_directions, table.data(), 2, 2, order.data(), first, last,
                           out.data(), kDirectionLanes) == wrong);
  }
}

TEST(overlap_of_neighbors_by_hand) {
  const std::vector<std::int64_t> first{4, 2, 9, 1, -1, 7, -1, -1, -1, 5, 5, 0};
  const std::vector<std::int64_t> second{2, 4, 3, 7, -5, -1, 5, 0, 8, 8};
  std::vector<double> overlap(5, -9);
  RepeatedNeighbors repeated =
      neighbor_overlap(first.data(), 3, second.data(), 2, 0, 3, overlap.data());
  CHECK(repeated.first == -1 && repeated.second == -1);
  CHECK_NEAR(overlap[0], 2.0 / 3, 1e-16);
  CHECK_NEAR(overlap[1], 1.0 / 3, 1e-16);
  CHECK_NEAR(overlap[2], 1, 0);
  CHECK_NEAR(overlap[3], -9, 0);
  repeated = neighbor_overlap(first.data(), 3, second.data(), 2, 1, 4, overlap.data());
  CHECK(repeated.first == 3 && repeated.second == -1);
  repeated = neighbor_overlap(second.data(), 2, second.data(), 2, 0, 5, overlap.data());
  CHECK(repeated.first == 4 && repeated.second == 4);
  CHECK_NEAR(overlap[3], 1, 0);
}

TEST(overlap_equals_brute_force) {
  std::mt19937_64 random(5);
  for (const std::int64_t width : {0, 1, 4, 33}) {
    std::vector<std::int64_t> all(40), lists[2];
    for (std::int64_t i = 0; i < 40; ++i) all[i] = i * 1000003;
    const std::int64_t rows = 60;
    for (auto& list : lists) {
      for (std::int64_t row = 0; row < rows; ++row) {
        std::shuffle(all.begin(), all.end(), random);
        list.insert(list.end(), all.begin(), all.begin() + width);
      }
    }
    std::vector<double> overlap(rows);
    const RepeatedNeighbors repeated =
        neighbor_overlap(lists[0].data(), width, lists[1].data(), width, 0, rows, overlap.data());
    CHECK(repeated.first == -1 && repeated.second == -1);
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = [&](int list) { return lists[list].begin() + row * width; };
      const std::set<std::int64_t> one(begin(0), begin(0) + width);
      std::int64_t shared = 0;
      for (std::int64_t j = 0; j < width; ++j) shared += one.count(begin(1)[j]);
      const double expected =
          width == 0 ? 1 : static_cast<double>(shared) / static_cast<double>(2 * width - shared);
      CHECK_NEAR(overlap[row], expected, 0);
    }
  }
}

}  // namespace
