// The drawn graphs against the CPU's, entry by entry, and the scores of seeds.
#include <algorithm>
#include <numeric>

#include "cpu/subgraphs.h"
#include "cuda/subgraphs.h"
#include "simt/compare.h"

namespace {

using namespace rlmrec_fast;

// The symmetric closure of a square matrix, without its diagonal.
simt::Csr symmetric(const simt::Csr& matrix) {
  const int64_t nodes = std::max(matrix.num_rows(), matrix.num_columns);
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(nodes));
  for (int64_t row = 0; row < matrix.num_rows(); ++row) {
    for (int64_t p = matrix.offsets[row]; p < matrix.offsets[row + 1]; ++p) {
      const int32_t column = matrix.columns[p];
      if (column == row) continue;
      rows[row].push_back(column);
      rows[column].push_back(static_cast<int32_t>(row));
    }
  }
  simt::Csr result;
  result.name = matrix.name;
  result.num_columns = nodes;
  for (auto& row : rows) {
    std::sort(row.begin(), row.end());
    row.erase(std::unique(row.begin(), row.end()), row.end());
    result.columns.insert(result.columns.end(), row.begin(), row.end());
    result.offsets.push_back(result.num_entries());
  }
  return result;
}

template <class T>
void check_each(const simt::Buffer<T>& got, const std::vector<T>& wanted) {
  simt::expect_same(got, wanted, __FILE__, __LINE__);
}

// What torch does between launches.
simt::Buffer<int64_t> running_sum(const simt::Buffer<int64_t>& numbers) {
  std::vector<int64_t> sums(numbers.size());
  std::partial_sum(numbers.data(), numbers.data() + numbers.size(), sums.begin());
  return simt::inout("running sum", sums);
}
simt::Buffer<int64_t> sorted(const simt::Buffer<int64_t>& keys) {
  std::vector<int64_t> values = keys.values();
  std::sort(values.begin(), values.end());
  return simt::input("sorted keys", values);
}

struct Case {
  std::vector<int64_t> seeds;
  int64_t depth = 1;
  int64_t num_draws = 9;
  uint64_t seed = 5;
};

class Comparison {
 public:
  Comparison(const simt::Csr& matrix, const Case& chosen)
      : matrix_(matrix),
        case_(chosen),
        nodes_(matrix.num_rows()),
        offsets_(simt::input("offsets", matrix.offsets)),
        columns_(simt::input("columns", matrix.columns)),
        graph_{offsets_.data(), columns_.data(), nodes_, matrix.num_entries()},
        cpu_graph_{offsets_.data(), columns_.data(), nodes_} {}

  void run() {
    std::vector<uint8_t> masked(static_cast<size_t>(nodes_));
    mask_around(cpu_graph_, case_.seeds.data(), static_cast<int64_t>(case_.seeds.size()),
                case_.depth, masked.data());
    const auto on_device = mask();
    check_each(on_device, std::vector<int32_t>(masked.begin(), masked.end()));
    auto kept = simt::output<int64_t>("kept", nodes_ + 1);
    auto chosen = simt::output<int64_t>("chosen", nodes_ + 1);
    CHECK(cuda::launch_count_kept(graph_, on_device.data(), kept.data(), chosen.data(), nullptr) ==
          cudaSuccess);
    const NodeRows encoder = compare_encoder(masked, on_device, running_sum(kept));
    compare_decoder(masked, on_device, encoder, chosen);
  }

 private:
  simt::Buffer<int32_t> mask() {
    const std::vector<int32_t> none(static_cast<size_t>(nodes_));
    auto wrong = simt::inout("wrong", std::vector<int32_t>{0});
    auto masked = simt::inout("masked", none);
    if (!case_.seeds.empty()) {
      const auto seeds = simt::input("seeds", case_.seeds);
      CHECK(cuda::launch_mark_seeds(seeds.data(), static_cast<int64_t>(case_.seeds.size()), nodes_,
                                    masked.data(), wrong.data(), nullptr) == cudaSuccess);
    }
    EXPECT_SAME(wrong, {0});
    std::vector<int32_t> level = masked.values();
    for (int64_t distance = 1; distance < case_.depth; ++distance) {
      const auto before = simt::input("masked", level);
      auto next = simt::output<int32_t>("next", nodes_);
      auto changed = simt::inout("changed", std::vector<int32_t>{0});
      CHECK(cuda::launch_spread_mask(graph_, before.data(), next.data(), changed.data(), nullptr) ==
            cudaSuccess);
      EXPECT_SAME(changed, {next.values() != level ? 1 : 0});
      level = next.values();
    }
    return simt::input("masked", level);
  }

  NodeRows compare_encoder(const std::vector<uint8_t>& masked,
                           const simt::Buffer<int32_t>& on_device,
                           const simt::Buffer<int64_t>& offsets) {
    encoder_offsets_.resize(static_cast<size_t>(nodes_ + 1));
    count_encoder(cpu_graph_, masked.data(), encoder_offsets_.data());
    check_each(offsets, encoder_offsets_);
    const int64_t kept = encoder_offsets_.back();
    encoder_columns_.resize(static_cast<size_t>(kept));
    std::vector<int64_t> reverse(static_cast<size_t>(kept));
    CHECK(fill_encoder(cpu_graph_, masked.data(), encoder_offsets_.data(), encoder_columns_.data(),
                       reverse.data()));
    auto columns = simt::output<int32_t>("encoder columns", kept);
    CHECK(cuda::launch_fill_encoder(graph_, on_device.data(), offsets.data(), columns.data(),
                                    nullptr) == cudaSuccess);
    check_each(columns, encoder_columns_);
    if (kept > 0) {
      auto positions = simt::output<int64_t>("reverse", kept);
      // As if there were room for more, which threads must leave alone.
      CHECK(cuda::launch_find_reverse({offsets.data(), columns.data(), nodes_, kept + 300},
                                      positions.data(), nullptr) == cudaSuccess);
      check_each(positions, reverse);
    }
    return {encoder_offsets_.data(), encoder_columns_.data(), nodes_};
  }

  void compare_decoder(const std::vector<uint8_t>& masked, const simt::Buffer<int32_t>& on_device,
                       NodeRows encoder, simt::Buffer<int64_t>& chosen) {
    if (case_.num_draws > 0) {
      CHECK(cuda::launch_draw_nodes({case_.seed, nullptr}, case_.num_draws, nodes_, chosen.data(),
                                    nullptr) == cudaSuccess);
    }
    const auto running = running_sum(chosen);
    std::vector<int32_t> wanted =
        ::rlmrec_fast::draw_candidates(masked.data(), nodes_, case_.num_draws, case_.seed);
    const DecoderRows rows(encoder, wanted, matrix_.num_entries(), case_.seed);
    CHECK(running[static_cast<size_t>(nodes_)] == static_cast<int64_t>(wanted.size()));
    auto candidates = simt::output<int32_t>("candidates", static_cast<int64_t>(wanted.size()));
    CHECK(cuda::launch_list_candidates(running.data(), nodes_, candidates.data(), nullptr) ==
          cudaSuccess);
    check_each(candidates, wanted);

    const cuda::DecoderArgs args{graph_,
                                 on_device.data(),
                                 candidates.data(),
                                 running.data() + nodes_,
                                 matrix_.num_entries(),
                                 {case_.seed, nullptr}};
    auto unsorted = simt::output<int64_t>("keys", args.num_keys());
    CHECK(cuda::launch_decoder_keys(args, unsorted.data(), nullptr) == cudaSuccess);
    const auto keys = sorted(unsorted);
    auto marks = simt::output<int64_t>("first", args.num_keys() + 1);
    CHECK(cuda::launch_mark_first(keys.data(), args.num_keys(), marks.data(), nullptr) ==
          cudaSuccess);
    const auto first = running_sum(marks);
    std::vector<int64_t> offsets(static_cast<size_t>(nodes_ + 1));
    rows.count(offsets.data());
    std::vector<int32_t> columns(static_cast<size_t>(offsets.back()));
    rows.fill(offsets.data(), columns.data());
    auto found = simt::output<int64_t>("decoder offsets", nodes_ + 1);
    CHECK(cuda::launch_decoder_offsets(keys.data(), args.num_keys(), first.data(), nodes_,
                                       found.data(), nullptr) == cudaSuccess);
    check_each(found, offsets);
    auto filled = simt::output<int32_t>("decoder columns", offsets.back());
    CHECK(cuda::launch_fill_decoder(keys.data(), args.num_keys(), first.data(), nodes_,
                                    filled.data(), nullptr) == cudaSuccess);
    check_each(filled, columns);
  }

  const simt::Csr& matrix_;
  const Case& case_;
  int64_t nodes_;
  simt::Buffer<int64_t> offsets_;
  simt::Buffer<int32_t> columns_;
  cuda::NodeRows graph_;
  NodeRows cpu_graph_;
  std::vector<int64_t> encoder_offsets_;
  std::vector<int32_t> encoder_columns_;
};

}  // namespace

TEST(subgraphs_are_those_of_the_cpu) {
  for (const simt::Csr& odd : simt::odd_matrices()) {
    const simt::Csr matrix = symmetric(odd);
    const int64_t last = matrix.num_rows() - 1;
    for (const Case& chosen : {Case{{}, 1, 9}, Case{{last, 0, last}, 1, 0}, Case{{last}, 2, 40},
                               Case{{last / 2, 1}, 4, 1}, Case{{}, 3, 0}}) {
      Comparison(matrix, chosen).run();
    }
  }
}

TEST(subgraphs_count_seeds_that_do_not_exist) {
  const auto seeds = simt::input("seeds", std::vector<int64_t>{-1, 3, 5, int64_t{1} << 40, 0});
  auto masked = simt::inout("masked", std::vector<int32_t>(5));
  auto wrong = simt::inout("wrong", std::vector<int32_t>{0});
  CHECK(cuda::launch_mark_seeds(seeds.data(), 5, 5, masked.data(), wrong.data(), nullptr) ==
        cudaSuccess);
  EXPECT_SAME(wrong, {3});
  EXPECT_SAME(masked, {1, 0, 0, 1, 0});
}

TEST(subgraphs_of_a_seed_on_the_device) {
  const auto seed = simt::input("seed", std::vector<int64_t>{5});
  auto here = simt::inout("chosen", std::vector<int64_t>(34));
  auto there = simt::inout("chosen", std::vector<int64_t>(34));
  CHECK(cuda::launch_draw_nodes({5, nullptr}, 12, 33, here.data(), nullptr) == cudaSuccess);
  CHECK(cuda::launch_draw_nodes({0, seed.data()}, 12, 33, there.data(), nullptr) == cudaSuccess);
  check_each(here, there.values());
}

TEST(subgraphs_entry_without_a_reverse_is_marked) {
  const auto offsets = simt::input("offsets", std::vector<int64_t>{0, 1, 1, 2});
  const auto columns = simt::input("columns", std::vector<int32_t>{1, 2});
  auto reverse = simt::output<int64_t>("reverse", 2);
  CHECK(cuda::launch_find_reverse({offsets.data(), columns.data(), 3, 2}, reverse.data(),
                                  nullptr) == cudaSuccess);
  EXPECT_SAME(reverse, {-1, 1});
}

namespace {

template <class T>
void compare_scores(int64_t rows, int64_t d, double tolerance) {
  std::vector<T> values = simt::random_values<T>(rows * (d + 1), 1);
  for (int64_t c = 0; c < d; ++c) values[c] = 0;  // shorter than eps
  const auto x = simt::input("x", values);
  const auto summary = simt::input("summary", simt::random_values<T>(rows * d, 2));
  const auto grad = simt::input("grad", simt::random_values<T>(rows, 3));
  auto scores = simt::output<T>("scores", rows);
  auto grad_x = simt::output<T>("grad_x", rows * d);
  auto grad_summary = simt::output<T>("grad_summary", rows * d);
  const cuda::SeedScoreArgs<T> args{rows, d, {x.data(), d + 1}, {summary.data(), d}, 1e-12};
  CHECK(cuda::launch_seed_scores(args, {7, nullptr}, scores.data(), nullptr) == cudaSuccess);
  CHECK(cuda::launch_seed_scores_backward(args, grad.data(), grad_x.data(), grad_summary.data(),
                                          nullptr) == cudaSuccess);
  const SeedScoreArgs<T> twin{x.data(), d + 1, summary.data(), d, d};
  std::vector<T> wanted(static_cast<size_t>(rows));
  std::vector<T> wanted_x(static_cast<size_t>(rows * d)), wanted_summary(wanted_x.size());
  seed_scores(twin, 1e-12, 7, wanted.data(), 0, rows);
  seed_scores_backward(twin, 1e-12, grad.data(), wanted_x.data(), wanted_summary.data(), 0, rows);
  EXPECT_CLOSE(scores, wanted, tolerance);
  EXPECT_CLOSE(grad_x, wanted_x, tolerance);
  EXPECT_CLOSE(grad_summary, wanted_summary, tolerance);
}

}  // namespace

TEST(subgraphs_seed_scores_are_those_of_the_cpu) {
  for (const int64_t rows : simt::odd_counts()) {
    for (const int64_t d : {1, 8, 33}) {
      compare_scores<float>(rows, d, 1e-6);
      compare_scores<double>(rows, d, 1e-13);
    }
  }
}
