#include "cuda/subgraphs.h"

#include <limits>
#include <tuple>
#include <vector>

#include "bindings/cuda/layer.h"
#include "bindings/subgraphs_checks.h"
#include "native/graph.h"

namespace rlmrec_fast {
namespace {

constexpr const char* kDraw = "draw_subgraphs";
// A search so deep that it may have long been over is asked whether it is after so many levels.
constexpr int64_t kLevels = 64;

int64_t* longs(Tensor& tensor) { return mutable_data<int64_t>(tensor); }
const int64_t* const_longs(const Tensor& tensor) { return const_data<int64_t>(tensor); }

// Its steps, in order. How much graphs hold depends on what is drawn: unless they are padded, the
// host waits for that, as it does for a deep search.
class Draw {
 public:
  using Graphs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

  Draw(const Tensor& offsets, const Tensor& columns, cuda::Seed seed, bool padded,
       const OnDevice& device)
      : like_(offsets),
        graph_{const_longs(offsets), const_data<int32_t>(columns), offsets.numel() - 1,
               columns.numel()},
        seed_(seed),
        padded_(padded),
        stream_(device.stream()) {}

  Graphs run(const Tensor& seeds, int64_t depth, double keep_rate) {
    if (graph_.num_nodes == 0) return nothing();
    mask(seeds, depth);
    count();
    const auto num_draws = static_cast<int64_t>(static_cast<double>(graph_.num_nodes) * keep_rate);
    const Tensor candidates = draw_candidates(num_draws);
    sort_decoder(candidates);
    return padded_ ? write_padded() : write_exact(seeds.numel());
  }

 private:
  Tensor zeros(ScalarType type, int64_t count) const {
    return torch::stable::new_zeros(like_, std::vector<int64_t>{count}, type);
  }
  Tensor empty(ScalarType type, int64_t count) const { return empty_of(like_, {count}, type); }
  void launched(const char* kernel, cudaError_t error) const { check_launch(kDraw, kernel, error); }
  int32_t* masked() { return mutable_data<int32_t>(masked_); }

  void mask(const Tensor& seeds, int64_t depth) {
    masked_ = zeros(ScalarType::Int, graph_.num_nodes);
    wrong_ = zeros(ScalarType::Int, 1);
    if (seeds.numel() > 0) {
      launched("mark_seeds",
               cuda::launch_mark_seeds(const_longs(seeds), seeds.numel(), graph_.num_nodes,
                                       masked(), mutable_data<int32_t>(wrong_), stream_));
    }
    Tensor changed = wrong_;
    for (int64_t level = 1; level < depth && level < graph_.num_nodes; ++level) {
      if (level % kLevels == 1) {
        if (level > 1 && read_number(changed) == 0) break;
        changed = zeros(ScalarType::Int, 1);
      }
      Tensor next = empty(ScalarType::Int, graph_.num_nodes);
      launched("spread_mask",
               cuda::launch_spread_mask(graph_, masked(), mutable_data<int32_t>(next),
                                        mutable_data<int32_t>(changed), stream_));
      masked_ = next;
    }
  }

  void count() {
    Tensor kept = empty(ScalarType::Long, graph_.num_nodes + 1);
    chosen_ = empty(ScalarType::Long, graph_.num_nodes + 1);
    launched("count_kept",
             cuda::launch_count_kept(graph_, masked(), longs(kept), longs(chosen_), stream_));
    encoder_offsets_ = running_sum(kept);
  }

  Tensor draw_candidates(int64_t num_draws) {
    if (num_draws > 0) {
      launched("draw_nodes", cuda::launch_draw_nodes(seed_, num_draws, graph_.num_nodes,
                                                     longs(chosen_), stream_));
    }
    chosen_ = running_sum(chosen_);
    Tensor candidates = empty(ScalarType::Int, graph_.num_nodes);
    launched("list_candidates",
             cuda::launch_list_candidates(const_longs(chosen_), graph_.num_nodes,
                                          mutable_data<int32_t>(candidates), stream_));
    return candidates;
  }

  void sort_decoder(const Tensor& candidates) {
    const cuda::DecoderArgs args{graph_,
                                 const_data<int32_t>(masked_),
                                 const_data<int32_t>(candidates),
                                 const_longs(chosen_) + graph_.num_nodes,
                                 graph_.num_entries,
                                 seed_};
    Tensor keys = empty(ScalarType::Long, args.num_keys());
    launched("decoder_keys", cuda::launch_decoder_keys(args, longs(keys), stream_));
    keys_ = sort_keys(keys).second;
    Tensor first = empty(ScalarType::Long, args.num_keys() + 1);
    launched("mark_first",
             cuda::launch_mark_first(const_longs(keys_), args.num_keys(), longs(first), stream_));
    first_ = running_sum(first);
    decoder_offsets_ = empty(ScalarType::Long, graph_.num_nodes + 1);
    launched("decoder_offsets",
             cuda::launch_decoder_offsets(const_longs(keys_), args.num_keys(), const_longs(first_),
                                          graph_.num_nodes, longs(decoder_offsets_), stream_));
  }

  // Parts are the CPU's: kernels take rows and entries as they come, so nobody looks at them here.
  Graphs write_padded() {
    const int64_t entries = most_decoder_entries(graph_.num_nodes, graph_.num_entries);
    const std::vector<int64_t> parts{most_boundaries(graph_.num_nodes, entries), 2};
    return write(graph_.num_entries, keys_.numel(),
                 torch::stable::new_zeros(like_, parts, ScalarType::Long),
                 torch::stable::new_zeros(like_, parts, ScalarType::Long));
  }

  Graphs write_exact(int64_t num_seeds) {
    const int64_t nodes = graph_.num_nodes;
    const auto both = read_back<int64_t>(
        kDraw, {const_longs(encoder_offsets_), const_longs(decoder_offsets_)}, nodes + 1, stream_);
    const std::vector<int64_t> encoder(both.begin(), both.begin() + nodes + 1);
    const std::vector<int64_t> decoder(both.begin() + nodes + 1, both.end());
    const int32_t wrong = read_number(wrong_);
    check(wrong == 0, kDraw, ": seeds must be in [0, ", nodes, ") (got ", wrong, " of ", num_seeds,
          " that are not)");
    return write(encoder.back(), decoder.back(), partition_of(encoder), partition_of(decoder));
  }

  // Graphs of so many entries, or fewer: zeros follow then.
  Graphs write(int64_t num_kept, int64_t num_pairs, const Tensor& parts, const Tensor& pair_parts) {
    Tensor columns = zeros(ScalarType::Int, num_kept);
    Tensor reverse = zeros(ScalarType::Long, num_kept);
    launched("fill_encoder",
             cuda::launch_fill_encoder(graph_, masked(), const_longs(encoder_offsets_),
                                       mutable_data<int32_t>(columns), stream_));
    if (num_kept > 0) {
      const cuda::NodeRows rows{const_longs(encoder_offsets_), const_data<int32_t>(columns),
                                graph_.num_nodes, num_kept};
      launched("find_reverse", cuda::launch_find_reverse(rows, longs(reverse), stream_));
    }
    Tensor pairs = zeros(ScalarType::Int, num_pairs);
    launched("fill_decoder",
             cuda::launch_fill_decoder(const_longs(keys_), keys_.numel(), const_longs(first_),
                                       graph_.num_nodes, mutable_data<int32_t>(pairs), stream_));
    return {encoder_offsets_, columns, reverse, parts, decoder_offsets_, pairs, pair_parts};
  }

  Graphs nothing() const {
    const Tensor none = zeros(ScalarType::Int, 0);
    const Tensor offsets = zeros(ScalarType::Long, 1), partition = partition_of({0});
    return {offsets, none, zeros(ScalarType::Long, 0), partition, offsets, none, partition};
  }

  // The host's partition of rows, on the device.
  Tensor partition_of(const std::vector<int64_t>& offsets) const {
    const auto boundaries = native::partition_rows(kDraw, offsets);
    Tensor partition =
        empty_of(like_, {static_cast<int64_t>(boundaries.size()), 2}, ScalarType::Long);
    check_launch(kDraw, "cudaMemcpyAsync",
                 cudaMemcpyAsync(longs(partition), boundaries.front().data(),
                                 boundaries.size() * sizeof(boundaries[0]), cudaMemcpyHostToDevice,
                                 stream_));
    return partition;
  }

  int32_t read_number(const Tensor& number) const {
    return read_back(kDraw, {const_data<int32_t>(number)}, 1, stream_)[0];
  }

  const Tensor& like_;
  cuda::NodeRows graph_;
  cuda::Seed seed_;
  bool padded_;
  cudaStream_t stream_;
  Tensor masked_, wrong_, chosen_, encoder_offsets_, decoder_offsets_, keys_, first_;
};

Draw::Graphs draw(const Tensor& offsets_, const Tensor& columns_, const Tensor& seeds_,
                  const Tensor& seed, int64_t mask_depth, double keep_rate, bool padded) {
  check_on_device(kDraw, {{"offsets", offsets_}, {"columns", columns_}, {"seeds", seeds_}});
  const OnDevice device(offsets_);
  const Tensor offsets = check_longs(offsets_, "draw_subgraphs: offsets");
  const Tensor columns = check_ints(columns_, "draw_subgraphs: columns");
  const Tensor seeds = check_longs(seeds_, "draw_subgraphs: seeds");
  check_draw(offsets.numel() - 1, mask_depth, keep_rate);
  return Draw(offsets, columns, device_seed(kDraw, seed, offsets), padded, device)
      .run(seeds, mask_depth, keep_rate);
}

template <class T>
cuda::SeedScoreArgs<T> score_args(const Tensor& x, const Tensor& summary) {
  return {x.size(0),
          x.size(1),
          {const_data<T>(x), x.stride(0)},
          {const_data<T>(summary), summary.stride(0)},
          kUnitEps};
}

Tensor scores(const Tensor& x_, const Tensor& summary_, const Tensor& seed_) {
  check_on_device("seed_scores", {{"x", x_}, {"summary", summary_}});
  const OnDevice device(x_);
  const Tensor x = check_table(x_, "seed_scores: x");
  const Tensor summary = check_summary(summary_, x, "seed_scores");
  const cuda::Seed seed = device_seed("seed_scores", seed_, x);
  Tensor result = empty_of(x, {x.size(0)}, x.scalar_type());
  dispatch_float(x, "seed_scores: x", [&](auto type) {
    using T = decltype(type);
    if (x.size(0) == 0) return;
    check_launch("seed_scores", "seed_scores",
                 cuda::launch_seed_scores(score_args<T>(x, summary), seed, mutable_data<T>(result),
                                          device.stream()));
  });
  return result;
}

std::tuple<Tensor, Tensor> scores_backward(const Tensor& grad_, const Tensor& x_,
                                           const Tensor& summary_) {
  constexpr auto op = "seed_scores_backward";
  check_on_device(op, {{"grad", grad_}, {"x", x_}, {"summary", summary_}});
  const OnDevice device(x_);
  const Tensor x = check_table(x_, "seed_scores_backward: x");
  const Tensor summary = check_summary(summary_, x, op);
  const Tensor grad = check_score_gradient(grad_, x);
  Tensor grad_x = empty_of(x, {x.size(0), x.size(1)}, x.scalar_type());
  Tensor grad_summary = empty_of(x, {x.size(0), x.size(1)}, x.scalar_type());
  dispatch_float(x, "seed_scores_backward: x", [&](auto type) {
    using T = decltype(type);
    if (x.size(0) == 0) return;
    check_launch(op, op,
                 cuda::launch_seed_scores_backward(score_args<T>(x, summary), const_data<T>(grad),
                                                   mutable_data<T>(grad_x),
                                                   mutable_data<T>(grad_summary), device.stream()));
  });
  return {grad_x, grad_summary};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("draw_subgraphs", TORCH_BOX(&rlmrec_fast::draw));
  m.impl("seed_scores", TORCH_BOX(&rlmrec_fast::scores));
  m.impl("seed_scores_backward", TORCH_BOX(&rlmrec_fast::scores_backward));
}
