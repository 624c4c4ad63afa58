// AutoCF's graphs, against a search over all pairs of nodes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "check.h"
#include "common/random.h"
#include "cpu/subgraphs.h"

namespace {

using namespace rlmrec_fast;
using Edges = std::set<std::pair<std::int64_t, std::int64_t>>;
using Ids = std::vector<std::int64_t>;

struct Rows {
  Ids offsets{0};
  std::vector<std::int32_t> columns;

  Rows(const Edges& edges, std::int64_t nodes) {
    for (std::int64_t node = 0; node < nodes; ++node) {
      for (auto edge = edges.lower_bound({node, 0}); edge != edges.end() && edge->first == node;
           ++edge) {
        columns.push_back(static_cast<std::int32_t>(edge->second));
      }
      offsets.push_back(static_cast<std::int64_t>(columns.size()));
    }
  }
  NodeRows view() const {
    return {offsets.data(), columns.data(), static_cast<std::int64_t>(offsets.size()) - 1};
  }
};

Edges random_edges(std::int64_t nodes, std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Edges edges;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto a = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(nodes));
    const auto b = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(nodes));
    if (a == b) continue;
    edges.insert({a, b});
    edges.insert({b, a});
  }
  return edges;
}

// Removes edges level by level, as the search is described.
std::pair<Edges, std::set<std::int64_t>> search(Edges edges, const Ids& seeds, std::int64_t depth) {
  std::set<std::int64_t> level(seeds.begin(), seeds.end()), masked;
  for (std::int64_t step = 0; step < depth; ++step) {
    masked.insert(level.begin(), level.end());
    std::set<std::int64_t> next;
    for (auto edge = edges.begin(); edge != edges.end();) {
      if (level.count(edge->first) + level.count(edge->second) == 0) {
        ++edge;
        continue;
      }
      next.insert(edge->first);
      next.insert(edge->second);
      edge = edges.erase(edge);
    }
    level = next;
  }
  return {edges, masked};
}

struct Drawn {
  std::vector<std::uint8_t> masked;
  Ids offsets;
  std::vector<std::int32_t> columns;
  Ids reverse;
};

Drawn draw_encoder(const Rows& rows, const Ids& seeds, std::int64_t depth) {
  const auto nodes = static_cast<std::size_t>(rows.view().num_nodes);
  Drawn drawn{std::vector<std::uint8_t>(nodes), Ids(nodes + 1), {}, {}};
  mask_around(rows.view(), seeds.data(), static_cast<std::int64_t>(seeds.size()), depth,
              drawn.masked.data());
  count_encoder(rows.view(), drawn.masked.data(), drawn.offsets.data());
  drawn.columns.resize(static_cast<std::size_t>(drawn.offsets.back()));
  drawn.reverse.resize(drawn.columns.size());
  CHECK(fill_encoder(rows.view(), drawn.masked.data(), drawn.offsets.data(), drawn.columns.data(),
                     drawn.reverse.data()));
  return drawn;
}

TEST(the_encoder_is_what_a_search_leaves) {
  for (const std::int64_t nodes : {1, 2, 30, 200}) {
    const Edges edges = random_edges(nodes, nodes * 3 / 2, 5);
    const Rows rows(edges, nodes);
    for (const std::int64_t depth : {1, 2, 3, 5, 1000}) {
      for (const Ids& seeds : {Ids{}, Ids{0}, Ids{nodes - 1, 0, nodes - 1}}) {
        const Drawn drawn = draw_encoder(rows, seeds, depth);
        const auto [left, masked] = search(edges, seeds, depth);
        const Rows expected(left, nodes);
        CHECK(drawn.offsets == expected.offsets);
        CHECK(drawn.columns == expected.columns);
        for (std::int64_t node = 0; node < nodes; ++node) {
          CHECK(drawn.masked[node] == masked.count(node));
          for (std::int64_t p = drawn.offsets[node]; p < drawn.offsets[node + 1]; ++p) {
            const std::int64_t mirror = drawn.reverse[p], column = drawn.columns[p];
            CHECK(drawn.columns[mirror] == node);
            CHECK(drawn.offsets[column] <= mirror && mirror < drawn.offsets[column + 1]);
          }
        }
      }
    }
  }
}

TEST(a_graph_that_is_not_symmetric_is_found_out) {
  Edges edges = random_edges(20, 60, 1);
  edges.erase(std::prev(edges.end()));
  const Rows rows(edges, 20);
  const std::vector<std::uint8_t> masked(20, 0);
  std::vector<std::int32_t> columns(rows.columns.size());
  Ids reverse(rows.columns.size());
  CHECK(!fill_encoder(rows.view(), masked.data(), rows.offsets.data(), columns.data(),
                      reverse.data()));
}

TEST(candidates_are_the_masked_nodes_and_the_drawn_ones) {
  const std::vector<std::uint8_t> masked{0, 1, 0, 0, 1, 0, 0, 0};
  std::set<std::int32_t> expected{1, 4};
  const std::uint64_t draws = child_seed(9, 0);
  for (std::uint64_t i = 0; i < 3; ++i) {
    expected.insert(static_cast<std::int32_t>(bounded(child_seed(draws, i), 8)));
  }
  const auto found = draw_candidates(masked.data(), 8, 3, 9);
  CHECK(found == std::vector<std::int32_t>(expected.begin(), expected.end()));
  CHECK(draw_candidates(masked.data(), 8, 0, 9) == std::vector<std::int32_t>({1, 4}));
}

TEST(the_decoder_has_pairs_both_ways_loops_and_the_encoders_edges_once) {
  for (const std::int64_t nodes : {1, 2, 40}) {
    const Edges edges = random_edges(nodes, nodes, 3);
    const Rows rows(edges, nodes);
    std::vector<std::int32_t> candidates;
    for (std::int64_t node = 0; node < nodes; node += 3) {
      candidates.push_back(static_cast<std::int32_t>(node));
    }
    for (const std::int64_t pairs : {0, 1, 300}) {
      for (const bool none : {false, true}) {
        if (none) candidates.clear();
        Edges expected = edges;
        const std::uint64_t draws = child_seed(7, 1);
        for (std::int64_t i = 0; i < pairs && !candidates.empty(); ++i) {
          const auto end = [&](std::uint64_t which) {
            const std::uint64_t random =
                child_seed(draws, 2 * static_cast<std::uint64_t>(i) + which);
            return std::int64_t{candidates[bounded(random, candidates.size())]};
          };
          expected.insert({end(0), end(1)});
          expected.insert({end(1), end(0)});
        }
        for (std::int64_t node = 0; node < nodes; ++node) expected.insert({node, node});
        const DecoderRows decoder(rows.view(), candidates, pairs, 7);
        Ids offsets(static_cast<std::size_t>(nodes) + 1);
        decoder.count(offsets.data());
        std::vector<std::int32_t> columns(static_cast<std::size_t>(offsets.back()));
        decoder.fill(offsets.data(), columns.data());
        const Rows wanted(expected, nodes);
        CHECK(offsets == wanted.offsets);
        CHECK(columns == wanted.columns);
      }
    }
  }
}

TEST(scores_are_finite_wherever_a_row_has_no_direction) {
  const std::vector<double> x{0, 0, 3, 4}, summary{1, 0, 0, 0};
  const SeedScoreArgs<double> args{x.data(), 2, summary.data(), 2, 2};
  std::vector<double> scores(2), again(2), grad{1, 1}, grad_x(4), grad_summary(4);
  seed_scores(args, 1e-12, 5, scores.data(), 0, 2);
  seed_scores(args, 1e-12, 5, again.data(), 1, 2);
  CHECK(scores[1] == again[1]);
  for (const double score : scores) CHECK(std::isfinite(score));
  seed_scores_backward(args, 1e-12, grad.data(), grad_x.data(), grad_summary.data(), 0, 2);
  CHECK_NEAR(grad_x[0], 0.5 / 1e-12, 1);  // half the other's direction, as if this had length eps
  CHECK(grad_x[1] == 0 && grad_summary[0] == 0);
  CHECK_NEAR(grad_summary[2], 0.5 * 0.6 / 1e-12, 1);
}

}  // namespace
