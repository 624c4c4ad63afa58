#include "cpu/rank.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Users whose scores with one panel stay in registers: 2 * kRows sums beside two vectors of items.
#if defined(__AVX512F__)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
// Bytes of packed items that are scored against all users of a part before the next ones are.
constexpr int64_t kTileBytes = 512 * 1024;

template <class T>
struct Candidate {
  T score;
  int64_t item;
};

template <class T>
struct Better {
  bool operator()(const Candidate<T>& a, const Candidate<T>& b) const {
    return a.score > b.score || (a.score == b.score && a.item < b.item);
  }
};

// The best candidates of one user so far. Holds up to `capacity`, of which all but k are dropped
// when full.
template <class T>
struct Best {
  Candidate<T>* candidates = nullptr;
  const int32_t* excluded = nullptr;  // the user's excluded items from here on are still ahead
  const int32_t* excluded_end = nullptr;
  int64_t count = 0;
  T threshold = -std::numeric_limits<T>::infinity();

  void add(T score, int64_t item, int64_t k, int64_t capacity) {
    candidates[count++] = {score, item};
    if (count == capacity) shrink(k);
  }
  void shrink(int64_t k) {
    std::nth_element(candidates, candidates + (k - 1), candidates + count, Better<T>{});
    count = k;
    threshold = candidates[k - 1].score;
  }
};

// scores[i][lane] = users[i] . panel item `lane`, for kRows users.
template <class T>
RLMREC_FAST_INLINE void score_panel(const T* const (&users)[kRows], const T* panel, int64_t d,
                                    Vec<T> (&scores)[kRows][2]) {
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) scores[i][0] = scores[i][1] = Vec<T>{};
  for (int64_t column = 0; column < d; ++column) {
    const Vec<T> low = load(panel + column * 2 * kLanes<T>);
    const Vec<T> high = load(panel + column * 2 * kLanes<T> + kLanes<T>);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> u = broadcast<T>(users[i][column]);
      scores[i][0] += u * low;
      scores[i][1] += u * high;
    }
  }
}

// One bit for each of the 2 * kLanes scores that is above the threshold, the first item's lowest.
#if defined(__AVX512F__)
RLMREC_FAST_INLINE uint32_t lanes_above(Vec<float> low, Vec<float> high, float threshold) {
  const __m512 limit = _mm512_set1_ps(threshold);
  return _mm512_cmp_ps_mask(low, limit, _CMP_GT_OQ) |
         static_cast<uint32_t>(_mm512_cmp_ps_mask(high, limit, _CMP_GT_OQ)) << 16;
}
RLMREC_FAST_INLINE uint32_t lanes_above(Vec<double> low, Vec<double> high, double threshold) {
  const __m512d limit = _mm512_set1_pd(threshold);
  return _mm512_cmp_pd_mask(low, limit, _CMP_GT_OQ) |
         static_cast<uint32_t>(_mm512_cmp_pd_mask(high, limit, _CMP_GT_OQ)) << 8;
}
#else
template <class Vector, class T>
RLMREC_FAST_INLINE uint32_t lanes_above(Vector low, Vector high, T threshold) {
  constexpr int kLane = kVectorBytes / static_cast<int>(sizeof(T));
  const auto low_above = low > threshold;
  const auto high_above = high > threshold;
  uint32_t lanes = 0;
#  pragma GCC unroll 8
  for (int lane = 0; lane < kLane; ++lane) {
    lanes |= static_cast<uint32_t>(low_above[lane] & 1) << lane;
    lanes |= static_cast<uint32_t>(high_above[lane] & 1) << (lane + kLane);
  }
  return lanes;
}
#endif

// Offers the marked items of a panel to their user. Items come in ascending order, call by call,
// and so one walk through the user's excluded items is enough.
template <class T>
void collect(const RankArgs<T>& args, const Vec<T> (&scores)[2], uint32_t lanes, int64_t first_item,
             int64_t capacity, Best<T>& best) {
  T values[2 * kLanes<T>];
  store(values, scores[0]);
  store(values + kLanes<T>, scores[1]);
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    const int64_t item = first_item + lane;
    if (values[lane] <= best.threshold) continue;  // it rose within this panel
    while (best.excluded != best.excluded_end && *best.excluded < item) ++best.excluded;
    if (best.excluded != best.excluded_end && *best.excluded == item) continue;
    best.add(values[lane], item, args.k, capacity);
  }
}

template <class T>
void write_best(const RankArgs<T>& args, int64_t user, Best<T>& best) {
  const int64_t found = std::min(best.count, args.k);
  std::partial_sort(best.candidates, best.candidates + found, best.candidates + best.count,
                    Better<T>{});
  int64_t* items = args.items + user * args.k;
  T* scores = args.scores + user * args.k;
  for (int64_t j = 0; j < args.k; ++j) {
    items[j] = j < found ? best.candidates[j].item : -1;
    scores[j] = j < found ? best.candidates[j].score : -std::numeric_limits<T>::infinity();
  }
}

}  // namespace

template <class T>
int64_t panel_width() {
  return 2 * kLanes<T>;
}

template <class T>
void pack_items(const T* items, int64_t stride, int64_t num_items, int64_t d, T* panels,
                int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 2 * kLanes<T>;
  for (int64_t panel = begin; panel < end; ++panel) {
    T* out = panels + panel * d * kWidth;
    for (int64_t lane = 0; lane < kWidth; ++lane) {
      const int64_t item = panel * kWidth + lane;
      for (int64_t column = 0; column < d; ++column) {
        out[column * kWidth + lane] = item < num_items ? items[item * stride + column] : T{0};
      }
    }
  }
}

template <class T>
void rank_users(const RankArgs<T>& args, int64_t begin, int64_t end) {
  constexpr int64_t kWidth = 2 * kLanes<T>;
  const int64_t capacity = std::min(2 * args.k + 24, args.num_items + 1);
  const std::unique_ptr<Candidate<T>[]> storage(new Candidate<T>[(end - begin) * capacity]);
  Best<T> best[kRankUsers];
  for (int64_t user = begin; user < end; ++user) {
    Best<T>& user_best = best[user - begin];
    user_best.candidates = storage.get() + (user - begin) * capacity;
    if (args.exclude_offsets != nullptr) {
      user_best.excluded = args.exclude_items + args.exclude_offsets[user];
      user_best.excluded_end = args.exclude_items + args.exclude_offsets[user + 1];
    }
  }
  const int64_t panels = (args.num_items + kWidth - 1) / kWidth;
  const int64_t panel_bytes =
      std::max<int64_t>(1, args.d) * kWidth * static_cast<int64_t>(sizeof(T));
  const int64_t tile = std::max<int64_t>(1, kTileBytes / panel_bytes);
  for (int64_t tile_begin = 0; tile_begin < panels; tile_begin += tile) {
    const int64_t tile_end = std::min(panels, tile_begin + tile);
    for (int64_t first = begin; first < end; first += kRows) {
      const T* users[kRows];
      for (int i = 0; i < kRows; ++i) {
        users[i] = args.users + std::min(first + i, end - 1) * args.user_stride;
      }
      const auto rows = static_cast<int>(std::min<int64_t>(kRows, end - first));
      for (int64_t panel = tile_begin; panel < tile_end; ++panel) {
        const int64_t items = std::min(kWidth, args.num_items - panel * kWidth);
        const auto real_lanes = static_cast<uint32_t>((uint64_t{1} << items) - 1);
        Vec<T> scores[kRows][2];
        score_panel(users, args.panels + panel * args.d * kWidth, args.d, scores);
        for (int i = 0; i < rows; ++i) {
          Best<T>& user_best = best[first + i - begin];
          const uint32_t lanes =
              lanes_above(scores[i][0], scores[i][1], user_best.threshold) & real_lanes;
          if (lanes != 0) collect(args, scores[i], lanes, panel * kWidth, capacity, user_best);
        }
      }
    }
  }
  for (int64_t user = begin; user < end; ++user) write_best(args, user, best[user - begin]);
}

#define RLMREC_FAST_INSTANTIATE(T)                                                     \
  template int64_t panel_width<T>();                                                   \
  template void pack_items(const T*, int64_t, int64_t, int64_t, T*, int64_t, int64_t); \
  template void rank_users(const RankArgs<T>&, int64_t, int64_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
