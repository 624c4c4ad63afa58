// cuda/bpr.h against cpu/bpr.h, gradients against sums in double precision.
#include <algorithm>
#include <numeric>

#include "common/cpu_features.h"
#include "cpu/bpr.h"
#include "cuda/bpr.h"
#include "simt/compare.h"

namespace {

namespace cuda = rlmrec_fast::cuda;
using cuda::BprSide;

constexpr int64_t kUsers = 9, kItems = 7;

// Random triplets of few ids, which therefore repeat; some of larger batches out of range.
struct Triplets {
  std::vector<int64_t> users, positives, negatives;

  Triplets(int64_t size, int64_t num_users, int64_t num_items, bool wrong)
      : users(simt::random_indices<int64_t>(size, num_users, 1)),
        positives(simt::random_indices<int64_t>(size, num_items, 2)),
        negatives(simt::random_indices<int64_t>(size, num_items, 3)) {
    if (!wrong || size < 10) return;
    users[0] = -1;
    users[2] = num_users;
    positives[4] = int64_t{1} << 40;
    negatives[6] = num_items;
  }
  bool good(size_t b, int64_t num_users, int64_t num_items) const {
    const auto inside = [](int64_t id, int64_t size) { return id >= 0 && id < size; };
    return inside(users[b], num_users) && inside(positives[b], num_items) &&
           inside(negatives[b], num_items);
  }
};

template <class T>
struct Watched {
  simt::Buffer<T> user_table, item_table;
  simt::Buffer<int64_t> users, positives, negatives;
  cuda::BprArgs<T> args;

  Watched(const std::vector<T>& user_values, const std::vector<T>& item_values, int64_t stride,
          int64_t d, const Triplets& triplets, size_t shift)
      : user_table("user_table", user_values, false, shift),
        item_table("item_table", item_values, false, 0),
        users("users", triplets.users, false, 0),
        positives("positives", triplets.positives, false, 0),
        negatives("negatives", triplets.negatives, false, 0),
        args{user_table.data(),
             item_table.data(),
             stride,
             stride,
             kUsers,
             kItems,
             d,
             users.data(),
             positives.data(),
             negatives.data(),
             static_cast<int64_t>(triplets.users.size())} {}
};

template <class T>
void compare_losses(double tolerance) {
  for (const int64_t size : simt::odd_counts()) {
    for (const int64_t d : simt::odd_widths()) {
      const int64_t stride = d + 4;
      const auto user_values = simt::random_values<T>(kUsers * stride, 4);
      auto item_values = simt::random_values<T>(kItems * stride, 5);
      item_values[0] *= 1000;  // margins at which exp would overflow
      const Triplets triplets(size, kUsers, kItems, true);
      std::vector<T> losses(size, static_cast<T>(NAN)), slopes(losses);
      const rlmrec_fast::BprArgs<T> twin{user_values.data(),
                                         item_values.data(),
                                         stride,
                                         stride,
                                         d,
                                         triplets.users.data(),
                                         triplets.positives.data(),
                                         triplets.negatives.data(),
                                         losses.data(),
                                         slopes.data()};
      for (int64_t b = 0; b < size; ++b) {
        if (triplets.good(b, kUsers, kItems)) RLMREC_FAST_CALL(bpr_losses, twin, b, b + 1);
      }
      const Watched<T> watched(user_values, item_values, stride, d, triplets, size % 2);
      auto our_losses = simt::output<T>("losses", size);
      auto our_slopes = simt::output<T>("slopes", size);
      CHECK(cuda::launch_bpr_losses(watched.args, our_losses.data(), our_slopes.data(), nullptr) ==
            cudaSuccess);
      EXPECT_CLOSE(our_losses, losses, tolerance);
      EXPECT_CLOSE(our_slopes, slopes, tolerance);
    }
  }
}

TEST(cuda_bpr_losses_of_float_are_those_of_the_cpu) { compare_losses<float>(1e-4); }
TEST(cuda_bpr_losses_of_double_are_those_of_the_cpu) { compare_losses<double>(1e-12); }

TEST(cuda_bpr_losses_of_infinite_margins) {
  const std::vector<float> users(kUsers, 1.0F);
  std::vector<float> items(kItems, 0.0F);
  items[1] = INFINITY;
  items[2] = -INFINITY;
  items[3] = NAN;
  Triplets triplets(3, 1, 1, false);
  triplets.negatives = {1, 2, 3};
  const Watched<float> watched(users, items, 1, 1, triplets, 0);
  auto losses = simt::output<float>("losses", 3);
  auto slopes = simt::output<float>("slopes", 3);
  CHECK(cuda::launch_bpr_losses(watched.args, losses.data(), slopes.data(), nullptr) ==
        cudaSuccess);
  EXPECT_SAME(losses, {INFINITY, 0.0F, NAN});
  EXPECT_SAME(slopes, {1.0F, 0.0F, NAN});
}

// Row and column of entry e, as cuda/bpr.h defines them, or no row.
struct Entry {
  int64_t row = -1, column = -1, sample = 0;
  bool negative = false;
};

Entry entry_of(BprSide side, const Triplets& triplets, int64_t e) {
  const auto size = static_cast<int64_t>(triplets.users.size());
  const bool to_item = side == BprSide::items || e >= 2 * size;
  e %= 2 * size;
  Entry entry{-1, -1, e % size, e >= size};
  if (!triplets.good(entry.sample, kUsers, kItems)) return entry;
  const int64_t user = triplets.users[entry.sample];
  const int64_t item = (entry.negative ? triplets.negatives : triplets.positives)[entry.sample];
  entry.row = to_item ? item : user;
  entry.column = to_item ? user : item;
  return entry;
}

template <class T>
void compare_entries() {
  for (const int64_t size : simt::odd_counts()) {
    const Triplets triplets(size, kUsers, kItems, true);
    const auto table = simt::random_values<T>(kUsers, 6);
    const Watched<T> watched(table, table, 1, 1, triplets, 0);
    const auto slope_values = simt::random_values<T>(size, 7);
    const auto grad_values = simt::random_values<T>(size, 8);
    const auto slopes = simt::input("slopes", slope_values);
    const auto grads = simt::input("grad_losses", grad_values);
    for (const BprSide side : {BprSide::users, BprSide::items, BprSide::both}) {
      const int64_t count = cuda::count_entries(side, size), num_rows = kUsers + 3;
      auto keys = simt::output<int32_t>("keys", count);
      CHECK(cuda::launch_bpr_keys(watched.args, side, num_rows, keys.data(), nullptr) ==
            cudaSuccess);
      std::vector<int32_t> wanted_keys;
      std::vector<int64_t> order;
      for (int64_t e = 0; e < count; ++e) {
        const Entry entry = entry_of(side, triplets, e);
        wanted_keys.push_back(static_cast<int32_t>(entry.row < 0 ? num_rows : entry.row));
        order.insert(order.begin(), e);
      }
      EXPECT_SAME(keys, wanted_keys);

      const auto order_in = simt::input("order", order);
      auto columns = simt::output<int32_t>("columns", count);
      auto values = simt::output<T>("values", count);
      CHECK(cuda::launch_bpr_entries(watched.args, side, order_in.data(), slopes.data(),
                                     grads.data(), columns.data(), values.data(),
                                     nullptr) == cudaSuccess);
      simt::note_bits(columns.data(), columns.size() * sizeof(int32_t));
      simt::note_bits(values.data(), values.size() * sizeof(T));
      for (int64_t place = 0; place < count; ++place) {
        const Entry entry = entry_of(side, triplets, order[place]);
        if (entry.row < 0) continue;  // sorted out by its key
        const T weight = slope_values[entry.sample] * grad_values[entry.sample];
        CHECK(columns[place] == entry.column);
        CHECK(values[place] == (entry.negative ? weight : -weight));
      }
    }
  }
}

TEST(cuda_bpr_entries_are_the_gradients) {
  compare_entries<float>();
  compare_entries<double>();
}

}  // namespace
