#include "native/split.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/random.h"
#include "native/error.h"

namespace rlmrec_fast::native {
namespace {

void check_ratios(const SplitRatios& ratios) {
  double sum = 0.0;
  for (int part = 0; part < num_split_parts; ++part) {
    if (!(ratios[part] >= 0.0)) {
      refuse("split_per_user: ratios must not be negative or NaN (got ", ratios[part],
             " at position ", part, ")");
    }
    sum += ratios[part];
  }
  if (!(sum > 0.0) || !std::isfinite(sum)) {
    refuse("split_per_user: ratios must have a positive finite sum (got ", sum, ")");
  }
}

}  // namespace

SplitCounts split_counts(std::int64_t count, const SplitRatios& ratios, std::uint64_t seed) {
  const double sum = ratios[0] + ratios[1] + ratios[2];
  SplitCounts counts{};
  std::array<std::pair<double, std::uint64_t>, num_split_parts> claims{};  // (fraction, tie-break)
  std::int64_t left = count;
  std::int64_t positive_parts = 0;
  for (int part = 0; part < num_split_parts; ++part) {
    const bool positive = ratios[part] > 0.0;
    const double share = static_cast<double>(count) * (ratios[part] / sum);
    counts[part] = static_cast<std::int64_t>(share);
    // A part with ratio 0 never receives what is left over.
    claims[part] = {positive ? share - std::floor(share) : -3.0, child_seed(seed, part)};
    left -= counts[part];
    positive_parts += positive ? 1 : 0;
  }
  for (; left > 0; --left) {
    const auto next = std::max_element(claims.begin(), claims.end()) - claims.begin();
    ++counts[next];
    claims[next].first -= 1.0;
  }
  if (count < positive_parts) return counts;
  for (int part = 0; part < num_split_parts; ++part) {
    if (ratios[part] > 0.0 && counts[part] == 0) {
      --*std::max_element(counts.begin(), counts.end());
      ++counts[part];
    }
  }
  return counts;
}

std::vector<std::int8_t> split_per_user(const Interactions& interactions, const SplitRatios& ratios,
                                        std::int64_t seed) {
  check_ratios(ratios);
  if (seed < 0) refuse("split_per_user: seed must not be negative (got ", seed, ")");
  const auto& [num_users, num_items, users, items] = interactions;
  const Csr rows = build_user_items(interactions);

  std::vector<std::int8_t> row_labels(rows.columns.size());
  std::vector<std::pair<std::uint64_t, std::int64_t>> order;  // (hash, position)
  for (std::int64_t user = 0; user < num_users; ++user) {
    const std::uint64_t user_seed = child_seed(static_cast<std::uint64_t>(seed), user);
    order.clear();
    for (std::int64_t p = rows.offsets[user]; p < rows.offsets[user + 1]; ++p) {
      order.emplace_back(child_seed(user_seed, rows.columns[p]), p);
    }
    std::sort(order.begin(), order.end());
    auto entry = order.cbegin();
    const auto counts = split_counts(static_cast<std::int64_t>(order.size()), ratios, ~user_seed);
    for (int part = 0; part < num_split_parts; ++part) {
      for (std::int64_t n = 0; n < counts[part]; ++n, ++entry) {
        row_labels[entry->second] = static_cast<std::int8_t>(part);
      }
    }
  }

  std::vector<std::int8_t> labels(users.size());
  for (std::size_t e = 0; e < users.size(); ++e) {
    const auto begin = rows.columns.begin() + rows.offsets[users[e]];
    const auto end = rows.columns.begin() + rows.offsets[users[e] + 1];
    const auto found = std::lower_bound(begin, end, items[e]);
    labels[e] = row_labels[found - rows.columns.begin()];
  }
  return labels;
}

}  // namespace rlmrec_fast::native
