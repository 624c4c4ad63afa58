#include "native/kcore.h"

#include "native/error.h"

namespace rlmrec_fast::native {
namespace {

// Which nodes (users first) survive peeling.
std::vector<std::uint8_t> surviving_nodes(const NodeGraph& graph, std::int64_t num_users,
                                          std::int64_t user_min, std::int64_t item_min) {
  const auto& [num_nodes, offsets, columns] = graph.csr;
  std::vector<std::int64_t> degree(static_cast<std::size_t>(num_nodes));
  std::vector<std::uint8_t> alive(static_cast<std::size_t>(num_nodes), 1);
  std::vector<std::int64_t> queue;
  const auto peel_if_low = [&](std::int64_t node) {
    if (alive[node] != 0 && degree[node] < (node < num_users ? user_min : item_min)) {
      alive[node] = 0;
      queue.push_back(node);
    }
  };
  for (std::int64_t node = 0; node < num_nodes; ++node) {
    degree[node] = offsets[node + 1] - offsets[node];
    peel_if_low(node);
  }
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const std::int64_t node = queue[head];
    for (std::int64_t p = offsets[node]; p < offsets[node + 1]; ++p) {
      --degree[columns[p]];
      peel_if_low(columns[p]);
    }
  }
  return alive;
}

}  // namespace

std::vector<std::uint8_t> k_core(const Interactions& interactions, std::int64_t user_min,
                                 std::int64_t item_min) {
  if (user_min < 0) refuse("k_core: user_min must not be negative (got ", user_min, ")");
  if (item_min < 0) refuse("k_core: item_min must not be negative (got ", item_min, ")");
  const auto& [num_users, num_items, users, items] = interactions;
  const Csr user_items = build_user_items(interactions);
  const NodeGraph graph = build_node_graph(user_items, transpose(user_items), false);
  const auto alive = surviving_nodes(graph, num_users, user_min, item_min);

  std::vector<std::uint8_t> kept(users.size());
  for (std::size_t e = 0; e < users.size(); ++e) {
    kept[e] = alive[users[e]] & alive[num_users + items[e]];
  }
  return kept;
}

}  // namespace rlmrec_fast::native
