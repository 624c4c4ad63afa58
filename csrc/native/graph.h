// Building the interaction graph: compressed sparse rows, their transpose, the symmetric node
// graph with reverse positions, and the partition of rows into work items.
//
// Everything here is linear in interactions plus rows, allocates O(interactions + rows), depends
// on its arguments alone, and checks what it is given: kernels trust its results without looking.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rlmrec_fast::native {

/// Compressed sparse rows without values: row r holds columns[offsets[r]] .. columns[offsets[r+1]].
struct Csr {
  std::int64_t num_columns = 0;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> columns;

  std::int64_t num_rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t num_entries() const { return static_cast<std::int64_t>(columns.size()); }
};

/// The transpose of a Csr; positions[t] is where entry t stands in the original.
struct Transpose {
  Csr csr;
  std::vector<std::int64_t> positions;
};

/// The symmetric graph over users (ids 0 .. U-1) and items (ids U .. U+I-1).
/// reverse[p] is the position of edge (c, r) for the edge (r, c) at p; a self-loop is its own.
struct NodeGraph {
  Csr csr;
  std::vector<std::int64_t> reverse;
};

/// A boundary of the partition: (row, position).
using Boundary = std::array<std::int64_t, 2>;

inline constexpr std::int64_t partition_target = 4096;

/// Checked pairs of ids: users in [0, num_users), items in [0, num_items), of equal length.
struct Interactions {
  std::int64_t num_users = 0;
  std::int64_t num_items = 0;
  std::vector<std::int32_t> users;
  std::vector<std::int32_t> items;
};

/// Refuses sizes below 1 and sizes whose node ids do not fit int32.
void check_sizes(std::string_view where, std::int64_t num_users, std::int64_t num_items);

/// A checked copy of untrusted pairs. Refuses bad sizes, unequal lengths and ids outside their
/// range, naming the argument, the value and its position.
Interactions check_interactions(std::string_view where, std::span<const std::int64_t> users,
                                std::span<const std::int64_t> items, std::int64_t num_users,
                                std::int64_t num_items);

/// Distinct interactions as users' rows of items, sorted.
Csr build_user_items(const Interactions& interactions);

/// A copy of untrusted rows, checked: offsets start at 0, never decrease and end at the number of
/// columns; every column lies in [0, num_columns); rows and columns can be numbered in int32.
template <typename Index>
Csr check_csr(std::string_view where, std::span<const std::int64_t> offsets,
              std::span<const Index> columns, std::int64_t num_columns);

/// Refuses rows whose columns are not strictly increasing.
void check_rows_strictly_increase(std::string_view where, const Csr& csr);

/// Refuses a square matrix of sorted rows that has an entry (r, c) without (c, r).
void check_symmetric(std::string_view where, const Csr& csr);

/// The transpose, rows sorted by the original's row, then by position.
Transpose transpose(const Csr& csr);

/// The node graph of checked users' rows and their transpose. A self-loop adds one entry a row.
NodeGraph build_node_graph(const Csr& user_items, const Transpose& item_users, bool self_loops);

/// Cuts rows into work items of about `target` non-zeros plus rows; see the definition in graph.cpp
/// and in InteractionGraph's docstring. Refuses offsets that check_csr would refuse.
std::vector<Boundary> partition_rows(std::string_view where, std::span<const std::int64_t> offsets,
                                     std::int64_t target = partition_target);

}  // namespace rlmrec_fast::native
