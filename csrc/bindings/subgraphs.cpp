#include "cpu/subgraphs.h"

#include <tuple>
#include <vector>

#include "bindings/common.h"
#include "bindings/subgraphs_checks.h"
#include "native/graph.h"

namespace rlmrec_fast {
namespace {

constexpr int64_t kRows = 512;

using Graphs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// Memory for what graphs hold or, where they are padded, could hold at most; zeros behind it.
class Room {
 public:
  Room(const Tensor& like, int64_t num_entries, bool padded)
      : like_(like), num_nodes_(like.numel() - 1), num_entries_(num_entries), padded_(padded) {}

  Tensor of_encoder(ScalarType type, int64_t used) const { return of(type, used, num_entries_); }
  Tensor of_decoder(int64_t used) const {
    return of(ScalarType::Int, used, most_decoder_entries(num_nodes_, num_entries_));
  }

  Tensor partition_of(const Tensor& offsets) const {
    auto boundaries = native::partition_rows(
        "draw_subgraphs", {const_data<int64_t>(offsets), static_cast<size_t>(offsets.numel())});
    if (padded_) {
      const int64_t entries = most_decoder_entries(num_nodes_, num_entries_);
      boundaries.resize(static_cast<size_t>(most_boundaries(num_nodes_, entries)),
                        boundaries.back());
    }
    Tensor partition =
        empty_of(like_, {static_cast<int64_t>(boundaries.size()), 2}, ScalarType::Long);
    std::copy_n(boundaries.front().data(), partition.numel(), mutable_data<int64_t>(partition));
    return partition;
  }

 private:
  Tensor of(ScalarType type, int64_t used, int64_t most) const {
    return padded_ ? torch::stable::new_zeros(like_, std::vector<int64_t>{most}, type)
                   : empty_of(like_, {used}, type);
  }

  const Tensor& like_;
  int64_t num_nodes_, num_entries_;
  bool padded_;
};

Graphs draw(const Tensor& offsets_, const Tensor& columns_, const Tensor& seeds_,
            const Tensor& seed_, int64_t mask_depth, double keep_rate, bool padded) {
  const Tensor offsets = check_longs(offsets_, "draw_subgraphs: offsets");
  const Tensor columns = check_ints(columns_, "draw_subgraphs: columns");
  const Tensor seeds = check_longs(seeds_, "draw_subgraphs: seeds");
  const uint64_t seed = read_seed(seed_, "draw_subgraphs");
  const int64_t num_nodes = offsets.numel() - 1;
  check_offsets(const_data<int64_t>(offsets), num_nodes, columns.numel(),
                "draw_subgraphs: offsets");
  check_draw(num_nodes, mask_depth, keep_rate);
  const NodeRows graph{const_data<int64_t>(offsets), const_data<int32_t>(columns), num_nodes};
  uint32_t largest = 0;
  for (int64_t p = 0; p < columns.numel(); ++p) {
    largest = std::max(largest, static_cast<uint32_t>(graph.columns[p]));
  }
  check(columns.numel() == 0 || largest < num_nodes, "draw_subgraphs: columns must be in [0, ",
        num_nodes, ")");
  check_ids(const_data<int64_t>(seeds), seeds.numel(), num_nodes, "draw_subgraphs: seeds");
  const Room room(offsets, columns.numel(), padded);
  const Scratch<uint8_t> masked(num_nodes + 1);
  mask_around(graph, const_data<int64_t>(seeds), seeds.numel(), mask_depth, masked.get());
  Tensor encoder_offsets = empty_of(offsets, {num_nodes + 1}, ScalarType::Long);
  count_encoder(graph, masked.get(), mutable_data<int64_t>(encoder_offsets));
  const int64_t kept = const_data<int64_t>(encoder_offsets)[num_nodes];
  Tensor encoder_columns = room.of_encoder(ScalarType::Int, kept);
  Tensor reverse = room.of_encoder(ScalarType::Long, kept);
  const NodeRows encoder{const_data<int64_t>(encoder_offsets), const_data<int32_t>(encoder_columns),
                         num_nodes};
  check(fill_encoder(graph, masked.get(), encoder.offsets, mutable_data<int32_t>(encoder_columns),
                     mutable_data<int64_t>(reverse)),
        "draw_subgraphs: columns must hold (c, r) for every entry (r, c), sorted in every row");

  const auto num_draws = static_cast<int64_t>(static_cast<double>(num_nodes) * keep_rate);
  const DecoderRows rows(encoder, draw_candidates(masked.get(), num_nodes, num_draws, seed),
                         columns.numel(), seed);
  Tensor decoder_offsets = empty_of(offsets, {num_nodes + 1}, ScalarType::Long);
  rows.count(mutable_data<int64_t>(decoder_offsets));
  const auto* decoder_rows = const_data<int64_t>(decoder_offsets);
  Tensor decoder_columns = room.of_decoder(decoder_rows[num_nodes]);
  rows.fill(decoder_rows, mutable_data<int32_t>(decoder_columns));
  return {encoder_offsets,
          encoder_columns,
          reverse,
          room.partition_of(encoder_offsets),
          decoder_offsets,
          decoder_columns,
          room.partition_of(decoder_offsets)};
}

template <class T>
SeedScoreArgs<T> score_args(const Tensor& x, const Tensor& summary) {
  return {const_data<T>(x), x.stride(0), const_data<T>(summary), summary.stride(0), x.size(1)};
}

Tensor scores(const Tensor& x_, const Tensor& summary_, const Tensor& seed_) {
  const Tensor x = check_table(x_, "seed_scores: x");
  const Tensor summary = check_summary(summary_, x, "seed_scores");
  const uint64_t seed = read_seed(seed_, "seed_scores");
  Tensor result = empty_of(x, {x.size(0)}, x.scalar_type());
  dispatch_float(x, "seed_scores: x", [&](auto type) {
    using T = decltype(type);
    const auto args = score_args<T>(x, summary);
    T* out = mutable_data<T>(result);
    torch::stable::parallel_for(0, x.size(0), kRows, [&](int64_t begin, int64_t end) {
      seed_scores(args, kUnitEps, seed, out, begin, end);
    });
  });
  return result;
}

std::tuple<Tensor, Tensor> scores_backward(const Tensor& grad_, const Tensor& x_,
                                           const Tensor& summary_) {
  const Tensor x = check_table(x_, "seed_scores_backward: x");
  const Tensor summary = check_summary(summary_, x, "seed_scores_backward");
  const Tensor grad = check_score_gradient(grad_, x);
  Tensor grad_x = empty_of(x, {x.size(0), x.size(1)}, x.scalar_type());
  Tensor grad_summary = empty_of(x, {x.size(0), x.size(1)}, x.scalar_type());
  dispatch_float(x, "seed_scores_backward: x", [&](auto type) {
    using T = decltype(type);
    const auto args = score_args<T>(x, summary);
    T* out_x = mutable_data<T>(grad_x);
    T* out_summary = mutable_data<T>(grad_summary);
    torch::stable::parallel_for(0, x.size(0), kRows, [&](int64_t begin, int64_t end) {
      seed_scores_backward(args, kUnitEps, const_data<T>(grad), out_x, out_summary, begin, end);
    });
  });
  return {grad_x, grad_summary};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("draw_subgraphs", TORCH_BOX(&rlmrec_fast::draw));
  m.impl("seed_scores", TORCH_BOX(&rlmrec_fast::scores));
  m.impl("seed_scores_backward", TORCH_BOX(&rlmrec_fast::scores_backward));
}
