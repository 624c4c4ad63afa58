// Every query against every candidate: packing, sums, pulls, pushes, maxima, norms; and scratch.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "common/cpu_features.h"
#include "common/scratch.h"
#include "cpu/contrast_bf16.h"
#include "cpu/isa.h"
#include "test_kernels_values.h"

namespace {

using namespace rlmrec_fast;
using namespace values;

std::int64_t round_up(std::int64_t count, std::int64_t to) { return (count + to - 1) / to * to; }

// Where row `row`, column `column` of a blocked table stands.
std::size_t blocked(const ContrastShape& shape, std::int64_t group, std::int64_t row,
                    std::int64_t column) {
  const std::int64_t first = column / shape.tile * shape.tile;
  const std::int64_t block = std::min(shape.tile, shape.width - first);
  return static_cast<std::size_t>(row / group * group * shape.width + first * group +
                                  row % group * block + column - first);
}

// Everything packed for B queries and C candidates of d columns, and what it should give.
template <class T>
struct Problem {
  std::int64_t num_queries, num_candidates, d, strips, tiles;
  double scale;
  std::vector<T> x, k, weights, inverse_x, inverse_k, packed_strips, panels, rows, shifts;
  ContrastArgs<T> args{};

  Problem(std::int64_t b, std::int64_t c, std::int64_t columns, double log2_scale, double shift)
      : num_queries(b), num_candidates(c), d(columns), scale(log2_scale) {
    const ContrastShape shape = RLMREC_FAST_CALL(contrast_shape<T>, d);
    strips = round_up(b, shape.strip) / shape.strip;
    tiles = round_up(c, shape.tile) / shape.tile;
    x = random_values<T>(b * (d + 1), 1);  // a stride of d + 1
    k = random_values<T>(c * d, 2);
    weights = random_values<T>(tiles * shape.tile, 3);
    for (T& w : weights) w = std::abs(w);
    weights[0] = 0;
    std::fill(weights.begin() + c, weights.end(), T{0});
    inverse_x.assign(static_cast<std::size_t>(b), T(0.5));
    inverse_k.assign(static_cast<std::size_t>(c), T(2));
    packed_strips.assign(static_cast<std::size_t>(strips * shape.strip * d), T(77));
    panels.assign(static_cast<std::size_t>(tiles * shape.tile * d), T(77));
    rows.assign(static_cast<std::size_t>(tiles * shape.tile * shape.width), T(77));
    shifts.assign(static_cast<std::size_t>(strips * shape.strip), static_cast<T>(shift));
    for (std::int64_t s = 0; s < strips; ++s) {
      RLMREC_FAST_CALL(pack_strips, x.data(), d + 1, b, d, inverse_x.data(), static_cast<T>(scale),
                       packed_strips.data(), s, s + 1);
    }
    for (std::int64_t t = 0; t < tiles; ++t) {
      RLMREC_FAST_CALL(pack_tiles, k.data(), d, c, d, inverse_k.data(), panels.data(), rows.data(),
                       t, t + 1);
    }
    args.shape = shape;
    args.d = d;
    args.num_tiles = tiles;
    args.strips = packed_strips.data();
    args.panels = panels.data();
    args.rows = rows.data();
    args.weights = weights.data();
    args.shifts = shifts.data();
  }

  double query(std::int64_t i, std::int64_t column) const {
    return i < num_queries ? 0.5 * x[static_cast<std::size_t>(i * (d + 1) + column)] : 0.0;
  }
  double candidate(std::int64_t j, std::int64_t column) const {
    return j < num_candidates ? 2.0 * k[static_cast<std::size_t>(j * d + column)] : 0.0;
  }
  double logit(std::int64_t i, std::int64_t j) const {
    double dot = 0;
    for (std::int64_t column = 0; column < d; ++column) {
      dot += query(i, column) * candidate(j, column);
    }
    return scale * dot;
  }
  double power(std::int64_t i, std::int64_t j) const {
    const double w = weights[static_cast<std::size_t>(j)];
    return w * std::exp2(logit(i, j) - shifts[static_cast<std::size_t>(i)]);
  }
};

template <class T>
void check_strips_and_pushes(std::int64_t b, std::int64_t c, std::int64_t d) {
  Problem<T> p(b, c, d, 0.7, 0.3);
  const ContrastShape& shape = p.args.shape;
  const std::int64_t row_count = p.strips * shape.strip, candidates = p.tiles * shape.tile;
  std::vector<double> sums(static_cast<std::size_t>(row_count), 1.0);
  std::vector<T> pulls(static_cast<std::size_t>(row_count * shape.width), T(0));
  const std::int64_t stride = p.tiles * shape.tile * shape.strip;
  std::vector<T> powers(static_cast<std::size_t>(p.strips * stride), T(77));
  p.args.sums = sums.data();
  p.args.pulls = pulls.data();
  p.args.powers = powers.data();
  p.args.powers_stride = stride;
  // In two ranges of tiles and one strip at a time: the results add up.
  const std::int64_t middle = p.tiles / 2;
  for (std::int64_t s = 0; s < p.strips; ++s) {
    RLMREC_FAST_CALL(contrast_strips, p.args, s, s + 1, std::int64_t{0}, middle);
    RLMREC_FAST_CALL(contrast_strips, p.args, s, s + 1, middle, p.tiles);
  }
  std::vector<T> factors(static_cast<std::size_t>(b));
  for (std::int64_t i = 0; i < b; ++i) factors[static_cast<std::size_t>(i)] = T(0.1) * T(i % 5);
  std::vector<T> sources(pulls.size(), T(77));
  RLMREC_FAST_CALL(pack_sources, p.x.data(), d + 1, b, d, factors.data(), sources.data(),
                   std::int64_t{0}, p.strips);
  std::vector<T> pushes(static_cast<std::size_t>(candidates * shape.width), T(0.25));
  p.args.sources = sources.data();
  p.args.pushes = pushes.data();
  for (std::int64_t t = p.tiles; t-- > 0;) {
    RLMREC_FAST_CALL(contrast_push, p.args, t, p.strips);
  }
  const double close = (4.0 * static_cast<double>(d + c + b) + 40) * rounding<T>();
  for (std::int64_t i = 0; i < b; ++i) {
    double sum = 1;
    for (std::int64_t j = 0; j < c; ++j) sum += p.power(i, j);
    CHECK_NEAR(sums[static_cast<std::size_t>(i)], sum, close * sum);
    for (const std::int64_t column : {std::int64_t{0}, d / 2, d - 1}) {
      double pull = 0;
      for (std::int64_t j = 0; j < c; ++j) pull += p.power(i, j) * p.candidate(j, column);
      CHECK_NEAR(pulls[blocked(shape, shape.strip, i, column)], pull, close * 2 * sum);
    }
  }
  for (std::int64_t j = 0; j < c; ++j) {
    for (const std::int64_t column : {std::int64_t{0}, d / 2, d - 1}) {
      double push = 0.25, size = 1;
      for (std::int64_t i = 0; i < b; ++i) {
        push += p.power(i, j) * 0.1 * static_cast<double>(i % 5) * 2 * p.query(i, column);
        size += p.power(i, j);
      }
      CHECK_NEAR(pushes[blocked(shape, shape.tile, j, column)], push, close * size);
    }
  }
}

TEST(contrast_equals_brute_force) {
  for (const std::int64_t d : {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 130}) {
    check_strips_and_pushes<float>(13, 37, d);
    check_strips_and_pushes<double>(13, 37, d);
  }
  for (const std::int64_t b : {1, 6, 12, 25}) {
    for (const std::int64_t c : {1, 8, 32, 70}) {
      check_strips_and_pushes<float>(b, c, 9);
      check_strips_and_pushes<double>(b, c, 9);
    }
  }
}

// The same products with bfloat16 factors: each term may be off by some units of 2^-9.
void check_bfloat16(std::int64_t b, std::int64_t c, std::int64_t d) {
  Problem<float> p(b, c, d, 0.7, 0.3);
  const ContrastShape& shape = p.args.shape;
  const std::int64_t padded = round_up(d, 2), row_count = p.strips * shape.strip;
  const std::int64_t candidates = p.tiles * shape.tile;
  const auto table = [](std::int64_t size) {
    return std::vector<BFloat16>(static_cast<std::size_t>(size), BFloat16{0x4711});
  };
  auto strips = table(row_count * padded), panels = table(candidates * padded);
  auto rows = table(candidates * shape.width), sources = table(row_count * shape.width);
  auto powers = table(p.strips * candidates * shape.strip);
  std::vector<double> sums(static_cast<std::size_t>(row_count));
  std::vector<float> pulls(static_cast<std::size_t>(row_count * shape.width));
  std::vector<float> pushes(static_cast<std::size_t>(candidates * shape.width));
  const std::vector<float> factors(static_cast<std::size_t>(b), 0.5f);
  avx512bf16::pack_strips(p.x.data(), d + 1, b, d, p.inverse_x.data(), 0.7f, strips.data(), 0,
                          p.strips);
  avx512bf16::pack_tiles(p.k.data(), d, c, d, p.inverse_k.data(), panels.data(), rows.data(), 0,
                         p.tiles);
  avx512bf16::pack_sources(p.x.data(), d + 1, b, d, factors.data(), sources.data(), 0, p.strips);
  const ContrastBf16Args args{shape,
                              d,
                              p.tiles,
                              strips.data(),
                              panels.data(),
                              rows.data(),
                              p.args.weights,
                              p.args.shifts,
                              powers.data(),
                              candidates * shape.strip,
                              0,
                              0,
                              sums.data(),
                              pulls.data(),
                              sources.data(),
                              pushes.data()};
  for (std::int64_t s = 0; s < p.strips; ++s) {
    avx512bf16::contrast_strips(args, s, s + 1, 0, p.tiles);
  }
  for (std::int64_t t = 0; t < p.tiles; ++t) avx512bf16::contrast_push(args, t, p.strips);
  constexpr double kClose = 0.01;
  for (std::int64_t i = 0; i < b; ++i) {
    double sum = 0, pull = 0;
    for (std::int64_t j = 0; j < c; ++j) {
      sum += p.power(i, j);
      pull += p.power(i, j) * p.candidate(j, d - 1);
    }
    CHECK_NEAR(sums[static_cast<std::size_t>(i)], sum, kClose * sum);
    CHECK_NEAR(pulls[blocked(shape, shape.strip, i, d - 1)], pull, kClose * 2 * sum);
  }
  for (std::int64_t j = 0; j < c; ++j) {
    double push = 0, size = 0;
    for (std::int64_t i = 0; i < b; ++i) {
      push += p.power(i, j) * p.query(i, d / 2);
      size += p.power(i, j);
    }
    CHECK_NEAR(pushes[blocked(shape, shape.tile, j, d / 2)], push, kClose * size + 1e-6);
  }
}

TEST(contrast_in_bfloat16_is_near_brute_force) {
  if (!avx512bf16::compiled() || !cpu_features().avx512bf16 || active_isa() != Isa::avx512) return;
  for (const std::int64_t d : {1, 2, 7, 16, 17, 33, 48, 130}) check_bfloat16(25, 70, d);
  for (const std::int64_t b : {1, 12, 230}) check_bfloat16(b, 1, 9);
}

template <class T>
void check_powers_of_two() {
  // One column: the power is 2^(x k scale), over the whole range and beyond it.
  const double low = std::is_same_v<T, double> ? -1020 : -124;
  Problem<T> p(40, 64, 1, -low, 0);
  std::fill(p.weights.begin(), p.weights.end(), T{1});
  const ContrastShape& shape = p.args.shape;
  const std::int64_t stride = p.tiles * shape.tile * shape.strip;
  std::vector<T> powers(static_cast<std::size_t>(p.strips * stride));
  p.args.powers = powers.data();
  p.args.powers_stride = stride;
  RLMREC_FAST_CALL(contrast_strips, p.args, std::int64_t{0}, p.strips, std::int64_t{0}, p.tiles);
  for (std::int64_t i = 0; i < 40; ++i) {
    for (std::int64_t j = 0; j < 64; ++j) {
      const std::int64_t place = i / shape.strip * stride +
                                 j / shape.tile * shape.tile * shape.strip +
                                 i % shape.strip * shape.tile + j % shape.tile;
      // As the kernel has it: the query times the scale, rounded, times the candidate.
      const auto scaled = static_cast<T>(T(0.5) * static_cast<T>(p.scale));
      const T q = p.x[static_cast<std::size_t>(i * 2)] * scaled;
      const double t = static_cast<double>(q) * (2 * p.k[static_cast<std::size_t>(j)]);
      if (t < low) continue;
      const double expected = std::exp2(t);
      // The product is rounded once more, which the exponential makes |t| times as large.
      CHECK_NEAR(powers[static_cast<std::size_t>(place)], expected,
                 expected * rounding<T>() * (4 + std::abs(t)));
    }
  }
}

TEST(powers_of_two_are_exact_to_the_last_places) {
  check_powers_of_two<float>();
  check_powers_of_two<double>();
}

template <class T>
void check_extremes() {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  Problem<T> p(1, 3, 1, 1.0, 0);
  p.panels[0] = p.panels[1] = p.panels[2] = 1;
  const ContrastShape& shape = p.args.shape;
  std::vector<double> sums(static_cast<std::size_t>(shape.strip));
  p.args.sums = sums.data();
  const auto sum_at = [&](T query) {
    p.packed_strips[0] = query;
    sums[0] = 0;
    RLMREC_FAST_CALL(contrast_strips, p.args, std::int64_t{0}, std::int64_t{1}, std::int64_t{0},
                     std::int64_t{1});
    return sums[0];
  };
  // The first candidate's weight is 0, those of the padding as well: neither counts.
  const double weight = static_cast<double>(p.weights[1]) + p.weights[2];
  CHECK_NEAR(sum_at(0), weight, 1e-6);
  CHECK(sum_at(T(-1e30)) <= 1e-30);
  CHECK(std::isnan(sum_at(std::numeric_limits<T>::quiet_NaN())));
  p.panels[0] = kInfinity;
  CHECK_NEAR(sum_at(1), 2 * weight, 1e-6);
  std::vector<T> maxima(static_cast<std::size_t>(shape.strip));
  p.packed_strips[0] = -3;
  p.panels[0] = -5;  // 15, but it does not count
  RLMREC_FAST_CALL(contrast_maxima, p.args, maxima.data(), std::int64_t{0}, std::int64_t{1});
  CHECK(maxima[0] == -3);  // not the 0 of the padding
  p.panels[1] = std::numeric_limits<T>::quiet_NaN();
  RLMREC_FAST_CALL(contrast_maxima, p.args, maxima.data(), std::int64_t{0}, std::int64_t{1});
  CHECK(std::isnan(maxima[0]));
}

TEST(weights_of_zero_padding_and_nan) {
  check_extremes<float>();
  check_extremes<double>();
}

template <class T>
void check_maxima(std::int64_t d) {
  Problem<T> p(14, 45, d, 1.3, 0);
  std::vector<T> maxima(static_cast<std::size_t>(p.strips * p.args.shape.strip));
  RLMREC_FAST_CALL(contrast_maxima, p.args, maxima.data(), std::int64_t{0}, p.strips);
  for (std::int64_t i = 0; i < 14; ++i) {
    double most = -1e300;
    for (std::int64_t j = 1; j < 45; ++j) most = std::max(most, p.logit(i, j));
    CHECK_NEAR(maxima[static_cast<std::size_t>(i)], most,
               rounding<T>() * 8 * static_cast<double>(d));
  }
}

TEST(maxima_equal_brute_force) {
  for (const std::int64_t d : {1, 16, 33}) {
    check_maxima<float>(d);
    check_maxima<double>(d);
  }
}

template <class T>
void check_norms(std::int64_t d) {
  const auto x = random_values<T>(5 * (d + 3), 4), g = random_values<T>(5 * d, 5);
  std::vector<T> inverse(5, T(-1)), dots(5, T(-1));
  const auto row = [&](std::int64_t i) { return x.data() + i * (d + 3); };
  RLMREC_FAST_CALL(inverse_norms, x.data(), d + 3, d, Normalize::root, 0.5, inverse.data(),
                   std::int64_t{1}, std::int64_t{5});
  CHECK(inverse[0] == -1);
  RLMREC_FAST_CALL(row_dots, x.data(), d + 3, g.data(), d, d, dots.data(), std::int64_t{0},
                   std::int64_t{5});
  const std::vector<T> factors{1, 2, 3, 4, 5};
  std::vector<T> y(static_cast<std::size_t>(5 * d), T(9));
  NormalizeBackwardArgs<T> args{};
  args.x = x.data();
  args.x_stride = d + 3;
  args.d = d;
  args.inverse = inverse.data();
  args.project = true;
  args.other = g.data();
  args.other_stride = d;
  args.other_factor = factors.data();
  args.y = y.data();
  RLMREC_FAST_CALL(normalize_backward, args, std::int64_t{1}, std::int64_t{5});
  const double close = rounding<T>() * (16 + 4 * static_cast<double>(d));
  for (std::int64_t i = 1; i < 5; ++i) {
    double square = 0.5, dot = 0;
    for (std::int64_t c = 0; c < d; ++c) {
      square += static_cast<double>(row(i)[c]) * row(i)[c];
      dot += static_cast<double>(row(i)[c]) * g[static_cast<std::size_t>(i * d + c)];
    }
    const double expected = 1 / std::sqrt(square);
    CHECK_NEAR(inverse[static_cast<std::size_t>(i)], expected, close);
    CHECK_NEAR(dots[static_cast<std::size_t>(i)], dot, close);
    for (std::int64_t c = 0; c < d; ++c) {
      const double factor = static_cast<double>(i + 1);
      const double grad = factor * g[static_cast<std::size_t>(i * d + c)];
      const double along = factor * dot / square;
      CHECK_NEAR(y[static_cast<std::size_t>(i * d + c)], expected * (grad - along * row(i)[c]),
                 close * factor * 4);
    }
  }
  for (std::int64_t c = 0; c < d; ++c) CHECK(y[static_cast<std::size_t>(c)] == 9);
}

TEST(norms_and_their_derivative_equal_brute_force) {
  for (const std::int64_t d : widths()) {
    check_norms<float>(d);
    check_norms<double>(d);
  }
  const std::vector<float> zero(8, 0.0f);
  float inverse = 0;
  RLMREC_FAST_CALL(inverse_norms, zero.data(), std::int64_t{8}, std::int64_t{8}, Normalize::clamp,
                   1e-12, &inverse, std::int64_t{0}, std::int64_t{1});
  CHECK_NEAR(inverse, 1e12, 1e6);
  RLMREC_FAST_CALL(inverse_norms, zero.data(), std::int64_t{8}, std::int64_t{8}, Normalize::none,
                   1e-12, &inverse, std::int64_t{0}, std::int64_t{1});
  CHECK(inverse == 1);
}

TEST(scratch_is_aligned_kept_and_given_back) {
  release_idle_scratch();
  void* first;
  {
    const Scratch<float> small(10);
    const Scratch<float> large(3 << 20);
    CHECK(reinterpret_cast<std::uintptr_t>(small.get()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(large.get()) % 64 == 0);
    std::memset(large.get(), 1, sizeof(float) * (3 << 20));
    first = large.get();
  }
  {
    const Scratch<float> again((3 << 20) - 100);
    CHECK(again.get() == first);
    Scratch<float> moved;
    CHECK(!moved);
    moved = Scratch<float>(7);
    CHECK(static_cast<bool>(moved));
  }
  CHECK(release_idle_scratch() >= sizeof(float) * (3 << 20));
  CHECK(release_idle_scratch() == 0);
  {
    const Scratch<char> huge(static_cast<std::int64_t>(kScratchKept) + 1);
  }
  CHECK(release_idle_scratch() == 0);
  CHECK_THROWS(Scratch<double>(std::int64_t{1} << 62), std::bad_alloc, "");
}

TEST(scratch_serves_threads_at_once) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, t] {
      for (int round = 0; round < 200; ++round) {
        const Scratch<int> block(1000 + 37 * round);
        std::fill(block.get(), block.get() + 1000, t);
        for (int i = 0; i < 1000; ++i) wrong[t] += block.get()[i] != t;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) CHECK(count == 0);
  release_idle_scratch();
}

}  // namespace
