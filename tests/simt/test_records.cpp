// Kernels on data like real ones, in small: what `--record` and `python -m bench.cuda_kernels` look
// at. Values are compared elsewhere; here results must not depend on the schedule.
#include "cuda/bpr.h"
#include "cuda/propagate.h"
#include "cuda/rank.h"
#include "cuda/sample.h"
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
