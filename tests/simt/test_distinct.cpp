// cuda/distinct.h against cpu/distinct.h.
#include <numeric>

#include "cpu/distinct.h"
#include "cuda/distinct.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;

TEST(cuda_distinct_ids_are_those_of_the_cpu) {
  for (const int64_t size : {1, 20, 300, 1000}) {
    for (const int64_t num_ids : simt::odd_counts()) {
      const auto list = simt::random_indices<int64_t>(num_ids, size, 3);
      std::vector<int64_t> counted(size);
      const int64_t found = rlmrec_fast::count_ids(list.data(), num_ids, size, counted.data());
      std::vector<int64_t> rows(found), places(num_ids), counts(found);
      rlmrec_fast::place_ids(list.data(), num_ids, found, counted.data(), rows.data(),
                             places.data(), counts.data());

      const auto ids = simt::input("ids", list);
      auto occurrences = simt::inout("occurrences", std::vector<int64_t>(size + 1, 0));
      auto flags = simt::output<int64_t>("found", size + 1);
      CHECK(cuda::launch_count_ids(ids.data(), num_ids, size, occurrences.data(), nullptr) ==
            cudaSuccess);
      CHECK(occurrences[size] == 0);
      CHECK(cuda::launch_find_ids(occurrences.data(), size, flags.data(), nullptr) == cudaSuccess);
      std::vector<int64_t> sums = flags.values();
      std::partial_sum(sums.begin(), sums.end(), sums.begin());
      CHECK(sums.back() == found);
      const auto running = simt::input("running", sums);
      for (const bool padded : {false, true}) {
        const int64_t num_rows = padded ? std::min(num_ids, size) : found;
        rows.resize(num_rows, rows[found - 1]);
        counts.resize(num_rows, 0);
        auto our_rows = simt::output<int64_t>("rows", num_rows);
        auto our_places = simt::output<int64_t>("places", num_ids);
        auto our_counts = simt::output<int64_t>("counts", num_rows);
        const cuda::PlaceArgs args{ids.data(),         num_ids,           size,
                                   occurrences.data(), running.data(),    num_rows,
                                   our_rows.data(),    our_places.data(), our_counts.data()};
        CHECK(cuda::launch_place_ids(args, nullptr) == cudaSuccess);
        EXPECT_SAME(our_rows, rows);
        EXPECT_SAME(our_places, places);
        EXPECT_SAME(our_counts, counts);
      }
    }
  }
}

TEST(cuda_distinct_ids_out_of_range_are_not_counted) {
  const auto ids = simt::input("ids", std::vector<int64_t>{-1, 7, int64_t{1} << 40});
  const auto occurrences = simt::input("occurrences", std::vector<int64_t>{0, 0, 0, 0, 3});
  const auto running = simt::input("running", std::vector<int64_t>(5, 0));
  auto rows = simt::output<int64_t>("rows", 3);
  auto places = simt::output<int64_t>("places", 3);
  auto counts = simt::output<int64_t>("counts", 3);
  const cuda::PlaceArgs args{ids.data(),     3, 4,           occurrences.data(),
                             running.data(), 3, rows.data(), places.data(),
                             counts.data()};
  CHECK(cuda::launch_place_ids(args, nullptr) == cudaSuccess);
  for (const auto* made : {&rows, &places, &counts}) {
    EXPECT_SAME(*made, std::vector<int64_t>(3, 0));
  }
}

TEST(cuda_distinct_tells_the_first_id_out_of_range) {
  std::vector<int64_t> list(70, 1);
  list[64] = -1;
  list[33] = 2;
  const auto ids = simt::input("ids", list);
  auto occurrences = simt::inout("occurrences", std::vector<int64_t>(3, 0));
  CHECK(cuda::launch_count_ids(ids.data(), 70, 2, occurrences.data(), nullptr) == cudaSuccess);
  EXPECT_SAME(occurrences, {0, 68, 70 - 33});
}

}  // namespace
