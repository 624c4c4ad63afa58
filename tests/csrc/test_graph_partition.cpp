#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "native/graph.h"

namespace {

using namespace rlmrec_fast::native;
using Offsets = std::vector<std::int64_t>;
using Partition = std::vector<Boundary>;

Offsets offsets_of(const std::vector<std::int64_t>& lengths) {
  Offsets offsets{0};
  for (const std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

// What the header promises of any partition of rows with at least one non-zero.
void check_promises(const Offsets& offsets, std::int64_t target) {
  const Partition parts = partition_rows("test", offsets, target);
  const auto num_rows = static_cast<std::int64_t>(offsets.size()) - 1;
  const auto length = [&](std::int64_t row) { return offsets[row + 1] - offsets[row]; };
  CHECK((parts.front() == Boundary{0, 0}));
  CHECK((parts.back() == Boundary{num_rows, offsets.back()}));
  std::int64_t previous_work = 2 * target;
  for (std::size_t part = 0; part + 1 < parts.size(); ++part) {
    const auto [row, begin] = parts[part];
    const auto [end_row, end] = parts[part + 1];
    CHECK(parts[part] < parts[part + 1]);
    if (row < num_rows && length(row) > 2 * target) {
      CHECK((begin - offsets[row]) % target == 0);
      CHECK(end == std::min(begin + target, offsets[row + 1]));
      CHECK(end_row == (end == offsets[row + 1] ? row + 1 : row));
      previous_work = 2 * target;
      continue;
    }
    CHECK(begin == offsets[row]);
    CHECK(end == offsets[end_row]);
    const std::int64_t work = end - begin + end_row - row;
    CHECK(work <= target || end_row == row + 1);
    for (std::int64_t r = row; r < end_row; ++r) CHECK(length(r) <= 2 * target);
    // A run could not have taken the first row of the run behind it.
    if (previous_work < 2 * target) CHECK(previous_work + length(row) + 1 > target);
    previous_work = work;
  }
}

TEST(partition_of_random_rows_keeps_its_promises) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int64_t> lengths(1 + random() % 60);
    for (auto& length : lengths) {
      length = random() % 10 == 0 ? static_cast<std::int64_t>(random() % 200)
                                  : static_cast<std::int64_t>(random() % 6);
    }
    lengths[0] += 1;
    check_promises(offsets_of(lengths), 1 + static_cast<std::int64_t>(random() % 20));
  }
}

TEST(rows_without_entries_are_one_part) {
  CHECK((partition_rows("test", Offsets{0}) == Partition{{0, 0}, {0, 0}}));
  CHECK((partition_rows("test", Offsets{0, 0}) == Partition{{0, 0}, {1, 0}}));
  CHECK((partition_rows("test", Offsets(10001, 0)) == Partition{{0, 0}, {10000, 0}}));
}

TEST(a_long_row_begins_and_ends_a_boundary_and_is_cut_every_target) {
  const auto parts = partition_rows("test", offsets_of({1, 9, 2}), 4);
  CHECK((parts == Partition{{0, 0}, {1, 1}, {1, 5}, {1, 9}, {2, 10}, {3, 12}}));
}

TEST(a_row_of_twice_the_target_is_not_long) {
  CHECK((partition_rows("test", offsets_of({1, 8, 2}), 4) ==
         Partition{{0, 0}, {1, 1}, {2, 9}, {3, 11}}));
}

TEST(neighbouring_long_rows_share_a_boundary) {
  CHECK((partition_rows("test", offsets_of({9, 9}), 4) ==
         Partition{{0, 0}, {0, 4}, {0, 8}, {1, 9}, {1, 13}, {1, 17}, {2, 18}}));
}

TEST(empty_rows_behind_a_long_row_form_a_run) {
  CHECK((partition_rows("test", offsets_of({0, 9, 0, 0}), 4) ==
         Partition{{0, 0}, {1, 0}, {1, 4}, {1, 8}, {2, 9}, {4, 9}}));
}

TEST(positions_beyond_32_bits_are_cut_alike) {
  const std::int64_t size = (std::int64_t{1} << 33) + 5;
  const auto parts = partition_rows("test", Offsets{0, 3, size, size + 2});
  CHECK((parts[1] == Boundary{1, 3}));
  CHECK((parts[2] == Boundary{1, 4099}));
  CHECK((parts[parts.size() - 2] == Boundary{2, size}));
  CHECK((parts.back() == Boundary{3, size + 2}));
  CHECK(parts.size() == 3 + static_cast<std::size_t>((size - 3 + 4095) / 4096));
}

TEST(bad_partition_arguments_are_refused_by_name) {
  using Error = std::invalid_argument;
  CHECK_THROWS(partition_rows("test", Offsets{0, 1}, 0), Error,
               "target must be in [1, 2147483648)");
  CHECK_THROWS(partition_rows("test", Offsets{0, 5, 4}), Error, "offsets must not decrease");
  CHECK_THROWS(partition_rows("test", Offsets{}), Error, "offsets must hold at least one number");
}

}  // namespace
