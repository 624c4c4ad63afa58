#include "cpu/neighbors.h"

#include <memory>
#include <mutex>
#include <numeric>

#include "bindings/common.h"
#include "common/random.h"
#include "common/scratch.h"
#include "cpu/overlap.h"

namespace rlmrec_fast {
namespace {

// Rows that a thread takes at a time, that the mean is taken of, and what their order is drawn
// from; results depend on none of these.
constexpr int64_t kRowsAtOnce = 64;
constexpr int64_t kMeanRows = 4096;
constexpr uint64_t kOrderSeed = 1;

// The lower of two row numbers, of which -1 means none.
void keep_lower(std::atomic<int64_t>& lowest, int64_t row) {
  int64_t known = lowest;
  while (row >= 0 && (known < 0 || row < known) && !lowest.compare_exchange_weak(known, row)) {
  }
}

// Work on [0, count) in small parts.
template <class Work>
void for_rows(int64_t count, Work work) {
  parallel_parts((count + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t part) {
    work(part * kRowsAtOnce, std::min(count, (part + 1) * kRowsAtOnce));
  });
}

// Every pair of blocks once, each block with itself first. Then rounds, as in a tournament: blocks
// meet others in pairs that have none in common, so that threads seldom wait for each other.
class BlockPairs {
 public:
  explicit BlockPairs(int64_t blocks) : blocks_(blocks), players_(blocks + blocks % 2) {}

  // Some are nobody's: with an odd number of blocks one rests in each round.
  int64_t count() const { return blocks_ + (players_ - 1) * (players_ / 2); }

  std::pair<int64_t, int64_t> at(int64_t index) const {
    if (index < blocks_) return {index, index};
    const int64_t round = (index - blocks_) / (players_ / 2);
    const int64_t place = (index - blocks_) % (players_ / 2);
    const int64_t circle = players_ - 1;  // the last one stays, the others move around
    const int64_t one = (round + place) % circle;
    const int64_t other = place == 0 ? circle : (round - place + circle) % circle;
    return {std::min(one, other), std::max(one, other)};
  }

 private:
  int64_t blocks_, players_;
};

// Working memory of one call, and its work.
template <class T>
class Neighbors {
 public:
  Neighbors(const Tensor& table, int64_t k, int64_t* neighbors)
      : blocks_(neighbor_blocks(table.size(0))), order_(table.size(0)) {
    args_.num_rows = table.size(0);
    args_.d = table.size(1);
    args_.k = std::min(k, args_.num_rows - 1);
    args_.stride = (args_.d + kDirectionLanes - 1) / kDirectionLanes * kDirectionLanes;
    args_.neighbors = neighbors;
    args_.width = k;
    set_order();
    directions_ = Scratch<T>(args_.num_rows * args_.stride);
    args_.directions = directions_.get();
    std::atomic<int64_t> wrong{-1};
    for_rows(args_.num_rows, [&](int64_t begin, int64_t end) {
      keep_lower(wrong,
                 RLMREC_FAST_CALL(find_directions, const_data<T>(table), table.stride(0), args_.d,
                                  args_.order, begin, end, directions_.get(), args_.stride));
    });
    check(wrong < 0, "neighbors: table must be finite (got NaN or infinity in row ", wrong.load(),
          ")");
  }

  void run() {
    const int64_t padded = blocks_ * kNeighborBlock;
    const int64_t room = std::min(args_.k + args_.k / 2 + kCollectedLanes, args_.num_rows);
    // An odd number of cache lines: rows' ends then spread over the whole cache.
    args_.capacity = ((room / kCollectedLanes + 2) | 1) * kCollectedLanes;
    const Scratch<double> mean(args_.stride);
    const Scratch<float> places(7 * padded);
    const Scratch<int64_t> compared(blocks_);
    const Scratch<int32_t> counts(padded);
    const Scratch<int16_t> integers(padded * ((args_.d + 1) / 2 * 2));
    const Scratch<char> collected(args_.num_rows * args_.capacity * kCollectedBytes);
    set_mean(mean.get());
    args_.mean = mean.get();
    args_.compared = compared.get();
    float* by_place = places.get();
    for (float** field : {&args_.shifts, &args_.radii, &args_.steps, &args_.errors, &args_.margins,
                          &args_.limits, &args_.guesses}) {
      *field = by_place;
      by_place += padded;
    }
    args_.counts = counts.get();
    args_.integers = integers.get();
    args_.collected = collected.get();
    screen();
    for_rows(args_.num_rows, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(write_neighbors, args_, begin, end);
    });
  }

 private:
  void set_order() {
    std::iota(order_.get(), order_.get() + args_.num_rows, 0);
    for (int64_t last = args_.num_rows - 1; last > 0; --last) {
      const uint64_t random = child_seed(kOrderSeed, static_cast<uint64_t>(last));
      std::swap(order_.get()[last], order_.get()[bounded(random, static_cast<uint64_t>(last) + 1)]);
    }
    args_.order = order_.get();
  }

  // Of some rows: it need not be exact.
  void set_mean(double* mean) const {
    const int64_t step = (args_.num_rows + kMeanRows - 1) / kMeanRows;
    std::fill(mean, mean + args_.stride, 0.0);
    for (int64_t row = 0; row < args_.num_rows; row += step) {
      const T* direction = args_.directions + row * args_.stride;
      for (int64_t c = 0; c < args_.d; ++c) mean[c] += direction[c];
    }
    const auto rows = static_cast<double>((args_.num_rows + step - 1) / step);
    for (int64_t c = 0; c < args_.d; ++c) mean[c] /= rows;
  }

  void screen() {
    parallel_parts(blocks_, [&](int64_t block) { RLMREC_FAST_CALL(measure_block, args_, block); });
    RLMREC_FAST_CALL(choose_step, args_);
    parallel_parts(blocks_, [&](int64_t block) { RLMREC_FAST_CALL(pack_block, args_, block); });
    RLMREC_FAST_CALL(start_screen, args_);
    const BlockPairs pairs(blocks_);
    const std::unique_ptr<std::mutex[]> in_use(new std::mutex[blocks_]);
    parallel_parts(pairs.count(), [&](int64_t index) {
      const auto [first, second] = pairs.at(index);
      if (second >= blocks_) return;
      const std::lock_guard one(in_use[first]);  // the lower number first: no circle of waiting
      const std::unique_lock other =
          first == second ? std::unique_lock<std::mutex>() : std::unique_lock(in_use[second]);
      RLMREC_FAST_CALL(screen_blocks, args_, first, second);
    });
  }

  int64_t blocks_;
  Scratch<int32_t> order_;
  Scratch<T> directions_;
  NeighborArgs<T> args_{};
};

Tensor neighbors(const Tensor& table_, int64_t k) {
  check(k >= 1 && k <= (int64_t{1} << 31), "neighbors: k must be at least 1 and at most 2^31 (got ",
        k, ")");
  check(table_.dim() == 2, "neighbors: table must have two dimensions (got ", table_.dim(), ")");
  const int64_t num_rows = table_.size(0);
  check(num_rows < (int64_t{1} << 31) - kNeighborBlock,
        "neighbors: table must have fewer than 2^31 rows (got ", num_rows, ")");
  check(table_.size(1) <= kMostNeighborColumns, "neighbors: table must have at most ",
        kMostNeighborColumns, " columns (got ", table_.size(1), ")");
  const Tensor table = check_table(table_, "neighbors: table");
  Tensor found = empty_of(table, {num_rows, k}, ScalarType::Long);
  dispatch_float(table, "neighbors: table", [&](auto type) {
    if (num_rows == 0) return;
    int64_t* out = mutable_data<int64_t>(found);
    Neighbors<decltype(type)> work(table, k, out);
    if (num_rows > 1) return work.run();
    std::fill(out, out + k, int64_t{-1});
  });
  return found;
}

Tensor check_neighbors(const Tensor& tensor, const char* name) {
  check(tensor.dim() == 2, name, " must have two dimensions (got ", tensor.dim(), ")");
  check(tensor.scalar_type() == ScalarType::Long, name, " must be of type int64");
  return torch::stable::contiguous(tensor);
}

Tensor overlap(const Tensor& first_, const Tensor& second_) {
  const Tensor first = check_neighbors(first_, "neighbor_overlap: first");
  const Tensor second = check_neighbors(second_, "neighbor_overlap: second");
  const int64_t num_rows = first.size(0);
  check(second.size(0) == num_rows, "neighbor_overlap: second must have ", num_rows,
        " rows like first (got ", second.size(0), ")");
  Tensor result = empty_of(first, {num_rows}, ScalarType::Double);
  double* out = mutable_data<double>(result);
  std::atomic<int64_t> in_first{-1}, in_second{-1};
  for_rows(num_rows, [&](int64_t begin, int64_t end) {
    const RepeatedNeighbors repeated =
        neighbor_overlap(const_data<int64_t>(first), first.size(1), const_data<int64_t>(second),
                         second.size(1), begin, end, out);
    keep_lower(in_first, repeated.first);
    keep_lower(in_second, repeated.second);
  });
  const char* message = " must not name a neighbour twice (got row ";
  check(in_first < 0, "neighbor_overlap: first", message, in_first.load(), ")");
  check(in_second < 0, "neighbor_overlap: second", message, in_second.load(), ")");
  return result;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("neighbors", TORCH_BOX(&rlmrec_fast::neighbors));
  m.impl("neighbor_overlap", TORCH_BOX(&rlmrec_fast::overlap));
}
