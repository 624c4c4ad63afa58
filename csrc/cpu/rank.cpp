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
  Candidate<T>* candidates;
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

template <class T>
bool is_excluded(const RankArgs<T>& args, int64_t user, int64_t item) {
  if (args.exclude_offsets == nullptr) return false;
  const int32_t* low = args.exclude_items + args.exclude_offsets[user];
  const int32_t* high = args.exclude_items + args.exclude_offsets[user + 1];
  while (low < high) {
    const int32_t* middle = low + (high - low) / 2;
    if (*middle == item) return true;
    if (*middle < item) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return false;
}

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

template <class T>
RLMREC_FAST_INLINE bool any_above(Vec<T> a, Vec<T> b, T threshold) {
  const Vec<T> limit = broadcast<T>(threshold);
  const auto above = (a > limit) | (b > limit);
  int64_t words[kVectorBytes / 8];
  std::memcpy(words, &above, sizeof above);
  int64_t any = 0;
  for (int64_t word : words) any |= word;
  return any != 0;
}

template <class T>
void collect(const RankArgs<T>& args, const Vec<T> (&scores)[2], int64_t user, int64_t first_item,
             int64_t capacity, Best<T>& best) {
  const int64_t width = std::min<int64_t>(2 * kLanes<T>, args.num_items - first_item);
  T lanes[2 * kLanes<T>];
  store(lanes, scores[0]);
  store(lanes + kLanes<T>, scores[1]);
  for (int64_t lane = 0; lane < width; ++lane) {
    if (lanes[lane] > best.threshold && !is_excluded(args, user, first_item + lane)) {
      best.add(lanes[lane], first_item + lane, args.k, capacity);
    }
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
  const int64_t capacity = std::min(2 * args.k + 64, args.num_items + 1);
  const std::unique_ptr<Candidate<T>[]> storage(new Candidate<T>[(end - begin) * capacity]);
  Best<T> best[kRankUsers];
  for (int64_t user = begin; user < end; ++user) {
    best[user - begin].candidates = storage.get() + (user - begin) * capacity;
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
        Vec<T> scores[kRows][2];
        score_panel(users, args.panels + panel * args.d * kWidth, args.d, scores);
        for (int i = 0; i < rows; ++i) {
          Best<T>& user_best = best[first + i - begin];
          if (any_above<T>(scores[i][0], scores[i][1], user_best.threshold)) {
            collect(args, scores[i], first + i, panel * kWidth, capacity, user_best);
          }
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
