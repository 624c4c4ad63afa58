#include "cpu/overlap.h"

#include <algorithm>
#include <vector>

namespace rlmrec_fast {
namespace {

// Which lists name a number: a hash table that is at most half full.
class Members {
 public:
  explicit Members(int64_t most) {
    while ((int64_t{1} << bits_) < 2 * most) ++bits_;
    numbers_.resize(size_t{1} << bits_);
    lists_.resize(size_t{1} << bits_);
  }

  void clear() { std::fill(lists_.begin(), lists_.end(), uint8_t{0}); }

  // Adds list to those that name the number; returns which did before.
  uint8_t add(int64_t number, uint8_t list) {
    const size_t last = lists_.size() - 1;
    size_t place = static_cast<uint64_t>(number) * 0x9e3779b97f4a7c15U >> (64 - bits_);
    while (lists_[place] != 0 && numbers_[place] != number) place = (place + 1) & last;
    const uint8_t before = lists_[place];
    numbers_[place] = number;
    lists_[place] = static_cast<uint8_t>(before | list);
    return before;
  }

 private:
  int bits_ = 1;
  std::vector<int64_t> numbers_;
  std::vector<uint8_t> lists_;
};

}  // namespace

RepeatedNeighbors neighbor_overlap(const int64_t* first, int64_t first_width, const int64_t* second,
                                   int64_t second_width, int64_t begin, int64_t end,
                                   double* overlap) {
  constexpr uint8_t kFirst = 1, kSecond = 2;
  RepeatedNeighbors repeated;
  Members members(first_width + second_width);
  for (int64_t row = begin; row < end; ++row) {
    members.clear();
    int64_t shared = 0, either = 0;
    for (int64_t j = 0; j < first_width; ++j) {
      const int64_t number = first[row * first_width + j];
      if (number < 0) continue;
      ++either;
      const bool again = members.add(number, kFirst) != 0;
      if (again && repeated.first < 0) repeated.first = row;
    }
    for (int64_t j = 0; j < second_width; ++j) {
      const int64_t number = second[row * second_width + j];
      if (number < 0) continue;
      const uint8_t before = members.add(number, kSecond);
      if ((before & kSecond) != 0 && repeated.second < 0) repeated.second = row;
      (before == 0 ? either : shared) += 1;
    }
    overlap[row] = either == 0 ? 1.0 : static_cast<double>(shared) / static_cast<double>(either);
  }
  return repeated;
}

}  // namespace rlmrec_fast
