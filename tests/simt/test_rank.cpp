// cuda/rank.h against cpu/rank.h.
#include <memory>

#include "common/cpu_features.h"
#include "cpu/metrics.h"
#include "cpu/rank.h"
#include "cuda/rank.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;

// Whole numbers, so that scores are exact in any order and many are equal.
template <class T>
std::vector<T> whole_numbers(int64_t count, uint64_t seed) {
  std::vector<T> values;
  for (const int64_t value : simt::random_indices<int64_t>(count, 7, seed)) {
    values.push_back(static_cast<T>(value - 3));
  }
  return values;
}

template <class T>
struct Case {
  int64_t num_users, num_items, d, k;
  std::vector<T> users, items;
  simt::Csr exclude;
  bool excludes;

  void compare() const {
    const int64_t stride = d + 1;
    std::vector<int64_t> best(num_users * k);
    std::vector<T> scores(num_users * k);
    const int64_t width = RLMREC_FAST_CALL(panel_width<T>);
    const int64_t panels = (num_items + width - 1) / width;
    std::vector<T> packed(panels * width * d + 1);
    RLMREC_FAST_CALL(pack_items, items.data(), stride, num_items, d, packed.data(), 0, panels);
    const rlmrec_fast::RankArgs<T> twin{users.data(),
                                        stride,
                                        num_users,
                                        packed.data(),
                                        num_items,
                                        d,
                                        k,
                                        excludes ? exclude.offsets.data() : nullptr,
                                        exclude.columns.data(),
                                        best.data(),
                                        scores.data()};
    for (int64_t first = 0; first < num_users; first += rlmrec_fast::kRankUsers) {
      const int64_t last = std::min(num_users, first + rlmrec_fast::kRankUsers);
      RLMREC_FAST_CALL(rank_users, twin, first, last);
    }
    const auto users_in = simt::input("users", users);
    const auto items_in = simt::input("items", items);
    const auto offsets = simt::input("exclude_offsets", exclude.offsets);
    const auto excluded = simt::input("exclude_items", exclude.columns);
    auto our_best = simt::output<int64_t>("best", num_users * k);
    auto our_scores = simt::output<T>("scores", num_users * k);
    const cuda::RankArgs<T> args{users_in.data(),
                                 stride,
                                 num_users,
                                 items_in.data(),
                                 stride,
                                 num_items,
                                 d,
                                 k,
                                 excludes ? offsets.data() : nullptr,
                                 excluded.data(),
                                 our_best.data(),
                                 our_scores.data()};
    CHECK(cuda::launch_rank_users(args, nullptr) == cudaSuccess);
    EXPECT_SAME(our_best, best);
    EXPECT_SAME(our_scores, scores);
  }
};

template <class T>
Case<T> make_case(int64_t num_users, int64_t num_items, int64_t d, int64_t k, bool excludes) {
  std::vector<int64_t> lengths(num_users);
  for (int64_t u = 0; u < num_users; ++u) lengths[u] = u % 4 == 0 ? num_items : u % (num_items + 1);
  return {num_users,
          num_items,
          d,
          k,
          whole_numbers<T>(num_users * (d + 1), 1),
          whole_numbers<T>(num_items * (d + 1), 2),
          simt::random_csr("excluded", lengths, std::max<int64_t>(num_items, 1), 3),
          excludes};
}

TEST(cuda_rankings_are_those_of_the_cpu) {
  make_case<float>(1, 1, 1, 1, false).compare();
  make_case<float>(1, 300, 33, 20, true).compare();
  make_case<float>(9, 31, 16, 5, true).compare();
  make_case<float>(33, 129, 17, 32, false).compare();
  make_case<float>(65, 257, 3, 33, true).compare();
  make_case<float>(3, 140, 40, 150, true).compare();  // more than there are items
  make_case<double>(10, 130, 18, 65, true).compare();
}

TEST(cuda_rankings_without_items_or_columns) {
  make_case<float>(3, 0, 4, 2, false).compare();
  make_case<float>(3, 40, 0, 2, false).compare();
}

TEST(cuda_rankings_leave_out_what_is_no_number) {
  Case<float> one = make_case<float>(2, 70, 1, 70, false);
  for (size_t i = 0; i < one.items.size(); i += 2) {
    one.items[i] = i % 4 == 0 ? NAN : i % 8 == 2 ? INFINITY : one.items[i];
  }
  one.compare();
}

TEST(cuda_ranking_metrics_are_those_of_the_cpu) {
  for (const int64_t num_rows : simt::odd_counts()) {
    const int64_t width = 21, num_items = 40;
    std::vector<int64_t> lengths(num_rows);
    for (int64_t r = 0; r < num_rows; ++r) lengths[r] = r % 30;
    const simt::Csr held = simt::random_csr("held out", lengths, num_items, 8);
    std::vector<int64_t> ranked;
    for (int64_t r = 0; r < num_rows; ++r) {
      for (int64_t j = 0; j < width; ++j) ranked.push_back(j < r % 25 ? (r + 3 * j) % 40 : -1);
    }
    const std::vector<int64_t> cutoffs{1, 5, 20, 21};
    std::vector<double> gains(width), wanted(num_rows * 2 * cutoffs.size());
    for (int64_t j = 0; j < width; ++j) gains[j] = 1.0 / std::log2(static_cast<double>(j + 2));
    rlmrec_fast::ranking_metrics(ranked.data(), width, held.offsets.data(), held.columns.data(),
                                 cutoffs.data(), 4, gains.data(), 0, num_rows, wanted.data());
    const auto items = simt::input("items", ranked);
    const auto offsets = simt::input("held_offsets", held.offsets);
    const auto held_items = simt::input("held_items", held.columns);
    auto metrics = simt::output<double>("metrics", num_rows * 8);
    // In two launches, as many cutoffs would be.
    cuda::MetricsArgs args{
        items.data(),  num_rows, width, offsets.data(), held_items.data(), {1, 5, 20}, 3, 0, 4,
        metrics.data()};
    CHECK(cuda::launch_ranking_metrics(args, nullptr) == cudaSuccess);
    args.cutoffs[0] = 21;
    args.num_cutoffs = 1;
    args.first = 3;
    CHECK(cuda::launch_ranking_metrics(args, nullptr) == cudaSuccess);
    EXPECT_CLOSE(metrics, wanted, 1e-14);
  }
}

}  // namespace
