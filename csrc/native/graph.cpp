#include "native/graph.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "native/error.h"

namespace rlmrec_fast::native {
namespace {

constexpr std::int64_t id_limit = std::numeric_limits<std::int32_t>::max();
// More than any memory holds; keeps the arithmetic of sizes within 64 bits.
constexpr std::int64_t entry_limit = std::int64_t{1} << 48;

// A private int32 copy: half the traffic of the passes that follow, and ids that stay within
// range even if another thread writes to the caller's array meanwhile.
template <typename Index>
std::vector<std::int32_t> check_ids(std::string_view where, std::string_view name,
                                    std::span<const Index> ids, std::int64_t size) {
  std::vector<std::int32_t> checked(ids.size());
  for (std::size_t position = 0; position < ids.size(); ++position) {
    const std::int64_t id = ids[position];
    if (id < 0 || id >= size) {
      refuse(where, ": ", name, " must be in [0, ", size, ") (got ", id, " at position ", position,
             ")");
    }
    checked[position] = static_cast<std::int32_t>(id);
  }
  return checked;
}

// Offsets of `size` groups from the group of each entry.
std::vector<std::int64_t> group_offsets(std::span<const std::int32_t> groups, std::int64_t size) {
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(size) + 1, 0);
  for (const std::int32_t group : groups) ++offsets[static_cast<std::size_t>(group) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

void check_offsets(std::string_view where, std::span<const std::int64_t> offsets) {
  if (offsets.empty()) refuse(where, ": offsets must hold at least one number (got none)");
  if (static_cast<std::int64_t>(offsets.size()) - 1 > id_limit) {
    refuse(where, ": offsets must describe fewer than 2147483648 rows (got ", offsets.size() - 1,
           ")");
  }
  if (offsets[0] != 0) refuse(where, ": offsets must start at 0 (got ", offsets[0], ")");
  for (std::size_t row = 1; row < offsets.size(); ++row) {
    if (offsets[row] < offsets[row - 1]) {
      refuse(where, ": offsets must not decrease (got ", offsets[row], " after ", offsets[row - 1],
             " at position ", row, ")");
    }
  }
}

// Keeps the first of equal neighbours in every sorted row.
void remove_duplicates(Csr& csr) {
  std::int64_t kept = 0;
  std::int64_t begin = 0;
  for (std::int64_t row = 0; row < csr.num_rows(); ++row) {
    const std::int64_t end = csr.offsets[row + 1];
    for (std::int64_t p = begin; p < end; ++p) {
      if (p == begin || csr.columns[p] != csr.columns[p - 1]) csr.columns[kept++] = csr.columns[p];
    }
    begin = end;
    csr.offsets[row + 1] = kept;
  }
  csr.columns.resize(static_cast<std::size_t>(kept));
  csr.columns.shrink_to_fit();
}

}  // namespace

void check_sizes(std::string_view where, std::int64_t num_users, std::int64_t num_items) {
  if (num_users < 1) refuse(where, ": num_users must be positive (got ", num_users, ")");
  if (num_items < 1) refuse(where, ": num_items must be positive (got ", num_items, ")");
  if (num_users > id_limit || num_items > id_limit - num_users) {
    refuse(where, ": num_users + num_items must be below 2147483648 (got ", num_users, " and ",
           num_items, ")");
  }
}

Interactions check_interactions(std::string_view where, std::span<const std::int64_t> users,
                                std::span<const std::int64_t> items, std::int64_t num_users,
                                std::int64_t num_items) {
  check_sizes(where, num_users, num_items);
  if (users.size() != items.size()) {
    refuse(where, ": users and items must have equal lengths (got ", users.size(), " and ",
           items.size(), ")");
  }
  return {num_users, num_items, check_ids(where, "users", users, num_users),
          check_ids(where, "items", items, num_items)};
}

Csr build_user_items(const Interactions& interactions) {
  const auto& [num_users, num_items, users, items] = interactions;
  // Two stable counting passes, least significant key first: by item, then by user.
  const auto item_offsets = group_offsets(items, num_items);
  std::vector<std::int32_t> users_by_item(users.size());
  auto next = item_offsets;
  for (std::size_t e = 0; e < users.size(); ++e) {
    users_by_item[next[items[e]]++] = users[e];
  }

  Csr csr{num_items, group_offsets(users, num_users), std::vector<std::int32_t>(items.size())};
  next = csr.offsets;
  for (std::int64_t item = 0; item < num_items; ++item) {
    for (std::int64_t p = item_offsets[item]; p < item_offsets[item + 1]; ++p) {
      csr.columns[next[users_by_item[p]]++] = static_cast<std::int32_t>(item);
    }
  }
  remove_duplicates(csr);
  return csr;
}

template <typename Index>
Csr check_csr(std::string_view where, std::span<const std::int64_t> offsets,
              std::span<const Index> columns, std::int64_t num_columns) {
  if (num_columns < 0 || num_columns > id_limit) {
    refuse(where, ": num_columns must be in [0, 2147483648) (got ", num_columns, ")");
  }
  // Copied before it is checked, so that what was checked is what is used.
  Csr csr{num_columns, std::vector<std::int64_t>(offsets.begin(), offsets.end()), {}};
  check_offsets(where, csr.offsets);
  if (csr.offsets.back() != static_cast<std::int64_t>(columns.size())) {
    refuse(where, ": offsets must end at the number of columns, ", columns.size(), " (got ",
           csr.offsets.back(), ")");
  }
  csr.columns = check_ids(where, "columns", columns, num_columns);
  return csr;
}

template Csr check_csr(std::string_view, std::span<const std::int64_t>,
                       std::span<const std::int32_t>, std::int64_t);
template Csr check_csr(std::string_view, std::span<const std::int64_t>,
                       std::span<const std::int64_t>, std::int64_t);

void check_rows_strictly_increase(std::string_view where, const Csr& csr) {
  for (std::int64_t row = 0; row < csr.num_rows(); ++row) {
    for (std::int64_t p = csr.offsets[row] + 1; p < csr.offsets[row + 1]; ++p) {
      if (csr.columns[p] <= csr.columns[p - 1]) {
        refuse(where, ": columns must increase inside every row (got ", csr.columns[p], " after ",
               csr.columns[p - 1], " at position ", p, ")");
      }
    }
  }
}

void check_symmetric(std::string_view where, const Csr& csr) {
  // Entries are met by row, so row c must hold the rows that have c in exactly that order.
  auto next = csr.offsets;
  for (std::int64_t row = 0; row < csr.num_rows(); ++row) {
    for (std::int64_t p = csr.offsets[row]; p < csr.offsets[row + 1]; ++p) {
      const std::int32_t column = csr.columns[p];
      const std::int64_t mirror = next[column]++;
      const bool left = mirror < csr.offsets[column + 1];
      if (left && csr.columns[mirror] == row) continue;
      // A smaller id there was passed without its entry; a larger one, or none, misses this one.
      const bool passed = left && csr.columns[mirror] < row;
      refuse(where, ": columns must hold (c, r) for every entry (r, c) (got only (",
             passed ? column : row, ", ", passed ? csr.columns[mirror] : column, "))");
    }
  }
}

Transpose transpose(const Csr& csr) {
  Transpose result{{csr.num_rows(), group_offsets(csr.columns, csr.num_columns),
                    std::vector<std::int32_t>(csr.columns.size())},
                   std::vector<std::int64_t>(csr.columns.size())};
  auto next = result.csr.offsets;
  for (std::int64_t row = 0; row < csr.num_rows(); ++row) {
    for (std::int64_t p = csr.offsets[row]; p < csr.offsets[row + 1]; ++p) {
      const std::int64_t t = next[csr.columns[p]]++;
      result.csr.columns[t] = static_cast<std::int32_t>(row);
      result.positions[t] = p;
    }
  }
  return result;
}

NodeGraph build_node_graph(const Csr& user_items, const Transpose& item_users, bool self_loops) {
  const std::int64_t num_users = user_items.num_rows();
  const std::int64_t num_items = item_users.csr.num_rows();
  const std::int64_t num_nodes = num_users + num_items;
  const std::int64_t loop = self_loops ? 1 : 0;
  const std::int64_t first_item_entry = user_items.num_entries() + loop * num_users;
  const auto size = static_cast<std::size_t>(2 * user_items.num_entries() + loop * num_nodes);

  NodeGraph graph{{num_nodes, std::vector<std::int64_t>(static_cast<std::size_t>(num_nodes) + 1),
                   std::vector<std::int32_t>(size)},
                  std::vector<std::int64_t>(size)};
  auto& offsets = graph.csr.offsets;
  auto& columns = graph.csr.columns;
  auto& reverse = graph.reverse;
  const auto add_loop = [&](std::int64_t position, std::int64_t node) {
    columns[position] = static_cast<std::int32_t>(node);
    reverse[position] = position;
  };

  // A user's loop precedes its items and an item's loop follows its users: ids rise in both.
  for (std::int64_t user = 0; user < num_users; ++user) {
    std::int64_t p = user_items.offsets[user] + loop * user;
    offsets[user] = p;
    if (self_loops) add_loop(p++, user);
    for (std::int64_t e = user_items.offsets[user]; e < user_items.offsets[user + 1]; ++e) {
      columns[p++] = static_cast<std::int32_t>(num_users + user_items.columns[e]);
    }
  }
  for (std::int64_t item = 0; item < num_items; ++item) {
    std::int64_t p = first_item_entry + item_users.csr.offsets[item] + loop * item;
    offsets[num_users + item] = p;
    for (std::int64_t t = item_users.csr.offsets[item]; t < item_users.csr.offsets[item + 1]; ++t) {
      const std::int32_t user = item_users.csr.columns[t];
      const std::int64_t forward = item_users.positions[t] + loop * (user + 1);
      columns[p] = user;
      reverse[p] = forward;
      reverse[forward] = p++;
    }
    if (self_loops) add_loop(p, num_users + item);
  }
  offsets.back() = static_cast<std::int64_t>(size);
  return graph;
}

// The partition. A row of more than 2 * target non-zeros is long. A long row is cut into chunks of
// target non-zeros (the last may be smaller); its first and last position are boundaries. The rows
// between long rows are cut into runs of whole rows: a run ends before the row that would take its
// non-zeros plus rows above target. So a part is one chunk of a long row, or a run of rows, and
// no part has more than 2 * target + 1 non-zeros plus rows. Without any non-zero there is one part.
std::vector<Boundary> partition_rows(std::string_view where, std::span<const std::int64_t> offsets,
                                     std::int64_t target) {
  check_offsets(where, offsets);
  if (target < 1 || target > id_limit) {
    refuse(where, ": target must be in [1, 2147483648) (got ", target, ")");
  }
  const std::int64_t num_rows = static_cast<std::int64_t>(offsets.size()) - 1;
  const std::int64_t size = offsets.back();
  if (size >= entry_limit) {
    refuse(where, ": offsets must end below ", entry_limit, " (got ", size, ")");
  }
  std::vector<Boundary> boundaries;
  // At most 2 * (non-zeros plus rows) / target + 1 parts; asked for at once, so that sizes beyond
  // memory fail here and not by exhausting it.
  const auto work = static_cast<std::uint64_t>(size) + static_cast<std::uint64_t>(num_rows);
  boundaries.reserve(2 * (work / static_cast<std::uint64_t>(target) + 2));
  boundaries.push_back({0, 0});

  std::int64_t run = 0;
  const auto cut = [&](std::int64_t row, std::int64_t position) {
    const Boundary boundary{row, position};
    if (boundaries.back() != boundary) boundaries.push_back(boundary);
    run = 0;
  };
  for (std::int64_t row = 0; row < num_rows && size > 0; ++row) {
    const std::int64_t begin = offsets[row];
    const std::int64_t end = offsets[row + 1];
    if (end - begin > 2 * target) {
      for (std::int64_t p = begin; p < end; p += std::min(target, end - p)) cut(row, p);
      cut(row + 1, end);
      continue;
    }
    if (run > 0 && run + end - begin + 1 > target) cut(row, begin);
    run += end - begin + 1;
  }
  const Boundary last{num_rows, size};
  if (boundaries.back() != last || boundaries.size() == 1) boundaries.push_back(last);
  return boundaries;
}

}  // namespace rlmrec_fast::native
