// Kernels on data like real ones, in small: what `--record` and `python -m bench.cuda_kernels` look
// at. Values are compared elsewhere; here results must not depend on the schedule.
#include "cuda/bpr.h"
#include "cuda/contrast.h"
#include "cuda/edges.h"
#include "cuda/neighbors.h"
#include "cuda/propagate.h"
#include "cuda/rank.h"
#include "cuda/sample.h"
#include "cuda/subgraphs.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;

template <class T>
void note(const simt::Buffer<T>& buffer) {
  simt::note_bits(buffer.data(), buffer.size() * sizeof(T));
}

// Degrees of 4 to 20, as in Amazon-book's graph, and one row that is cut.
simt::Csr graph(int64_t rows) {
  std::vector<int64_t> lengths = simt::random_indices<int64_t>(rows, 17, 3);
  for (int64_t& length : lengths) length += 4;
  lengths[7] = 600;
  return simt::random_csr("graph", lengths, rows, 4, true);
}

void propagate(int64_t d) {
  constexpr int64_t kRows = 200;
  const simt::Csr matrix = graph(kRows);
  const auto offsets = simt::input("offsets", matrix.offsets);
  const auto columns = simt::input("columns", matrix.columns);
  const auto scale = simt::input("scale", std::vector<float>(kRows, 0.25F));
  const auto x = simt::input("x", simt::random_values<float>(kRows * d, 1));
  auto y = simt::output<float>("y", kRows * d);
  auto pieces = simt::output<float>("pieces", cuda::pieces_size(matrix.num_entries(), d));
  cuda::LayerArgs<float> args;
  args.offsets = offsets.data();
  args.columns = columns.data();
  args.num_rows = args.num_wanted = kRows;
  args.num_entries = matrix.num_entries();
  args.column_scale = args.row_scale = scale.data();
  args.keep_rate = 0.8;
  args.seed = {77, nullptr};
  args.x = x.data();
  args.y = y.data();
  args.x_stride = args.y_stride = args.d = d;
  args.pieces = pieces.data();
  CHECK(cuda::launch_propagate_pieces(args, nullptr) == cudaSuccess);
  CHECK(cuda::launch_propagate_rows(args, nullptr) == cudaSuccess);
  note(y);
}

}  // namespace

TEST(record_propagate_d32) { propagate(32); }
TEST(record_propagate_d64) { propagate(64); }

TEST(record_rank) {
  constexpr int64_t kUsers = 40, kItems = 300, kD = 32, kBest = 20;
  const auto users = simt::input("users", simt::random_values<float>(kUsers * kD, 1));
  const auto items = simt::input("items", simt::random_values<float>(kItems * kD, 2));
  auto best = simt::output<int64_t>("best", kUsers * kBest);
  auto scores = simt::output<float>("scores", kUsers * kBest);
  const cuda::RankArgs<float> args{users.data(), kD,      kUsers,      items.data(),
                                   kD,           kItems,  kD,          kBest,
                                   nullptr,      nullptr, best.data(), scores.data()};
  CHECK(cuda::launch_rank_users(args, nullptr) == cudaSuccess);
  note(best);
}

TEST(record_bpr) {
  constexpr int64_t kRows = 500, kD = 32, kSize = 256;
  const auto users = simt::input("users", simt::random_values<float>(kRows * kD, 1));
  const auto items = simt::input("items", simt::random_values<float>(kRows * kD, 2));
  const auto user = simt::input("user", simt::random_indices<int64_t>(kSize, kRows, 3));
  const auto positive = simt::input("positive", simt::random_indices<int64_t>(kSize, kRows, 4));
  const auto negative = simt::input("negative", simt::random_indices<int64_t>(kSize, kRows, 5));
  auto losses = simt::output<float>("losses", kSize);
  auto slopes = simt::output<float>("slopes", kSize);
  const cuda::BprArgs<float> args{users.data(),    items.data(),    kD,   kD,
                                  kRows,           kRows,           kD,   user.data(),
                                  positive.data(), negative.data(), kSize};
  CHECK(cuda::launch_bpr_losses(args, losses.data(), slopes.data(), nullptr) == cudaSuccess);
  note(losses);
}

TEST(record_sample) {
  const simt::Csr matrix = graph(200);
  const auto offsets = simt::input("offsets", matrix.offsets);
  const auto items = simt::input("items", matrix.columns);
  auto negatives = simt::output<int64_t>("negatives", matrix.num_entries());
  CHECK(cuda::launch_sample_negatives(offsets.data(), 200, items.data(), matrix.num_entries(), 300,
                                      {7, nullptr}, negatives.data(), nullptr) == cudaSuccess);
  note(negatives);
}

namespace {

// A loss and all its gradients: passes with sums in registers (d 32) and in memory (d 100).
void contrast(rlmrec_fast::Products products, int64_t d) {
  constexpr int64_t kQueries = 128, kCandidates = 256;
  const auto query = simt::input("query", simt::random_values<float>(kQueries * d, 1));
  const auto candidates = simt::input("candidates", simt::random_values<float>(kCandidates * d, 2));
  const auto positive = simt::input("positive", simt::random_values<float>(kQueries * d, 3));
  const auto ones = simt::input("coefficients", std::vector<float>(kQueries, 1.0F));
  auto losses = simt::output<float>("losses", kQueries), total = simt::output<float>("total", 1);
  auto grad_query = simt::output<float>("grad_query", kQueries * d);
  auto grad_candidates = simt::output<float>("grad_candidates", kCandidates * d);
  auto grad_positive = simt::output<float>("grad_positive", kQueries * d);
  cuda::ContrastCall<float> call{};
  call.num_queries = kQueries;
  call.num_candidates = kCandidates;
  call.d = d;
  call.query = {query.data(), d};
  call.candidates = {candidates.data(), d};
  call.positive = {positive.data(), d};
  call.temperature = 0.2;
  call.eps = 1e-8;
  call.normalize = rlmrec_fast::Normalize::root;
  call.products = products;
  call.coefficients = ones.data();
  call.losses = losses.data();
  call.total = total.data();
  call.grad_query = grad_query.data();
  call.grad_candidates = grad_candidates.data();
  call.grad_positive = grad_positive.data();
  call.blocks = 4;
  auto workspace = simt::output<uint8_t>("workspace", cuda::contrast_workspace(call));
  CHECK(cuda::launch_contrast(call, workspace.data(), nullptr).error == cudaSuccess);
  note(grad_query);
  note(grad_candidates);
}

// A walk of edge_attention's backward pass with both sums, four heads.
void edges(int64_t d) {
  constexpr int64_t kRows = 200, kHeads = 4;
  const simt::Csr matrix = graph(kRows);
  const auto offsets = simt::input("offsets", matrix.offsets);
  const auto columns = simt::input("columns", matrix.columns);
  const auto key = simt::input("key", simt::random_values<float>(kRows * d, 1));
  const auto value = simt::input("value", simt::random_values<float>(kRows * d, 2));
  const auto query = simt::input("query", simt::random_values<float>(kRows * d, 3));
  const auto grad = simt::input("grad", simt::random_values<float>(kRows * d, 4));
  const auto shifts = simt::input("shifts", simt::random_values<float>(kRows * kHeads, 5));
  auto slopes = simt::output<float>("slopes", kRows * d);
  auto powers = simt::output<float>("powers", kRows * d);
  cuda::EdgeArgs<float> args;
  args.offsets = offsets.data();
  args.columns = columns.data();
  args.num_rows = kRows;
  args.num_entries = matrix.num_entries();
  args.num_heads = kHeads;
  args.head_width = d / kHeads;
  args.limit = 10;
  args.own = {{key.data(), d}, {value.data(), d}};
  args.others = {{query.data(), d}, {grad.data(), d}};
  args.shifts = shifts.data();
  args.slopes = slopes.data();
  args.powers = powers.data();
  auto pieces = simt::output<float>("pieces", cuda::edge_pieces_size(args));
  args.pieces = pieces.data();
  CHECK(cuda::launch_edges(args, nullptr).error == cudaSuccess);
  note(slopes);
  note(powers);
}

}  // namespace

TEST(record_contrast_fma_d32) { contrast(rlmrec_fast::Products::exact, 32); }
TEST(record_contrast_fma_d100) { contrast(rlmrec_fast::Products::exact, 100); }
TEST(record_contrast_tf32_d32) { contrast(rlmrec_fast::Products::tf32, 32); }
TEST(record_contrast_tf32_d100) { contrast(rlmrec_fast::Products::tf32, 100); }
TEST(record_contrast_bf16_d64) { contrast(rlmrec_fast::Products::bfloat16, 64); }

TEST(record_edges_d32) { edges(32); }
TEST(record_edges_d60) { edges(60); }  // heads of no multiple of four

TEST(record_subgraphs) {
  constexpr int64_t kRows = 200, kD = 32;
  const simt::Csr matrix = graph(kRows);
  const auto offsets = simt::input("offsets", matrix.offsets);
  const auto columns = simt::input("columns", matrix.columns);
  std::vector<int32_t> few(kRows);
  for (size_t node = 0; node < few.size(); node += 40) few[node] = 1;
  const auto masked = simt::input("masked", few);
  auto next = simt::output<int32_t>("next", kRows);
  auto changed = simt::inout("changed", std::vector<int32_t>{0});
  const cuda::NodeRows rows{offsets.data(), columns.data(), kRows, matrix.num_entries()};
  CHECK(cuda::launch_spread_mask(rows, masked.data(), next.data(), changed.data(), nullptr) ==
        cudaSuccess);
  note(next);
  const auto candidates = simt::input("candidates", simt::random_indices<int32_t>(90, kRows, 5));
  const auto count = simt::input("count", std::vector<int64_t>{90});
  const cuda::DecoderArgs args{rows,         masked.data(),        candidates.data(),
                               count.data(), matrix.num_entries(), {7, nullptr}};
  auto keys = simt::output<int64_t>("keys", args.num_keys());
  CHECK(cuda::launch_decoder_keys(args, keys.data(), nullptr) == cudaSuccess);
  note(keys);
  const auto x = simt::input("x", simt::random_values<float>(kRows * kD, 1));
  const auto summary = simt::input("summary", simt::random_values<float>(kRows * kD, 2));
  auto scores = simt::output<float>("scores", kRows);
  CHECK(cuda::launch_seed_scores(
            cuda::SeedScoreArgs<float>{kRows, kD, {x.data(), kD}, {summary.data(), kD}, 1e-12},
            {7, nullptr}, scores.data(), nullptr) == cudaSuccess);
  note(scores);
}

TEST(record_neighbors) {
  constexpr int64_t kRows = 100, kD = 32, kBest = 10;
  constexpr int64_t kNoRow = int64_t{1} << 62;
  const auto table = simt::input("table", simt::random_values<float>(kRows * kD, 1));
  auto directions = simt::output<double>("directions", kRows * kD);
  auto offsets = simt::output<int64_t>("offsets", kRows + 1);
  auto own = simt::output<int32_t>("own", kRows);
  auto wrong = simt::inout("wrong", std::vector<int64_t>{kNoRow});
  CHECK(cuda::launch_find_directions(cuda::DirectionArgs<float>{kRows,
                                                                kD,
                                                                {table.data(), kD},
                                                                directions.data(),
                                                                offsets.data(),
                                                                own.data(),
                                                                wrong.data()},
                                     nullptr) == cudaSuccess);
  note(directions);
  auto best = simt::output<int64_t>("best", kRows * kBest);
  auto scores = simt::output<double>("scores", kRows * kBest);
  CHECK(cuda::launch_rank_users(
            cuda::RankArgs<double>{directions.data(), kD, kRows, directions.data(), kD, kRows, kD,
                                   kBest, offsets.data(), own.data(), best.data(), scores.data()},
            nullptr) == cudaSuccess);
  note(best);
  std::vector<int64_t> lists(2 * kRows * kBest);
  for (size_t i = 0; i < lists.size(); ++i) lists[i] = static_cast<int64_t>(i * 7 % 101);
  const auto first = simt::input("first", lists);
  auto overlap = simt::output<double>("overlap", kRows);
  auto twice = simt::inout("wrong", std::vector<int64_t>{kNoRow, kNoRow});
  CHECK(cuda::launch_neighbor_overlap({kRows, first.data(), kBest, first.data() + kRows * kBest,
                                       kBest, overlap.data(), twice.data()},
                                      nullptr) == cudaSuccess);
  note(overlap);
}
