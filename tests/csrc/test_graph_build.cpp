#include <cstdint>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "check.h"
#include "native/graph.h"

namespace {

using namespace rlmrec_fast::native;
using Ids = std::vector<std::int64_t>;

Csr rows_of(const Ids& users, const Ids& items, std::int64_t num_users, std::int64_t num_items) {
  return build_user_items(check_interactions("graph", users, items, num_users, num_items));
}

std::pair<Ids, Ids> random_pairs(std::int64_t count, std::int64_t num_users,
                                 std::int64_t num_items) {
  std::mt19937_64 random(7);
  std::pair<Ids, Ids> pairs;
  for (std::int64_t e = 0; e < count; ++e) {
    // Squared, so that some ids are frequent and the last ones are missing.
    const auto skewed = [&random](std::int64_t size) {
      const double x = static_cast<double>(random() >> 11) * 0x1p-53;
      return static_cast<std::int64_t>(x * x * static_cast<double>(size) * 0.9);
    };
    pairs.first.push_back(skewed(num_users));
    pairs.second.push_back(skewed(num_items));
  }
  return pairs;
}

TEST(rows_are_sorted_and_hold_each_pair_once) {
  const auto [users, items] = random_pairs(3000, 40, 60);
  const Csr csr = rows_of(users, items, 40, 60);
  std::set<std::pair<std::int64_t, std::int64_t>> expected;
  for (std::size_t e = 0; e < users.size(); ++e) expected.emplace(users[e], items[e]);
  CHECK(csr.num_rows() == 40);
  CHECK(csr.num_entries() == static_cast<std::int64_t>(expected.size()));
  auto pair = expected.cbegin();
  for (std::int64_t row = 0; row < csr.num_rows(); ++row) {
    for (std::int64_t p = csr.offsets[row]; p < csr.offsets[row + 1]; ++p, ++pair) {
      CHECK(*pair == std::pair(row, std::int64_t{csr.columns[p]}));
    }
  }
}

TEST(transpose_twice_gives_the_original) {
  const auto [users, items] = random_pairs(500, 30, 20);
  const Csr csr = rows_of(users, items, 30, 20);
  const Transpose once = transpose(csr);
  const Transpose twice = transpose(once.csr);
  CHECK(twice.csr.offsets == csr.offsets);
  CHECK(twice.csr.columns == csr.columns);
  for (std::size_t p = 0; p < twice.positions.size(); ++p) {
    CHECK(once.positions[twice.positions[p]] == static_cast<std::int64_t>(p));
  }
}

TEST(node_graph_is_symmetric_and_reverse_is_an_involution) {
  const auto [users, items] = random_pairs(800, 30, 20);
  const Csr csr = rows_of(users, items, 30, 20);
  for (const bool self_loops : {false, true}) {
    const auto [graph, reverse] = build_node_graph(csr, transpose(csr), self_loops);
    CHECK(graph.num_rows() == 50);
    CHECK(graph.num_entries() == 2 * csr.num_entries() + (self_loops ? 50 : 0));
    check_rows_strictly_increase("graph", graph);
    std::vector<std::int64_t> row_of(graph.columns.size());
    for (std::int64_t row = 0; row < graph.num_rows(); ++row) {
      for (std::int64_t p = graph.offsets[row]; p < graph.offsets[row + 1]; ++p) row_of[p] = row;
    }
    for (std::size_t p = 0; p < reverse.size(); ++p) {
      const std::int64_t r = reverse[p];
      CHECK(reverse[r] == static_cast<std::int64_t>(p));
      CHECK(graph.columns[r] == row_of[p]);
      CHECK(row_of[r] == graph.columns[p]);
    }
  }
}

TEST(bad_pairs_are_refused_by_name) {
  using Error = std::invalid_argument;
  CHECK_THROWS(rows_of({0, 3}, {0, 0}, 3, 1), Error,
               "graph: users must be in [0, 3) (got 3 at position 1)");
  CHECK_THROWS(rows_of({0, 0}, {-1, 0}, 3, 1), Error,
               "graph: items must be in [0, 1) (got -1 at position 0)");
  CHECK_THROWS(rows_of({0}, {}, 3, 1), Error, "users and items must have equal lengths");
  CHECK_THROWS(rows_of({}, {}, 0, 1), Error, "num_users must be positive (got 0)");
  CHECK_THROWS(rows_of({}, {}, 1, -5), Error, "num_items must be positive (got -5)");
  CHECK_THROWS(rows_of({}, {}, 1, 0x7fffffff), Error, "must be below 2147483648");
  CHECK_THROWS(rows_of({}, {}, INT64_MAX, INT64_MAX), Error, "must be below 2147483648");
}

TEST(bad_rows_are_refused_by_name) {
  using Error = std::invalid_argument;
  const auto rows = [](const Ids& offsets, const Ids& columns, std::int64_t width) {
    return check_csr<std::int64_t>("csr", offsets, columns, width);
  };
  CHECK_THROWS(rows({}, {}, 1), Error, "offsets must hold at least one number");
  CHECK_THROWS(rows({1, 1}, {0}, 1), Error, "offsets must start at 0 (got 1)");
  CHECK_THROWS(rows({0, 2, 1}, {0}, 1), Error, "(got 1 after 2 at position 2)");
  CHECK_THROWS(rows({0, -1}, {}, 1), Error, "(got -1 after 0 at position 1)");
  CHECK_THROWS(rows({0, 3}, {0}, 1), Error, "offsets must end at the number of columns, 1 (got 3)");
  CHECK_THROWS(rows({0, 1}, {4}, 4), Error, "columns must be in [0, 4) (got 4 at position 0)");
  CHECK_THROWS(rows({0}, {}, -1), Error, "num_columns must be in [0, 2147483648)");
  CHECK_THROWS(rows({0}, {}, std::int64_t{1} << 31), Error, "num_columns must be in");
  CHECK_THROWS(check_rows_strictly_increase("csr", rows({0, 2}, {1, 1}, 2)), Error,
               "(got 1 after 1 at position 1)");
  check_rows_strictly_increase("csr", rows({0, 1, 2}, {1, 0}, 2));
}

TEST(entries_without_their_mirror_are_refused) {
  const auto check = [](Ids offsets, std::vector<std::int32_t> columns) {
    const auto nodes = static_cast<std::int64_t>(offsets.size()) - 1;
    check_symmetric("csr", {nodes, std::move(offsets), std::move(columns)});
  };
  check({0}, {});
  check({0, 2, 3, 3}, {0, 1, 0});
  CHECK_THROWS(check({0, 1, 1}, {1}), std::invalid_argument, "got only (0, 1)");
  CHECK_THROWS(check({0, 0, 1}, {0}), std::invalid_argument, "got only (1, 0)");
  CHECK_THROWS(check({0, 1, 2, 3}, {1, 2, 0}), std::invalid_argument, "got only (0, 1)");
  CHECK_THROWS(check({0, 0, 2, 3}, {0, 2, 1}), std::invalid_argument, "got only (1, 0)");
}

}  // namespace
